//! Timers go into the topic that the partition is of, keyed by program like everything there.

use super::group::GroupSettings;
use crate::reward::sweep::{Outbox, OutboxError};
use bytes::Bytes;
use rdkafka::{
    ClientConfig,
    error::KafkaError,
    producer::{FutureProducer, FutureRecord},
    util::Timeout,
};
use std::time::Duration;

/// How long the broker may take to acknowledge.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(30);

/// A producer of timers.
pub(super) struct KafkaOutbox {
    producer: FutureProducer,
    topic: String,
}

impl KafkaOutbox {
    /// A producer for this topic of the group's brokers.
    pub fn new(settings: &GroupSettings, topic: &str) -> Result<KafkaOutbox, KafkaError> {
        let mut config = ClientConfig::new();
        for (name, value) in &settings.client {
            config.set(name, value);
        }
        config
            .set("acks", "all")
            .set("enable.idempotence", "true")
            // As the shipper: a program's timers must reach the partition of the program.
            .set("partitioner", "murmur2_random")
            .set("message.timeout.ms", ACKNOWLEDGED_WITHIN.as_millis().to_string());
        Ok(KafkaOutbox { producer: config.create()?, topic: topic.to_owned() })
    }
}

impl Outbox for KafkaOutbox {
    async fn send(&self, records: Vec<(String, Bytes)>) -> Result<(), OutboxError> {
        let sends = records.iter().map(|(program, payload)| {
            let record = FutureRecord::to(&self.topic).key(program).payload(&payload[..]);
            self.producer.send(record, Timeout::After(ACKNOWLEDGED_WITHIN))
        });
        for sent in futures_util::future::join_all(sends).await {
            sent.map_err(|(error, _)| OutboxError(Box::new(error)))?;
        }
        Ok(())
    }
}
