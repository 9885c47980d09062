//! One worker's part of the ledger.

use crate::ledger::{ClickEntry, Entry, EventEntry, Ledger, SendEntry};
use std::sync::mpsc::SyncSender;

/// Entries that are handed to the file at a time.
const BLOCK: usize = 512;

/// What a worker has written down.
#[derive(Debug, Default)]
pub(super) struct Book {
    clicks: Vec<ClickEntry>,
    events: Vec<EventEntry>,
    sends: Vec<SendEntry>,
    file: Option<SyncSender<Vec<Entry>>>,
    block: Vec<Entry>,
}

impl Book {
    pub fn new(file: Option<SyncSender<Vec<Entry>>>) -> Book {
        Book { file, ..Book::default() }
    }

    pub fn click(&mut self, click: ClickEntry) {
        self.clicks.push(click);
        self.note(|| Entry::Click(click));
    }

    pub fn event(&mut self, event: EventEntry) {
        self.note(|| Entry::Event(Box::new(event.clone())));
        self.events.push(event);
    }

    pub fn send(&mut self, send: SendEntry) {
        self.sends.push(send);
        self.note(|| Entry::Send(send));
    }

    fn note(&mut self, entry: impl FnOnce() -> Entry) {
        if self.file.is_some() {
            self.block.push(entry());
            if self.block.len() >= BLOCK {
                self.flush();
            }
        }
    }

    /// Hands what is written to the file. Waits where the disk is behind: late starts will show it.
    pub fn flush(&mut self) {
        if let Some(file) = &self.file
            && !self.block.is_empty()
        {
            // A writer that has failed says so when the file is finished.
            let _sent = file.send(std::mem::take(&mut self.block));
        }
    }

    pub fn add_to(self, ledger: &mut Ledger) {
        ledger.clicks.extend(self.clicks);
        ledger.events.extend(self.events);
        ledger.sends.extend(self.sends);
    }
}
