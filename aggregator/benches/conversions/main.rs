//! Leads, qualifications and refunds with rewards, over a history of conversions and many stored clicks.
//!
//! ```text
//! cargo build --release -p whence-clickhouse-embedded --bins
//! cargo bench -p whence-aggregator --bench conversions        # 100,000,000 clicks, then 1,000,000 leads
//! CONVERSIONS_LEADS=20000 CONVERSIONS_CLICKS=1000000 CONVERSIONS_NEW=20000 cargo bench …    # a quick look
//! ```
//!
//! Everything goes through a journal and the partition's real loop, as in `whence up`. The history is made by that loop too;
//! the clicks, of 30 days, are made within the engine. A click's id is computed from its number, so that
//! leads carry valid tokens of stored clicks. New conversions are measured three times: of clicks anywhere in the 30 days,
//! of clicks that the same process has just stored and has in memory, and with no click stored at all. Some more blocks
//! of the first two go through a proxy that notes every question to ClickHouse, and each kind of question is asked once
//! more for what it reads.

#![allow(clippy::print_stdout, clippy::unwrap_used)] // a benchmark's output is its result; a failed step ends it

#[path = "../shared/mod.rs"]
mod shared;
mod stream;
mod watch;

use bytes::Bytes;
use clickhouse::Client;
use shared::{cpu_seconds, machine, with_tables};
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use watch::{Proxy, Question};
use whence_aggregator::{
    clickhouse::{ClickHouseStore, StoreSettings},
    journal::{JournalOutbox, JournalSettings, JournalSource},
    partition::LoopSettings,
    position::Partition,
    work::{Stop, work, work_and_sweep},
};
use whence_clickhouse_embedded::testing::EngineProcess;
use whence_journal::{Checkpoint, GroupCommit, GroupCommitConfig, JournalConfig, Position, Quota, Stored};
use whence_schemas::topics::Stream;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

struct World {
    engine: EngineProcess,
    client: Client,
    dir: TempDir,
    settings: LoopSettings,
}

/// What a run over some records came to, its first block aside.
struct Figure {
    events: u64,
    seconds: f64,
    cpu_us: f64,
}

impl Figure {
    fn per_second(&self) -> f64 {
        self.events as f64 / self.seconds
    }
}

impl World {
    async fn new(block: u64) -> World {
        let dir = TempDir::new().unwrap();
        let engine = EngineProcess::start(&dir.path().join("clickhouse")).unwrap();
        let client = with_tables(&engine).await;
        let block_records_max = usize::try_from(block).unwrap();
        World { engine, client, dir, settings: LoopSettings { block_records_max, ..LoopSettings::default() } }
    }

    async fn count(&self, sql: &str) -> u64 {
        self.client.query(sql).fetch_one::<u64>().await.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Takes these records of conversions through a journal of their own.
    async fn take(&self, name: &str, url: &str, records: impl Iterator<Item = Bytes>) -> Figure {
        self.take_into(&self.store(url, 0), name, Stream::Conversions, records).await
    }

    fn store(&self, url: &str, hot_clicks_max: usize) -> ClickHouseStore {
        let settings = StoreSettings { hot_clicks_max, ..StoreSettings::default() };
        ClickHouseStore::new(self.client.clone().with_url(url), settings)
    }

    /// The first block also rebuilds the filters, and is not measured.
    async fn take_into(
        &self,
        store: &ClickHouseStore,
        name: &str,
        stream: Stream,
        records: impl Iterator<Item = Bytes>,
    ) -> Figure {
        let dir = self.dir.path().join(name);
        let journal = Arc::new(GroupCommit::open(journal(&dir)).unwrap());
        let mut last = None;
        let (mut batch, mut sent) = (Vec::with_capacity(1000), 0);
        let mut records = records.peekable();
        while let Some(record) = records.next() {
            batch.push(record);
            if batch.len() == 1000 || records.peek().is_none() {
                let payloads: Vec<&[u8]> = batch.iter().map(|record| &record[..]).collect();
                last = Some(journal.append(&payloads).await.unwrap());
                sent += batch.len() as u64;
                batch.clear();
            }
        }
        let incarnation = last.expect("there is a record").incarnation;
        let checkpoint = dir.with_extension("checkpoint");
        let source = JournalSource::new(JournalSettings {
            dir,
            checkpoint: checkpoint.clone(),
            partition: Partition { stream, number: 0 },
            grace: Duration::ZERO,
            accept_loss: false,
        });
        let store = store.clone();
        let (stop, outbox) = (Stop::default(), JournalOutbox(Arc::downgrade(&journal)));
        let (stops, settings) = (stop.clone(), self.settings);
        let task = tokio::spawn(async move {
            match stream {
                Stream::Clicks => work(source, &store, settings, stream::keys(), stops).await,
                Stream::Conversions => {
                    work_and_sweep(source, &store, &outbox, None, settings, stream::keys(), stops).await;
                }
            }
        });
        let block = settings_block(&self.settings).min(sent);
        until_committed(&checkpoint, Position { incarnation, offset: block }).await;
        let (start, cpu) = (Instant::now(), self.cpu());
        until_committed(&checkpoint, Position { incarnation, offset: sent }).await;
        let events = (sent - block).max(1);
        let figure = Figure {
            events,
            seconds: start.elapsed().as_secs_f64(),
            cpu_us: (self.cpu() - cpu) * 1e6 / events as f64,
        };
        stop.after_block.cancel();
        task.await.unwrap();
        figure
    }

    fn cpu(&self) -> f64 {
        cpu_seconds(std::process::id()) + cpu_seconds(self.engine.id())
    }

    /// Clicks `0..clicks`, in the order of their time, a million an insert; without their rollup, in which
    /// nothing is looked up.
    async fn fill_clicks(&self, clicks: u64) {
        const STEP: u64 = 1_000_000;
        self.client.query("DROP VIEW funnel_clicks").execute().await.unwrap();
        for from in (0..clicks).step_by(STEP as usize) {
            let sql = stream::clicks_sql(from, STEP.min(clicks - from), clicks);
            self.client.query(&sql.replace('?', "??")).execute().await.unwrap();
        }
    }

    /// Takes some blocks through the proxy, and asks what was asked once more. With `clicks`, their clicks are
    /// stored by the same process before.
    async fn questions(
        &self,
        name: &str,
        clicks: Option<(usize, impl Iterator<Item = Bytes>)>,
        records: impl Iterator<Item = Bytes>,
    ) -> Vec<Question> {
        let proxy = Proxy::start(self.engine.address()).await;
        let store =
            self.store(&proxy.url(), clicks.as_ref().map_or(0, |(hot_clicks_max, _)| *hot_clicks_max));
        if let Some((_, clicks)) = clicks {
            self.take_into(&store, &format!("clicks {name}"), Stream::Clicks, clicks).await;
            proxy.questions();
        }
        self.take_into(&store, name, Stream::Conversions, records).await;
        let mut questions = proxy.questions();
        for question in &mut questions {
            question.ask_again(&self.engine.url()).await;
        }
        questions
    }
}

fn settings_block(settings: &LoopSettings) -> u64 {
    settings.block_records_max as u64
}

fn journal(dir: &Path) -> GroupCommitConfig {
    GroupCommitConfig {
        journal: JournalConfig { dir: dir.to_owned(), segment_bytes: 16 << 20, quota: Quota::bytes(4 << 30) },
        waiting_bytes_max: 16 << 20,
        segment_age: Duration::MAX,
    }
}

async fn until_committed(checkpoint: &Path, position: Position) {
    let deadline = Instant::now() + Duration::from_secs(1800);
    loop {
        if let Stored::Intact(found) = Checkpoint::load(checkpoint).unwrap()
            && found.position >= position
        {
            return;
        }
        assert!(Instant::now() < deadline, "no further than {:?}", Checkpoint::load(checkpoint));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn print_questions(questions: &[Question]) {
    println!(
        "{:<34} {:>6} {:>7} {:>9} {:>11} {:>9} {:>8}",
        "look-up", "asked", "names", "found", "rows read", "MB read", "ms"
    );
    for question in questions {
        println!(
            "{:<34} {:>6} {:>7} {:>9} {:>11} {:>9.1} {:>8.1}",
            question.kind,
            question.times,
            question.names,
            question.read.found,
            question.read.rows,
            question.read.bytes as f64 / 1e6,
            question.read.ms
        );
    }
}

#[tokio::main]
async fn main() {
    let (clicks, leads) = (number("CONVERSIONS_CLICKS", 100_000_000), number("CONVERSIONS_LEADS", 1_000_000));
    let (new, block) = (number("CONVERSIONS_NEW", 60_000), number("CONVERSIONS_BLOCK", 10_000));
    println!("machine: {}", machine());
    println!(
        "command: CONVERSIONS_CLICKS={clicks} CONVERSIONS_LEADS={leads} CONVERSIONS_NEW={new} CONVERSIONS_BLOCK={block} \
         cargo bench -p whence-aggregator --bench conversions"
    );
    let world = World::new(block).await;
    let url = world.engine.url();
    let asked = new.min(3 * block);
    let made = stream::Made { clicks, recent_from: leads + new + asked };
    let hot_clicks_max = 2 * usize::try_from(new).unwrap();
    let stream = |from: u64, to: u64| stream::conversions(from, to, made);
    let print = |name: &str, figure: &Figure| {
        println!(
            "{name:<46} {:>8.0} events/s {:>7.1} µs CPU an event, {} events",
            figure.per_second(),
            figure.cpu_us,
            figure.events
        );
    };

    let start = Instant::now();
    world.fill_clicks(clicks).await;
    println!("{clicks} clicks made in {:.0} s", start.elapsed().as_secs_f64());
    let history = world.take("history", &url, stream(0, leads)).await;
    print("history, from no conversion", &history);
    let mut next = leads;
    let mut more = |persons: u64| {
        next += persons;
        (next - persons, next)
    };
    let (from, to) = more(new);
    let with = world.take("with", &url, stream(from, to)).await;
    print("new conversions, all clicks stored", &with);
    let (from, to) = more(asked);
    let none = None::<(usize, std::iter::Empty<Bytes>)>;
    let questions = world.questions("asked", none, stream(from, to)).await;
    let (from, to) = more(new);
    let store = world.store(&url, hot_clicks_max);
    world.take_into(&store, "recent clicks", Stream::Clicks, stream::recent_clicks(from, to, made)).await;
    let hot = world.take_into(&store, "hot", Stream::Conversions, stream(from, to)).await;
    print("new conversions, all stored, theirs in memory", &hot);
    let (from, to) = more(asked);
    let recent = Some((hot_clicks_max, stream::recent_clicks(from, to, made)));
    let hot_questions = world.questions("hot asked", recent, stream(from, to)).await;
    for table in ["clicks", "leads", "subject_keys", "qualifications", "rewards"] {
        println!("stored in {table}: {}", world.count(&format!("SELECT count() FROM {table}")).await);
    }
    println!("asked by the loop, of each kind the one with most names once more:");
    print_questions(&questions);
    println!("the same with the clicks of the new leads in memory:");
    print_questions(&hot_questions);
    let own = stream::own_questions(made);
    let mut asked = Vec::new();
    for (kind, sql) in own {
        let mut question = Question::new(kind, sql);
        question.ask_again(&url).await;
        asked.push(question);
    }
    println!("the same clicks by time and id, and by id alone:");
    print_questions(&asked);

    world.client.query("TRUNCATE TABLE clicks").execute().await.unwrap();
    let (from, to) = more(new);
    let without = world.take("without", &url, stream(from, to)).await;
    print("new conversions, no click stored", &without);
    for (name, figure) in [("stored", &with), ("in memory", &hot)] {
        println!(
            "ratio with clicks {name} / without clicks: {:.2} of its events/s, {:.2} of its CPU an event",
            figure.per_second() / without.per_second(),
            figure.cpu_us / without.cpu_us
        );
    }
    assert_eq!(
        world.count("SELECT count() FROM rejects WHERE reason != 'duplicate'").await,
        0,
        "every event became a fact, or is a second of one"
    );
    for sql in [
        "SELECT toUInt64(sum(abs(missing)) + sum(abs(extra))) FROM reconciliation WHERE stream = 'conversions'",
        "SELECT count() FROM (SELECT reward_id FROM rewards GROUP BY reward_id HAVING sum(sign) > 1)",
    ] {
        assert_eq!(world.count(sql).await, 0, "{sql}");
    }
}
