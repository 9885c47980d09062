//! Asks brokers about a topic: rdkafka's safe interface has no call for its id nor for what the user may do.

use std::ffi::{CStr, CString, c_char};
use std::time::{Duration, Instant};

use rdkafka_sys as sys;
use uuid::Uuid;

use crate::trouble::Trouble;

/// What a user may do with a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Consume.
    Read,
    /// Produce.
    Write,
    /// See that it is there.
    Describe,
    /// See its settings.
    DescribeConfigs,
}

impl Operation {
    /// As Kafka's tools name it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Operation::Read => "Read",
            Operation::Write => "Write",
            Operation::Describe => "Describe",
            Operation::DescribeConfigs => "DescribeConfigs",
        }
    }

    fn of(native: sys::rd_kafka_AclOperation_t) -> Option<Operation> {
        use sys::rd_kafka_AclOperation_t as Native;
        Some(match native {
            Native::RD_KAFKA_ACL_OPERATION_READ => Operation::Read,
            Native::RD_KAFKA_ACL_OPERATION_WRITE => Operation::Write,
            Native::RD_KAFKA_ACL_OPERATION_DESCRIBE => Operation::Describe,
            Native::RD_KAFKA_ACL_OPERATION_DESCRIBE_CONFIGS => Operation::DescribeConfigs,
            _ => return None,
        })
    }
}

/// A topic as a broker describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Its id: a topic made anew has another.
    pub id: Uuid,
    /// Its partitions.
    pub partitions: u32,
    /// Copies of its records: those of the partition that has fewest.
    pub copies: u32,
    /// What this user may do with it.
    pub allowed: Vec<Operation>,
}

/// Why there is no description.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DescribeError {
    /// No broker answered in time.
    #[error("no broker described the topic {0} in time")]
    NoAnswer(String),
    /// It is not there, and the user may know that.
    #[error("the topic {0} is not there: run `whence topics`")]
    NotThere(String),
    /// The user may not see it; whether it is there is not told.
    #[error("the user may not see the topic {0}, an ACL is missing: Describe on it")]
    Denied(String),
    /// Brokers before Kafka 2.8 give topics no ids: one that was made anew looks like the one before.
    #[error("the brokers give the topic {0} no id: whence needs Kafka 2.8 or newer")]
    NoId(String),
    /// Another answer.
    #[error("the brokers can't describe the topic {topic}: {text}")]
    Refused {
        /// The topic.
        topic: String,
        /// librdkafka's words.
        text: String,
    },
}

impl DescribeError {
    /// What to say of it.
    #[must_use]
    pub fn trouble(&self) -> Trouble {
        let may_heal = !matches!(self, DescribeError::Denied(_) | DescribeError::NoId(_));
        Trouble { text: self.to_string(), may_heal }
    }
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

/// Between looks for an answer while the caller wants to hear what else its client says.
const STEP: Duration = Duration::from_millis(50);

/// Asks for the topic through this live client, until `timeout` is over or `is_enough` says that it is, which is asked
/// every 50 ms. Blocks.
///
/// # Safety
/// `client` must be a valid librdkafka handle for the whole call.
///
/// # Errors
/// [`DescribeError`].
pub unsafe fn describe_while(
    client: *mut sys::rd_kafka_t,
    topic: &str,
    timeout: Duration,
    mut is_enough: impl FnMut() -> bool,
) -> Result<Described, DescribeError> {
    let no_answer = || DescribeError::NoAnswer(topic.to_owned());
    let name = CString::new(topic).map_err(|_| no_answer())?;
    let deadline = Instant::now() + timeout;
    // SAFETY: `client` is valid by the caller's promise; every pointer made here is checked, owned and outlives its use;
    // results are read while their event is alive.
    unsafe {
        let queue = owned(sys::rd_kafka_queue_new(client), sys::rd_kafka_queue_destroy).ok_or_else(no_answer)?;
        let mut names = [name.as_ptr()];
        let topics = owned(
            sys::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len()),
            sys::rd_kafka_TopicCollection_destroy,
        )
        .ok_or_else(no_answer)?;
        let options = options(client, timeout).ok_or_else(no_answer)?;
        sys::rd_kafka_DescribeTopics(client, topics.0, options.0, queue.0);
        let event = loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let step = i32::try_from(left.min(STEP).as_millis()).unwrap_or(i32::MAX);
            match owned(sys::rd_kafka_queue_poll(queue.0, step), sys::rd_kafka_event_destroy) {
                Some(event) => break event,
                None if left.is_zero() || is_enough() => return Err(no_answer()),
                None => {}
            }
        };
        read(event.0, topic)
    }
}

/// Asks for the topic through this live client. Blocks up to `timeout`.
///
/// # Safety
/// As [`describe_while`].
///
/// # Errors
/// [`DescribeError`].
pub unsafe fn describe(
    client: *mut sys::rd_kafka_t,
    topic: &str,
    timeout: Duration,
) -> Result<Described, DescribeError> {
    // SAFETY: by the caller's promise.
    unsafe { describe_while(client, topic, timeout, || false) }
}

/// # Safety
/// `client` must be valid.
unsafe fn options(
    client: *mut sys::rd_kafka_t,
    timeout: Duration,
) -> Option<Owned<sys::rd_kafka_AdminOptions_t>> {
    let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX).max(1);
    // SAFETY: the options are checked, and used before they are freed; with a length of 0 nothing is written.
    unsafe {
        let made = sys::rd_kafka_AdminOptions_new(client, sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS);
        let options = owned(made, sys::rd_kafka_AdminOptions_destroy)?;
        let mut said = [0 as c_char; 1];
        sys::rd_kafka_AdminOptions_set_request_timeout(options.0, timeout_ms, said.as_mut_ptr(), said.len());
        let error = sys::rd_kafka_AdminOptions_set_include_authorized_operations(options.0, 1);
        drop(owned(error, sys::rd_kafka_error_destroy));
        Some(options)
    }
}

/// # Safety
/// `event` must be alive and an answer to DescribeTopics with this one topic.
unsafe fn read(event: *mut sys::rd_kafka_event_t, topic: &str) -> Result<Described, DescribeError> {
    use sys::rd_kafka_resp_err_t as Code;
    let no_answer = || DescribeError::NoAnswer(topic.to_owned());
    let refused = |code: Code, text: *const c_char| match code {
        Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART => DescribeError::NotThere(topic.to_owned()),
        Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED => DescribeError::Denied(topic.to_owned()),
        Code::RD_KAFKA_RESP_ERR__TIMED_OUT => DescribeError::NoAnswer(topic.to_owned()),
        _ => {
            // SAFETY: librdkafka's strings end with a zero and live as long as their event.
            let text = (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned());
            DescribeError::Refused { topic: topic.to_owned(), text: text.unwrap_or_else(|| "unknown".into()) }
        }
    };
    // SAFETY: by the caller's promise; what is read is checked for null.
    unsafe {
        let code = sys::rd_kafka_event_error(event);
        if code != Code::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(refused(code, sys::rd_kafka_event_error_string(event)));
        }
        let result = sys::rd_kafka_event_DescribeTopics_result(event);
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
        if !error.is_null() && sys::rd_kafka_error_code(error) != Code::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(refused(sys::rd_kafka_error_code(error), sys::rd_kafka_error_string(error)));
        }
        let id = sys::rd_kafka_TopicDescription_topic_id(description);
        let id = if id.is_null() {
            Uuid::nil()
        } else {
            let high = sys::rd_kafka_Uuid_most_significant_bits(id) as u64;
            let low = sys::rd_kafka_Uuid_least_significant_bits(id) as u64;
            Uuid::from_u64_pair(high, low)
        };
        let (mut partitions, mut operations) = (0, 0);
        let infos = sys::rd_kafka_TopicDescription_partitions(description, &mut partitions);
        let copies = (0..if infos.is_null() { 0 } else { partitions }).map(|index| {
            let mut copies = 0;
            sys::rd_kafka_TopicPartitionInfo_replicas(*infos.add(index), &mut copies);
            copies
        });
        let copies = copies.min().unwrap_or(0);
        let allowed = sys::rd_kafka_TopicDescription_authorized_operations(description, &mut operations);
        let allowed = (0..if allowed.is_null() { 0 } else { operations })
            .filter_map(|index| Operation::of(*allowed.add(index)))
            .collect();
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        known(Described { id, partitions: count(partitions), copies: count(copies), allowed }, topic)
    }
}

/// Without an id, offsets of a topic that was made anew would be taken for those of the one before.
fn known(described: Described, topic: &str) -> Result<Described, DescribeError> {
    if described.id.is_nil() { Err(DescribeError::NoId(topic.to_owned())) } else { Ok(described) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_without_an_id_is_refused_in_words() {
        let of = |id| Described { id, partitions: 1, copies: 1, allowed: Vec::new() };
        assert!(known(of(Uuid::from_u128(1)), "t").is_ok());
        let refused = known(of(Uuid::nil()), "t").unwrap_err();
        assert_eq!(refused.to_string(), "the brokers give the topic t no id: whence needs Kafka 2.8 or newer");
        assert!(!refused.trouble().may_heal);
    }
}
