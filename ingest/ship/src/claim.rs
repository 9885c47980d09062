//! One shipper per journal: a lock beside the segments, held until the process ends.
//!
//! Two shippers would send everything twice and overwrite each other's checkpoint. The lock is flock(2)'s,
//! so it goes with its process however that dies.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;

const LOCK: &str = "shipper.lock";

/// The right to ship one journal.
#[derive(Debug)]
pub(super) struct Claim {
    _file: File,
}

impl Claim {
    /// Takes the lock, or `None` if another shipper has it. Makes the directory if it is missing.
    pub(super) fn take(dir: &Path) -> io::Result<Option<Claim>> {
        fs::create_dir_all(dir)?;
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(dir.join(LOCK))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Claim { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_is_shipped_by_one_at_a_time() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("clicks-0");
        let claim = Claim::take(&dir).unwrap();
        assert!(claim.is_some());
        assert!(Claim::take(&dir).unwrap().is_none());
        drop(claim);
        assert!(Claim::take(&dir).unwrap().is_some());
    }
}
