//! Timers go into the topic that the partition is of, keyed by program like everything there.

use super::settings::GroupSettings;
use crate::sweep::{Outbox, OutboxError};
use bytes::Bytes;
use rdkafka::{
    ClientConfig,
    error::KafkaError,
    producer::{FutureProducer, FutureRecord, Producer},
    util::Timeout,
};
use std::{sync::Mutex, time::Duration};

/// How long the broker may take to acknowledge.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(30);

/// A producer of timers.
pub(super) struct KafkaOutbox {
    config: ClientConfig,
    /// Replaced once it has failed for good, as an idempotent producer does after losing its order.
    producer: Mutex<FutureProducer>,
    topic: String,
}

impl KafkaOutbox {
    /// A producer for this topic of the group's brokers.
    pub fn new(settings: &GroupSettings, topic: &str) -> Result<KafkaOutbox, KafkaError> {
        let own = [
            ("acks", "all"),
            ("enable.idempotence", "true"),
            // As the shipper: a program's timers must reach the partition of the program.
            ("partitioner", "murmur2_random"),
            ("message.timeout.ms", &ACKNOWLEDGED_WITHIN.as_millis().to_string()),
        ];
        let config = settings.cluster.client(&[("compression.type", "lz4")], &own);
        let producer = Mutex::new(config.create()?);
        Ok(KafkaOutbox { config, producer, topic: topic.to_owned() })
    }

    /// The producer, or a new one in its place.
    fn producer(&self) -> Result<FutureProducer, KafkaError> {
        let mut producer = self.producer.lock().expect("nothing panics while it holds the producer");
        if let Some((_, reason)) = producer.client().fatal_error() {
            tracing::warn!(topic = self.topic, reason, "the producer of timers has failed and is replaced");
            *producer = self.config.create()?;
        }
        Ok(producer.clone())
    }
}

impl Outbox for KafkaOutbox {
    async fn send(&self, records: Vec<(String, Bytes)>) -> Result<(), OutboxError> {
        let producer = self.producer().map_err(|error| OutboxError(Box::new(error)))?;
        let sends = records.iter().map(|(program, payload)| {
            let record = FutureRecord::to(&self.topic).key(program).payload(&payload[..]);
            producer.send(record, Timeout::After(ACKNOWLEDGED_WITHIN))
        });
        for sent in futures_util::future::join_all(sends).await {
            sent.map_err(|(error, _)| OutboxError(Box::new(error)))?;
        }
        Ok(())
    }
}
