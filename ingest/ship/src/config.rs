//! What the shipper is told: which Kafka, which journals, and how much and how long.

use std::path::PathBuf;
use std::time::Duration;

use whence_schemas::topics::Stream;

use whence_kafka::Cluster;

/// How to ship.
#[derive(Clone, Debug)]
pub struct ShipConfig {
    /// Where to.
    pub cluster: Cluster,
    /// Records of one journal between its checkpoint and the last one read. Bounds memory, what a
    /// restart sends twice, and how far a journal goes on while one partition has no leader.
    pub records_in_flight_max: usize,
    /// Bytes of one journal's records that are sent and not acknowledged.
    pub bytes_in_flight_max: usize,
    /// How long a batch waits for more records. Fuller batches cost less, at the edge and in Kafka.
    pub linger: Duration,
    /// How often checkpoints are put on disk. What was acknowledged since is sent again after a crash.
    pub checkpoint_every: Duration,
    /// How long a segment stays after all its records were acknowledged, counted from its last write:
    /// long enough to send it again after a disaster in Kafka.
    pub segment_grace: Duration,
    /// How long a shutdown waits for Kafka to take what the journals hold.
    pub drain_max: Duration,
    /// Whether topics are compared with what they were before records are sent there. Always, but where a mock stands
    /// for brokers: librdkafka's can't describe a topic.
    pub confirms_topics: bool,
    /// After how long without any acknowledgement the Kafka client is replaced by a new one.
    pub stall_max: Duration,
}

impl ShipConfig {
    /// The defaults, for this cluster.
    #[must_use]
    pub fn new(cluster: Cluster) -> ShipConfig {
        ShipConfig {
            cluster,
            // A third of a second at 300,000 records a second: several round trips to a slow cluster.
            records_in_flight_max: 100_000,
            bytes_in_flight_max: 64 << 20,
            linger: Duration::from_millis(10),
            checkpoint_every: Duration::from_secs(1),
            segment_grace: Duration::from_secs(3600),
            drain_max: Duration::from_secs(20),
            confirms_topics: true,
            stall_max: Duration::from_secs(300),
        }
    }
}

/// One journal to ship.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalSource {
    /// The journal's directory. It need not exist yet. Its name is the `journal` label of metrics.
    pub dir: PathBuf,
    /// What its records are, which says how they are keyed and which topic takes them.
    pub stream: Stream,
}
