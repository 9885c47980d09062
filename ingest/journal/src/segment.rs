//! A segment being written: allocated blank, activated, filled by one writer, sealed.
//!
//! The writer owns the bytes behind the header page; everyone else (the thread that syncs, the
//! thread that trims) shares only the descriptor and the words of the header page.
//!
//! **Why a reader never sees half a record.** A record's bytes are stored first, then the tail word
//! that counts it, with release ordering. A reader loads the tail word first, then the bytes, with
//! an acquire fence between, and looks at no record the word does not count. Both go through the page
//! cache, which is one memory for the mapping and for `pread` in any process, so this holds between
//! processes as between threads. And since stores already made stay when a process is killed, it
//! holds for a dead writer too; only after a power cut may the word be older or newer than the bytes,
//! which is why every record has its own checksum.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::directory::BLANK;
use crate::disk::Disk;
use crate::frame::{Checksum, FRAME_HEADER_BYTES, complete_frame, frame_bytes};
use crate::layout::{
    HEADER_BYTES, HEADER_FIELDS_BYTES, SegmentHeader, SegmentName, TAIL_AT, Tail, TailCodec, USED_AT,
};
use crate::mapping::Mapping;

/// An open file without bytes, for a segment to come: whatever happens to the process's descriptors until
/// then, that segment has its own.
#[derive(Debug)]
pub(crate) struct Held {
    dir: PathBuf,
    name: &'static str,
    file: File,
}

impl Held {
    /// Opens it by this name. It is in nobody's way: it takes no disk and is not part of the log.
    pub(crate) fn open(dir: &Path, name: &'static str) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(true).open(dir.join(name))?;
        Ok(Held { dir: dir.to_owned(), name, file })
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Allocates and maps `bytes` (a multiple of the page), and faults its pages in if told to. What a
    /// failed try took of the disk is given back, and so is the file.
    pub(crate) fn fill(
        self,
        bytes: usize,
        prefault: bool,
        disk: &dyn Disk,
    ) -> Result<Blank, (io::Error, Option<Self>)> {
        let (held, path) = (self.dir.join(self.name), self.dir.join(BLANK));
        let filled = fs::rename(&held, &path).and_then(|()| {
            disk.allocate(&self.file, bytes as u64)?;
            let mapping = Mapping::new(&self.file, bytes)?;
            if prefault {
                mapping.prefault()?;
            }
            Ok(mapping)
        });
        match filled {
            Ok(mapping) => Ok(Blank { path, file: self.file, mapping }),
            Err(error) => {
                let given_back = self.file.set_len(0).and_then(|()| fs::rename(&path, &held));
                Err((error, given_back.ok().map(|()| self)))
            }
        }
    }
}

/// A file of a segment's size that is not part of the log yet.
#[derive(Debug)]
pub(crate) struct Blank {
    path: PathBuf,
    file: File,
    mapping: Mapping,
}

impl Blank {
    /// Writes the header and gives the file its name: from here on readers see it.
    ///
    /// The header comes first, so a segment with a name has a header, whenever the process dies.
    pub(crate) fn activate(self, header: &SegmentHeader) -> io::Result<Active> {
        let name = header.name;
        let tail = TailCodec::of(name);
        // SAFETY: nobody else has this mapping yet, and the slice ends with the statement.
        unsafe { self.mapping.bytes_mut(0, HEADER_FIELDS_BYTES) }.copy_from_slice(&header.encode());
        let segment = Segment { name, tail, file: self.file, mapping: self.mapping };
        segment.publish(Tail { records: 0, sealed: false }, HEADER_BYTES);
        fs::rename(&self.path, self.path.with_file_name(name.file_name()))?;
        Ok(Active {
            segment: Arc::new(segment),
            checksum: Checksum::of(name.incarnation),
            used: HEADER_BYTES,
            records: 0,
        })
    }
}

/// The shared face of a segment: its identity, its descriptor, its tail.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) name: SegmentName,
    tail: TailCodec,
    mapping: Mapping,
    /// Dropped last: so whoever needs its descriptor does not wait for the unmapping.
    file: File,
}

impl Segment {
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Lets readers see `tail.records` records, which end at byte `used`.
    pub(crate) fn publish(&self, tail: Tail, used: usize) {
        self.mapping.atomic(USED_AT).store((used as u64).to_le(), Ordering::Relaxed);
        let word = self.tail.encode(tail).to_le();
        self.mapping.atomic(TAIL_AT).store(word, Ordering::Release);
    }
}

/// What a writer left behind in one segment.
#[derive(Debug, Clone)]
pub(crate) struct Extent {
    pub(crate) segment: Arc<Segment>,
    pub(crate) records: u32,
    pub(crate) used: usize,
}

impl Extent {
    /// Lets readers see everything, and tells them whether more will come.
    pub(crate) fn publish(&self, sealed: bool) {
        self.segment.publish(Tail { records: self.records, sealed }, self.used);
    }

    /// Gives back the disk space behind the last record, which also stamps the file's time.
    ///
    /// From here on the mapping ends at the header page for all anyone may touch: the writer is
    /// done with the bytes, and the header page stays in the file.
    pub(crate) fn truncate(&self) -> io::Result<()> {
        self.segment.file.set_len(self.used as u64)
    }
}

/// The segment a writer appends to. There is one per segment and it cannot be cloned, which is what
/// makes its access to the bytes exclusive.
#[derive(Debug)]
pub(crate) struct Active {
    segment: Arc<Segment>,
    checksum: Checksum,
    used: usize,
    records: u32,
}

impl Active {
    pub(crate) fn next_offset(&self) -> u64 {
        self.segment.name.base + u64::from(self.records)
    }

    pub(crate) fn has_room_for(&self, len: usize) -> bool {
        let left = self.segment.mapping.len() - self.used;
        // The first comparison keeps the second from overflowing.
        len < left && frame_bytes(len) <= left
    }

    pub(crate) fn is_half_full(&self) -> bool {
        self.used >= self.segment.mapping.len() / 2
    }

    /// Appends a record of `len` bytes that `fill` writes in place, and returns its offset. The
    /// caller has checked [`Self::has_room_for`]. Readers do not see the record yet.
    pub(crate) fn append(&mut self, len: usize, fill: impl FnOnce(&mut [u8])) -> u64 {
        let bytes = frame_bytes(len);
        // SAFETY: these bytes lie behind the header page and behind every record completed so far;
        // `&mut self` on the only `Active` of this mapping makes the slice the only one.
        let frame = unsafe { self.segment.mapping.bytes_mut(self.used, bytes) };
        fill(&mut frame[FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + len]);
        let offset = self.next_offset();
        complete_frame(frame, len, offset, self.checksum);
        self.used += bytes;
        self.records += 1;
        offset
    }

    /// Lets readers see everything appended so far.
    pub(crate) fn publish(&self) {
        self.segment.publish(Tail { records: self.records, sealed: false }, self.used);
    }

    /// What stands in the segment now.
    pub(crate) fn extent(&self) -> Extent {
        Extent { segment: Arc::clone(&self.segment), records: self.records, used: self.used }
    }
}
