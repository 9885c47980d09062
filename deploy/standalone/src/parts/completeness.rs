//! Up to when everything is in: what this machine's journals say of themselves, and what all of them and Kafka say
//! together, kept in ClickHouse for reports.
//!
//! A journal is read where its reader has saved that it ended: the first record that is not dealt with was received when it
//! says; without one, nothing before now is left. Times are those of the machine that received.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use metrics::gauge;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use whence_aggregator::clickhouse::replicas::Replicas;
use whence_aggregator::completeness::{Clock, SILENT_MAX, Scope};
use whence_aggregator::kafka::GroupSettings;
use whence_aggregator::kafka::edges::{Committed, Edges};
use whence_ingest::edges::EdgeTopic;
use whence_ingest::registry::wall_clock;
use whence_ingest::ship::shipped;
use whence_journal::{Checkpoint, Payload, Position, Reader, Stored};
use whence_kafka::Cluster;
use whence_runtime::shutdown::Shutdown;
use whence_schemas::event::{self, Click, EdgePosition, Event};
use whence_schemas::ids::ClickId;
use whence_schemas::time::UnixMs;
use whence_schemas::topics::Stream;

use super::journals::Journal;
use crate::chain::chain;

whence_metrics::declare! {
    /// Everything received before this moment, in seconds since the epoch, is stored.
    gauge COMPLETE_THROUGH_SECONDS: "whence_complete_through_seconds";
    /// Edges that are known, by whether they are away.
    gauge COMPLETE_EDGES: "whence_complete_edges" { is: ["away", "here"] };
}

/// How often an edge says what it has, and how often is looked at all of them.
const EVERY: Duration = Duration::from_secs(5);
/// What a request may take from its own time to its journal, at most.
const UNDER_WAY_MAX: i64 = 5_000;
/// How long a look waits for what edges say.
const FOLLOW_TIMEOUT: Duration = Duration::from_millis(200);
/// The shipper's place in a journal, and the aggregator's.
const SHIPPED: &str = "shipper.checkpoint";
const READ: &str = "aggregator.checkpoint";

/// What is dealt with of journals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Dealt {
    /// All that was received before this.
    through: UnixMs,
    /// Nothing is left.
    is_all: bool,
}

/// Looks at journals again and again. A process that stood still, or was stopped, may have a request under way that is older
/// than it seems: it says nothing until it has gone on for a while.
struct Look {
    journals: Vec<Journal>,
    checkpoint: &'static str,
    last: UnixMs,
}

impl Look {
    fn new(journals: Vec<Journal>, checkpoint: &'static str) -> Look {
        Look { journals, checkpoint, last: wall_clock()() }
    }

    /// `None`: there is nothing to be said at this moment.
    async fn look(&mut self) -> Option<JournalProgress> {
        let now = wall_clock()();
        let since = now.ms_since(self.last);
        self.last = now;
        let every = i64::try_from(EVERY.as_millis()).unwrap_or(i64::MAX);
        if since > every + UNDER_WAY_MAX / 2 || since < 0 {
            return None;
        }
        let (journals, checkpoint) = (self.journals.clone(), self.checkpoint);
        let looked = tokio::task::spawn_blocking(move || look_at(&journals, checkpoint, now)).await;
        match looked.ok()? {
            Ok(looked) => Some(looked),
            Err(error) => {
                tracing::debug!(%error, "a journal can't be read");
                None
            }
        }
    }
}

/// What journals hold that was not dealt with, and what was shipped of them.
struct JournalProgress {
    dealt: Dealt,
    /// The journal that is furthest behind.
    behind: Option<String>,
    clicks_shipped: u64,
    events_shipped: u64,
}

fn look_at(journals: &[Journal], checkpoint: &str, now: UnixMs) -> io::Result<JournalProgress> {
    let under_way = UnixMs(now.0 - UNDER_WAY_MAX);
    let mut dealt = Dealt { through: under_way, is_all: true };
    let mut behind = None;
    let (mut clicks_shipped, mut events_shipped) = (0, 0);
    for journal in journals {
        let checkpoint = match Checkpoint::load(&journal.dir.join(checkpoint))? {
            Stored::Intact(checkpoint) => Some(checkpoint),
            Stored::Absent => None,
            Stored::Damaged => return Err(io::Error::other("a checkpoint is damaged")),
        };
        *match journal.partition.stream {
            Stream::Clicks => &mut clicks_shipped,
            Stream::Conversions => &mut events_shipped,
        } += checkpoint.as_ref().map_or(0, shipped);
        let Some(first) = first_left(journal, checkpoint.map(|checkpoint| checkpoint.position))? else {
            continue;
        };
        dealt.is_all = false;
        if first < dealt.through {
            dealt.through = first;
            behind = journal.dir.file_name().map(|name| name.to_string_lossy().into_owned());
        }
    }
    Ok(JournalProgress { dealt, behind, clicks_shipped, events_shipped })
}

/// When the first record behind this position was received.
fn first_left(journal: &Journal, from: Option<Position>) -> io::Result<Option<UnixMs>> {
    let mut records = Vec::new();
    Reader::open(&journal.dir, from).read(1, 1, &mut records).map_err(io::Error::other)?;
    match records.first().map(|record| &record.payload) {
        None => Ok(None),
        Some(Payload::Intact(record)) => Ok(Some(received(journal.partition.stream, record))),
        // Its reader goes on behind it.
        Some(Payload::Corrupt { .. }) => Err(io::Error::other("a record is damaged")),
    }
}

/// When a record was received; the beginning of all time for one that does not say.
fn received(stream: Stream, record: &[u8]) -> UnixMs {
    let at = match stream {
        Stream::Clicks => event::decode::<Click>(record)
            .ok()
            .and_then(|click| ClickId::from_bytes(&click.id))
            .map(|id| id.at()),
        Stream::Conversions => event::decode::<Event>(record).ok().map(|event| UnixMs(event.received_at_ms)),
    };
    at.unwrap_or(UnixMs(0))
}

/// Says what this edge has, until the shipper has ended.
pub struct Edge {
    task: tokio::task::JoinHandle<()>,
    stop: CancellationToken,
}

impl Edge {
    /// Starts to say it. `name` is the edge's for good.
    ///
    /// # Errors
    /// librdkafka does not accept its properties.
    pub fn start(
        cluster: &Cluster,
        name: String,
        journals: Vec<Journal>,
    ) -> Result<Edge, rdkafka::error::KafkaError> {
        let topic = EdgeTopic::new(cluster)?;
        let stop = CancellationToken::new();
        let task = tokio::spawn(say(topic, name, Look::new(journals, SHIPPED), stop.clone()));
        Ok(Edge { task, stop })
    }

    /// Says a last time what there is. Comes after the shipper.
    pub fn stages(self, shutdown: Shutdown, limit: Duration) -> Shutdown {
        let end = async move {
            self.stop.cancel();
            if let Err(error) = self.task.await {
                tracing::error!(%error, "reporting this edge's positions has stopped");
            }
        };
        shutdown.stage("completeness", limit, end)
    }
}

async fn say(topic: EdgeTopic, name: String, mut look: Look, stop: CancellationToken) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_told = false;
    loop {
        let goes_on = stop.run_until_cancelled(ticks.tick()).await.is_some();
        if let Some(JournalProgress { dealt, clicks_shipped, events_shipped, .. }) = look.look().await {
            let position = EdgePosition {
                through_ms: dealt.through.0,
                said_at_ms: look.last.0,
                has_ended: dealt.is_all && !goes_on,
                clicks_shipped,
                events_shipped,
            };
            match topic.say(&name, &position).await {
                Ok(()) => is_told = false,
                Err(error) if !is_told => {
                    is_told = true;
                    let error = chain(&error);
                    tracing::warn!(
                        error,
                        "kafka does not accept the positions that this edge reports: what is complete is not known"
                    );
                }
                Err(_) => {}
            }
        }
        if !goes_on {
            return;
        }
    }
}

/// The name of this folder's edge, kept in it: whose journals they are stays so when the machine is called otherwise.
///
/// # Errors
/// The file can't be read or written.
pub fn name(folder: &Path) -> io::Result<String> {
    let path = folder.join("edge-name");
    match std::fs::read_to_string(&path) {
        Ok(name) if !name.trim().is_empty() => return Ok(name.trim().to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host: String = host
        .trim()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))
        .take(63)
        .collect();
    let part = uuid::Uuid::new_v4().simple().to_string();
    let name = format!("{}-{}", if host.is_empty() { "edge" } else { &host }, &part[..8]);
    let temporary = folder.join("edge-name.tmp");
    std::fs::write(&temporary, format!("{name}\n"))?;
    std::fs::File::open(&temporary)?.sync_all()?;
    std::fs::rename(&temporary, &path)?;
    Ok(name)
}

/// Where the time comes from.
pub enum Source {
    /// The journals of this machine, which are read directly.
    Journals(Vec<Journal>),
    /// What edges say to Kafka, and what the group commits.
    Kafka(Box<GroupSettings>),
}

/// What there is to say of a scope.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    through: UnixMs,
    held: Option<(String, UnixMs)>,
}

/// What there is to say, by scope; of everything always.
type AllTold = BTreeMap<Scope, Told>;
type Tell = tokio::sync::watch::Sender<AllTold>;

/// Keeps the time in ClickHouse, until `stop`.
pub async fn keep(source: Source, replicas: Replicas, stop: CancellationToken) {
    whence_metrics::begin(module_path!());
    let known = loop {
        match known(&replicas).await {
            Ok(known) => break known,
            Err(error) => {
                tracing::debug!(error = chain(&error), "the saved completeness status cannot be read yet")
            }
        }
        if stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_none() {
            return;
        }
    };
    let (tell, mut told) = tokio::sync::watch::channel(AllTold::new());
    let following = stop.clone();
    match source {
        Source::Journals(journals) => {
            tokio::spawn(async move {
                following.run_until_cancelled(journals_told(journals, known, tell)).await;
            });
        }
        // Not one of the runtime's, which would wait at the end for brokers that are away.
        Source::Kafka(group) => {
            let follow = move || follow(&group, &known, &tell, &following);
            let thread = std::thread::Builder::new().name("completeness".into()).spawn(follow);
            if let Err(error) = thread {
                tracing::error!(%error, "the completeness check has stopped");
            }
        }
    }
    let keeping = async {
        let mut kept = AllTold::new();
        while told.changed().await.is_ok() {
            let now = told.borrow_and_update().clone();
            let Some(everything) = now.get(&Scope::Everything) else { continue };
            gauge!(COMPLETE_THROUGH_SECONDS).set(everything.through.0 as f64 / 1000.0);
            if kept != now {
                match write(&replicas, &now).await {
                    Ok(()) => kept = now,
                    Err(error) => {
                        tracing::debug!(error = chain(&error), "the completeness status cannot be saved")
                    }
                }
            }
        }
    };
    stop.run_until_cancelled(keeping).await;
}

async fn journals_told(journals: Vec<Journal>, known: Known, tell: Tell) {
    let mut look = Look::new(journals, READ);
    let mut through = known.get(&Scope::Everything).copied().unwrap_or(UnixMs(0));
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(JournalProgress { dealt, behind, .. }) = look.look().await else { continue };
        through = UnixMs(through.0.max(dealt.through.0));
        let late = look.last.ms_since(through) > i64::try_from(SILENT_MAX.as_millis()).unwrap_or(i64::MAX);
        let held = behind.filter(|_| late).map(|journal| {
            let since = dealt.through;
            (format!("{journal} has records since {} that are not stored", since.rfc3339()), since)
        });
        // One journal has the conversions of all programs.
        let told = Told { through, held };
        let _ =
            tell.send([Scope::Everything, Scope::Conversions(0)].map(|scope| (scope, told.clone())).into());
    }
}

/// Follows Kafka on a thread of its own.
fn follow(group: &GroupSettings, known: &Known, tell: &Tell, stop: &CancellationToken) {
    let mut clock = Clock::from(known);
    let mut told = String::new();
    let mut said = |text: String| {
        if told != text {
            if !text.is_empty() {
                tracing::warn!(why = text, "what is complete is not known");
            }
            told = text;
        }
    };
    let mut edges = match Edges::new(group) {
        Ok(edges) => edges,
        Err(error) => return said(group.cluster.said(&error)),
    };
    while !stop.is_cancelled() && !tell.is_closed() {
        match turn(&mut edges, &mut clock) {
            Ok(Some(committed)) => {
                said(String::new());
                let now = wall_clock()();
                let of = |scope| {
                    let held = clock.held_by(scope, &committed, now);
                    let held = held.map(|held| (held.to_string(), held.since()));
                    (scope, Told { through: clock.through(scope), held })
                };
                show(&clock, now);
                let _ = tell.send(clock.scopes().map(of).collect());
            }
            Ok(None) => {}
            Err(error) => said(format!("{}: {}", edges.topic(), group.cluster.said(&error))),
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// `None`: nothing is to be concluded yet.
fn turn(edges: &mut Edges, clock: &mut Clock) -> Result<Option<Committed>, rdkafka::error::KafkaError> {
    if !edges.follow(clock, FOLLOW_TIMEOUT)? {
        return Ok(None);
    }
    if clock.wants_ends() {
        // First what was said, then where partitions end: all that was said of is before the ends.
        let shipped = clock.shipped();
        let ends = edges.ends()?;
        shipped.into_iter().for_each(|shipped| clock.end(shipped, &ends));
    }
    let committed = edges.committed()?;
    clock.commit(&committed);
    Ok(Some(committed))
}

fn show(clock: &Clock, now: UnixMs) {
    let silent = i64::try_from(SILENT_MAX.as_millis()).unwrap_or(i64::MAX);
    let away = clock.edges().values().filter(|said| now.ms_since(said.at) > silent).count();
    gauge!(COMPLETE_EDGES, "is" => "away").set(away as f64);
    gauge!(COMPLETE_EDGES, "is" => "here").set((clock.edges().len() - away) as f64);
}

/// What was told before.
type Known = BTreeMap<Scope, UnixMs>;

/// A scope as the table has it: with the number of partitions of conversions, which says which programs are of which.
fn word(scope: Scope, partitions: usize) -> String {
    match scope {
        Scope::Everything => String::new(),
        Scope::Conversions(number) => format!("conversions-{number}/{partitions}"),
    }
}

fn scope(word: &str) -> Option<Scope> {
    if word.is_empty() {
        return Some(Scope::Everything);
    }
    let (number, _) = word.strip_prefix("conversions-")?.split_once('/')?;
    number.parse().ok().map(Scope::Conversions)
}

async fn known(replicas: &Replicas) -> Result<Known, clickhouse::error::Error> {
    let sql = "SELECT scope, toUnixTimestamp64Milli(max(through)) FROM completeness_clock GROUP BY scope";
    let rows =
        replicas.call(|client| async move { client.query(sql).fetch_all::<(String, i64)>().await }).await?;
    let known = rows.iter().filter_map(|(word, through)| Some((scope(word)?, UnixMs(*through))));
    Ok(known.collect())
}

async fn write(replicas: &Replicas, told: &AllTold) -> Result<(), clickhouse::error::Error> {
    let (now, partitions) = (wall_clock()(), told.len() - 1);
    let rows: Vec<_> = told
        .iter()
        .map(|(scope, told)| {
            let (held_by, since) = told.held.clone().unwrap_or((String::new(), UnixMs(0)));
            ClockRow {
                scope: word(*scope, partitions),
                through: told.through.clamped().0,
                said_at: now.clamped().0,
                held_by,
                held_since: since.clamped().0,
            }
        })
        .collect();
    replicas
        .insert("completeness_clock", |client| {
            let client =
                replicas.for_inserts(client).with_validation(false).with_setting("async_insert", "0");
            let rows = &rows;
            async move {
                let mut insert = client.insert::<ClockRow>("completeness_clock").await?;
                for row in rows {
                    insert.write(row).await?;
                }
                insert.end().await
            }
        })
        .await
}

#[derive(Debug, clickhouse::Row, serde::Serialize)]
struct ClockRow {
    scope: String,
    through: i64,
    said_at: i64,
    held_by: String,
    held_since: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_read_as_it_was_written() {
        for of in [Scope::Everything, Scope::Conversions(0), Scope::Conversions(17)] {
            assert_eq!(scope(&word(of, 18)), Some(of));
        }
        assert_eq!(scope("of another version"), None);
    }

    #[test]
    fn an_edges_name_stays() {
        let folder = tempfile::tempdir().unwrap();
        let first = name(folder.path()).unwrap();
        assert!(first.len() > 9 && !first.contains(char::is_whitespace), "{first}");
        assert_eq!(name(folder.path()).unwrap(), first);
        assert_ne!(name(tempfile::tempdir().unwrap().path()).unwrap(), first);
    }
}
