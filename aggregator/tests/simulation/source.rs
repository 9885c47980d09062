//! The in-memory twin of a Kafka partition or journal: generations fence, incarnations follow each
//! other, reads come in pieces.

use crate::world::{MadeToFail, Sabotage, Shared};
use rand::RngExt;
use std::time::Duration;
use whence_aggregator::{
    position::{Commit, Partition},
    source::{Chunk, Source, SourceError, Start},
};
use whence_schemas::{ids::Incarnation, time::UnixMs};

pub struct LogSource {
    pub world: Shared,
    pub partition: Partition,
    pub generation: u64,
    /// Which incarnation is being read, and the next offset in it.
    pub at: (usize, u64),
}

impl LogSource {
    fn check_owner(&self) -> Result<(), SourceError> {
        match self.world.lock().logs[&self.partition].generation == self.generation {
            true => Ok(()),
            false => Err(SourceError::Lost),
        }
    }

    fn fail(&self) -> Result<(), SourceError> {
        match self.world.strikes() {
            true => Err(SourceError::Retry(Box::new(MadeToFail))),
            false => Ok(()),
        }
    }

    fn take(&mut self, records_max: usize) -> Chunk {
        let mut guard = self.world.lock();
        let world = &mut *guard;
        let log = &world.logs[&self.partition];
        while self.at.1 as usize == log.lives[self.at.0].1.len() && self.at.0 + 1 < log.lives.len() {
            self.at = (self.at.0 + 1, 0);
        }
        let (incarnation, records) = &log.lives[self.at.0];
        let from = self.at.1 as usize;
        let there = records.len() - from;
        let count = world.rng.random_range(0..=there.min(records_max).min(7));
        self.at.1 += count as u64;
        world.now += Duration::from_millis(if count == 0 { 100 } else { 1 });
        Chunk { incarnation: *incarnation, records: records[from..from + count].to_vec() }
    }
}

impl Source for LogSource {
    fn partition(&self) -> Partition {
        self.partition
    }

    async fn restart(&mut self) -> Result<Start, SourceError> {
        self.world.pause().await;
        self.fail()?;
        self.check_owner()?;
        let world = self.world.lock();
        let log = &world.logs[&self.partition];
        let first = Commit { incarnation: log.lives[0].0, next: 0, intent: None };
        let start = log.committed.map_or(Start::Uncommitted(first), Start::Committed);
        let (Start::Committed(committed) | Start::Uncommitted(committed)) = start;
        let life = log.lives.iter().position(|(incarnation, _)| *incarnation == committed.incarnation);
        self.at = (life.expect("an incarnation does not go away here"), committed.next);
        Ok(start)
    }

    async fn read(&mut self, records_max: usize, _wait: Duration) -> Result<Chunk, SourceError> {
        self.world.pause().await;
        self.fail()?;
        Ok(self.take(records_max))
    }

    async fn first_behind(&mut self, _stored: &[(Incarnation, u64)]) -> Result<Commit, SourceError> {
        unreachable!("nothing is lost here")
    }

    fn time_of(&self, _incarnation: Incarnation) -> UnixMs {
        UnixMs(0)
    }

    async fn commit(&mut self, commit: &Commit) -> Result<(), SourceError> {
        self.world.pause().await;
        self.fail()?;
        self.check_owner()?;
        {
            let mut world = self.world.lock();
            let commit = match (world.sabotage, commit.intent) {
                (Sabotage::CommitBeforeInsert, Some(end)) => Commit { next: end, intent: None, ..*commit },
                _ => *commit,
            };
            world.logs.get_mut(&self.partition).expect("it exists").committed = Some(commit);
        }
        self.world.pause().await;
        self.fail()
    }
}
