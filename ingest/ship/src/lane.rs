//! One journal on its way to one topic: reading, keying, and what has arrived.
//!
//! A lane decides what is sent and what is settled; it does not know how things are sent. The sender is
//! passed in, so tests run a lane without Kafka.

mod refusal;

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use whence_runtime::seldom;

use rdkafka::error::RDKafkaErrorCode;
use whence_journal::{Checkpoint, Payload, Position, ReadError, Reader, Record, Stored, retire};
use whence_schemas::topics::Stream;

use super::ShipError;
use super::claim::Claim;
use super::config::{JournalSource, ShipConfig};
use super::fields::Fields;
use super::lane_metrics::LaneMetrics;
use super::producer::SendError;
use super::refused;
use super::window::{Admission, Bounds, End, Ticket, Window};

/// The checkpoint's file in the journal's directory.
pub(super) const CHECKPOINT: &str = "shipper.checkpoint";

/// Read and sent at once, so that no journal keeps the others waiting.
const BATCH_RECORDS: usize = 2048;
const BATCH_BYTES: usize = 1 << 20;

/// A read that finds nothing lists the directory: not more often than this.
const EMPTY_PAUSE: Duration = Duration::from_millis(20);
/// After an error that trying again at once would only repeat.
const ERROR_PAUSE: Duration = Duration::from_millis(500);

/// How a turn went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// There is more to send, and room for it.
    More,
    /// Nothing can be done before records or reports come, or a pause is over.
    Idle,
    /// The client can go on no more.
    Fatal,
}

/// How many records of a journal Kafka has, of all that precede the shipper's checkpoint, in all its incarnations. Those of
/// which nobody knows that they arrived and that were sent again count once; those before a damaged checkpoint do not.
#[must_use]
pub fn shipped(checkpoint: &Checkpoint) -> u64 {
    checkpoint.note[..].try_into().map_or(0, u64::from_le_bytes)
}

pub(super) struct Lane {
    dir: PathBuf,
    stream: Stream,
    topic: String,
    reader: Reader,
    window: Window,
    /// Read and not sent yet.
    read: VecDeque<Record>,
    batch: Vec<Record>,
    /// What the checkpoint on disk says.
    saved: Option<Position>,
    is_caught_up: bool,
    /// The journal has been read: the checkpoint is not of another one.
    is_confirmed: bool,
    paused_until: Option<Instant>,
    /// Refused for good and not kept yet: some of what is open in the window.
    refused: VecDeque<Ticket>,
    keep_again_at: Option<Instant>,
    metrics: LaneMetrics,
    _claim: Claim,
}

impl Lane {
    /// Takes up a journal where its checkpoint says.
    ///
    /// A damaged checkpoint is as good as none: everything still in the journal is sent again.
    pub(super) fn open(source: JournalSource, config: &ShipConfig) -> Result<Lane, ShipError> {
        let JournalSource { dir, stream } = source;
        let Some(claim) = Claim::take(&dir)? else { return Err(ShipError::Claimed(dir)) };
        let metrics = LaneMetrics::of(&dir);
        let checkpoint = match Checkpoint::load(&dir.join(CHECKPOINT))? {
            Stored::Intact(checkpoint) => Some(checkpoint),
            Stored::Absent => None,
            Stored::Damaged => {
                metrics.damaged_checkpoints.increment(1);
                tracing::error!(dir = %dir.display(), "checkpoint is damaged, shipping all that the journal holds");
                None
            }
        };
        let arrived = checkpoint.as_ref().map_or(0, shipped);
        let checkpoint = checkpoint.map(|checkpoint| checkpoint.position);
        let bounds = Bounds {
            records_max: config.records_in_flight_max.max(1),
            bytes_max: config.bytes_in_flight_max.max(1),
        };
        Ok(Lane {
            reader: Reader::open(&dir, checkpoint),
            window: Window::new(bounds, checkpoint, arrived),
            topic: config.cluster.topic(stream.topic()),
            dir,
            stream,
            read: VecDeque::new(),
            batch: Vec::new(),
            saved: checkpoint,
            is_caught_up: false,
            is_confirmed: false,
            paused_until: None,
            refused: VecDeque::new(),
            keep_again_at: None,
            metrics,
            _claim: claim,
        })
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn topic(&self) -> &str {
        &self.topic
    }

    pub(super) fn window(&self) -> &Window {
        &self.window
    }

    /// Everything the journal held at the last read has arrived. Ask [`Self::recheck`] first to know of
    /// now.
    pub(super) fn is_drained(&self) -> bool {
        self.is_caught_up && self.read.is_empty() && self.window.open_records() == 0
    }

    /// Makes the next turn look at the journal again, whatever was found before.
    pub(super) fn recheck(&mut self) {
        self.is_caught_up = false;
        self.paused_until = None;
    }

    /// Sends what there is, at most one batch.
    pub(super) fn turn(
        &mut self,
        now: Instant,
        mut send: impl FnMut(&str, Option<&[u8]>, &[u8], Ticket) -> Result<(), SendError>,
    ) -> Turn {
        if self.paused_until.is_some_and(|until| now < until) || !self.window.has_room() {
            return Turn::Idle;
        }
        self.paused_until = None;
        if self.read.is_empty() && !self.read_on(now) {
            return Turn::Idle;
        }
        let mut sent = 0;
        let turn = loop {
            let Some(record) = self.read.pop_front() else {
                break if self.is_caught_up { Turn::Idle } else { Turn::More };
            };
            if !self.window.has_room() {
                self.read.push_front(record);
                break Turn::Idle;
            }
            match self.send(&record, now, &mut send) {
                Ok(()) => sent += 1,
                Err(error) => {
                    self.read.push_front(record);
                    break self.held_up(error, now);
                }
            }
        };
        self.metrics.sent.increment(sent);
        turn
    }

    /// Sends one record, or passes over it. After an error it is as if it had not been read.
    fn send(
        &mut self,
        record: &Record,
        now: Instant,
        send: &mut impl FnMut(&str, Option<&[u8]>, &[u8], Ticket) -> Result<(), SendError>,
    ) -> Result<(), SendError> {
        let payload = match &record.payload {
            Payload::Intact(payload) => payload,
            Payload::Corrupt { count } => {
                self.pass_over_corrupt(record, *count);
                return Ok(());
            }
        };
        let fields = Fields::of(self.stream, payload);
        let (ticket, is_resend) =
            match self.window.admit(record.position, payload.len(), fields.received_at_ms) {
                Admission::Send(ticket) => (ticket, false),
                Admission::Resend(ticket) => (ticket, true),
                Admission::Settled => return Ok(()),
            };
        match send(&self.topic, fields.key, payload, ticket) {
            Ok(()) => {
                if is_resend {
                    self.metrics.resent.increment(1);
                } else if fields.key.is_none() {
                    self.metrics.unkeyed.increment(1);
                }
                Ok(())
            }
            Err(SendError::Refused(code)) => {
                self.give_up(ticket, code, now);
                Ok(())
            }
            Err(error) => {
                self.window.retract();
                Err(error)
            }
        }
    }

    fn held_up(&mut self, error: SendError, now: Instant) -> Turn {
        match error {
            SendError::Fatal => Turn::Fatal,
            // Reports make room; the loop waits for them.
            SendError::QueueFull => {
                self.metrics.queue_full.increment(1);
                Turn::Idle
            }
            SendError::Refused(code) | SendError::Later(code) => {
                self.metrics.failed(code, 1);
                seldom!(warn, topic = self.topic, %code, "kafka client takes no records for the topic, trying on");
                self.paused_until = Some(now + ERROR_PAUSE);
                Turn::Idle
            }
        }
    }

    /// Corrupt records were counted by the journal's reader; what is left to do is to say where.
    fn pass_over_corrupt(&mut self, record: &Record, count: u64) {
        if !self.window.was_sent(record.position) {
            self.metrics.corrupt.increment(count);
            tracing::error!(
                journal = %self.dir.display(), position = %record.position, records = count,
                "corrupt journal records cannot be shipped"
            );
        }
        self.window.skip_to(record.next());
    }

    /// A record has arrived.
    pub(super) fn acknowledge(&mut self, ticket: Ticket) {
        if self.window.settle(ticket, End::Arrived) {
            self.metrics.acknowledged.increment(1);
        }
    }

    /// A sending failed; it will be made again.
    pub(super) fn failed(&self, code: RDKafkaErrorCode) {
        self.metrics.failed(code, 1);
    }

    /// Starts again behind what has arrived in one piece. The sendings so far mean nothing any more.
    pub(super) fn rewind(&mut self) {
        self.read.clear();
        self.is_caught_up = false;
        self.paused_until = None;
        // Kafka is asked once more.
        self.refused.clear();
        self.keep_again_at = None;
        match self.window.rewind() {
            Some(watermark) => self.reader.seek(watermark),
            None => self.reader = Reader::open(&self.dir, None),
        }
    }

    /// Reads the next batch. `false` if there is nothing to send.
    fn read_on(&mut self, now: Instant) -> bool {
        let outcome = self.reader.read(BATCH_RECORDS, BATCH_BYTES, &mut self.batch);
        self.read.extend(self.batch.drain(..));
        match outcome {
            Ok(outcome) => {
                self.is_caught_up = outcome.caught_up;
                self.is_confirmed = outcome.next.is_some();
                self.follow(outcome.next);
                if self.read.is_empty() && outcome.caught_up {
                    self.paused_until = Some(now + EMPTY_PAUSE);
                }
            }
            Err(error) => self.unreadable(&error, now),
        }
        !self.read.is_empty()
    }

    /// When all of an incarnation was read and nothing has come in a later one, the window goes there:
    /// otherwise the earlier one's last segment would stay until something comes.
    fn follow(&mut self, next: Option<Position>) {
        if let (Some(next), Some(read_to), true) = (next, self.window.read_to(), self.read.is_empty())
            && read_to.incarnation < next.incarnation
        {
            self.window.skip_to(next);
        }
    }

    /// What to do about a journal that cannot be read on: go on behind what is gone, or try later.
    fn unreadable(&mut self, error: &ReadError, now: Instant) {
        self.is_caught_up = false;
        match error {
            ReadError::Removed { wanted, first } => {
                let lost = (wanted.incarnation == first.incarnation).then(|| first.offset - wanted.offset);
                self.metrics.lost(lost);
                tracing::error!(
                    journal = %self.dir.display(), %wanted, %first, records = lost,
                    "journal segments were removed before they were shipped, their records are lost"
                );
                self.window.skip_to(*first);
                self.reader.seek(*first);
            }
            ReadError::Unknown { wanted, newest } => {
                self.metrics.lost(None);
                tracing::error!(
                    journal = %self.dir.display(), %wanted, %newest,
                    "the checkpoint belongs to another journal, shipping all that this one holds"
                );
                self.window.restart();
                self.reader = Reader::open(&self.dir, None);
                self.saved = None;
            }
            ReadError::Version { .. } | ReadError::Io(_) => {
                self.metrics.read_failures.increment(1);
                seldom!(error, journal = %self.dir.display(), %error, "cannot read the journal, trying on");
                self.paused_until = Some(now + ERROR_PAUSE);
            }
        }
    }

    /// Puts the watermark on disk if it has moved.
    pub(super) fn save_checkpoint(&mut self) {
        let Some(position) = self.window.watermark().filter(|_| self.window.watermark() != self.saved) else {
            return;
        };
        let note = self.window.arrived().to_le_bytes().to_vec();
        let checkpoint = Checkpoint { position, intent: None, note };
        match checkpoint.save(&self.dir.join(CHECKPOINT)) {
            Ok(()) => self.saved = Some(position),
            Err(error) => {
                // The watermark stays what it is: the next interval tries again.
                self.metrics.checkpoint_failures.increment(1);
                seldom!(error, journal = %self.dir.display(), %error, "cannot save the checkpoint");
            }
        }
    }

    /// Removes segments that the checkpoint on disk has passed and that are old enough.
    pub(super) fn retire_segments(&self, grace: Duration) {
        // By the checkpoint of another journal, all of this one could look read.
        let Some(through) = self.saved.filter(|_| self.is_confirmed) else { return };
        match retire(&self.dir, through, grace) {
            Ok(retired) => self.metrics.retired.increment(retired.segments),
            Err(error) => seldom!(warn, journal = %self.dir.display(), %error, "cannot remove old segments"),
        }
        if let Err(error) = refused::forget(&self.dir, refused::KEPT_FOR) {
            seldom!(warn, journal = %self.dir.display(), %error, "cannot remove old refused records");
        }
    }

    /// Bytes that have not arrived: unread ones with their framing, and those on their way.
    pub(super) fn lag_bytes(&self) -> io::Result<u64> {
        let read: usize = self
            .read
            .iter()
            .map(|record| match &record.payload {
                Payload::Intact(payload) => payload.len(),
                Payload::Corrupt { .. } => 0,
            })
            .sum();
        Ok(self.reader.lag_bytes()? + (read + self.window.open_bytes()) as u64)
    }

    /// Age of the oldest record that was read and has not arrived; 0 without one, or if it does not say.
    pub(super) fn oldest_age_ms(&self, now_ms: i64) -> u64 {
        let born = self.window.oldest_born_at_ms().filter(|born| *born > 0);
        born.map_or(0, |born| u64::try_from(now_ms - born).unwrap_or(0))
    }

    /// Writes the gauges, and returns the lag in bytes if the journal can be read.
    pub(super) fn observe(&self, now_ms: i64) -> Option<u64> {
        self.metrics.in_flight_records.set(self.window.open_records() as f64);
        self.metrics.in_flight_bytes.set(self.window.open_bytes() as f64);
        self.metrics.oldest_age.set(self.oldest_age_ms(now_ms) as f64 / 1000.0);
        let lag = self.lag_bytes().ok()?;
        self.metrics.lag_bytes.set(lag as f64);
        Some(lag)
    }
}
