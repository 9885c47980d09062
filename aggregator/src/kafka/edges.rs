//! What edges say of themselves, where partitions end and what of them is committed: all that the clock of completeness
//! goes by. Reads only, and is not a member of the group.

use super::GroupSettings;
use crate::{
    account::InKafka,
    completeness::{Clock, Said},
    position::Partition,
};
use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use whence_schemas::{
    event::{self, EdgePosition},
    time::UnixMs,
    topics::EDGES,
};

const BROKER_TIMEOUT: Duration = Duration::from_secs(5);
/// Records of one turn, at most: each edge says something every few seconds.
const RECORDS_MAX: usize = 100_000;

/// A follower of the topic of edges. Blocks: it needs a thread of its own.
pub struct Edges {
    consumer: BaseConsumer,
    topic: String,
    streams: Vec<(whence_schemas::topics::Stream, String)>,
    has_all: bool,
    partitions: BTreeMap<Partition, String>,
}

/// What of the partitions is committed.
pub type Committed = BTreeMap<Partition, u64>;

impl Edges {
    /// Reads from the beginning of the topic.
    ///
    /// # Errors
    /// librdkafka does not accept its properties.
    pub fn new(settings: &GroupSettings) -> Result<Edges, KafkaError> {
        let own = [
            ("group.id", settings.group.as_str()),
            ("enable.auto.commit", "false"),
            ("enable.partition.eof", "true"),
            ("auto.offset.reset", "earliest"),
            ("isolation.level", "read_committed"),
        ];
        let config: ClientConfig = settings.cluster.client(&[], &own);
        let consumer: BaseConsumer = config.create()?;
        let topic = settings.cluster.topic(EDGES);
        let mut from = TopicPartitionList::new();
        from.add_partition_offset(&topic, 0, Offset::Beginning)?;
        consumer.assign(&from)?;
        Ok(Edges {
            consumer,
            topic,
            streams: settings.topics.clone(),
            has_all: false,
            partitions: BTreeMap::new(),
        })
    }

    /// Takes in what edges have said, waiting for it no longer than `timeout`. `false`: not all that was said is known
    /// yet, and nothing is to be concluded.
    ///
    /// # Errors
    /// Kafka's: the topic is not there, or may not be read.
    pub fn follow(&mut self, clock: &mut Clock, timeout: Duration) -> Result<bool, KafkaError> {
        let mut timeout = timeout;
        for _ in 0..RECORDS_MAX {
            match self.consumer.poll(timeout) {
                None => break,
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    self.has_all = true;
                    break;
                }
                Some(Err(error)) => return Err(error),
                Some(Ok(record)) => {
                    timeout = BROKER_TIMEOUT;
                    let Some(edge) = record.key().and_then(|key| std::str::from_utf8(key).ok()) else {
                        continue;
                    };
                    match record.payload() {
                        None => clock.retire(edge),
                        Some(payload) => {
                            let Ok(position) = event::decode::<EdgePosition>(payload) else { continue };
                            let said = Said {
                                through: UnixMs(position.through_ms),
                                at: UnixMs(position.said_at_ms),
                                has_ended: position.has_ended,
                                clicks_shipped: position.clicks_shipped,
                                events_shipped: position.events_shipped,
                            };
                            if !clock.say(edge, said) {
                                // Of one that is left out nothing is known: nothing may be concluded.
                                return Ok(false);
                            }
                        }
                    }
                }
            }
        }
        Ok(self.has_all)
    }

    /// Every partition of both streams. They never change.
    fn partitions(&mut self) -> Result<&BTreeMap<Partition, String>, KafkaError> {
        if self.partitions.is_empty() {
            let mut found = BTreeMap::new();
            for (stream, topic) in &self.streams {
                let metadata = self.consumer.fetch_metadata(Some(topic), BROKER_TIMEOUT)?;
                let count = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
                if count == 0 {
                    return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopic));
                }
                for number in 0..u32::try_from(count).unwrap_or(u32::MAX) {
                    found.insert(Partition { stream: *stream, number }, topic.clone());
                }
            }
            self.partitions = found;
        }
        Ok(&self.partitions)
    }

    /// One past the last record of each partition.
    ///
    /// # Errors
    /// Kafka's.
    pub fn ends(&mut self) -> Result<BTreeMap<Partition, u64>, KafkaError> {
        let partitions = self.partitions()?.clone();
        let mut ends = BTreeMap::new();
        for (partition, topic) in partitions {
            let (low, high) = self.consumer.fetch_watermarks(&topic, number(partition), BROKER_TIMEOUT)?;
            // What is gone was read or is lost: there is nothing to wait for.
            let end = if low == high { 0 } else { u64::try_from(high).unwrap_or(0) };
            ends.insert(partition, end);
        }
        Ok(ends)
    }

    /// What the group has committed.
    ///
    /// # Errors
    /// Kafka's.
    pub fn committed(&mut self) -> Result<Committed, KafkaError> {
        let partitions = self.partitions()?.clone();
        let mut list = TopicPartitionList::new();
        for (partition, topic) in &partitions {
            list.add_partition(topic, number(*partition));
        }
        let answer = self.consumer.committed_offsets(list, BROKER_TIMEOUT)?;
        let mut committed = Committed::new();
        for (partition, topic) in partitions {
            let offset = answer.find_partition(&topic, number(partition)).map(|element| element.offset());
            if let Some(Offset::Offset(next)) = offset {
                committed.insert(partition, u64::try_from(next).unwrap_or(0));
            }
        }
        Ok(committed)
    }

    /// The topic's full name, for messages.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }
}

/// What edges say that Kafka has acknowledged to them, and what it has. Blocks, for at most `timeout` until all that edges
/// have said is read.
///
/// # Errors
/// Kafka's.
pub fn shipped(settings: &GroupSettings, timeout: Duration) -> Result<InKafka, KafkaError> {
    let mut edges = Edges::new(settings)?;
    let mut clock = Clock::default();
    let deadline = Instant::now() + timeout;
    loop {
        match edges.follow(&mut clock, BROKER_TIMEOUT.min(timeout)) {
            Ok(true) => break,
            Ok(false) if Instant::now() < deadline => {}
            Ok(false) => return Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut)),
            // Nobody has ever said anything.
            Err(KafkaError::MessageConsumption(RDKafkaErrorCode::UnknownTopicOrPartition)) => break,
            Err(error) => return Err(error),
        }
    }
    let of = |count: fn(&Said) -> u64| clock.edges().values().map(count).sum();
    let shipped = [of(|said| said.clicks_shipped), of(|said| said.events_shipped)];
    // Asked last: what edges have said is there by then.
    let ends = edges.partitions()?.clone().into_iter().map(|(partition, topic)| {
        let (_, high) = edges.consumer.fetch_watermarks(&topic, number(partition), BROKER_TIMEOUT)?;
        Ok((partition, u64::try_from(high).unwrap_or(0)))
    });
    Ok(InKafka {
        ends: ends.collect::<Result<_, KafkaError>>()?,
        clicks_shipped: shipped[0],
        events_shipped: shipped[1],
    })
}

fn number(partition: Partition) -> i32 {
    i32::try_from(partition.number).unwrap_or(i32::MAX)
}
