//! What an edge says of itself to Kafka: up to when everything that it has received is there.
//!
//! Best effort: a topic that is not there, or that the user may not write, keeps nothing else from going on. Then nobody
//! knows up to when everything is in, and whoever reads it says so. Knows no journal.

use std::time::Duration;

use rdkafka::error::KafkaError;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::util::Timeout;
use whence_kafka::Cluster;
use whence_schemas::event::{self, EdgePosition};
use whence_schemas::topics::EDGES;

/// How long the broker may take to acknowledge: what is said next is worth more.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(10);

/// Tells Kafka.
pub struct EdgeTopic {
    producer: FutureProducer,
    topic: String,
}

impl EdgeTopic {
    /// A producer for the topic of this cluster.
    ///
    /// # Errors
    /// librdkafka does not accept its properties.
    pub fn new(cluster: &Cluster) -> Result<EdgeTopic, KafkaError> {
        let own = [
            ("acks", "all"),
            ("enable.idempotence", "true"),
            ("message.timeout.ms", &ACKNOWLEDGED_WITHIN.as_millis().to_string()),
        ];
        Ok(EdgeTopic { producer: cluster.client(&[], &own).create()?, topic: cluster.topic(EDGES) })
    }

    /// Says what this edge has; returns once Kafka has it.
    ///
    /// # Errors
    /// Kafka does not take it.
    pub async fn say(&self, edge: &str, position: &EdgePosition) -> Result<(), KafkaError> {
        let payload = event::encode(position);
        self.send(FutureRecord::to(&self.topic).key(edge).payload(&payload[..])).await
    }

    /// Says that an edge is gone for good.
    ///
    /// # Errors
    /// Kafka does not take it.
    pub async fn retire(&self, edge: &str) -> Result<(), KafkaError> {
        self.send(FutureRecord::<str, [u8]>::to(&self.topic).key(edge)).await
    }

    async fn send(&self, record: FutureRecord<'_, str, [u8]>) -> Result<(), KafkaError> {
        let sent = self.producer.send(record.partition(0), Timeout::After(ACKNOWLEDGED_WITHIN)).await;
        sent.map(drop).map_err(|(error, _)| error)
    }
}
