//! The truth ledger: every request that was sent and what was answered, and nothing that was read back.
//!
//! Kept in memory in compact rows and, where asked, in a file ([`LedgerFile`]) that a later check reads.

mod entry;
mod file;

pub use entry::{
    Body, Class, ClickEntry, ClickOutcome, Entry, EventEntry, Id, Money, Named, Reply, SendEntry, Subject,
    Touch,
};
pub use file::{FileError, LedgerFile, read};

use crate::world::World;
use serde::{Deserialize, Serialize};

/// What a ledger starts with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Version of the format, [`FORMAT`].
    pub format: u32,
    /// Seed of world and mix.
    pub seed: u64,
    /// Unix milliseconds at the start.
    pub started_at_ms: i64,
    /// What was set up.
    pub world: World,
}

/// The version of the ledger's format that this build writes and reads.
pub const FORMAT: u32 = 2;

/// All that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Ledger {
    /// What was set up.
    pub header: Header,
    /// Every redirect asked for.
    pub clicks: Vec<ClickEntry>,
    /// Every event composed, sent or not.
    pub events: Vec<EventEntry>,
    /// Every time an event was sent.
    pub sends: Vec<SendEntry>,
    /// Whether the run came to its end; otherwise requests may have been sent that are not listed.
    pub is_complete: bool,
}

impl Ledger {
    /// A ledger in which nothing has happened.
    #[must_use]
    pub fn new(header: Header) -> Ledger {
        Ledger { header, clicks: Vec::new(), events: Vec::new(), sends: Vec::new(), is_complete: false }
    }

    /// Adds one entry.
    pub fn push(&mut self, entry: Entry) {
        match entry {
            Entry::Click(click) => self.clicks.push(click),
            Entry::Event(event) => self.events.push(*event),
            Entry::Send(send) => self.sends.push(send),
            Entry::End => self.is_complete = true,
        }
    }
}
