//! How a topic that is there differs from the plan.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, OwnedResourceSpecifier, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::RDKafkaErrorCode;
use whence_kafka::Trouble;
use whence_kafka::describe::Described;

use super::TopicsError;
use super::plan::Wanted;

/// A batch of whence's is no larger; Kafka's own default is a little more.
const BATCH_BYTES_MAX: u64 = 1_000_012;

/// One thing that is not as planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What it is: `partitions`, `copies`, or a setting of the topic by Kafka's name.
    pub what: &'static str,
    /// As it is.
    pub found: String,
    /// As it should be.
    pub planned: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (found, planned) = (self.words(&self.found), self.words(&self.planned));
        write!(f, "{} is {found}, {planned} is planned", self.what)
    }
}

impl Difference {
    /// A time with what it is in days, which is how it was planned.
    fn words(&self, value: &str) -> String {
        let millis = value.parse::<u64>().ok().filter(|_| self.what.ends_with(".ms"));
        let days = |millis| Duration::from_millis(millis).as_secs_f64() / 86_400.0;
        match millis {
            Some(millis) => format!("{value} ({:.1} days)", days(millis)),
            None if value == "-1" && self.what == "retention.ms" => format!("{value} (for good)"),
            None => value.to_owned(),
        }
    }
}

/// The settings of each of these topics.
pub(super) async fn settings(
    admin: &AdminClient<DefaultClientContext>,
    options: &AdminOptions,
    topics: &[&str],
) -> Result<BTreeMap<String, BTreeMap<String, String>>, TopicsError> {
    if topics.is_empty() {
        return Ok(BTreeMap::new());
    }
    let asked: Vec<ResourceSpecifier<'_>> =
        topics.iter().map(|topic| ResourceSpecifier::Topic(topic)).collect();
    let described = admin.describe_configs(&asked, options).await.map_err(TopicsError::Ask)?;
    let mut found = BTreeMap::new();
    for (topic, described) in topics.iter().zip(described) {
        let described = described.map_err(|code| match code {
            RDKafkaErrorCode::TopicAuthorizationFailed => unseen(topic),
            code => TopicsError::from(Trouble::passing(format!(
                "the settings of the topic {topic} are not told: {code}"
            ))),
        })?;
        // What may not be seen comes as nothing.
        if described.entries.is_empty() {
            return Err(unseen(topic));
        }
        let OwnedResourceSpecifier::Topic(name) = described.specifier else { continue };
        let entries = described.entries.into_iter();
        found.insert(name, entries.filter_map(|entry| Some((entry.name, entry.value?))).collect());
    }
    Ok(found)
}

fn unseen(topic: &str) -> TopicsError {
    TopicsError::from(Trouble::lasting(format!(
        "the user may not see the settings of the topic {topic}, an ACL is missing: DescribeConfigs on it"
    )))
}

/// What differs; of a topic without known settings, which has just been made with the planned ones, only what its
/// maker may have decided otherwise.
pub(super) fn differences(
    wanted: &Wanted,
    found: &Described,
    settings: Option<&BTreeMap<String, String>>,
) -> Vec<Difference> {
    let mut differences = Vec::new();
    let mut differs = |what, found: String, planned: String| {
        if found != planned {
            differences.push(Difference { what, found, planned });
        }
    };
    differs("partitions", found.partitions.to_string(), wanted.partitions.to_string());
    differs("copies", found.copies.to_string(), wanted.copies.to_string());
    let Some(settings) = settings else { return differences };
    for (name, planned) in &wanted.settings {
        let found = settings.get(*name).cloned().unwrap_or_else(|| "unknown".to_owned());
        differs(name, found, planned.clone());
    }
    let largest = settings.get("max.message.bytes").and_then(|bytes| bytes.parse::<u64>().ok());
    if let Some(bytes) = largest.filter(|bytes| *bytes < BATCH_BYTES_MAX) {
        differs("max.message.bytes", bytes.to_string(), format!("{BATCH_BYTES_MAX} or more"));
    }
    differences
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn each_setting_that_is_otherwise_is_told() {
        let plan = super::super::TopicPlan {
            clicks_partitions: 8,
            conversions_partitions: 4,
            replication: None,
            retention: Duration::from_secs(7 * 86_400),
        };
        let wanted = plan.wanted(&whence_kafka::Cluster::at("b"), 5);
        let clicks = &wanted[0];
        assert_eq!(clicks.copies, 3);
        let found = Described { id: Uuid::from_u128(1), partitions: 8, copies: 3, allowed: Vec::new() };
        let mut settings: BTreeMap<String, String> =
            clicks.settings.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        assert_eq!(differences(clicks, &found, Some(&settings)), []);
        for (name, value) in [
            ("min.insync.replicas", "1"),
            ("compression.type", "zstd"),
            ("cleanup.policy", "compact,delete"),
            ("retention.ms", "-1"),
            ("max.message.bytes", "5000"),
        ] {
            settings.insert(name.to_owned(), value.to_owned());
        }
        let found = Described { partitions: 9, copies: 2, ..found };
        let told: Vec<String> =
            differences(clicks, &found, Some(&settings)).iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "partitions is 9, 8 is planned",
                "copies is 2, 3 is planned",
                "cleanup.policy is compact,delete, delete is planned",
                "retention.ms is -1 (for good), 604800000 (7.0 days) is planned",
                "min.insync.replicas is 1, 2 is planned",
                "compression.type is zstd, producer is planned",
                "max.message.bytes is 5000, 1000012 or more is planned",
            ]
        );
        let in_sync = |brokers| {
            let wanted = plan.wanted(&whence_kafka::Cluster::at("b"), brokers);
            let setting = |wanted: &Wanted| {
                wanted.settings.iter().find(|(name, _)| *name == "min.insync.replicas").unwrap().1.clone()
            };
            assert!(wanted.iter().all(|topic| setting(topic) == setting(&wanted[0])));
            (wanted[0].copies, setting(&wanted[0]))
        };
        assert_eq!([1, 2, 3].map(in_sync), [(1, "1".into()), (2, "1".into()), (3, "2".into())]);
    }
}
