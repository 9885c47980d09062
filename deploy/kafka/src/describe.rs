//! Asks brokers about a topic: rdkafka's safe interface has no call for its id nor for what the user may do.

mod ask;

use std::ffi::CString;
use std::time::Duration;

use rdkafka_sys as sys;
use sys::rd_kafka_resp_err_t as Code;
use uuid::Uuid;

use ask::{Unanswered, ask, owned};

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
    /// Its id: a topic that was deleted and created again has another.
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
    /// The topic is not there, and the user may know that.
    #[error("the topic {0} does not exist: run `whence topics`")]
    NotThere(String),
    /// The user may not see it; whether it is there is not told.
    #[error("the user may not see the topic {0}, an ACL is missing: Describe on it")]
    Denied(String),
    /// Brokers before Kafka 2.8 give topics no ids: a recreated one looks like the one before.
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
    fn of(topic: &str, unanswered: Unanswered) -> DescribeError {
        let topic = topic.to_owned();
        match unanswered {
            Unanswered::Silence => DescribeError::NoAnswer(topic),
            Unanswered::Error(Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, _) => {
                DescribeError::NotThere(topic)
            }
            Unanswered::Error(Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, _) => {
                DescribeError::Denied(topic)
            }
            Unanswered::Error(_, text) => DescribeError::Refused { topic, text },
        }
    }

    /// What to say of it.
    #[must_use]
    pub fn trouble(&self) -> Trouble {
        let may_heal = !matches!(self, DescribeError::Denied(_) | DescribeError::NoId(_));
        Trouble::new(self.to_string(), may_heal)
    }
}

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
    is_enough: impl FnMut() -> bool,
) -> Result<Described, DescribeError> {
    let error = |unanswered| DescribeError::of(topic, unanswered);
    let name = CString::new(topic).map_err(|_| DescribeError::NoAnswer(topic.to_owned()))?;
    // SAFETY: `client` is valid by the caller's promise; the names outlive the call, which copies them, and are freed
    // once; the answer is read while its event is alive.
    unsafe {
        let mut names = [name.as_ptr()];
        let topics = owned(
            sys::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len()),
            sys::rd_kafka_TopicCollection_destroy,
        )
        .ok_or_else(|| error(Unanswered::Silence))?;
        let operation = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
        let event = ask(client, operation, timeout, is_enough, |options, queue| {
            sys::rd_kafka_DescribeTopics(client, topics.0, options, queue);
        });
        let event = event.map_err(error)?;
        known(read(event.0).map_err(error)?, topic)
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
/// `event` must be alive and an answer to DescribeTopics with one topic.
unsafe fn read(event: *mut sys::rd_kafka_event_t) -> Result<Described, Unanswered> {
    // SAFETY: by the caller's promise; what is read is checked for null.
    unsafe {
        let result = sys::rd_kafka_event_DescribeTopics_result(event);
        if result.is_null() {
            return Err(Unanswered::Silence);
        }
        let mut count = 0;
        let described = sys::rd_kafka_DescribeTopics_result_topics(result, &mut count);
        if count == 0 || described.is_null() {
            return Err(Unanswered::Silence);
        }
        let description = *described;
        refused(sys::rd_kafka_TopicDescription_error(description))?;
        let id = sys::rd_kafka_TopicDescription_topic_id(description);
        let id = if id.is_null() {
            Uuid::nil()
        } else {
            let high = sys::rd_kafka_Uuid_most_significant_bits(id) as u64;
            let low = sys::rd_kafka_Uuid_least_significant_bits(id) as u64;
            Uuid::from_u64_pair(high, low)
        };
        let mut partitions = 0;
        let infos = sys::rd_kafka_TopicDescription_partitions(description, &mut partitions);
        let copies = (0..if infos.is_null() { 0 } else { partitions }).map(|index| {
            let mut copies = 0;
            sys::rd_kafka_TopicPartitionInfo_replicas(*infos.add(index), &mut copies);
            copies
        });
        let copies = copies.min().unwrap_or(0);
        let mut count = 0;
        let allowed = sys::rd_kafka_TopicDescription_authorized_operations(description, &mut count);
        let narrow = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Ok(Described {
            id,
            partitions: narrow(partitions),
            copies: narrow(copies),
            allowed: operations(allowed, count),
        })
    }
}

/// # Safety
/// `error` must be alive, or null.
unsafe fn refused(error: *const sys::rd_kafka_error_t) -> Result<(), Unanswered> {
    // SAFETY: by the caller's promise.
    unsafe {
        if error.is_null() || sys::rd_kafka_error_code(error) == Code::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Ok(());
        }
        Err(ask::refusal(sys::rd_kafka_error_code(error), ask::text(sys::rd_kafka_error_string(error))))
    }
}

/// # Safety
/// So many operations must be there, or the pointer be null.
unsafe fn operations(allowed: *const sys::rd_kafka_AclOperation_t, count: usize) -> Vec<Operation> {
    let count = if allowed.is_null() { 0 } else { count };
    // SAFETY: by the caller's promise.
    (0..count).filter_map(|index| Operation::of(unsafe { *allowed.add(index) })).collect()
}

/// What this user may do with a consumer group, which need not be there. Waits as [`describe_while`] does.
///
/// # Safety
/// As [`describe_while`].
///
/// # Errors
/// `None`: nobody answered in time; else what was answered.
pub unsafe fn group_operations(
    client: *mut sys::rd_kafka_t,
    group: &str,
    timeout: Duration,
) -> Result<Vec<Operation>, Option<String>> {
    let name = CString::new(group).map_err(|_| None)?;
    let read = |event: *mut sys::rd_kafka_event_t| {
        // SAFETY: the event is alive and an answer to DescribeConsumerGroups; what is read is checked for null.
        unsafe {
            let result = sys::rd_kafka_event_DescribeConsumerGroups_result(event);
            if result.is_null() {
                return Err(Unanswered::Silence);
            }
            let mut count = 0;
            let groups = sys::rd_kafka_DescribeConsumerGroups_result_groups(result, &mut count);
            if count == 0 || groups.is_null() {
                return Err(Unanswered::Silence);
            }
            let description = *groups;
            refused(sys::rd_kafka_ConsumerGroupDescription_error(description))?;
            let mut count = 0;
            let allowed =
                sys::rd_kafka_ConsumerGroupDescription_authorized_operations(description, &mut count);
            Ok(operations(allowed, count))
        }
    };
    let mut names = [name.as_ptr()];
    let operation = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS;
    // SAFETY: `client` is valid by the caller's promise; the name outlives the call, which copies it.
    let answer = unsafe {
        ask(
            client,
            operation,
            timeout,
            || false,
            |options, queue| {
                sys::rd_kafka_DescribeConsumerGroups(client, names.as_mut_ptr(), names.len(), options, queue);
            },
        )
    };
    match answer.and_then(|event| read(event.0)) {
        Ok(allowed) => Ok(allowed),
        Err(Unanswered::Error(Code::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, _)) => Ok(Vec::new()),
        Err(Unanswered::Error(_, text)) => Err(Some(text)),
        Err(Unanswered::Silence) => Err(None),
    }
}

/// Without an id, offsets of a recreated topic would be taken for those of the one before.
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
        assert_eq!(
            refused.to_string(),
            "the brokers give the topic t no id: whence needs Kafka 2.8 or newer"
        );
        assert!(!refused.trouble().may_heal);
    }
}
