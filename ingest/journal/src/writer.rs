//! The one writer of a journal.
//!
//! Appending is a copy into mapped memory. It knows no readers, and it reads nothing of what earlier
//! incarnations left: it only starts a new one behind them.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::directory::{self, BLANK, HELD, WriterLock, segments, trim};
use crate::disk::{Disk, OsDisk};
use crate::error::{AppendError, OpenError};
use crate::frame::frame_bytes;
use crate::layout::{HEADER_BYTES, SegmentHeader, SegmentName};
use crate::metrics;
use crate::position::{Incarnation, Position};
use crate::prepare::{Plan, Preparer, WAIT, finish};
use crate::quota::Quota;
use crate::segment::{Active, Blank, Extent};

/// The least a segment may be: a header page and a page of records.
pub const SEGMENT_BYTES_MIN: u64 = 2 * HEADER_BYTES as u64;
/// The most a segment may be, so that its records are counted in 31 bits with room to spare.
pub const SEGMENT_BYTES_MAX: u64 = 1 << 30;

/// How long opening waits for the first segment.
const OPEN_WAIT: Duration = Duration::from_secs(10);

/// Where a journal is and how large it may grow.
#[derive(Debug, Clone)]
pub struct JournalConfig {
    /// The journal's own directory; made if it is missing. One journal per directory.
    pub dir: PathBuf,
    /// Bytes of a segment, rounded up to a page and kept within [`SEGMENT_BYTES_MIN`] and
    /// [`SEGMENT_BYTES_MAX`]. Also the limit of a record, less a page and a frame. 16 MiB serves
    /// well: smaller segments are retired sooner, larger ones roll less often.
    pub segment_bytes: u64,
    /// The most all segments together may take, of this journal and of those that share the bound. A journal
    /// needs room for two: the one being written and the next.
    pub quota: Quota,
}

/// When a reader may see a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visibility {
    /// As soon as it is appended: it survives the process, a power cut may take the newest.
    Appended,
    /// Once it is on the disk: what was read can never be taken back.
    Synced,
}

/// Appends to one journal. Dropping it seals what it wrote and gives back the unused space.
#[derive(Debug)]
pub struct Writer {
    dir: PathBuf,
    incarnation: Incarnation,
    previous: Option<Incarnation>,
    visibility: Visibility,
    segment_bytes: usize,
    active: Option<Active>,
    /// When the active segment got its first record.
    begun: Option<Instant>,
    preparer: Preparer,
    disk: Arc<dyn Disk>,
    /// The directory, open: to sync it no descriptor is needed.
    opened: Arc<File>,
    /// Full segments that the next sync must cover; only with [`Visibility::Synced`].
    rolled: Vec<Extent>,
    /// Everything below is synced.
    synced: u64,
    /// A segment got its name since the last sync.
    is_dir_dirty: bool,
    has_failed: bool,
    lock: WriterLock,
}

impl Writer {
    /// Opens the journal as a new incarnation whose records are visible at once.
    ///
    /// A full disk or quota does not keep a journal from opening, nor does a disk that gives no answer for ten
    /// seconds: it refuses records until that passes.
    ///
    /// # Errors
    /// [`OpenError::Locked`] if another writer has it; [`OpenError::Io`] for everything else.
    pub fn open(config: JournalConfig) -> Result<Self, OpenError> {
        Self::open_with(config, Visibility::Appended, Arc::new(OsDisk))
    }

    /// As [`Self::open`], with a choice of when records are visible and of the disk.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with(
        config: JournalConfig,
        visibility: Visibility,
        disk: Arc<dyn Disk>,
    ) -> Result<Self, OpenError> {
        let JournalConfig { dir, segment_bytes, quota } = config;
        directory::create(&dir, &*disk)?;
        let Some(lock) = WriterLock::take(&dir)? else { return Err(OpenError::Locked(dir)) };
        let previous = tidy(&dir)?.max(lock.last_incarnation()?);
        let segment_bytes = segment_bytes.clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX) as usize;
        let segment_bytes = segment_bytes.next_multiple_of(HEADER_BYTES);
        let plan = Plan {
            dir: dir.clone(),
            segment_bytes,
            quota,
            prefault: visibility == Visibility::Appended,
            disk: Arc::clone(&disk),
        };
        let opened = Arc::new(File::open(&dir)?);
        let mut writer = Writer {
            dir,
            incarnation: Incarnation::mint(previous),
            previous,
            visibility,
            segment_bytes,
            active: None,
            begun: None,
            preparer: Preparer::start(plan)?,
            disk,
            opened,
            rolled: Vec::new(),
            synced: 0,
            is_dir_dirty: false,
            has_failed: false,
            lock,
        };
        match writer.roll(OPEN_WAIT) {
            Err(AppendError::Io(error)) => Err(io::Error::new(error.kind(), error).into()),
            _ => Ok(writer),
        }
    }

    /// This opening of the journal.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Where the next record will stand.
    pub fn next_position(&self) -> Position {
        let offset = self.active.as_ref().map_or(0, Active::next_offset);
        Position { incarnation: self.incarnation, offset }
    }

    /// Appends a record and returns its position.
    ///
    /// When this returns, the record survives the death of this process, not yet a power cut. It waits half
    /// a second at most for a disk that does not make segments as fast as they fill, and then refuses at once.
    ///
    /// # Errors
    /// [`AppendError`]; the record is then not in the journal.
    pub fn append(&mut self, payload: &[u8]) -> Result<Position, AppendError> {
        self.append_with(payload.len(), |buf| buf.copy_from_slice(payload))
    }

    /// Appends a record of `len` bytes that `fill` writes straight into the segment.
    ///
    /// `fill` gets exactly `len` bytes of unspecified content and must overwrite all of them; if it
    /// panics, nothing was appended.
    ///
    /// # Errors
    /// [`AppendError`]; `fill` was then not called.
    pub fn append_with(&mut self, len: usize, fill: impl FnOnce(&mut [u8])) -> Result<Position, AppendError> {
        match self.active_for(len).map(|active| active.append(len, fill)) {
            Ok(offset) => {
                self.begun.get_or_insert_with(Instant::now);
                if self.visibility == Visibility::Appended {
                    self.active.as_ref().expect("just appended to").publish();
                }
                Ok(Position { incarnation: self.incarnation, offset })
            }
            Err(error) => {
                metrics::refused_record(error.tag());
                Err(error)
            }
        }
    }

    /// The active segment, rolled if it has no room for `len` bytes.
    fn active_for(&mut self, len: usize) -> Result<&mut Active, AppendError> {
        if self.has_failed {
            return Err(AppendError::Failed);
        }
        if !self.active.as_ref().is_some_and(|active| active.has_room_for(len)) {
            if len > self.segment_bytes || frame_bytes(len) > self.segment_bytes - HEADER_BYTES {
                return Err(AppendError::TooLarge);
            }
            self.roll(WAIT)?;
        }
        let active = self.active.as_mut().expect("rolled to a segment");
        if active.is_half_full() {
            self.preparer.ask();
        }
        Ok(active)
    }

    /// Starts the next segment. The active one is left as it is unless that succeeds.
    #[cold]
    fn roll(&mut self, wait: Duration) -> Result<(), AppendError> {
        let blank = self.preparer.take(wait)?;
        self.roll_to(blank)
    }

    /// Starts the next segment if the active one has records and got the first of them at least `age` ago,
    /// so that what is in it can be retired however slowly it fills. Says whether it did; to be called now
    /// and then, also when nothing is appended.
    ///
    /// Never waits: the first call in which it is time has the next segment made, a later one starts it. A
    /// quota or a disk without room for it puts that off.
    ///
    /// # Errors
    /// [`AppendError::Io`]; the active segment is then left as it is.
    pub fn roll_older_than(&mut self, age: Duration) -> Result<bool, AppendError> {
        if self.has_failed || self.begun.is_none_or(|begun| begun.elapsed() < age) {
            return Ok(false);
        }
        match self.preparer.take_ready() {
            Some(blank) => self.roll_to(blank).map(|()| true),
            None => Ok(false),
        }
    }

    fn roll_to(&mut self, blank: Blank) -> Result<(), AppendError> {
        let name = SegmentName { incarnation: self.incarnation, base: self.next_position().offset };
        let next = blank.activate(&SegmentHeader { name, previous: self.previous })?;
        if name.base == 0
            && let Err(error) = self.lock.note_incarnation(self.incarnation)
        {
            // The note only guards against a clock set back after every segment was removed.
            tracing::warn!(error = &error as &dyn std::error::Error, "cannot note the incarnation");
        }
        self.is_dir_dirty = true;
        self.begun = None;
        // A reader that finds a segment sealed looks for the next one: the next one is there first.
        let Some(full) = self.active.replace(next).map(|active| active.extent()) else { return Ok(()) };
        match self.visibility {
            Visibility::Appended => {
                full.publish(true);
                self.preparer.finish(full);
            }
            Visibility::Synced => self.rolled.push(full),
        }
        Ok(())
    }

    /// Puts everything appended so far on the disk, and lets readers see it.
    ///
    /// # Errors
    /// The disk's. Nothing appended since the last sync that succeeded can be relied on, and neither
    /// can a later sync: every later append is refused with [`AppendError::Failed`].
    pub fn sync(&mut self) -> io::Result<()> {
        let task = match self.visibility {
            Visibility::Appended => self.sync_rolled().map(|()| self.sync_task()),
            Visibility::Synced => Ok(self.sync_task()),
        };
        let synced = task.and_then(|task| task.run());
        match synced {
            Ok(full) => {
                self.settle(self.next_position().offset, full);
                Ok(())
            }
            Err(error) => {
                self.has_failed = true;
                Err(error)
            }
        }
    }

    /// Takes note that every record below `offset` is on the disk, and what of it stands in full segments.
    pub(crate) fn settle(&mut self, offset: u64, full: Vec<Extent>) {
        self.synced = offset;
        full.into_iter().for_each(|full| self.preparer.finish(full));
    }

    /// Syncs the segments that were rolled and given up since the last sync. Opening them again
    /// misses no error: Linux reports a failed write-back to every descriptor that has not seen it.
    fn sync_rolled(&self) -> io::Result<()> {
        let mut names = segments(&self.dir)?;
        names.retain(|name| name.incarnation == self.incarnation);
        let rolled = names.windows(2).filter(|pair| pair[1].base > self.synced).map(|pair| pair[0]);
        for name in rolled {
            match File::open(self.dir.join(name.file_name())) {
                // Retired: read, shipped and gone.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                file => self.disk.sync_file(&file?)?,
            }
        }
        Ok(())
    }

    /// What must be done for everything appended so far to be on the disk; may run on another
    /// thread while this one appends. Tasks must run in the order they were made.
    pub(crate) fn sync_task(&mut self) -> SyncTask {
        SyncTask {
            rolled: std::mem::take(&mut self.rolled),
            active: self.active.as_ref().map(Active::extent),
            dir: std::mem::take(&mut self.is_dir_dirty).then(|| Arc::clone(&self.opened)),
            disk: Arc::clone(&self.disk),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // With `Synced`, records nobody synced stay unpublished and the segment unsealed: a reader
        // sees them when the next incarnation makes this one final.
        let is_settled = self.visibility == Visibility::Appended
            || self.rolled.is_empty() && self.synced == self.next_position().offset;
        if let Some(active) = self.active.take()
            && is_settled
        {
            active.extent().publish(true);
            finish(&active.extent());
        }
        self.preparer.stop();
        // Best effort: the next writer removes them too.
        for name in HELD.into_iter().chain([BLANK]) {
            let _ = fs::remove_file(self.dir.join(name));
        }
    }
}

/// Brings a directory into the state a new incarnation expects, and returns the last one in it.
fn tidy(dir: &std::path::Path) -> io::Result<Option<Incarnation>> {
    for name in HELD.into_iter().chain([BLANK]) {
        match fs::remove_file(dir.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    let names = segments(dir)?;
    for (at, name) in names.iter().enumerate() {
        let is_last = names.get(at + 1).is_none_or(|next| next.incarnation != name.incarnation);
        // A disk that cannot read old records must not keep new ones from being written.
        if is_last && let Err(error) = trim(&dir.join(name.file_name())) {
            tracing::warn!(error = &error as &dyn std::error::Error, "cannot trim a dead segment");
        }
    }
    Ok(names.last().map(|name| name.incarnation))
}

/// The work of one sync, detached from the writer.
#[derive(Debug)]
pub(crate) struct SyncTask {
    rolled: Vec<Extent>,
    active: Option<Extent>,
    dir: Option<Arc<File>>,
    disk: Arc<dyn Disk>,
}

impl SyncTask {
    /// Syncs, and publishes what is then on the disk; returns the full segments. After an error nothing is
    /// published that was not before the failing file.
    pub(crate) fn run(self) -> io::Result<Vec<Extent>> {
        if let Some(dir) = self.dir {
            self.disk.sync_dir(&dir)?;
        }
        for full in &self.rolled {
            self.disk.sync_file(full.segment.file())?;
            full.publish(true);
        }
        if let Some(active) = &self.active {
            self.disk.sync_file(active.segment.file())?;
            active.publish(false);
        }
        Ok(self.rolled)
    }
}
