//! What a group has committed, asked by somebody who is not in it.

use super::{GroupSettings, source::read_commit};
use crate::{
    account::Committed,
    position::{MetadataError, Partition},
};
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
};
use std::time::Duration;

/// Why it can't be told.
#[derive(Debug, thiserror::Error)]
pub enum CommitsError {
    /// Brokers don't answer, or may not be asked this.
    #[error("cannot ask Kafka what the group {group} has committed")]
    Kafka {
        /// The group.
        group: String,
        /// What the client says.
        #[source]
        source: KafkaError,
    },
    /// Somebody else commits under the group's name.
    #[error("partition {partition}")]
    Metadata {
        /// Whose commit it is.
        partition: Partition,
        /// What is wrong with it.
        #[source]
        source: MetadataError,
    },
}

/// Up to where the group's members have stored each partition that they have committed anything of. Blocks, for at most
/// `timeout` a question.
///
/// # Errors
/// See [`CommitsError`].
pub fn commits(settings: &GroupSettings, timeout: Duration) -> Result<Vec<Committed>, CommitsError> {
    let failed = |source| CommitsError::Kafka { group: settings.group.clone(), source };
    let client: BaseConsumer =
        settings.cluster.client(&[], &[("group.id", settings.group.as_str())]).create().map_err(failed)?;
    let mut commits = Vec::new();
    for (stream, topic) in &settings.topics {
        let metadata = client.fetch_metadata(Some(topic), timeout).map_err(failed)?;
        let mut asked = TopicPartitionList::new();
        for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
            asked.add_partition(topic, partition.id());
        }
        let found = client.committed_offsets(asked, timeout).map_err(failed)?;
        for element in found.elements() {
            let (Offset::Offset(next), Ok(number)) = (element.offset(), u32::try_from(element.partition()))
            else {
                continue;
            };
            let partition = Partition { stream: *stream, number };
            let next = next.unsigned_abs();
            let (commit, _) = read_commit(next, element.metadata())
                .map_err(|source| CommitsError::Metadata { partition, source })?;
            commits.push(Committed {
                stream: stream.word().to_owned(),
                partition: number,
                incarnation: commit.incarnation.0.to_string(),
                next,
            });
        }
    }
    Ok(commits)
}
