//! How whence's topics should be.

use std::time::Duration;

use whence_kafka::Cluster;
use whence_schemas::topics::{CLICKS, CONVERSIONS, EDGES, FACTS, REGISTRY};

/// Copies of each record where there are brokers for it: one may die, and one more be away.
const COPIES: i32 = 3;

/// How whence's topics should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPlan {
    /// Partitions of the clicks, fixed at creation.
    pub clicks_partitions: i32,
    /// Partitions of the conversions and of the facts, fixed at creation: as many programs as this proceed at once.
    pub conversions_partitions: i32,
    /// Copies of every record; `None`: three, or as many as there are brokers.
    pub replication: Option<i32>,
    /// How long clicks, conversions and facts are kept: longer than the longest outage of whatever reads them.
    pub retention: Duration,
}

/// A segment of clicks, conversions or facts is closed this long after its first record, however few come: Kafka
/// removes whole segments, by the age of their last record.
const SEGMENT_MAX: Duration = Duration::from_secs(86_400);

/// The longest that a record stays where records are kept for `retention`, except for what its broker takes to
/// notice: its segment has to be closed first.
#[must_use]
pub fn kept_at_most(retention: Duration) -> Duration {
    retention.saturating_add(retention.min(SEGMENT_MAX))
}

/// One topic as it should be.
pub(super) struct Wanted {
    pub(super) name: String,
    pub(super) partitions: i32,
    pub(super) copies: i32,
    /// Kafka's settings of the topic.
    pub(super) settings: Vec<(&'static str, String)>,
}

impl TopicPlan {
    fn segment(&self) -> Duration {
        self.retention.min(SEGMENT_MAX)
    }

    /// The longest that a click, conversion or fact stays in Kafka, except for what its broker takes to notice
    /// (`log.retention.check.interval.ms` and `file.delete.delay.ms`: six minutes by default).
    #[must_use]
    pub fn kept_at_most(&self) -> Duration {
        kept_at_most(self.retention)
    }

    pub(super) fn names(&self, cluster: &Cluster) -> Vec<String> {
        [CLICKS, CONVERSIONS, FACTS, REGISTRY, EDGES].map(|topic| cluster.topic(topic)).into()
    }

    pub(super) fn wanted(&self, cluster: &Cluster, brokers: i32) -> Vec<Wanted> {
        let copies = self.replication.unwrap_or_else(|| COPIES.min(brokers).max(1));
        // The broker's clock decides how long a record is kept. By the producer's, a record that waited out a
        // long outage in the journal could be deleted as soon as it arrives, and one from a machine whose
        // clock is an hour ahead would be refused.
        let stream = || {
            vec![
                ("cleanup.policy", "delete".to_owned()),
                ("retention.ms", self.retention.as_millis().to_string()),
                ("segment.ms", self.segment().as_millis().to_string()),
                ("message.timestamp.type", "LogAppendTime".to_owned()),
            ]
        };
        // The newest segment is never compacted: it is closed after a day at the latest, or at 16 MiB, so that
        // reading the registry from its beginning stays short.
        let compacted = [
            ("cleanup.policy", "compact"),
            ("segment.ms", "86400000"),
            ("segment.bytes", "16777216"),
            ("min.cleanable.dirty.ratio", "0.1"),
            ("max.compaction.lag.ms", "172800000"),
            // A follower that starts from a snapshot this old still sees what became of a deleted key.
            ("delete.retention.ms", "604800000"),
            ("message.timestamp.type", "LogAppendTime"),
        ];
        let compacted: Vec<_> = compacted.map(|(name, value)| (name, value.to_owned())).into();
        let of = |topic: &str, partitions, mut settings: Vec<(&'static str, String)>| {
            // A write waits for all copies but one, so that one broker may die without a loss and without a stop.
            settings.push(("min.insync.replicas", (copies - 1).max(1).to_string()));
            // As the producers send it: a broker that compresses again repeats work that is done already.
            settings.push(("compression.type", "producer".to_owned()));
            Wanted { name: cluster.topic(topic), partitions, copies, settings }
        };
        vec![
            of(CLICKS, self.clicks_partitions, stream()),
            of(CONVERSIONS, self.conversions_partitions, stream()),
            of(FACTS, self.conversions_partitions, stream()),
            of(REGISTRY, 1, compacted.clone()),
            of(EDGES, 1, compacted),
        ]
    }
}
