//! Runs the partitions' loops turn by turn in a random order, kills some, lets others live on as
//! zombies, until everything is committed.

use crate::{
    events::{self, CLICK_PARTITIONS},
    oracle,
    rewards::{self, LogOutbox},
    source::LogSource,
    store::{MemoryStore, Tables},
    world::{Log, Sabotage, Shared, StandingClock, World, pick, rng},
};
use bytes::Bytes;
use rand::{RngExt, rngs::SmallRng};
use std::{
    collections::{BTreeMap, VecDeque},
    future::Future,
    ops::Add,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};
use uuid::Uuid;
use whence_aggregator::{
    click::DedupSettings,
    filter::FilterSettings,
    partition::{LoopError, LoopSettings, PartitionLoop, Progress},
    position::{Horizon, Partition},
    source::{Record, SourceError},
    store::{Store as _, StoreError},
    sweep::Sweeper,
};
use whence_schemas::{ids::Incarnation, time::UnixMs, token::KeyRing, topics::Stream};

const TURNS_MAX: usize = 300_000;

/// What happened in a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    pub crashes: u64,
    pub zombies: u64,
    pub replays: u64,
    pub deduplicated_inserts: u64,
    pub lost_replies: u64,
    pub given_up: u64,
    pub duplicates: u64,
    pub completed: u64,
    pub approved: u64,
    pub decided: u64,
    pub rewards_taken: u64,
    pub rewards_capped: u64,
    pub taken_back: u64,
    pub recredited: u64,
    pub suppressed: u64,
    pub late_clicks: u64,
    pub held_late: u64,
    pub looks_differ: u64,
}

impl Add for Outcome {
    type Output = Outcome;
    fn add(self, other: Outcome) -> Outcome {
        Outcome {
            crashes: self.crashes + other.crashes,
            zombies: self.zombies + other.zombies,
            replays: self.replays + other.replays,
            deduplicated_inserts: self.deduplicated_inserts + other.deduplicated_inserts,
            lost_replies: self.lost_replies + other.lost_replies,
            given_up: self.given_up + other.given_up,
            duplicates: self.duplicates + other.duplicates,
            completed: self.completed + other.completed,
            approved: self.approved + other.approved,
            decided: self.decided + other.decided,
            rewards_taken: self.rewards_taken + other.rewards_taken,
            rewards_capped: self.rewards_capped + other.rewards_capped,
            taken_back: self.taken_back + other.taken_back,
            recredited: self.recredited + other.recredited,
            suppressed: self.suppressed + other.suppressed,
            late_clicks: self.late_clicks + other.late_clicks,
            held_late: self.held_late + other.held_late,
            looks_differ: self.looks_differ + other.looks_differ,
        }
    }
}

struct Worker {
    partition: Partition,
    generation: u64,
    future: Pin<Box<dyn Future<Output = Result<(), LoopError>>>>,
}

/// One run. The error says what the oracle found.
pub fn simulate(seed: u64, sabotage: Sabotage) -> Result<Outcome, String> {
    let mut chance = rng(seed);
    let settings = settings(&mut chance);
    let (records, expected) = events::records(seed);
    let mut run = Run::new(world(&mut chance, seed, sabotage, expected), chance, settings, records);
    run.until_settled()?;
    let mut outcome = run.outcome;
    let world = run.world.lock();
    oracle::check(&world)?;
    outcome.replays = run.replays.load(Ordering::Relaxed);
    outcome.lost_replies = world.lost_replies;
    outcome.given_up = world.given_up;
    outcome.deduplicated_inserts = world.tables.deduplicated_inserts;
    outcome.duplicates = world.tables.rejects.iter().filter(|row| row.reason.0 == "duplicate").count() as u64;
    outcome.completed = world.tables.qualifications.iter().filter(|row| row.sign < 0).count() as u64;
    let applied = |kind| {
        let rows = world.tables.reward_events.iter();
        rows.filter(|row| row.kind.0 == kind && row.outcome.0 == "applied").count() as u64
    };
    (outcome.approved, outcome.decided) = (applied("timer"), applied("decision"));
    let closed = |is_capped: bool| {
        let lines = world.tables.rewards.iter().filter(|line| !line.state.is_open());
        lines.filter(|line| (line.amount_minor == 0) == is_capped).count() as u64
    };
    (outcome.rewards_taken, outcome.rewards_capped) = (closed(false), closed(true));
    outcome.taken_back =
        world.tables.disqualifications.iter().filter(|row| row.taken_minor > 0).count() as u64;
    outcome.recredited = world.tables.leads.iter().filter(|row| row.sign < 0).count() as u64;
    outcome.suppressed =
        world.tables.rejects.iter().filter(|row| row.reason.0 == "suppressed").count() as u64;
    let looks = &world.tables.click_evidence;
    outcome.late_clicks = looks.iter().filter(|row| row.found && row.looked_by.0 != "lead").count() as u64;
    outcome.held_late =
        world.tables.reward_events.iter().filter(|row| row.outcome.0 == "held").count() as u64;
    outcome.looks_differ = world.tables.looks_differ;
    Ok(outcome)
}

/// What is stored after these records of one partition, whatever happened on the way.
pub fn stored(seed: u64, payloads: &[Bytes]) -> Result<Tables, String> {
    let mut chance = rng(seed);
    let settings = settings(&mut chance);
    let partition = Partition { stream: Stream::Conversions, number: 0 };
    let record = |payload: &Bytes| Record { offset: 0, timestamp: UnixMs(0), payload: Some(payload.clone()) };
    let records = payloads.iter().map(|payload| (partition, record(payload))).collect();
    let world = world(&mut chance, seed, Sabotage::None, events::Expected::default());
    let mut run = Run::new(world, chance, settings, records);
    run.until_settled()?;
    let tables = std::mem::take(&mut run.world.lock().tables);
    Ok(tables)
}

fn settings(rng: &mut SmallRng) -> LoopSettings {
    let filter = FilterSettings {
        false_positive_rate: *pick(rng, &[1e-4, 0.1, 0.5]),
        first_capacity: *pick(rng, &[1, 8, 1000]),
        bytes_max: *pick(rng, &[1, 100, 1 << 20]),
    };
    LoopSettings {
        block_records_max: rng.random_range(1..15),
        block_bytes_max: *pick(rng, &[1, 1000, usize::MAX]),
        linger: Duration::from_millis(rng.random_range(0..50)),
        idle: Duration::from_millis(10),
        insert_tries_max: 3,
        insert_backoff: Duration::from_millis(1),
        dedup: DedupSettings {
            filter,
            load_from_ids: *pick(rng, &[0, 3, usize::MAX]),
            recent_blocks: rng.random_range(0..3),
        },
        conversion_filter: filter,
        sweep_every: Duration::MAX,
        unlink_after: Duration::MAX,
        resume_behind_stored: false,
        replay_missing: false,
        accept_loss: false,
    }
}

fn world(chance: &mut SmallRng, seed: u64, sabotage: Sabotage, expected: events::Expected) -> Shared {
    let clicks = (0..CLICK_PARTITIONS).map(|number| Partition { stream: Stream::Clicks, number });
    let conversions = (0..2).map(|number| Partition { stream: Stream::Conversions, number });
    let logs = clicks.chain(conversions).enumerate().map(|(at, partition)| {
        let first = (Incarnation(Uuid::from_u128(at as u128 + 1)), Vec::new());
        (partition, Log { lives: vec![first], committed: None, generation: 0 })
    });
    let logs: BTreeMap<_, _> = logs.collect();
    Shared(Arc::new(Mutex::new(World {
        rng: rng(seed.wrapping_mul(31)),
        logs,
        tables: Tables::default(),
        expected,
        sabotage,
        faults_per_mille: *pick(chance, &[0, 5, 30]),
        now: Duration::ZERO,
        inserts: 0,
        lost_replies: 0,
        given_up: 0,
        loops: 0,
        ledgers_read: 0,
    })))
}

struct Run {
    world: Shared,
    chance: SmallRng,
    settings: LoopSettings,
    keys: Arc<KeyRing>,
    to_send: VecDeque<(Partition, Record)>,
    workers: Vec<Worker>,
    replays: Arc<AtomicU64>,
    outcome: Outcome,
    incarnations: u128,
}

impl Run {
    fn new(
        world: Shared,
        chance: SmallRng,
        settings: LoopSettings,
        records: Vec<(Partition, Record)>,
    ) -> Run {
        Run {
            world,
            chance,
            settings,
            keys: Arc::new(events::keys()),
            to_send: records.into(),
            workers: Vec::new(),
            replays: Arc::new(AtomicU64::new(0)),
            outcome: Outcome::default(),
            incarnations: 1000,
        }
    }

    fn until_settled(&mut self) -> Result<(), String> {
        // One that is broken on purpose may never settle.
        let turns_max = match self.world.lock().sabotage {
            Sabotage::None => TURNS_MAX,
            _ => TURNS_MAX / 10,
        };
        for _ in 0..turns_max {
            let is_calm = self.to_send.is_empty() && self.chance.random_bool(0.5);
            if !is_calm {
                self.disturb();
            }
            if self.to_send.is_empty() && self.is_settled() && self.sweep() == 0 {
                self.world.lock().tables.blank();
                if self.unlink() == 0 {
                    return Ok(());
                }
            }
            self.employ();
            self.turn()?;
        }
        Err(format!("not settled after {turns_max} turns"))
    }

    fn disturb(&mut self) {
        if self.chance.random_bool(0.3) {
            self.send();
        }
        if self.chance.random_bool(0.01) && !self.workers.is_empty() {
            let at = self.chance.random_range(0..self.workers.len());
            self.workers.remove(at);
            self.outcome.crashes += 1;
        }
        if self.chance.random_bool(0.01) {
            self.sweep();
        }
        if self.chance.random_bool(0.02) {
            self.world.lock().tables.blank();
        }
        if self.chance.random_bool(0.02) {
            self.unlink();
        }
        if self.chance.random_bool(0.005) && !self.workers.is_empty() {
            let partition = self.workers[self.chance.random_range(0..self.workers.len())].partition;
            self.spawn(partition);
            self.outcome.zombies += 1;
        }
    }

    fn send(&mut self) {
        let Some((partition, record)) = self.to_send.pop_front() else { return };
        let is_new_life = self.chance.random_ratio(1, 30);
        if is_new_life {
            self.incarnations += 1;
            let mut world = self.world.lock();
            let lives = &mut world.logs.get_mut(&partition).expect("it exists").lives;
            lives.push((Incarnation(Uuid::from_u128(self.incarnations)), Vec::new()));
        }
        self.world.append(partition, record);
    }

    /// Sends timers for what is due; says how many.
    fn sweep(&mut self) -> usize {
        let (store, outbox) = (MemoryStore::new(self.world.clone()), LogOutbox(self.world.clone()));
        let partitions = rewards::partitions(&self.world.lock());
        let mut context = Context::from_waker(Waker::noop());
        let mut sent = 0;
        for partition in partitions {
            let mut sweeper = Sweeper::new(partition.number, &store, &outbox);
            let mut look = std::pin::pin!(sweeper.look(rewards::LATE));
            sent += loop {
                match look.as_mut().poll(&mut context) {
                    Poll::Ready(Ok(sent)) => break sent,
                    // Made to fail: there will be another look.
                    Poll::Ready(Err(_)) => break 1,
                    Poll::Pending => {}
                }
            };
        }
        sent
    }

    /// Lets the keys of forgotten persons cease to lead to events; says how many erasures were left to do. Not where a
    /// former owner lives on: who is still at the erasure's block has given up long before.
    fn unlink(&mut self) -> usize {
        let store = MemoryStore::new(self.world.clone());
        let partitions = rewards::partitions(&self.world.lock());
        let mut context = Context::from_waker(Waker::noop());
        let mut left = 0;
        for partition in partitions {
            let (committed, generation) = {
                let world = self.world.lock();
                (world.logs[&partition].committed, world.logs[&partition].generation)
            };
            let is_zombie = |worker: &Worker| worker.partition == partition && worker.generation < generation;
            if self.workers.iter().any(is_zombie) {
                left += 1;
                continue;
            }
            let Some(commit) = committed else { continue };
            let before = Horizon { incarnation: commit.incarnation, partition, before: commit.next };
            let look = async {
                let linked = store.linked(&before).await?;
                if !linked.is_empty() && !store.is_settled().await? {
                    return Ok(linked.len());
                }
                for linked in &linked {
                    store.rename_links(linked).await?;
                    store.drop_links(linked).await?;
                }
                Ok::<_, StoreError>(linked.len())
            };
            let mut look = std::pin::pin!(look);
            left += loop {
                match look.as_mut().poll(&mut context) {
                    Poll::Ready(Ok(done)) => break done,
                    // Made to fail: there will be another look.
                    Poll::Ready(Err(_)) => break 1,
                    Poll::Pending => {}
                }
            };
        }
        left
    }

    fn is_settled(&self) -> bool {
        self.world.lock().logs.values().all(|log| {
            let (incarnation, records) = log.lives.last().expect("there is always one");
            match log.committed {
                Some(commit) => {
                    commit.intent.is_none()
                        && commit.next == records.len() as u64
                        && (commit.incarnation == *incarnation)
                }
                None => log.lives.iter().all(|(_, records)| records.is_empty()),
            }
        })
    }

    /// Sees to it that every partition has an owner.
    fn employ(&mut self) {
        let orphans: Vec<Partition> = {
            let world = self.world.lock();
            let is_owned = |partition: &Partition, log: &Log| {
                self.workers.iter().any(|w| w.partition == *partition && w.generation == log.generation)
            };
            world.logs.iter().filter(|(p, log)| !is_owned(p, log)).map(|(p, _)| *p).collect()
        };
        orphans.into_iter().for_each(|partition| self.spawn(partition));
    }

    fn spawn(&mut self, partition: Partition) {
        let generation = {
            let mut world = self.world.lock();
            world.loops += 1;
            let log = world.logs.get_mut(&partition).expect("it exists");
            log.generation += 1;
            log.generation
        };
        let (world, settings) = (self.world.clone(), self.settings);
        let (keys, replays) = (self.keys.clone(), self.replays.clone());
        let future = Box::pin(async move {
            let store = MemoryStore::new(world.clone());
            let clock = StandingClock(world.clone());
            let source = LogSource { world, partition, generation, at: (0, 0) };
            let watch = move |progress| {
                if let Progress::Replaying(_) = progress {
                    replays.fetch_add(1, Ordering::Relaxed);
                }
            };
            PartitionLoop::new(source, &store, &clock, settings, keys, watch).run().await
        });
        self.workers.push(Worker { partition, generation, future });
    }

    fn turn(&mut self) -> Result<(), String> {
        let at = self.chance.random_range(0..self.workers.len());
        let mut context = Context::from_waker(Waker::noop());
        let Poll::Ready(ended) = self.workers[at].future.as_mut().poll(&mut context) else { return Ok(()) };
        let worker = self.workers.remove(at);
        match ended {
            Err(
                LoopError::Source(SourceError::Lost | SourceError::Retry(_))
                | LoopError::Store(StoreError::Retry(_)),
            ) => Ok(()),
            other => Err(format!("the loop of {} ended with {other:?}", worker.partition)),
        }
    }
}
