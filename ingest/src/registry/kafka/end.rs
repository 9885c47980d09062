//! Reads the topic to its end, now: with a consumer of its own, because librdkafka tells the end of a
//! partition once, and only a consumer that starts after the question can be sure to answer it.
//! (Assigning the follower's partition again does the same and aborts the process in a race inside
//! librdkafka 2.12.)

use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::history::{Batch, Diverged, History};

/// Applied under one lock.
const BATCH_MAX: usize = 500;
/// Between looks at the clock.
const POLL: Duration = Duration::from_millis(50);

/// Why the end was not reached.
#[derive(Debug, thiserror::Error)]
pub(super) enum EndError {
    /// Kafka does not answer, or not in time.
    #[error("cannot read the registry topic to its end")]
    Kafka(#[from] KafkaError),
    /// The topic is another than before.
    #[error("the registry topic is another than before")]
    Diverged,
}

impl From<Diverged> for EndError {
    fn from(_: Diverged) -> Self {
        EndError::Diverged
    }
}

/// A consumer to read to the end with. It is dropped where nobody waits for it, since that takes 100 ms.
pub(super) fn consumer(client: &ClientConfig) -> Result<BaseConsumer, KafkaError> {
    let mut client = client.clone();
    // Whoever waits for the end must not also wait for records that may never come.
    client.set("fetch.wait.max.ms", "5");
    // Nor 50 ms before the first request.
    client.set("enable.sparse.connections", "false");
    client.set("statistics.interval.ms", "0");
    client.create()
}

/// Brings the state to where the topic ended when this was called, or later. Blocks.
pub(super) fn read_to_end(
    consumer: &BaseConsumer,
    topic: &str,
    history: &History,
    deadline: Instant,
) -> Result<(), EndError> {
    // Without knowing the partition's leader, the consumer would look for the beginning after 500 ms only.
    consumer.fetch_metadata(Some(topic), deadline.saturating_duration_since(Instant::now()))?;
    let mut progress = history.followed();
    let mut assignment = TopicPartitionList::with_capacity(1);
    assignment.add_partition_offset(topic, 0, progress.offset())?;
    consumer.assign(&assignment)?;
    let mut batch = Batch::default();
    let mut failure = KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut);
    while Instant::now() < deadline {
        match consumer.poll(POLL.min(deadline.saturating_duration_since(Instant::now()))) {
            Some(Ok(message)) => {
                history.take(&message, &mut batch);
                if batch.len() >= BATCH_MAX {
                    history.apply(std::mem::take(&mut batch), &mut progress)?;
                }
            }
            Some(Err(KafkaError::PartitionEOF(_))) => {
                history.apply(batch, &mut progress)?;
                return Ok(history.check_end(progress)?);
            }
            // librdkafka goes on by itself; what it met is told if time runs out.
            Some(Err(error)) => failure = error,
            None => {}
        }
    }
    Err(failure.into())
}
