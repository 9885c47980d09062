//! The ledger as a file: a header line, then one JSON line an entry, in the order in which answers came.
//!
//! Lines are appended by one thread, so that no worker waits for a disk. A run that is killed leaves a
//! file that reads up to its last whole line and says that it is incomplete.

use super::{Entry, FORMAT, Header, Ledger};
use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, BufWriter, Write as _},
    path::Path,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::JoinHandle,
};

/// Why a ledger cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file system said no.
    #[error("cannot use the ledger file")]
    Io(#[from] io::Error),
    /// A line is not an entry.
    #[error("line {line} of the ledger is not an entry")]
    Line {
        /// Counted from 1.
        line: u64,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// An entry cannot be written down.
    #[error("cannot write down an entry")]
    Encode(#[source] serde_json::Error),
    /// Written by another version.
    #[error("the ledger has format {0}, this build reads {FORMAT}")]
    Format(u32),
    /// Not even a header.
    #[error("the ledger is empty")]
    Empty,
    /// The writing thread is gone.
    #[error("the ledger's writer has stopped")]
    Stopped,
}

/// Blocks of entries that may wait for the disk; then workers wait, and their late starts show it.
const BLOCKS_MAX: usize = 1024;

/// A ledger file being written.
#[derive(Debug)]
pub struct LedgerFile {
    blocks: SyncSender<Vec<Entry>>,
    writer: JoinHandle<Result<(), FileError>>,
}

impl LedgerFile {
    /// Starts a file with this header; an old one is replaced.
    pub fn create(path: &Path, header: &Header) -> Result<LedgerFile, FileError> {
        let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
        line(&mut out, header)?;
        out.flush()?;
        let (blocks, waiting) = sync_channel(BLOCKS_MAX);
        let writer = std::thread::Builder::new()
            .name("ledger".into())
            .spawn(move || write_blocks(&mut out, &waiting))?;
        Ok(LedgerFile { blocks, writer })
    }

    /// A handle that workers append with.
    #[must_use]
    pub fn appender(&self) -> SyncSender<Vec<Entry>> {
        self.blocks.clone()
    }

    /// Writes the last line and waits until all is in the file. Appenders must be gone by then.
    pub fn finish(self) -> Result<(), FileError> {
        let Self { blocks, writer } = self;
        // A writer that has stopped says why when it is joined.
        let _sent = blocks.send(vec![Entry::End]);
        drop(blocks);
        writer.join().map_err(|_| FileError::Stopped)?
    }
}

fn write_blocks(out: &mut BufWriter<File>, waiting: &Receiver<Vec<Entry>>) -> Result<(), FileError> {
    while let Ok(block) = waiting.recv() {
        for entry in &block {
            line(out, entry)?;
        }
        out.flush()?;
    }
    Ok(())
}

fn line<T: serde::Serialize>(out: &mut BufWriter<File>, value: &T) -> Result<(), FileError> {
    serde_json::to_writer(&mut *out, value).map_err(FileError::Encode)?;
    Ok(out.write_all(b"\n")?)
}

/// Reads a ledger file. A last line without its end is passed over; any other damage is an error.
pub fn read(path: &Path) -> Result<Ledger, FileError> {
    let mut input = BufReader::with_capacity(1 << 20, File::open(path)?);
    let mut text = String::new();
    if input.read_line(&mut text)? == 0 {
        return Err(FileError::Empty);
    }
    let header: Header = serde_json::from_str(&text).map_err(|source| FileError::Line { line: 1, source })?;
    if header.format != FORMAT {
        return Err(FileError::Format(header.format));
    }
    let mut ledger = Ledger::new(header);
    for number in 2u64.. {
        text.clear();
        if input.read_line(&mut text)? == 0 || !text.ends_with('\n') {
            break;
        }
        let entry = serde_json::from_str(&text).map_err(|source| FileError::Line { line: number, source })?;
        ledger.push(entry);
    }
    Ok(ledger)
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Body, Class, ClickEntry, ClickOutcome, EventEntry, Id, Money, Reply, SendEntry, Subject},
        *,
    };
    use crate::world::{World, WorldSize};

    fn header() -> Header {
        let size = WorldSize { programs: 1, referrers: 2, links: 3, channels: 2 };
        let world = World::generate(1, "t", "go.example", size);
        Header { format: FORMAT, seed: 1, started_at_ms: 1_700_000_000_000, world }
    }

    fn entries() -> Vec<Entry> {
        let click = ClickEntry {
            link: 1,
            channel: 0,
            class: Class::Preview,
            sent_at_ms: 1_700_000_000_001,
            took_ms: 3,
            status: 302,
            outcome: ClickOutcome::Redirected(Id(7)),
        };
        let event = EventEntry {
            number: 1,
            program: 0,
            key: "k".into(),
            occurred_at_ms: 5,
            subject: Subject { lead: Some("l".into()), email: None },
            body: Body::Qualification {
                name: "purchase".into(),
                value: Some(Money { minor: 1, currency: "EUR".into() }),
                payment: None,
            },
            refusal: None,
        };
        let send = SendEntry { number: 1, status: 202, reply: Reply::Accepted(Id(9)) };
        vec![Entry::Click(click), Entry::Event(Box::new(event)), Entry::Send(send)]
    }

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger");
        let file = LedgerFile::create(&path, &header()).unwrap();
        file.appender().send(entries()).unwrap();
        file.finish().unwrap();
        let ledger = read(&path).unwrap();
        let mut expected = Ledger::new(header());
        entries().into_iter().for_each(|entry| expected.push(entry));
        expected.push(Entry::End);
        assert_eq!(ledger, expected);
    }

    #[test]
    fn a_torn_last_line_is_an_incomplete_ledger_and_other_damage_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger");
        let file = LedgerFile::create(&path, &header()).unwrap();
        file.appender().send(entries()).unwrap();
        file.finish().unwrap();
        let whole = std::fs::read_to_string(&path).unwrap();
        let torn = whole.strip_suffix("\"end\"\n").unwrap().trim_end();
        std::fs::write(&path, torn).unwrap();
        let ledger = read(&path).unwrap();
        assert!(!ledger.is_complete);
        assert_eq!((ledger.clicks.len(), ledger.events.len(), ledger.sends.len()), (1, 1, 0));
        std::fs::write(&path, whole.replace("preview", "x")).unwrap();
        assert!(matches!(read(&path), Err(FileError::Line { line: 2, .. })));
    }
}
