//! Asks the broker for a topic's id: rdkafka's safe interface has no call for it.

use rdkafka_sys as sys;
use std::{ffi::CString, ptr, time::Duration};
use uuid::Uuid;
use whence_schemas::ids::Incarnation;

/// Why there is no id.
#[derive(Debug, thiserror::Error)]
pub enum TopicIdError {
    /// The broker did not answer in time.
    #[error("no broker described the topic {0} in time")]
    NoAnswer(String),
    /// It answered with an error.
    #[error("the broker can't describe the topic {topic}: {text}")]
    Refused {
        /// The topic.
        topic: String,
        /// librdkafka's words.
        text: String,
    },
}

/// Frees what librdkafka made when it goes out of scope.
struct Owned<T>(*mut T, unsafe extern "C" fn(*mut T));

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: the pointer came from librdkafka's constructor that this destructor belongs to, is not
        // null (checked where it was made) and is freed only here.
        unsafe { (self.1)(self.0) }
    }
}

fn owned<T>(pointer: *mut T, free: unsafe extern "C" fn(*mut T)) -> Option<Owned<T>> {
    (!pointer.is_null()).then_some(Owned(pointer, free))
}

/// The id of the topic, asked through this live client. Blocks up to `timeout`.
///
/// # Safety
/// `client` must be a valid librdkafka handle for the whole call.
pub(super) unsafe fn topic_id(
    client: *mut sys::rd_kafka_t,
    topic: &str,
    timeout: Duration,
) -> Result<Incarnation, TopicIdError> {
    let no_answer = || TopicIdError::NoAnswer(topic.to_owned());
    let name = CString::new(topic).map_err(|_| no_answer())?;
    let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: `client` is valid by the caller's promise; every pointer made here is checked, owned and
    // outlives its use; results are read while their event is alive.
    unsafe {
        let queue =
            owned(sys::rd_kafka_queue_new(client), sys::rd_kafka_queue_destroy).ok_or_else(no_answer)?;
        let mut names = [name.as_ptr()];
        let topics = owned(
            sys::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len()),
            sys::rd_kafka_TopicCollection_destroy,
        )
        .ok_or_else(no_answer)?;
        sys::rd_kafka_DescribeTopics(client, topics.0, ptr::null(), queue.0);
        let event = owned(sys::rd_kafka_queue_poll(queue.0, timeout_ms), sys::rd_kafka_event_destroy)
            .ok_or_else(no_answer)?;
        let refused = |text: *const std::ffi::c_char| TopicIdError::Refused {
            topic: topic.to_owned(),
            text: if text.is_null() {
                "unknown".into()
            } else {
                std::ffi::CStr::from_ptr(text).to_string_lossy().into()
            },
        };
        if sys::rd_kafka_event_error(event.0) as i32 != 0 {
            return Err(refused(sys::rd_kafka_event_error_string(event.0)));
        }
        let result = sys::rd_kafka_event_DescribeTopics_result(event.0);
        if result.is_null() {
            return Err(no_answer());
        }
        let mut count = 0;
        let described = sys::rd_kafka_DescribeTopics_result_topics(result, &mut count);
        if count == 0 || described.is_null() {
            return Err(no_answer());
        }
        let description = *described;
        let error = sys::rd_kafka_TopicDescription_error(description);
        if !error.is_null() && sys::rd_kafka_error_code(error) as i32 != 0 {
            return Err(refused(sys::rd_kafka_error_string(error)));
        }
        let id = sys::rd_kafka_TopicDescription_topic_id(description);
        if id.is_null() {
            return Err(no_answer());
        }
        let high = sys::rd_kafka_Uuid_most_significant_bits(id) as u64;
        let low = sys::rd_kafka_Uuid_least_significant_bits(id) as u64;
        Ok(Incarnation(Uuid::from_u64_pair(high, low)))
    }
}
