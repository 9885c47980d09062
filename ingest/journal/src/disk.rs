//! What can fail when bytes meet a disk, behind a trait so that tests can make it fail.

use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// The calls whose failures the journal must survive: space, and syncs.
pub trait Disk: Debug + Send + Sync {
    /// Gives `file` the size `bytes` with every block reserved, so that a full disk is an error
    /// here and never a signal at a later store.
    ///
    /// # Errors
    /// `ENOSPC` or `EDQUOT` when there is no room; anything else as the file system says.
    fn allocate(&self, file: &File, bytes: u64) -> io::Result<()>;

    /// Puts the file's data, and what is needed to find it again, on the disk.
    ///
    /// # Errors
    /// Whatever the disk said. Linux marks the pages clean all the same, so a second call that
    /// succeeds proves nothing about them.
    fn sync_file(&self, file: &File) -> io::Result<()>;

    /// Puts a directory's entries on the disk.
    ///
    /// # Errors
    /// Whatever the disk said.
    fn sync_dir(&self, dir: &File) -> io::Result<()>;
}

/// The operating system's disk.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsDisk;

impl Disk for OsDisk {
    fn allocate(&self, file: &File, bytes: u64) -> io::Result<()> {
        let bytes = libc::off_t::try_from(bytes).map_err(|_| io::ErrorKind::InvalidInput)?;
        loop {
            // SAFETY: a valid descriptor and plain integers.
            match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, bytes) } {
                0 => return Ok(()),
                libc::EINTR => {}
                code => return Err(io::Error::from_raw_os_error(code)),
            }
        }
    }

    fn sync_file(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn sync_dir(&self, dir: &File) -> io::Result<()> {
        dir.sync_all()
    }
}

/// Whether an error says that there is no room, as opposed to a fault.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
