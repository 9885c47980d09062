//! A journal of this machine as the [`Source`]: without Kafka the aggregator reads what the edge and
//! the events API wrote.
//!
//! The journal's incarnations follow each other; a commit is a checkpoint file, on disk when it returns.

use crate::{
    position::{Commit, Partition},
    source::{Chunk, Record, Source, SourceError, Start},
    sweep::{Outbox, OutboxError},
};
use bytes::Bytes;
use std::{path::PathBuf, sync::Weak, time::Duration};
use uuid::Uuid;
use whence_journal::{Checkpoint, GroupCommit, Payload, Position, ReadError, Reader, Stored};
use whence_schemas::{ids::Incarnation, time::UnixMs};

/// How long a read that found nothing waits before it looks again.
const POLL_EVERY: Duration = Duration::from_millis(10);
/// Bytes of one read.
const READ_BYTES_MAX: usize = 16 << 20;

/// Where a journal and the aggregator's place in it are.
#[derive(Clone, Debug)]
pub struct JournalSettings {
    /// The journal's directory.
    pub dir: PathBuf,
    /// The checkpoint's file.
    pub checkpoint: PathBuf,
    /// Which partition the journal counts as.
    pub partition: Partition,
    /// What is stored is kept at least this long before its segment is removed.
    pub grace: Duration,
    /// Goes on behind records that were removed before they were read, and gives those that can be counted as damaged.
    pub accept_loss: bool,
}

/// One journal.
pub struct JournalSource {
    settings: JournalSettings,
    reader: Reader,
    /// Records of one incarnation that were read but not taken yet.
    ahead: Vec<whence_journal::Record>,
    /// Behind the last record that was handed out.
    taken_to: Option<Position>,
    /// Where the checkpoint is, unless it intends a block.
    committed: Option<Position>,
    /// The end of what was stored last, of this incarnation or an earlier one.
    stored: Option<Position>,
    /// The segment-removing offset of the last removal, so that it is not tried at every commit.
    retired_at: Option<Position>,
}

impl JournalSource {
    /// A source over the journal, which need not exist yet.
    #[must_use]
    pub fn new(settings: JournalSettings) -> JournalSource {
        let reader = Reader::open(settings.dir.clone(), None);
        JournalSource {
            settings,
            reader,
            ahead: Vec::new(),
            taken_to: None,
            committed: None,
            stored: None,
            retired_at: None,
        }
    }

    /// What of the journal has not been read, in bytes.
    pub fn lag_bytes(&self) -> std::io::Result<u64> {
        self.reader.lag_bytes()
    }

    /// The oldest position there is, once there is one.
    async fn first(&mut self) -> Result<Position, SourceError> {
        loop {
            let mut records = Vec::new();
            read_on(&mut self.reader, (1, 1), self.settings.accept_loss, &mut records)?;
            if let Some(record) = records.first() {
                return Ok(record.position);
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
    }

    fn fill(&mut self, records_max: usize) -> Result<(), SourceError> {
        if self.ahead.is_empty() {
            let accept_loss = self.settings.accept_loss;
            read_on(&mut self.reader, (records_max, READ_BYTES_MAX), accept_loss, &mut self.ahead)?;
        }
        Ok(())
    }

    /// Records in hand as a chunk, at most `records_max` of them: a damaged range counts each of its
    /// record numbers, and may be left in part for the next chunk.
    fn take(&mut self, records_max: usize) -> Option<Chunk> {
        let incarnation = self.ahead.first()?.position.incarnation;
        let timestamp = opened_at(incarnation);
        let mut records = Vec::with_capacity(self.ahead.len().min(records_max));
        let mut left = Vec::new();
        for record in self.ahead.drain(..) {
            let position = record.position;
            if records.len() == records_max || position.incarnation != incarnation {
                left.push(record);
                continue;
            }
            let (count, payload) = match record.payload {
                Payload::Intact(bytes) => (1, Some(bytes)),
                Payload::Corrupt { count } => (count, None),
            };
            let room = (records_max - records.len()) as u64;
            records.extend((0..count.min(room)).map(|at| Record {
                offset: position.offset + at,
                timestamp,
                payload: payload.clone(),
            }));
            if count > room {
                let payload = Payload::Corrupt { count: count - room };
                left.push(whence_journal::Record { position: position.plus(room), payload });
            }
        }
        self.ahead = left;
        let next = records.last().expect("a record was ahead").offset + 1;
        self.taken_to = Some(Position { incarnation, offset: next });
        Some(Chunk { incarnation: Incarnation(Uuid::from_u128(incarnation.0)), records })
    }

    /// When all of an incarnation is committed and nothing has come in a later one, the checkpoint goes there:
    /// otherwise the earlier one's last segment would stay until something comes.
    fn follow(&mut self) -> Result<(), SourceError> {
        let (Some(committed), Some(position)) = (self.committed, self.reader.position()) else {
            return Ok(());
        };
        if self.taken_to != Some(committed) || position.incarnation <= committed.incarnation {
            return Ok(());
        }
        let checkpoint = Checkpoint { position, intent: None, note: self.note(position) };
        let saved = tokio::task::block_in_place(|| checkpoint.save(&self.settings.checkpoint));
        saved.map_err(io_failed)?;
        (self.taken_to, self.committed) = (Some(position), Some(position));
        Ok(())
    }

    /// What a checkpoint at this position has to remember besides.
    fn note(&self, position: Position) -> Vec<u8> {
        let before = self.stored.filter(|stored| stored.incarnation != position.incarnation);
        before.map_or_else(Vec::new, |stored| {
            [&stored.incarnation.0.to_le_bytes()[..], &stored.offset.to_le_bytes()].concat()
        })
    }

    fn retire(&mut self, through: Position) {
        const RECORDS_BETWEEN: u64 = 100_000;
        let is_due = self.retired_at.is_none_or(|at| {
            at.incarnation != through.incarnation || through.offset - at.offset >= RECORDS_BETWEEN
        });
        if !is_due {
            return;
        }
        self.retired_at = Some(through);
        match whence_journal::retire(&self.settings.dir, through, self.settings.grace) {
            Ok(retired) => {
                tracing::debug!(partition = %self.settings.partition, ?retired, "retired journal segments")
            }
            Err(error) => {
                tracing::warn!(partition = %self.settings.partition, %error, "could not remove journal segments");
            }
        }
    }
}

/// Reads; where records are gone and that is accepted, goes on behind them. Those that are known to have been there are
/// given as damaged: of the incarnation in which the journal goes on. How many more the one before had nobody knows.
fn read_on(
    reader: &mut Reader,
    (records_max, bytes_max): (usize, usize),
    accept_loss: bool,
    records: &mut Vec<whence_journal::Record>,
) -> Result<(), SourceError> {
    let error = match reader.read(records_max, bytes_max, records) {
        Ok(_) => return Ok(()),
        Err(error) => error,
    };
    let ReadError::Removed { wanted, first } = error else { return Err(failed(error)) };
    if !accept_loss {
        return Err(SourceError::Fatal(Box::new(Removed(error))));
    }
    tracing::warn!(%wanted, %first, "continuing after records that were removed before they were read");
    reader.seek(first);
    let from = if wanted.incarnation == first.incarnation { wanted.offset } else { 0 };
    if from < first.offset {
        let position = Position { incarnation: first.incarnation, offset: from };
        let payload = Payload::Corrupt { count: first.offset - from };
        records.push(whence_journal::Record { position, payload });
    }
    Ok(())
}

/// What checkpoints say to be stored: before their position, and of an earlier incarnation what they remember of it.
#[must_use]
pub fn stored(checkpoint: &Checkpoint) -> Vec<(Incarnation, u64)> {
    let at = checkpoint.position;
    before(checkpoint).into_iter().chain([at]).map(place).collect()
}

fn before(checkpoint: &Checkpoint) -> Option<Position> {
    let (incarnation, rest) = checkpoint.note.split_first_chunk()?;
    let offset = u64::from_le_bytes(rest.try_into().ok()?);
    Some(Position { incarnation: whence_journal::Incarnation(u128::from_le_bytes(*incarnation)), offset })
}

fn place(position: Position) -> (Incarnation, u64) {
    (Incarnation(Uuid::from_u128(position.incarnation.0)), position.offset)
}

/// Records carry no time of their own: where a payload's can't be read, the time at which its journal was
/// opened stands in, which depends on the position alone.
fn opened_at(incarnation: whence_journal::Incarnation) -> UnixMs {
    UnixMs((incarnation.0 >> 80) as i64)
}

fn failed(error: ReadError) -> SourceError {
    match error {
        error @ ReadError::Io(_) => SourceError::Retry(Box::new(error)),
        error => SourceError::Fatal(Box::new(error)),
    }
}

fn io_failed(error: std::io::Error) -> SourceError {
    SourceError::Retry(Box::new(error))
}

#[derive(Debug, thiserror::Error)]
#[error(
    "the checkpoint {0} is damaged: remove it, and start once with --resume-behind-stored to continue after what is stored"
)]
struct DamagedCheckpoint(PathBuf);

#[derive(Debug, thiserror::Error)]
#[error(
    "put the missing files back (from a backup: `whence restore --journals`); or start once with --accept-loss, which \
     goes on behind them"
)]
struct Removed(#[source] ReadError);

impl Source for JournalSource {
    fn partition(&self) -> Partition {
        self.settings.partition
    }

    async fn restart(&mut self) -> Result<Start, SourceError> {
        self.ahead.clear();
        self.stored = None;
        let start = match Checkpoint::load(&self.settings.checkpoint).map_err(io_failed)? {
            Stored::Intact(checkpoint) => {
                let at = checkpoint.position;
                self.stored = if at.offset > 0 { Some(at) } else { before(&checkpoint) };
                let (incarnation, next) = place(at);
                Start::Committed(Commit { incarnation, next, intent: checkpoint.intent })
            }
            Stored::Damaged => {
                let damaged = DamagedCheckpoint(self.settings.checkpoint.clone());
                return Err(SourceError::Fatal(Box::new(damaged)));
            }
            Stored::Absent => {
                self.reader = Reader::open(self.settings.dir.clone(), None);
                let first = self.first().await?;
                let incarnation = Incarnation(Uuid::from_u128(first.incarnation.0));
                Start::Uncommitted(Commit { incarnation, next: first.offset, intent: None })
            }
        };
        let (Start::Committed(commit) | Start::Uncommitted(commit)) = &start;
        let at = position(commit);
        self.reader.seek(at);
        self.taken_to = Some(at);
        self.committed = commit.intent.is_none().then_some(at);
        Ok(start)
    }

    async fn read(&mut self, records_max: usize, wait: Duration) -> Result<Chunk, SourceError> {
        let deadline = tokio::time::Instant::now() + wait;
        loop {
            self.fill(records_max)?;
            if let Some(chunk) = self.take(records_max) {
                return Ok(chunk);
            }
            self.follow()?;
            if tokio::time::Instant::now() >= deadline {
                return Ok(Chunk { incarnation: Incarnation(Uuid::nil()), records: Vec::new() });
            }
            tokio::time::sleep_until(deadline.min(tokio::time::Instant::now() + POLL_EVERY)).await;
        }
    }

    fn stored_before(&self) -> Option<(Incarnation, u64)> {
        let at = self.committed.or(self.taken_to)?;
        self.stored.filter(|stored| stored.incarnation != at.incarnation).map(place)
    }

    /// Incarnations follow each other: behind the newest that the account has there is nothing of it.
    async fn first_behind(&mut self, stored: &[(Incarnation, u64)]) -> Result<Commit, SourceError> {
        let newest = stored.iter().filter(|(_, end)| *end > 0).max_by_key(|(incarnation, _)| *incarnation);
        if let Some((incarnation, next)) = newest {
            return Ok(Commit { incarnation: *incarnation, next: *next, intent: None });
        }
        self.reader = Reader::open(self.settings.dir.clone(), None);
        self.ahead.clear();
        let (incarnation, next) = place(self.first().await?);
        Ok(Commit { incarnation, next, intent: None })
    }

    fn time_of(&self, incarnation: Incarnation) -> UnixMs {
        opened_at(whence_journal::Incarnation(incarnation.0.as_u128()))
    }

    async fn commit(&mut self, commit: &Commit) -> Result<(), SourceError> {
        let position = position(commit);
        if commit.intent.is_none() && position.offset > 0 {
            self.stored = Some(position);
        }
        let checkpoint = Checkpoint { position, intent: commit.intent, note: self.note(position) };
        tokio::task::block_in_place(|| {
            if let Some(end) = commit.intent {
                // Once it is intended, the block must be there to be replayed, also after a power cut.
                whence_journal::sync(&self.settings.dir, position, end)?;
            }
            checkpoint.save(&self.settings.checkpoint)
        })
        .map_err(io_failed)?;
        self.committed = commit.intent.is_none().then_some(position);
        if commit.intent.is_none() {
            self.retire(position);
        }
        Ok(())
    }
}

/// Timers go into the journal that is read here, by way of whoever writes it. Holds nothing open.
#[derive(Clone, Debug)]
pub struct JournalOutbox(pub Weak<GroupCommit>);

#[derive(Debug, thiserror::Error)]
#[error("the journal is closed")]
struct Closed;

impl Outbox for JournalOutbox {
    async fn send(&self, records: Vec<(String, Bytes)>) -> Result<(), OutboxError> {
        let payloads: Vec<&[u8]> = records.iter().map(|(_, payload)| &payload[..]).collect();
        let appended = self.0.upgrade().ok_or_else(|| OutboxError(Box::new(Closed)))?.append(&payloads);
        appended.await.map(drop).map_err(|error| OutboxError(Box::new(error)))
    }
}

fn position(commit: &Commit) -> Position {
    Position { incarnation: whence_journal::Incarnation(commit.incarnation.0.as_u128()), offset: commit.next }
}
