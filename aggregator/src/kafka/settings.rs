//! How a member joins the group.

use rdkafka::ClientConfig;
use std::time::Duration;
use whence_kafka::{Cluster, Heard};
use whence_schemas::topics::Stream;

/// How to join the group.
#[derive(Clone, Debug)]
pub struct GroupSettings {
    /// Where Kafka is.
    pub cluster: Cluster,
    /// The group's name.
    pub group: String,
    /// A name of this member that survives its restart (static membership); empty: none.
    pub member: String,
    /// Topic of each stream: [`Stream::topic`] but in tests.
    pub topics: Vec<(Stream, String)>,
    /// A member that is silent this long is dead.
    pub session_timeout: Duration,
    /// A revoked partition's block in flight may take this long to finish; then it is left for replay.
    pub revoke_timeout: Duration,
    /// What keeps the group from working, for others to see.
    pub heard: Heard,
}

impl GroupSettings {
    /// Settings for these brokers, all else as usual.
    #[must_use]
    pub fn new(brokers: &str) -> GroupSettings {
        GroupSettings {
            cluster: Cluster::at(brokers),
            group: "whence-aggregator".into(),
            member: String::new(),
            topics: Stream::ALL.map(|stream| (stream, stream.topic().to_owned())).into(),
            session_timeout: Duration::from_secs(10),
            revoke_timeout: Duration::from_secs(5),
            heard: Heard::default(),
        }
    }

    pub(super) fn config(&self) -> ClientConfig {
        let session = self.session_timeout.as_millis();
        let (session_ms, heartbeat_ms) = (session.to_string(), (session / 5).to_string());
        let defaults = [
            ("queued.max.messages.kbytes", "65536"),
            ("fetch.wait.max.ms", "100"),
            ("topic.metadata.refresh.interval.ms", "10000"),
        ];
        let mut own = vec![
            ("group.id", &*self.group),
            ("group.protocol", "classic"),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            // Truncated or recreated topics must be loud.
            ("auto.offset.reset", "error"),
            ("partition.assignment.strategy", "roundrobin"),
            ("session.timeout.ms", &session_ms),
            ("heartbeat.interval.ms", &heartbeat_ms),
            ("statistics.interval.ms", "10000"),
        ];
        if !self.member.is_empty() {
            own.push(("group.instance.id", &self.member));
        }
        self.cluster.client(&defaults, &own)
    }
}
