//! A copy of a data folder from which all of it can be put back, taken while its process works or when it is stopped.
//!
//! | module | what it does |
//! |---|---|
//! | [`snapshot`] | the folder as it stands at one moment, beside it, mostly as links |
//! | [`door`] | how a running process is asked for one, by whoever may read its folder |
//! | [`tree`] | copies a tree and hashes what it copies |
//! | [`manifest`] | what a backup holds, written last |
//!
//! A backup looks like the data folder that it is of, with the file `manifest` beside. Why it is consistent, and why it
//! is made of files and not by the engine's own `BACKUP`: `DECISION.md` beside this.

pub mod door;
pub mod manifest;
pub mod snapshot;
pub mod tree;

use std::io;
use std::path::{Path, PathBuf};

/// Where a snapshot lies for as long as it is copied, within the data folder.
pub const STAGING: &str = "backup.tmp";
/// Where a running process is asked, within the data folder.
pub const DOOR: &str = "backup.socket";
/// What a restore has not finished, within the data folder.
pub const UNFINISHED: &str = "restore.tmp";

/// Why there is no backup, or nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The system refuses.
    #[error("cannot use {path}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What is wanted makes no sense.
    #[error("{0}")]
    Refused(String),
    /// The running process gives none.
    #[error("the process of the folder makes no backup now: {0}")]
    Door(String),
    /// The backup is not what was written.
    #[error("the backup {folder} is not whole, and nothing was restored: {}", what.join("; "))]
    Damaged {
        /// The backup.
        folder: PathBuf,
        /// What is wrong, of each file a sentence.
        what: Vec<String>,
    },
}

impl BackupError {
    /// For `map_err`.
    pub fn io(path: &Path) -> impl FnOnce(io::Error) -> BackupError {
        let path = path.to_owned();
        move |source| BackupError::Io { path, source }
    }
}
