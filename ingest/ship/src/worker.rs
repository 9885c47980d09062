//! The shipper's loop: one thread, all journals, one Kafka client.
//!
//! A turn takes the client's reports, lets every lane send a batch, and keeps checkpoints, segments and
//! gauges up to date. It pauses whenever no lane has a full batch to go on with, so that a trickle of
//! records costs a turn every few milliseconds and not a core.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use whence_runtime::seldom;

use rdkafka::error::KafkaError;
use tokio_util::sync::CancellationToken;
use whence_journal::Position;
use whence_kafka::Trouble;
use whence_runtime::health::Heartbeat;

use super::config::ShipConfig;
use super::connection::{Connection, ConnectionState};
use super::lane::{Lane, Turn};
use super::producer::{Pace, Producer, Reports, Token, is_refusal};
use super::status::{JournalReport, Shared, ShipReport};

whence_metrics::declare! {
    /// Times the Kafka client was replaced.
    counter SHIP_CLIENT_REPLACEMENTS: "whence_ship_client_replacements_total" { reason: ["fatal", "failed_records", "rejected_batch", "stalled", "recovered"] };
}

/// Between turns without a full batch. Half a linger: records wait for their batch anyway.
const IDLE_WAIT: Duration = Duration::from_millis(5);
/// Events that are not reports (logs, statistics) wait for the next turn behind this many.
const EMPTY_POLLS: u32 = 3;
/// The same after a question that has waited for its answer.
const ASKING_POLLS: u32 = 500;
/// Before the client is replaced for the second time, the third time, … without anything arriving.
const REBUILD_BACKOFF_MIN: Duration = Duration::from_millis(100);
const REBUILD_BACKOFF_MAX: Duration = Duration::from_secs(10);
const OBSERVE_EVERY: Duration = Duration::from_secs(1);
/// Between looks whether the topics are there.
const CONFIRM_AGAIN: Duration = Duration::from_secs(1);
/// What brokers may take for an acknowledgement before it is told; a slow one that copies takes milliseconds.
const SILENCE_MAX: Duration = Duration::from_secs(5);
const RETIRE_EVERY: Duration = Duration::from_secs(5);

/// Why the client is to be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Fatal,
    Failed,
    Rejected,
    Stalled,
    Recovered,
}

impl Fault {
    fn tag(self) -> &'static str {
        match self {
            Fault::Fatal => "fatal",
            Fault::Failed => "failed_records",
            Fault::Rejected => "rejected_batch",
            Fault::Stalled => "stalled",
            Fault::Recovered => "recovered",
        }
    }
}

pub(super) struct Worker {
    config: ShipConfig,
    lanes: Vec<Lane>,
    producer: Option<Producer>,
    /// Partitions of each topic that this producer has confirmed; empty before it has.
    confirmed: BTreeMap<String, u32>,
    confirm_at: Instant,
    pace: Pace,
    /// Per lane: how far single sending goes on, the end of what was sent when a batch was rejected.
    single_until: Vec<Option<Position>>,
    reports: Reports,
    connection: Arc<ConnectionState>,
    shared: Arc<Shared>,
    shutdown: CancellationToken,
    heartbeat: Heartbeat,
    /// When something arrived last, or nothing was on its way.
    progress_at: Instant,
    backoff: Duration,
    rebuild_at: Instant,
}

impl Worker {
    pub(super) fn new(
        config: ShipConfig,
        lanes: Vec<Lane>,
        shared: Arc<Shared>,
        shutdown: CancellationToken,
        heartbeat: Heartbeat,
    ) -> Result<Worker, KafkaError> {
        let connection = Arc::clone(&shared.connection);
        let producer = Producer::build(&config, Pace::Batched, lanes.len(), &connection)?;
        let now = Instant::now();
        Ok(Worker {
            single_until: vec![None; lanes.len()],
            config,
            lanes,
            producer: Some(producer),
            confirmed: BTreeMap::new(),
            confirm_at: now,
            pace: Pace::Batched,
            reports: Reports::default(),
            connection,
            shared,
            shutdown,
            heartbeat,
            progress_at: now,
            backoff: REBUILD_BACKOFF_MIN,
            rebuild_at: now,
        })
    }

    /// Ships until the shutdown has begun and everything has arrived, or its time is over.
    pub(super) fn run(mut self) -> ShipReport {
        let mut schedule = Schedule::starting(Instant::now(), self.config.checkpoint_every);
        let mut drain_until = None;
        loop {
            let now = Instant::now();
            self.heartbeat.beat();
            if drain_until.is_none() && self.shutdown.is_cancelled() {
                drain_until = Some(now + self.config.drain_max);
                // The writers have stopped: what is found from now on is all there is.
                self.lanes.iter_mut().for_each(Lane::recheck);
            }
            let has_more = self.turn(now);
            schedule.keep(&mut self, now);
            if drain_until.is_some_and(|until| now >= until || self.lanes.iter().all(Lane::is_drained)) {
                return self.finish();
            }
            if !has_more {
                thread::sleep(IDLE_WAIT);
            }
            self.collect();
        }
    }

    /// Lets every lane send. Whether one has a full batch to go on with.
    fn turn(&mut self, now: Instant) -> bool {
        self.lanes.iter_mut().for_each(|lane| lane.keep_refused(now));
        if self.producer.is_none() && now >= self.rebuild_at {
            self.build();
        }
        self.leave_single_pace(now);
        self.watch_for_stall(now);
        if !self.is_confirmed(now) {
            return false;
        }
        let Some(producer) = &self.producer else { return false };
        if self.pace == Pace::Single && self.single_until.iter().all(Option::is_none) {
            // Only what is on its way keeps batches from being used again.
            return false;
        }
        let mut has_more = false;
        let mut is_fatal = false;
        for (index, lane) in self.lanes.iter_mut().enumerate() {
            let turn = lane.turn(now, |topic, key, payload, ticket| {
                producer.send(topic, key, payload, Token::new(index, ticket))
            });
            has_more |= turn == Turn::More;
            is_fatal |= turn == Turn::Fatal;
        }
        if is_fatal {
            self.replace(Fault::Fatal, now);
            return false;
        }
        has_more
    }

    /// Whether the topics are there and those that records have gone to. Asked before a producer's first record, and
    /// again when its statistics show another number of partitions.
    fn is_confirmed(&mut self, now: Instant) -> bool {
        let Some(producer) = &self.producer else { return false };
        if !self.config.confirms_topics {
            return true;
        }
        if !self.confirmed.is_empty() && !producer.partitions_changed(&self.confirmed) {
            return true;
        }
        if now < self.confirm_at {
            return false;
        }
        self.confirmed.clear();
        let topics = self.lanes.iter().map(|lane| {
            let partitions = producer.confirm(lane.dir(), lane.topic())?;
            Ok((lane.topic().to_owned(), partitions))
        });
        match topics.collect::<Result<BTreeMap<_, _>, Trouble>>() {
            Ok(confirmed) => {
                self.connection.set(Connection::Up);
                self.connection.heard.worked();
                self.confirmed = confirmed;
                true
            }
            Err(trouble) => {
                // The first look finds no connection yet, as a rule; what is told once is told.
                let is_early = self.connection.read() == Connection::Connecting && trouble.may_heal;
                if !is_early && self.connection.heard.work().as_ref() != Some(&trouble) {
                    tracing::warn!(trouble = trouble.text, "records stay in the journals");
                }
                self.connection.heard.stuck(trouble);
                self.confirm_at = now + CONFIRM_AGAIN;
                false
            }
        }
    }

    /// Takes the reports that have come.
    fn collect(&mut self) {
        let mut reports = std::mem::take(&mut self.reports);
        let mut fault = None;
        let mut empty_polls = 0;
        // While topics are asked for, events have come meanwhile, and each says what stands in the way.
        let is_asking = self.confirmed.is_empty() && self.config.confirms_topics;
        let empty_polls_max = if is_asking { ASKING_POLLS } else { EMPTY_POLLS };
        // A poll handles one event, and not every event is a report.
        while let Some(producer) = self.producer.as_ref().filter(|_| empty_polls < empty_polls_max) {
            producer.poll(&mut reports);
            if reports.is_empty() {
                empty_polls += 1;
            } else {
                fault = self.settle(&reports).or(fault);
            }
        }
        self.reports = reports;
        if let Some(fault) = fault {
            self.replace(fault, Instant::now());
        }
    }

    /// Applies reports; says if the client must be replaced because of them.
    fn settle(&mut self, reports: &Reports) -> Option<Fault> {
        for token in &reports.acknowledged {
            self.lanes[token.journal()].acknowledge(token.ticket());
        }
        if !reports.acknowledged.is_empty() {
            self.progress_at = Instant::now();
            self.backoff = REBUILD_BACKOFF_MIN;
            self.connection.set(Connection::Up);
            self.connection.heard.worked();
        }
        let mut fault = None;
        for (token, code) in &reports.failed {
            let lane = &mut self.lanes[token.journal()];
            if !is_refusal(*code) {
                lane.failed(*code);
                self.connection.heard.refused(*code, lane.topic());
                fault = fault.or(Some(Fault::Failed));
            } else if self.pace == Pace::Single {
                lane.give_up(token.ticket(), *code, Instant::now());
            } else {
                // The batch was refused, not necessarily this record: send them one by one.
                lane.failed(*code);
                fault = Some(Fault::Rejected);
            }
        }
        fault
    }

    /// Gives the client up and has everything that did not arrive sent again by a new one.
    fn replace(&mut self, fault: Fault, now: Instant) {
        let Some(producer) = self.producer.take() else { return };
        let reason = producer.fatal_error();
        if let Some(reason) = &reason {
            self.connection
                .heard
                .stuck(Trouble::passing(format!("the kafka client failed and is replaced: {reason}")));
        }
        let mut reports = std::mem::take(&mut self.reports);
        producer.abandon(&mut reports);
        for token in &reports.acknowledged {
            self.lanes[token.journal()].acknowledge(token.ticket());
        }
        self.reports = reports;
        let open: usize = self.lanes.iter().map(|lane| lane.window().open_records()).sum();
        metrics::counter!(SHIP_CLIENT_REPLACEMENTS, "reason" => fault.tag()).increment(1);
        if fault == Fault::Recovered {
            tracing::info!("sending in batches again");
        } else {
            tracing::warn!(fault = fault.tag(), reason, unacknowledged = open, "replacing the kafka client");
        }
        if fault == Fault::Rejected {
            self.pace = Pace::Single;
            self.single_until = self.lanes.iter().map(|lane| lane.window().sent_to()).collect();
        }
        self.lanes.iter_mut().for_each(Lane::rewind);
        let is_at_once = matches!(fault, Fault::Recovered | Fault::Rejected);
        self.rebuild_at = if is_at_once { now } else { now + self.backoff };
        if !is_at_once {
            self.backoff = (self.backoff * 2).min(REBUILD_BACKOFF_MAX);
        }
        self.progress_at = now;
    }

    fn build(&mut self) {
        match Producer::build(&self.config, self.pace, self.lanes.len(), &self.connection) {
            Ok(producer) => {
                self.producer = Some(producer);
                self.confirmed.clear();
            }
            Err(error) => {
                seldom!(error, %error, "cannot build a kafka client, trying on");
                self.rebuild_at = Instant::now() + self.backoff;
                self.backoff = (self.backoff * 2).min(REBUILD_BACKOFF_MAX);
            }
        }
    }

    /// Goes back to batches once all that the rejected batch may have been part of is settled.
    fn leave_single_pace(&mut self, now: Instant) {
        if self.pace == Pace::Batched || self.producer.is_none() {
            return;
        }
        for (lane, until) in self.lanes.iter().zip(&mut self.single_until) {
            if *until <= lane.window().watermark() {
                *until = None;
            }
        }
        let is_past = self.single_until.iter().all(Option::is_none);
        if is_past && self.lanes.iter().all(|lane| lane.window().open_records() == 0) {
            self.pace = Pace::Batched;
            self.replace(Fault::Recovered, now);
        }
    }

    fn watch_for_stall(&mut self, now: Instant) {
        if self.lanes.iter().all(|lane| lane.window().open_records() == 0) {
            self.progress_at = now;
            return;
        }
        let still = now.duration_since(self.progress_at);
        if still > SILENCE_MAX {
            let silence = format!("kafka has acknowledged nothing for {} s and more", SILENCE_MAX.as_secs());
            self.connection.heard.waits(&silence);
        }
        if still > self.config.stall_max {
            self.replace(Fault::Stalled, now);
        }
    }

    fn observe(&self) {
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
        let mut oldest_ms = 0;
        let mut open = 0;
        let mut lag = 0_u64;
        for lane in &self.lanes {
            oldest_ms = oldest_ms.max(lane.oldest_age_ms(now_ms));
            open += lane.window().open_records();
            lag = lag.saturating_add(lane.observe(now_ms).unwrap_or(u64::MAX));
        }
        self.shared.oldest_unshipped_ms.store(oldest_ms, Ordering::Relaxed);
        self.shared.in_flight_records.store(open as u64, Ordering::Relaxed);
        self.shared.lag_bytes.store(lag, Ordering::Relaxed);
    }

    fn finish(mut self) -> ShipReport {
        if let Some(producer) = self.producer.take() {
            let mut reports = Reports::default();
            // What is still on its way is in the journal and is sent by the next process.
            producer.abandon(&mut reports);
            self.settle(&reports);
        }
        self.lanes.iter_mut().for_each(Lane::save_checkpoint);
        self.observe();
        let journals: Vec<JournalReport> = self
            .lanes
            .iter()
            .map(|lane| JournalReport {
                dir: lane.dir().to_owned(),
                shipped_to: lane.window().watermark(),
                is_drained: lane.is_drained(),
                lag_bytes: lane.lag_bytes().ok(),
            })
            .collect();
        let is_drained = journals.iter().all(|journal| journal.is_drained);
        if is_drained {
            tracing::info!("everything in the journals has been shipped");
        } else {
            tracing::warn!(
                "the shipper stopped before everything was shipped, the rest stays in the journals"
            );
        }
        ShipReport { is_drained, journals }
    }
}

/// What is done at intervals.
struct Schedule {
    checkpoint_every: Duration,
    checkpoint_at: Instant,
    observe_at: Instant,
    retire_at: Instant,
}

impl Schedule {
    fn starting(now: Instant, checkpoint_every: Duration) -> Schedule {
        Schedule { checkpoint_every, checkpoint_at: now, observe_at: now, retire_at: now + RETIRE_EVERY }
    }

    fn keep(&mut self, worker: &mut Worker, now: Instant) {
        if now >= self.checkpoint_at {
            worker.lanes.iter_mut().for_each(Lane::save_checkpoint);
            self.checkpoint_at = now + self.checkpoint_every;
        }
        if now >= self.retire_at {
            let grace = worker.config.segment_grace;
            worker.lanes.iter().for_each(|lane| lane.retire_segments(grace));
            self.retire_at = now + RETIRE_EVERY;
        }
        if now >= self.observe_at {
            worker.observe();
            self.observe_at = now + OBSERVE_EVERY;
        }
    }
}
