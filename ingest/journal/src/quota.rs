//! How much disk journals may take, one or several together. Knows nothing of what is in them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::directory::OpenDirectory;

/// A bound for all segments of the journals that are opened with it; clones are handles to one.
///
/// Of journals that share a bound, the busiest takes what the others leave.
#[derive(Clone, Debug)]
pub struct Quota {
    bytes: u64,
    /// Whoever makes a segment has it until the file is there: two can't pass the bound together.
    directories: Arc<Mutex<Vec<(PathBuf, OpenDirectory)>>>,
}

impl Quota {
    /// A bound of so many bytes.
    #[must_use]
    pub fn bytes(bytes: u64) -> Self {
        Self { bytes, directories: Arc::default() }
    }

    /// Counts the journal in `dir`, whether it is written here or not. Counting it twice changes nothing.
    ///
    /// # Errors
    /// The folder can't be opened.
    pub fn count(&self, dir: &Path) -> io::Result<()> {
        let mut directories = self.lock();
        if directories.iter().all(|(path, _)| path != dir) {
            directories.push((dir.to_owned(), OpenDirectory::open(dir)?));
        }
        Ok(())
    }

    /// Whether there is room for so many bytes more. Blocks.
    ///
    /// # Errors
    /// A folder can't be read.
    pub fn has_room(&self, bytes: u64) -> io::Result<bool> {
        self.fits(&mut self.lock(), bytes)
    }

    /// Makes a file of so many bytes, if there is room for it.
    pub(crate) fn within<T>(&self, bytes: u64, make: impl FnOnce() -> T) -> io::Result<Option<T>> {
        let mut directories = self.lock();
        Ok(self.fits(&mut directories, bytes)?.then(make))
    }

    fn fits(&self, directories: &mut [(PathBuf, OpenDirectory)], bytes: u64) -> io::Result<bool> {
        let mut taken = 0;
        for (_, directory) in directories {
            taken += directory.usage()?.bytes;
        }
        Ok(taken.saturating_add(bytes) <= self.bytes)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(PathBuf, OpenDirectory)>> {
        self.directories.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
