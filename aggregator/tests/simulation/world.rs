//! What exists outside the processes: logs, committed offsets, tables; and the one source of chance.

use crate::{events::Expected, store::Tables};
use rand::{Rng, RngExt, SeedableRng, rngs::SmallRng};
use std::{
    collections::BTreeMap,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard},
    task::Poll,
    time::Duration,
};
use whence_aggregator::{
    clock::Clock,
    position::{Commit, Partition},
    source::Record,
};
use whence_schemas::ids::Incarnation;

/// Which promise the variant under test breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    None,
    /// The offset is committed when the block is read, not when it is stored.
    CommitBeforeInsert,
    /// Every insert has a token of its own.
    NoToken,
    /// A filter's "maybe" is not confirmed.
    MaybeIsDuplicate,
    /// What was found of clicks is what each try of a block finds.
    LooksNotReadBack,
    /// A replica is asked before it has what others have stored.
    NoCatchUp,
    /// An insert that was tried before is done at its first success.
    OneSuccess,
}

/// The records of one partition, by incarnation, and what its owner has committed.
#[derive(Default)]
pub struct Log {
    pub lives: Vec<(Incarnation, Vec<Record>)>,
    pub committed: Option<Commit>,
    /// Rises with each new owner; commits of an older one are refused.
    pub generation: u64,
}

pub struct World {
    pub rng: SmallRng,
    pub logs: BTreeMap<Partition, Log>,
    pub tables: Tables,
    pub expected: Expected,
    pub sabotage: Sabotage,
    /// Out of 1000 operations, this many fail in one way or another.
    pub faults_per_mille: u32,
    pub now: Duration,
    pub inserts: u64,
    pub lost_replies: u64,
    /// Rollups that were stored on one replica, and given up.
    pub given_up: u64,
    /// Partition loops begun, and how often one asked for the sums of a whole program.
    pub loops: u64,
    pub ledgers_read: u64,
}

#[derive(Clone)]
pub struct Shared(pub Arc<Mutex<World>>);

impl Shared {
    pub fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock().expect("nothing panics while it holds the world")
    }

    /// Appends a record to the newest incarnation of a log.
    pub fn append(&self, partition: Partition, mut record: Record) {
        let mut world = self.lock();
        let lives = &mut world.logs.get_mut(&partition).expect("it exists").lives;
        let records = &mut lives.last_mut().expect("there is always one").1;
        record.offset = records.len() as u64;
        records.push(record);
    }

    /// Whether this operation fails here.
    pub fn strikes(&self) -> bool {
        let mut world = self.lock();
        let per_mille = world.faults_per_mille;
        world.rng.random_range(0..1000) < per_mille
    }

    /// Lets the others run for a while: a place where a crash may happen.
    pub async fn pause(&self) {
        let turns = self.lock().rng.random_range(0..3);
        for _ in 0..turns {
            turn().await;
        }
    }
}

/// Gives the executor one turn.
async fn turn() {
    let mut given = false;
    poll_fn(|_| match std::mem::replace(&mut given, true) {
        true => Poll::Ready(()),
        false => Poll::Pending,
    })
    .await;
}

pub fn rng(seed: u64) -> SmallRng {
    SmallRng::seed_from_u64(seed)
}

pub fn pick<'a, T>(rng: &mut impl Rng, from: &'a [T]) -> &'a T {
    &from[rng.random_range(0..from.len())]
}

/// A clock that stands still except for what is slept.
pub struct StandingClock(pub Shared);

impl Clock for StandingClock {
    fn elapsed(&self) -> Duration {
        self.0.lock().now
    }

    async fn sleep(&self, time: Duration) {
        self.0.lock().now += time;
        turn().await;
    }
}

#[derive(Debug, thiserror::Error)]
#[error("made to fail")]
pub struct MadeToFail;
