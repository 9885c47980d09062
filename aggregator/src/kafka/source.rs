//! One assigned partition as the [`Source`]: its own queue, commits with metadata.

use super::context::GroupContext;
use crate::{
    position::{Commit, MetadataError, Partition},
    source::{Chunk, Record, Source, SourceError, Start},
};
use bytes::{Bytes, BytesMut};
use rdkafka::{
    Message, Offset, Timestamp, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer, base_consumer::PartitionQueue},
    error::{KafkaError, RDKafkaErrorCode},
};
use std::{
    cell::Cell,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::sync::Notify;
use whence_kafka::{
    Heard, Trouble,
    describe::{DescribeError, Described, describe},
};
use whence_schemas::{ids::Incarnation, time::UnixMs};

/// How long a question to the broker may take.
const BROKER_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of one chunk, at most, except for its last record.
const CHUNK_BYTES_MAX: usize = 16 << 20;

/// One partition of a topic.
pub(super) struct PartitionSource {
    pub consumer: Arc<BaseConsumer<GroupContext>>,
    pub queue: PartitionQueue<GroupContext>,
    /// Told when the queue gets its first record.
    pub filled: Arc<Notify>,
    pub topic: String,
    pub partition: Partition,
    /// Asked of the broker at every start.
    pub incarnation: Incarnation,
    /// Partitions of the topic, which each commit says: a key's partition is part of its meaning.
    pub partitions: u32,
    /// What keeps partitions from being worked, for others to see.
    pub heard: Heard,
    /// Whether this partition has told something there that holds still.
    pub has_told: Cell<bool>,
    /// The offset that must come next.
    pub next: u64,
    pub is_paused: bool,
}

#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(
        "the record at offset {wanted} of {topic} is gone (the next is {found}): retention or truncation was faster than this group; `kafka-consumer-groups --reset-offsets` accepts the loss"
    )]
    Gone { topic: String, wanted: u64, found: u64 },
    #[error(transparent)]
    Topic(#[from] DescribeError),
    #[error(
        "the topic {topic} had {before} partitions when its records were last committed and has {now} now, so that a key's later records are in another partition than its earlier ones: delete and create it again with {before} partitions, once all that is in it has been read"
    )]
    Repartitioned { topic: String, before: u32, now: u32 },
    #[error("the committed offset was written by another version of whence")]
    Metadata(#[from] MetadataError),
}

/// Errors that say that this member no longer owns what it commits for.
fn failed(error: KafkaError) -> SourceError {
    let is_fenced = error.rdkafka_error_code().is_some_and(|code| {
        matches!(
            code,
            RDKafkaErrorCode::IllegalGeneration
                | RDKafkaErrorCode::UnknownMemberId
                | RDKafkaErrorCode::FencedInstanceId
                | RDKafkaErrorCode::RebalanceInProgress
                | RDKafkaErrorCode::AssignmentLost
        )
    });
    if is_fenced { SourceError::Lost } else { SourceError::Retry(Box::new(error)) }
}

impl PartitionSource {
    fn number(&self) -> i32 {
        i32::try_from(self.partition.number).expect("Kafka numbers partitions with an i32")
    }

    fn list(&self) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.topic, self.number());
        list
    }

    /// The topic as its brokers describe it, if the group may go on with it.
    fn described(&self) -> Result<Described, Fault> {
        // SAFETY: the consumer lives as long as `self`, which outlives this call.
        Ok(unsafe { describe(self.consumer.client().native_ptr(), &self.topic, BROKER_TIMEOUT) }?)
    }

    /// That the group's commits are of a topic with as many partitions, whichever of its partitions they are of.
    fn check_partitions(&self, described: &Described) -> Result<(), SourceError> {
        let mut list = TopicPartitionList::new();
        for number in 0..described.partitions {
            list.add_partition(&self.topic, i32::try_from(number).unwrap_or(i32::MAX));
        }
        let answer = self.consumer.committed_offsets(list, BROKER_TIMEOUT).map_err(failed)?;
        let elements = answer.elements_for_topic(&self.topic);
        let mut counts = elements.iter().filter_map(|element| {
            let (commit, partitions) = read_commit(0, element.metadata()).ok()?;
            partitions.filter(|_| commit.incarnation.0 == described.id)
        });
        match counts.find(|before| *before != described.partitions) {
            None => Ok(()),
            Some(before) => {
                let (topic, now) = (self.topic.clone(), described.partitions);
                Err(self.stuck(Fault::Repartitioned { topic, before, now }))
            }
        }
    }

    /// What somebody has to fix, for the group's readiness report.
    fn stuck(&self, fault: Fault) -> SourceError {
        let may_heal = match &fault {
            Fault::Topic(error) => error.trouble().may_heal,
            _ => false,
        };
        self.tell(Trouble::new(fault.to_string(), may_heal));
        let fault = Box::new(fault);
        if may_heal { SourceError::Retry(fault) } else { SourceError::Fatal(fault) }
    }

    fn tell(&self, trouble: Trouble) {
        self.has_told.set(true);
        self.heard.stuck(trouble);
    }

    /// It goes on: what this partition has told is over.
    fn goes_on(&self) {
        if self.has_told.replace(false) {
            self.heard.worked();
        }
    }

    /// An error in a record's place.
    fn refused(&self, error: KafkaError) -> SourceError {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::TopicAuthorizationFailed) {
            let topic = &self.topic;
            self.tell(Trouble::lasting(format!(
                "the user may not use the topic {topic}, an ACL is missing: Read on it"
            )));
        }
        failed(error)
    }

    /// What was committed for this incarnation; the beginning where nothing was, or for another one. An offset
    /// without metadata was set by hand, with Kafka's own tools.
    fn committed(&self, incarnation: Incarnation) -> Result<Start, SourceError> {
        let answer = self.consumer.committed_offsets(self.list(), BROKER_TIMEOUT).map_err(failed)?;
        let element = answer.elements_for_topic(&self.topic);
        if let Some(Offset::Offset(next)) = element.first().map(|element| element.offset()) {
            let next = next.unsigned_abs();
            if element[0].metadata().is_empty() {
                tracing::warn!(topic = self.topic, partition = %self.partition, next, "somebody set the group's offset by hand");
                return Ok(Start::Uncommitted(Commit { incarnation, next, intent: None }));
            }
            let (commit, _) =
                read_commit(next, element[0].metadata()).map_err(|error| self.stuck(Fault::from(error)))?;
            if commit.incarnation == incarnation {
                return Ok(Start::Committed(commit));
            }
            tracing::warn!(topic = self.topic, partition = %self.partition, "the topic was deleted and created again: reading it from its beginning");
        }
        let (low, _) =
            self.consumer.fetch_watermarks(&self.topic, self.number(), BROKER_TIMEOUT).map_err(failed)?;
        Ok(Start::Uncommitted(Commit { incarnation, next: low.unsigned_abs(), intent: None }))
    }

    /// Takes what the queue has, up to the bounds.
    fn take(&mut self, records_max: usize) -> Result<Vec<Record>, SourceError> {
        let mut arena = BytesMut::new();
        let mut places: Vec<(u64, UnixMs, Option<usize>)> = Vec::new();
        while places.len() < records_max && arena.len() < CHUNK_BYTES_MAX {
            let Some(message) = self.queue.poll(Duration::ZERO) else { break };
            let message = message.map_err(|error| self.refused(error))?;
            let offset = message.offset().unsigned_abs();
            if offset != self.next {
                // Older: fetched before the seek. Newer: what should be here is gone.
                if offset < self.next {
                    continue;
                }
                let gone = Fault::Gone { topic: self.topic.clone(), wanted: self.next, found: offset };
                return Err(self.stuck(gone));
            }
            self.next += 1;
            let timestamp = match message.timestamp() {
                Timestamp::CreateTime(ms) | Timestamp::LogAppendTime(ms) => UnixMs(ms),
                Timestamp::NotAvailable => UnixMs(0),
            };
            arena.extend_from_slice(message.payload().unwrap_or_default());
            places.push((offset, timestamp, message.payload().map(|_| arena.len())));
        }
        if !places.is_empty() {
            self.goes_on();
        }
        Ok(cut(arena.freeze(), places))
    }
}

/// A commit by its offset and metadata, and how many partitions its topic had, which commits before that was written
/// do not say: `1 INCARNATION END PARTITIONS`.
pub fn read_commit(next: u64, metadata: &str) -> Result<(Commit, Option<u32>), MetadataError> {
    let words: Vec<&str> = metadata.split(' ').collect();
    match words.split_last() {
        Some((partitions, rest)) if rest.len() == 3 => {
            let partitions = partitions.parse().map_err(|_| MetadataError::of(metadata))?;
            Ok((Commit::from_metadata(next, &rest.join(" "))?, Some(partitions)))
        }
        _ => Ok((Commit::from_metadata(next, metadata)?, None)),
    }
}

/// Records as slices of one buffer; a record without payload (a tombstone) is an empty one.
fn cut(mut arena: Bytes, places: Vec<(u64, UnixMs, Option<usize>)>) -> Vec<Record> {
    let mut start = 0;
    let mut records = Vec::with_capacity(places.len());
    for (offset, timestamp, end) in places {
        let payload = match end {
            Some(end) => arena.split_to(end - std::mem::replace(&mut start, end)),
            None => Bytes::new(),
        };
        records.push(Record { offset, timestamp, payload: Some(payload) });
    }
    records
}

impl Source for PartitionSource {
    fn partition(&self) -> Partition {
        self.partition
    }

    async fn restart(&mut self) -> Result<Start, SourceError> {
        tokio::task::block_in_place(|| {
            let described = self.described().map_err(|fault| self.stuck(fault))?;
            self.check_partitions(&described)?;
            self.goes_on();
            self.heard.begun();
            (self.incarnation, self.partitions) = (Incarnation(described.id), described.partitions);
            let start = self.committed(self.incarnation)?;
            let (Start::Committed(commit) | Start::Uncommitted(commit)) = start;
            let next = i64::try_from(commit.next).expect("Kafka counts offsets with an i64");
            self.consumer
                .seek(&self.topic, self.number(), Offset::Offset(next), BROKER_TIMEOUT)
                .map_err(failed)?;
            self.next = commit.next;
            if std::mem::take(&mut self.is_paused) {
                self.consumer.resume(&self.list()).map_err(failed)?;
            }
            Ok(start)
        })
    }

    async fn read(&mut self, records_max: usize, wait: Duration) -> Result<Chunk, SourceError> {
        let deadline = tokio::time::Instant::now() + wait;
        loop {
            let filled = self.filled.clone();
            let filled = filled.notified();
            let records = self.take(records_max)?;
            if !records.is_empty() {
                return Ok(Chunk { incarnation: self.incarnation, records });
            }
            if tokio::time::timeout_at(deadline, filled).await.is_err() {
                let records = self.take(records_max)?;
                return Ok(Chunk { incarnation: self.incarnation, records });
            }
        }
    }

    /// A topic's id says nothing of order, and only the one that there is can be read.
    async fn first_behind(&mut self, stored: &[(Incarnation, u64)]) -> Result<Commit, SourceError> {
        let incarnation = self.incarnation;
        let end = stored.iter().find(|(of, _)| *of == incarnation).map_or(0, |(_, end)| *end);
        Ok(Commit { incarnation, next: end, intent: None })
    }

    /// Of such records a topic remembers nothing.
    fn time_of(&self, _incarnation: Incarnation) -> UnixMs {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        UnixMs(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }

    async fn commit(&mut self, commit: &Commit) -> Result<(), SourceError> {
        let next = i64::try_from(commit.next).expect("Kafka counts offsets with an i64");
        let mut list = TopicPartitionList::new();
        {
            let mut element = list.add_partition(&self.topic, self.number());
            element.set_offset(Offset::Offset(next)).map_err(failed)?;
            element.set_metadata(format!("{} {}", commit.metadata(), self.partitions));
        }
        // In place, not on another thread: a task that is dropped can't leave a commit behind.
        tokio::task::block_in_place(|| self.consumer.commit(&list, CommitMode::Sync)).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_says_how_many_partitions_there_were_and_one_of_before_does_not() {
        let id = Incarnation(uuid::Uuid::from_u128(7));
        let commit = Commit { incarnation: id, next: 3, intent: Some(9) };
        assert_eq!(read_commit(3, &format!("{} 8", commit.metadata())), Ok((commit, Some(8))));
        assert_eq!(read_commit(3, &commit.metadata()), Ok((commit, None)));
        for foreign in
            ["", "1 x - 8", &format!("{} x", commit.metadata()), &format!("{} 8 8", commit.metadata())]
        {
            assert!(read_commit(3, foreign).is_err(), "{foreign:?}");
        }
    }

    #[test]
    fn records_are_cut_out_of_their_buffer() {
        let at = UnixMs(1);
        let places = vec![(5, at, Some(2)), (6, at, None), (7, at, Some(2)), (8, at, Some(5))];
        let records = cut(Bytes::from_static(b"abcde"), places);
        let payloads: Vec<_> = records.iter().map(|r| r.payload.clone().unwrap()).collect();
        assert_eq!(payloads, [&b"ab"[..], b"", b"", b"cde"]);
    }
}
