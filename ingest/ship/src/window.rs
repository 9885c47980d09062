//! Which records of one journal are on their way, and how far all of them have arrived.
//!
//! A window spans the records between the watermark (everything below it is settled, so it may be
//! stored as the checkpoint) and the last record read. Acknowledgements come in any order; the
//! watermark moves over a contiguous run only. After an error the window is rewound: reading starts
//! again at the watermark, and of what is read again only the records that were not settled are sent.
//!
//! Pure: knows no files, no Kafka, no clock. It never sees a record, only its position and size.

use std::collections::VecDeque;

use whence_journal::Position;

/// How much may be between the watermark and the last record read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Records, settled ones above the watermark included.
    pub records_max: usize,
    /// Bytes of the records that are not settled. One record always fits an empty window.
    pub bytes_max: usize,
}

/// Names one sending of one record. Never used twice, also not after a rewind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What to do with a record that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Send it, and settle the ticket when it has arrived.
    Send(Ticket),
    /// As `Send`; it was sent before, and what became of that is not known.
    Resend(Ticket),
    /// It arrived before a rewind.
    Settled,
}

/// How a record ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Kafka has it.
    Arrived,
    /// Kafka takes it never; it was kept elsewhere.
    Refused,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    /// Where reading goes on behind this record.
    next: Position,
    born_at_ms: i64,
    bytes: u32,
    is_settled: bool,
    has_arrived: bool,
}

/// The window of one journal.
#[derive(Debug)]
pub struct Window {
    bounds: Bounds,
    watermark: Option<Position>,
    /// Ticket of the first slot.
    first: u64,
    slots: VecDeque<Slot>,
    /// Ends of the records that were settled before a rewind and have not been read again: ascending,
    /// all behind the slots.
    settled: VecDeque<(Position, bool)>,
    /// Records below the watermark that have arrived, since the count began.
    arrived: u64,
    /// End of the furthest record that was ever sent.
    sent_to: Option<Position>,
    /// `sent_to` as it was before the last admission.
    sent_to_before: Option<Position>,
    open_records: usize,
    open_bytes: usize,
    /// The oldest record's birth before a rewind, until reading goes on.
    born_before_rewind: Option<i64>,
}

impl Window {
    /// An empty window; everything below `checkpoint` is settled, and of that so many records have arrived.
    #[must_use]
    pub fn new(bounds: Bounds, checkpoint: Option<Position>, arrived: u64) -> Self {
        Window {
            bounds,
            watermark: checkpoint,
            first: 0,
            slots: VecDeque::new(),
            settled: VecDeque::new(),
            arrived,
            sent_to: None,
            sent_to_before: None,
            open_records: 0,
            open_bytes: 0,
            born_before_rewind: None,
        }
    }

    /// Everything below has arrived (or was refused or lost, and counted). `None`: nothing has.
    #[must_use]
    pub fn watermark(&self) -> Option<Position> {
        self.watermark
    }

    /// How many records below the watermark have arrived, those included that the window began with.
    #[must_use]
    pub fn arrived(&self) -> u64 {
        self.arrived
    }

    /// End of the furthest record that was ever sent.
    #[must_use]
    pub fn sent_to(&self) -> Option<Position> {
        self.sent_to
    }

    /// Records that were sent and are not settled.
    #[must_use]
    pub fn open_records(&self) -> usize {
        self.open_records
    }

    /// Their bytes.
    #[must_use]
    pub fn open_bytes(&self) -> usize {
        self.open_bytes
    }

    /// When the oldest record that is not settled came into being, in milliseconds since the epoch.
    #[must_use]
    pub fn oldest_born_at_ms(&self) -> Option<i64> {
        self.slots.front().map(|slot| slot.born_at_ms).or(self.born_before_rewind)
    }

    /// Whether another record may be read.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.slots.len() < self.bounds.records_max && self.open_bytes < self.bounds.bytes_max
    }

    /// Whether the record at `at` was sent before the last rewind.
    #[must_use]
    pub fn was_sent(&self, at: Position) -> bool {
        self.sent_to.is_some_and(|sent_to| at < sent_to)
    }

    /// Takes in the record read at `at`. Records come in ascending order, from the watermark on.
    pub fn admit(&mut self, at: Position, bytes: usize, born_at_ms: i64) -> Admission {
        let next = at.plus(1);
        debug_assert!(self.slots.back().is_none_or(|last| last.next <= at), "records come in order");
        debug_assert!(self.watermark.is_none_or(|watermark| watermark <= at), "nothing settled is read");
        if let Some(has_arrived) = self.was_settled(next) {
            self.push(Slot { next, born_at_ms, bytes: 0, is_settled: true, has_arrived });
            return Admission::Settled;
        }
        let is_resend = self.was_sent(at);
        let ticket = Ticket(self.first + self.slots.len() as u64);
        // A record is at most a segment (1 GiB), so its size always fits.
        let size = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.open_records += 1;
        self.open_bytes += size as usize;
        self.sent_to_before = self.sent_to;
        self.sent_to = self.sent_to.max(Some(next));
        self.push(Slot { next, born_at_ms, bytes: size, is_settled: false, has_arrived: false });
        if is_resend { Admission::Resend(ticket) } else { Admission::Send(ticket) }
    }

    /// Takes back the record admitted last, which could not be sent. It will be admitted again.
    pub fn retract(&mut self) {
        if let Some(slot) = self.slots.pop_back_if(|slot| !slot.is_settled) {
            self.open_records -= 1;
            self.open_bytes -= slot.bytes as usize;
            self.sent_to = self.sent_to_before;
        }
    }

    /// Passes over everything between the last record and `next`: there is nothing to send in it.
    pub fn skip_to(&mut self, next: Position) {
        self.push(Slot { next, born_at_ms: 0, bytes: 0, is_settled: true, has_arrived: false });
    }

    /// Where reading goes on behind the last record. `None`: nothing was read.
    #[must_use]
    pub fn read_to(&self) -> Option<Position> {
        self.slots.back().map(|slot| slot.next).or(self.watermark)
    }

    /// The record has ended. `false` if the ticket is settled already or of before a rewind.
    pub fn settle(&mut self, ticket: Ticket, end: End) -> bool {
        let Some(index) = ticket.0.checked_sub(self.first) else { return false };
        let slot = usize::try_from(index).ok().and_then(|index| self.slots.get_mut(index));
        let Some(slot) = slot.filter(|slot| !slot.is_settled) else { return false };
        slot.is_settled = true;
        slot.has_arrived = end == End::Arrived;
        self.open_records -= 1;
        self.open_bytes -= slot.bytes as usize;
        self.advance();
        true
    }

    /// Where the record of `ticket` stands, while it is not settled.
    #[must_use]
    pub fn position(&self, ticket: Ticket) -> Option<Position> {
        let index = usize::try_from(ticket.0.checked_sub(self.first)?).ok()?;
        let slot = self.slots.get(index).filter(|slot| !slot.is_settled)?;
        Some(Position { offset: slot.next.offset - 1, ..slot.next })
    }

    /// Forgets what is on its way. Reading goes on at the answer, the watermark; tickets given out so
    /// far mean nothing any more.
    pub fn rewind(&mut self) -> Option<Position> {
        let oldest = self.oldest_born_at_ms();
        self.first += self.slots.len() as u64;
        for slot in self.slots.drain(..).rev().filter(|slot| slot.is_settled) {
            self.settled.push_front((slot.next, slot.has_arrived));
        }
        self.open_records = 0;
        self.open_bytes = 0;
        self.born_before_rewind = oldest;
        self.watermark
    }

    /// Forgets everything: the journal was replaced by another.
    pub fn restart(&mut self) {
        self.rewind();
        self.settled.clear();
        self.watermark = None;
        self.sent_to = None;
    }

    /// Whether the record that ends there has arrived, if it was settled before a rewind.
    fn was_settled(&mut self, next: Position) -> Option<bool> {
        while self.settled.front().is_some_and(|(settled, _)| *settled < next) {
            self.settled.pop_front();
        }
        self.settled.pop_front_if(|(settled, _)| *settled == next).map(|(_, has_arrived)| has_arrived)
    }

    fn push(&mut self, slot: Slot) {
        self.born_before_rewind = None;
        self.slots.push_back(slot);
        self.advance();
    }

    fn advance(&mut self) {
        while let Some(slot) = self.slots.pop_front_if(|slot| slot.is_settled) {
            self.first += 1;
            self.watermark = Some(slot.next);
            self.arrived += u64::from(slot.has_arrived);
        }
    }
}
