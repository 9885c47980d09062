//! The loop that writes what one partition announces to the topic of facts: read in order, produced in order,
//! acknowledged, remembered. What was produced and not remembered is produced again: at least once.

use crate::{
    Outbound, chain, machine_time,
    message::Message,
    reader::{Eras, Reader, checkpoint},
    status::{Part, Seat},
    tables::{Tables, Wanted},
};
use rdkafka::{
    error::KafkaError,
    producer::{FutureProducer, FutureRecord},
    util::Timeout,
};
use std::time::Duration;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use whence_aggregator::position::Commit;
use whence_kafka::Cluster;
use whence_runtime::seldom;
use whence_schemas::event;

whence_metrics::declare! {
    /// Messages written to the topic of facts.
    counter FACTS: "whence_facts_total";
    /// Times the topic of facts could not be written or what is to be written could not be read.
    counter FACTS_FAILURES: "whence_facts_failures_total";
}

/// Messages of one read: so many are produced before any is remembered.
const PAGE: usize = 1000;
/// How long the broker may take to acknowledge.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(30);
/// Checkpoints are this far apart at least.
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// After a failure.
const HOLD: Duration = Duration::from_secs(1);
/// The checkpoint's program and endpoint.
const NAME: (&str, &str) = ("", "");

/// The topic and its producer.
pub struct FactsTopic {
    producer: FutureProducer,
    topic: String,
}

/// Why a page was not written.
#[derive(Debug, thiserror::Error)]
enum TopicError {
    #[error("cannot read what is announced")]
    Tables(#[from] clickhouse::error::Error),
    #[error("the topic of facts accepts no records")]
    Kafka(#[from] KafkaError),
}

impl FactsTopic {
    /// A producer for this topic of the cluster.
    ///
    /// # Errors
    /// librdkafka does not accept its properties.
    pub fn new(cluster: &Cluster, topic: String) -> Result<FactsTopic, KafkaError> {
        let own = [
            ("acks", "all"),
            ("enable.idempotence", "true"),
            // As Java's default: whoever produces by the same key finds the same partition.
            ("partitioner", "murmur2_random"),
            ("message.timeout.ms", &ACKNOWLEDGED_WITHIN.as_millis().to_string()),
        ];
        let config = cluster.client(&[("compression.type", "lz4")], &own);
        Ok(FactsTopic { producer: config.create()?, topic })
    }

    /// Returns when all are acknowledged.
    async fn produce<'m>(&self, messages: impl Iterator<Item = &'m Message>) -> Result<(), KafkaError> {
        let records: Vec<_> =
            messages.map(|message| (*message.lead_id.as_bytes(), event::encode(&message.fact()))).collect();
        let sends = records.iter().map(|(key, payload)| {
            let record = FutureRecord::to(&self.topic).key(key).payload(&payload[..]);
            self.producer.send(record, Timeout::After(ACKNOWLEDGED_WITHIN))
        });
        for sent in futures_util::future::join_all(sends).await {
            sent.map_err(|(error, _)| error)?;
        }
        Ok(())
    }
}

/// Writes until `stop`.
pub async fn run(
    outbound: &Outbound,
    topic: &FactsTopic,
    partition: u32,
    mut stored: watch::Receiver<Option<Commit>>,
    stop: CancellationToken,
) {
    let seat = outbound.status.seat();
    let tables = &outbound.tables;
    let mut publisher = None;
    while !stop.is_cancelled() {
        let working = work(tables, topic, partition, &mut stored, &mut publisher, &seat);
        match stop.run_until_cancelled(working).await {
            Some(Ok(())) | None => break,
            Some(Err(error)) => {
                metrics::counter!(FACTS_FAILURES).increment(1);
                let error = chain(&error);
                seldom!(warn, partition, error, "facts wait");
                seat.fails(Part::Topic, error);
            }
        }
        stop.run_until_cancelled(tokio::time::sleep(HOLD)).await;
    }
    if let Some(publisher) = &mut publisher
        && let Err(error) = publisher.save().await
    {
        tracing::warn!(partition, error = chain(&error), "the topic's checkpoint is not saved");
    }
}

/// Returns when the partition's loop has ended.
async fn work<'a>(
    tables: &'a Tables,
    topic: &FactsTopic,
    partition: u32,
    stored: &mut watch::Receiver<Option<Commit>>,
    publisher: &mut Option<Publisher<'a>>,
    seat: &Seat,
) -> Result<(), TopicError> {
    let Ok(Some(commit)) = stored.wait_for(Option::is_some).await.map(|commit| *commit) else {
        return Ok(());
    };
    let publisher = match publisher {
        Some(publisher) => publisher,
        None => publisher.insert(Publisher::open(tables, partition, commit).await?),
    };
    loop {
        let commit = *stored.borrow_and_update();
        publisher.told(commit);
        publisher.publish(topic).await?;
        seat.works(Part::Topic);
        tokio::select! {
            changed = stored.changed() => if changed.is_err() {
                return Ok(());
            },
            () = tokio::time::sleep_until(publisher.save_at), if publisher.is_unsaved => publisher.save().await?,
        }
        // Seen again at the top.
        stored.mark_changed();
    }
}

struct Publisher<'a> {
    tables: &'a Tables,
    partition: u32,
    eras: Eras,
    reader: Reader,
    is_unsaved: bool,
    save_at: Instant,
}

impl<'a> Publisher<'a> {
    async fn open(
        tables: &'a Tables,
        partition: u32,
        commit: Commit,
    ) -> Result<Publisher<'a>, clickhouse::error::Error> {
        let eras = Eras::new(tables.eras(partition).await?, commit);
        let checkpoints = tables.checkpoints(partition).await?;
        let own = checkpoints.iter().find(|found| (found.program.as_str(), found.endpoint.as_str()) == NAME);
        let at = own.map(|found| eras.place(found.incarnation, found.next_offset)).unwrap_or_default();
        let reader = Reader::new(partition, Wanted::default(), at);
        Ok(Publisher { tables, partition, eras, reader, is_unsaved: false, save_at: Instant::now() })
    }

    fn told(&mut self, commit: Option<Commit>) {
        if let Some(commit) = commit.filter(|commit| *commit != self.eras.stored()) {
            self.eras.advance(commit);
            self.reader.told(&self.eras, true);
        }
    }

    async fn publish(&mut self, topic: &FactsTopic) -> Result<(), TopicError> {
        while self.reader.is_behind {
            // What the topic does not take is read again.
            let mut reader = self.reader.clone();
            let page = reader.read(self.tables, &self.eras, PAGE).await?;
            topic.produce(page.iter().map(|(_, message)| message)).await?;
            self.reader = reader;
            if let Some((place, _)) = page.last() {
                if place.era == self.eras.end().era {
                    self.eras.newest_has_messages();
                }
                metrics::counter!(FACTS).increment(page.len() as u64);
                self.is_unsaved = true;
            }
            if self.is_unsaved && Instant::now() >= self.save_at {
                self.save().await?;
            }
        }
        Ok(())
    }

    async fn save(&mut self) -> Result<(), clickhouse::error::Error> {
        if !self.is_unsaved {
            return Ok(());
        }
        let row = checkpoint(&self.eras, self.reader.at(), NAME, self.partition, machine_time());
        self.tables.save(&row.into_iter().collect::<Vec<_>>()).await?;
        (self.is_unsaved, self.save_at) = (false, Instant::now() + SAVE_EVERY);
        Ok(())
    }
}
