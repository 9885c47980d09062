//! A journal's directory: which segments there are, how much they take, which may go, and who may
//! write.
//!
//! ```text
//! lock                            held by the writer; holds the last incarnation, in hexadecimal
//! next.blank                      the next segment, allocated and not yet part of the log
//! held-1.blank, held-2.blank      open files without bytes, for those after
//! <incarnation>-<offset>.seg      the log, in the order of its names
//! ```

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::Dir;

use crate::disk::Disk;
use crate::layout::{HEADER_BYTES, SegmentName};
use crate::position::{Incarnation, Position};

/// Held by the writer; holds the last incarnation.
pub(crate) const LOCK: &str = "lock";
/// The allocated segment that is not part of the log yet.
pub(crate) const BLANK: &str = "next.blank";
/// Files for segments after that, open and empty.
pub(crate) const HELD: [&str; 2] = ["held-1.blank", "held-2.blank"];

/// The segments of `dir` in the order of the log. A directory that does not exist has none.
pub(crate) fn segments(dir: &Path) -> io::Result<Vec<SegmentName>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().to_str().and_then(SegmentName::parse));
    }
    names.sort_unstable();
    Ok(names)
}

/// A directory that is kept open, so that looking into it needs no descriptor.
#[derive(Debug)]
pub(crate) struct OpenDirectory {
    path: PathBuf,
    entries: Dir,
}

impl OpenDirectory {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), entries: Dir::new(File::open(path)?)? })
    }

    /// As [`disk_usage`].
    pub(crate) fn usage(&mut self) -> io::Result<DiskUsage> {
        self.entries.rewind();
        let mut names = Vec::new();
        for entry in &mut self.entries {
            names.extend(entry?.file_name().to_str().ok().and_then(SegmentName::parse));
        }
        usage_of(&self.path, names)
    }
}

/// Makes `dir` and what is missing above it, so that a power cut leaves it there.
pub(crate) fn create(dir: &Path, disk: &dyn Disk) -> io::Result<()> {
    let missing: Vec<_> =
        dir.ancestors().take_while(|part| !part.as_os_str().is_empty() && !part.exists()).collect();
    fs::create_dir_all(dir)?;
    for part in missing.iter().rev() {
        let parent = part.parent().filter(|parent| !parent.as_os_str().is_empty());
        disk.sync_dir(&File::open(parent.unwrap_or(Path::new(".")))?)?;
    }
    Ok(())
}

/// What a journal takes on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskUsage {
    /// Segment files, the blank one included.
    pub segments: u64,
    /// Their bytes; a segment being written counts whole, since it is allocated whole.
    pub bytes: u64,
}

/// Measures the journal in `dir`.
///
/// # Errors
/// When the directory cannot be listed. A segment that goes meanwhile is not an error.
pub fn disk_usage(dir: &Path) -> io::Result<DiskUsage> {
    usage_of(dir, segments(dir)?)
}

fn usage_of(dir: &Path, names: Vec<SegmentName>) -> io::Result<DiskUsage> {
    let mut usage = DiskUsage::default();
    let names = names.into_iter().map(|name| name.file_name());
    for file_name in names.chain([BLANK.to_owned()]) {
        match fs::metadata(dir.join(file_name)) {
            Ok(metadata) => {
                usage.segments += 1;
                usage.bytes += metadata.len();
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(usage)
}

/// The first record of the oldest of the newest segments that together have at most so many bytes, and of the newest two in
/// any case: the last may have just begun. `None`: there is none.
pub(crate) fn newest(dir: &Path, bytes_max: u64) -> io::Result<Option<Position>> {
    let (mut oldest, mut bytes) = (None, 0);
    for (number, name) in segments(dir)?.into_iter().rev().enumerate() {
        bytes += match fs::metadata(dir.join(name.file_name())) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(error),
        };
        if bytes > bytes_max && number > 1 {
            break;
        }
        oldest = Some(name.first());
    }
    Ok(oldest)
}

/// Puts the records `from..to` of one incarnation on the disk, whoever writes them: for a reader that is
/// about to tell somebody else about them, and must find them again after a power cut.
///
/// # Errors
/// The disk's. A segment that was retired meanwhile is not an error.
pub fn sync(dir: &Path, from: Position, to: u64) -> io::Result<()> {
    let names: Vec<_> =
        segments(dir)?.into_iter().filter(|name| name.incarnation == from.incarnation).collect();
    for (at, name) in names.iter().enumerate() {
        let is_before = names.get(at + 1).is_some_and(|after| after.base <= from.offset);
        if is_before || name.base >= to {
            continue;
        }
        match File::open(dir.join(name.file_name())) {
            Ok(file) => file.sync_data()?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What [`retire`] removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retired {
    /// Segment files.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Removes the segments that lie wholly below `through` and were last written at least `grace` ago.
///
/// Oldest first, stopping at the first that must stay, so the log never has a hole. The last segment
/// of `through`'s own incarnation stays until `through` is in a later one: otherwise a reader that
/// resumes at the very end of an incarnation could not tell that it missed nothing. The newest
/// segment always stays, so this is safe beside a live writer. A position newer than the whole journal
/// is of another one and removes nothing. With several readers, pass the least of their positions.
///
/// # Errors
/// When the directory cannot be listed or a file cannot be removed; what was removed before stays so.
pub fn retire(dir: &Path, through: Position, grace: Duration) -> io::Result<Retired> {
    let names = segments(dir)?;
    let mut retired = Retired::default();
    if names.last().is_none_or(|newest| newest.incarnation < through.incarnation) {
        return Ok(retired);
    }
    for pair in names.windows(2) {
        let [name, after] = pair else { unreachable!("windows of two") };
        let is_read = name.incarnation < through.incarnation
            || after.incarnation == through.incarnation && after.base <= through.offset;
        let path = dir.join(name.file_name());
        let metadata = match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            metadata => metadata?,
        };
        // A modification time in the future means the clock moved: wait until it has passed.
        let age = SystemTime::now().duration_since(metadata.modified()?).unwrap_or_default();
        if !is_read || age < grace {
            break;
        }
        fs::remove_file(&path)?;
        retired.segments += 1;
        retired.bytes += metadata.len();
    }
    Ok(retired)
}

/// The exclusive right to write, held until dropped.
///
/// The lock is flock(2)'s: it goes with its last descriptor, hence only after the last thread of a
/// killed process can run no more, hence after its last store. Whoever holds it knows that every
/// existing segment is final.
#[derive(Debug)]
pub(crate) struct WriterLock {
    file: File,
}

impl WriterLock {
    /// Takes the lock, or `None` if another writer has it, in this process or another.
    pub(crate) fn take(dir: &Path) -> io::Result<Option<Self>> {
        let path = dir.join(LOCK);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(WriterLock { file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// The last incarnation that had a segment, also when all its segments are gone.
    ///
    /// An unreadable note is as good as none: the segments' names are the first source.
    pub(crate) fn last_incarnation(&self) -> io::Result<Option<Incarnation>> {
        let mut note = Vec::new();
        (&self.file).take(64).read_to_end(&mut note)?;
        let noted = std::str::from_utf8(&note).ok().and_then(|text| text.trim().parse().ok());
        Ok(noted.filter(|incarnation: &Incarnation| incarnation.is_well_formed()))
    }

    pub(crate) fn note_incarnation(&self, incarnation: Incarnation) -> io::Result<()> {
        self.file.write_all_at(format!("{incarnation}\n").as_bytes(), 0)
    }
}

/// Cuts the zeros that a killed writer left allocated behind its last record.
///
/// Judges nothing: only zeros go, and no frame ends in zeros, so a damaged record stays for the reader
/// to report. Without this, every crash would hold a whole segment of the quota until its records are
/// retired.
pub(crate) fn trim(path: &Path) -> io::Result<()> {
    const BLOCK_BYTES: usize = 1 << 20;
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let len = file.metadata()?.len();
    let mut block = vec![0; BLOCK_BYTES];
    let mut end = len;
    while end > HEADER_BYTES as u64 {
        let start = end.saturating_sub(BLOCK_BYTES as u64).max(HEADER_BYTES as u64);
        let part = &mut block[..(end - start) as usize];
        file.read_exact_at(part, start)?;
        if let Some(last) = part.iter().rposition(|byte| *byte != 0) {
            end = (start + last as u64 + 1).next_multiple_of(8).min(len);
            break;
        }
        end = start;
    }
    if end < len { file.set_len(end) } else { Ok(()) }
}
