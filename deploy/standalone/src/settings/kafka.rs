//! Settings of Kafka: which, which topics, how to ship and how to consume.

use std::path::Path;
use std::time::Duration;

use secrecy::ExposeSecret;
use whence_aggregator::kafka::GroupSettings;
use whence_ingest::ship::ShipConfig;
use whence_ingest::topics::{TopicPlan, kept_at_most};
use whence_kafka::{Cluster, Heard, properties};
use whence_runtime::private;
use whence_runtime::settings::{ByteSize, Secret};
use whence_schemas::topics::Stream;

use super::JournalSettings;

whence_runtime::settings! {
    /// Kafka
    pub struct KafkaSettings {
        /// Brokers, `host:port`, several separated by commas; none: `whence up` works without Kafka.
        pub kafka_brokers: Vec<String>,
        /// Put before every topic's name, so that several whences can share a cluster.
        pub kafka_prefix: Option<String>,
        /// Further properties of librdkafka, such as `security.protocol`: one `name=value` a line.
        pub kafka_properties: Option<Secret>,
        /// Name of the aggregators' consumer group; none: `whence-aggregator` behind `kafka-prefix`.
        pub kafka_group: Option<String>,
        /// Name of this member of the group, kept over restarts, which then cost no rebalance; none: a new
        /// one each time.
        pub kafka_member: Option<String>,
        /// A member of the group that is silent for this long is dead.
        pub kafka_session_timeout: Duration = "10s" in Duration::from_secs(1)..=Duration::from_secs(300),
        /// How long a block in flight may take to finish when its partition is moved to another member.
        pub kafka_revoke_timeout: Duration = "5s" in Duration::from_millis(100)..=Duration::from_secs(60),
    }
}

whence_runtime::settings! {
    /// Topics
    pub struct TopicSettings {
        /// Partitions of the clicks, fixed when the topic is made: at most this many aggregators share them.
        pub clicks_partitions: i32 = "8" in 1..=1000,
        /// Partitions of the conversions, fixed when the topic is made; a program is in one of them.
        pub conversions_partitions: i32 = "4" in 1..=1000,
        /// Copies of each record; none: three, or as many as there are brokers. A write waits for all but one.
        pub topic_replication: Option<i32>,
    }
}

whence_runtime::settings! {
    /// Retention
    pub struct RetentionSettings {
        /// How long records stay in Kafka: longer than the longest outage of the aggregators. On a ClickHouse cluster
        /// tables remember for as long which blocks they have, for a block may come again as long as its records are
        /// there; `whence migrate` sets it.
        pub topic_retention: Duration = "7d" in Duration::from_secs(3600)..,
    }
}

whence_runtime::settings! {
    /// Shipper
    pub struct ShipSettings {
        /// Records of a journal that are on their way to Kafka at a time.
        pub ship_records_max: usize = "100000" in 1..=10_000_000,
        /// Size of a journal's records that are on their way to Kafka at a time.
        pub ship_bytes_max: ByteSize = "64MiB" in ByteSize::mib(1)..=ByteSize::gib(4),
        /// How long a batch waits for more records.
        pub ship_linger: Duration = "10ms" in Duration::ZERO..=Duration::from_secs(1),
        /// How long a stop waits for Kafka to take what the journals hold; the rest is sent after the next
        /// start.
        pub ship_drain_timeout: Duration = "10s" in Duration::ZERO..=Duration::from_secs(3600),
    }
}

/// Properties that name files with private keys.
const KEY_FILES: [&str; 3] =
    ["ssl.key.location", "ssl.keystore.location", "sasl.oauthbearer.assertion.private.key.file"];
/// The consumer group's name, behind the prefix.
const GROUP: &str = "whence-aggregator";

impl KafkaSettings {
    /// The cluster, if there is one.
    pub fn cluster(&self) -> Option<Cluster> {
        let properties = self.properties().unwrap_or_default().into_iter().collect();
        (!self.kafka_brokers.is_empty()).then(|| Cluster {
            brokers: self.kafka_brokers.join(","),
            prefix: self.kafka_prefix.clone().unwrap_or_default(),
            properties,
        })
    }

    fn properties(&self) -> Result<Vec<(String, String)>, Vec<String>> {
        self.kafka_properties.as_ref().map_or(Ok(Vec::new()), |text| properties::parse(text.expose_secret()))
    }

    /// What is wrong with them.
    pub fn mistakes(&self) -> Vec<String> {
        let mistakes = match self.properties() {
            Err(mistakes) => mistakes,
            Ok(properties) => {
                let given = properties.iter().map(|(name, value)| (&**name, &**value));
                let keys = properties.iter().filter(|(name, _)| KEY_FILES.contains(&name.as_str()));
                let exposed = keys.filter_map(|(name, path)| {
                    let error = private::check(Path::new(path)).err()?;
                    Some(format!("{name}: {error}"))
                });
                properties::mistakes(given).into_iter().chain(exposed).collect()
            }
        };
        mistakes.into_iter().map(|mistake| format!("kafka-properties: {mistake}")).collect()
    }

    /// The aggregators' consumer group: two whences that share a cluster must not share a group.
    pub fn group_name(&self) -> String {
        let prefix = self.kafka_prefix.as_deref().unwrap_or_default();
        self.kafka_group.clone().unwrap_or_else(|| format!("{prefix}{GROUP}"))
    }

    /// How to join the consumer group.
    pub fn group(&self, cluster: &Cluster) -> GroupSettings {
        GroupSettings {
            cluster: cluster.clone(),
            group: self.group_name(),
            member: self.kafka_member.clone().unwrap_or_default(),
            topics: Stream::ALL.map(|stream| (stream, cluster.topic(stream.topic()))).into(),
            session_timeout: self.kafka_session_timeout,
            revoke_timeout: self.kafka_revoke_timeout,
            heard: Heard::default(),
        }
    }
}

impl TopicSettings {
    /// How the topics should be.
    pub fn plan(&self, retention: &RetentionSettings) -> TopicPlan {
        TopicPlan {
            clicks_partitions: self.clicks_partitions,
            conversions_partitions: self.conversions_partitions,
            replication: self.topic_replication,
            retention: retention.topic_retention,
        }
    }
}

impl RetentionSettings {
    /// How long records may be read again.
    pub fn kept_at_most(&self) -> Duration {
        kept_at_most(self.topic_retention)
    }
}

impl ShipSettings {
    /// How to ship to this cluster.
    pub fn config(&self, cluster: Cluster, journals: &JournalSettings) -> ShipConfig {
        ShipConfig {
            records_in_flight_max: self.ship_records_max,
            bytes_in_flight_max: self.ship_bytes_max.as_usize(),
            linger: self.ship_linger,
            segment_grace: journals.journal_grace,
            drain_max: self.ship_drain_timeout,
            ..ShipConfig::new(cluster)
        }
    }
}
