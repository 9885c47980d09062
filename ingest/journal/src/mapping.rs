//! A file mapped for writing: the only place in this crate with raw memory.
//!
//! Stores into a shared mapping go straight to the page cache, so they outlive the process whatever
//! kills it. Knows nothing of segments or frames.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr::{self, NonNull};
use std::sync::atomic::AtomicU64;

/// `len` bytes of a file, shared with everyone else who reads it.
///
/// Hazards, both of which end in SIGBUS and neither of which this crate causes: somebody else
/// truncates the file; or the file system cannot give a page it promised (`posix_fallocate` makes
/// the promise real on ext4 and xfs, but not on copy-on-write file systems).
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: a mapping is plain memory that belongs to no thread. Shared access is limited to the
// atomics; bytes are reached only through `bytes_mut`, whose caller promises exclusiveness.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the first `len` bytes of `file`, which must be at least that long.
    pub(crate) fn new(file: &File, len: usize) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a fresh mapping at an address the kernel chooses aliases nothing of ours.
        let start =
            unsafe { libc::mmap(ptr::null_mut(), len, protection, libc::MAP_SHARED, file.as_raw_fd(), 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).expect("the kernel maps nothing at null unasked");
        Ok(Mapping { start, len })
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// An aligned word of the mapping, shared with readers in this and other processes.
    pub(crate) fn atomic(&self, at: usize) -> &AtomicU64 {
        assert!(at.is_multiple_of(8) && at + 8 <= self.len, "an aligned word inside the mapping");
        // SAFETY: in bounds and aligned (the mapping starts at a page); the header page is never
        // handed out by `bytes_mut` once the mapping is shared (its contract).
        unsafe { AtomicU64::from_ptr(self.start.as_ptr().add(at).cast()) }
    }

    /// `len` bytes from `at`, with whatever they hold.
    ///
    /// # Safety
    /// For the lifetime of the slice nobody else may touch these bytes through this mapping: no
    /// second slice over them, no atomic within them.
    #[expect(clippy::mut_from_ref, reason = "exclusiveness is the caller's promise")]
    pub(crate) unsafe fn bytes_mut(&self, at: usize, len: usize) -> &mut [u8] {
        assert!(at.checked_add(len).is_some_and(|end| end <= self.len), "bytes inside the mapping");
        // SAFETY: in bounds, initialised by the kernel, exclusive by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr().add(at), len) }
    }

    /// Faults all pages in, for writing.
    ///
    /// A page that cannot be had is an error here instead of a signal later. Kernels before 5.14 do
    /// not know the call: there the pages come one by one, at the first store to each.
    pub(crate) fn prefault(&self) -> io::Result<()> {
        // SAFETY: the range is our mapping, and populating changes no contents.
        let answer =
            unsafe { libc::madvise(self.start.as_ptr().cast(), self.len, libc::MADV_POPULATE_WRITE) };
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            _ if answer == 0 => Ok(()),
            Some(libc::EINVAL) => Ok(()),
            // What would have been SIGBUS: the file system has no room for a page after all.
            Some(libc::EFAULT) => Err(io::Error::from_raw_os_error(libc::ENOSPC)),
            _ => Err(error),
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this is our mapping, and no slice or atomic of it can outlive it.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}
