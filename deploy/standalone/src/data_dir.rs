//! The folder of a process: what is where in it, and that one process at a time has it.
//!
//! ```text
//! contents        what must be here: what was made here once and is gone is an error
//! lock            held while a process has the folder; holds its process id
//! addresses.json  where the process answers, while it runs
//! secrets.toml    token keys and hashing secrets, unless they are given
//! admin-key       the API key that may do everything, unless it is given
//! registry.redb   programs, referrers, links, API keys (one machine)
//! registry.snapshot  the same, as last seen in Kafka
//! edge-name       what whoever waits for this folder's journals calls it, over Kafka
//! acme/           account and certificates of a certificate authority, where they are ordered from one
//! journal/        clicks-0, clicks-1, … and conversions
//! clickhouse/     the embedded engine
//! backup.socket, backup.tmp  where a backup is asked for, and what is copied into it meanwhile
//! clickhouse-password, clickhouse-reader-password  its accounts, unless they are given
//! ```

mod contents;
mod tables;

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::backup::{STAGING, UNFINISHED, snapshot};
use whence_ingest::api::admin_key::FILE_NAME;
use whence_runtime::private;

/// The owner's password, within the data folder.
pub const OWNER_PASSWORD: &str = "clickhouse-password";
/// The reader's.
pub const READER_PASSWORD: &str = "clickhouse-reader-password";
/// Token keys and hashing secrets, within the folder.
pub const SECRETS: &str = "secrets.toml";
/// Files of the folder with secrets. Where others could read one it is refused, not closed: it may be known.
const READ_BY_THEIR_OWN_RULE: [&str; 4] = [SECRETS, FILE_NAME, OWNER_PASSWORD, READER_PASSWORD];

/// How long a predecessor may take to be gone: a process that was killed holds its lock until the system
/// has taken its memory back.
const PREDECESSOR: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(20);

/// Why the folder can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// The system refuses.
    #[error("cannot use the data folder {path}")]
    Io {
        /// The folder, or a file in it.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Somebody else has it.
    #[error(
        "the data folder {path} is in use by another whence process ({holder}): stop it, or give this one a \
         folder of its own with --data"
    )]
    InUse {
        /// The folder.
        path: PathBuf,
        /// Its process id, as far as it is known.
        holder: String,
    },
    /// Parts of it are gone.
    #[error(
        "the data folder {folder} lacks {parts}, which was made in it and holds what can't be made again: put it back \
         from a copy; or, if what was in it may be lost, take its line out of {note} and start again"
    )]
    Missing {
        /// The folder.
        folder: PathBuf,
        /// What is missing.
        parts: String,
        /// The file that says so.
        note: PathBuf,
    },
    /// Folders of tables are gone.
    #[error(
        "the data folder {folder} lacks the rows of {tables} in clickhouse/: put the folder back from a backup (`whence \
         restore`), or {table} if it was only moved"
    )]
    Tables {
        /// The folder.
        folder: PathBuf,
        /// The tables, with their databases.
        tables: String,
        /// The folder of the first.
        table: PathBuf,
    },
    /// A restore into it did not end.
    #[error("the data folder {0} was not restored to its end: remove it, and call `whence restore` again")]
    Unfinished(PathBuf),
}

/// The folder, locked for as long as this lives.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// What is noted of it.
    contents: Mutex<BTreeSet<String>>,
    _lock: File,
}

impl DataDir {
    /// Makes the folder if it is missing, closes it to others than its owner with all that is in it, and locks it.
    /// Blocks for a moment while a predecessor goes.
    ///
    /// # Errors
    /// See [`DataDirError`].
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| DataDirError::Io { path, source }
        };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed(path))?;
        let path = path.canonicalize().map_err(failed(path))?;
        let lock_path = path.join("lock");
        let mut lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&lock_path)
            .map_err(failed(&lock_path))?;
        take(&mut lock, &path).map_err(|error| match error {
            Refusal::Held(holder) => DataDirError::InUse { path: path.clone(), holder },
            Refusal::Io(source) => DataDirError::Io { path: lock_path, source },
        })?;
        close(&path)?;
        if path.join(UNFINISHED).exists() {
            return Err(DataDirError::Unfinished(path));
        }
        let left = path.join(STAGING);
        snapshot::remove(&left)
            .map_err(|error| DataDirError::Io { path: left, source: io::Error::other(error) })?;
        let contents = Mutex::new(contents::check(&path)?);
        tables::check(&path)?;
        Ok(Self { path, contents, _lock: lock })
    }

    /// The folder itself, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Notes which parts are there by now: from here on they must be.
    pub fn note_contents(&self) {
        // Not read again: a confined process could not.
        let mut noted = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = contents::note(&self.path, &mut noted) {
            tracing::warn!(%error, "cannot note what is in the data folder; a part that is lost will not be missed");
        }
    }

    /// Where the process answers.
    pub fn addresses(&self) -> PathBuf {
        self.path.join("addresses.json")
    }

    /// Token keys and hashing secrets.
    pub fn secrets(&self) -> PathBuf {
        self.path.join(SECRETS)
    }

    /// The registry of one machine.
    pub fn registry(&self) -> PathBuf {
        self.path.join("registry.redb")
    }

    /// The registry as last seen in Kafka.
    pub fn registry_snapshot(&self) -> PathBuf {
        self.path.join("registry.snapshot")
    }

    /// What a certificate authority gave.
    pub fn acme(&self) -> PathBuf {
        self.path.join("acme")
    }

    /// The journals.
    pub fn journals(&self) -> PathBuf {
        self.path.join("journal")
    }

    /// The embedded engine's folder.
    pub fn engine(&self) -> PathBuf {
        self.path.join("clickhouse")
    }
}

/// What was made by an earlier version, or under another umask, or by hand. What is made from here on is private: see
/// [`private::make_only_private_files`].
fn close(path: &Path) -> Result<(), DataDirError> {
    match private::close_to_others(path, &READ_BY_THEIR_OWN_RULE) {
        Ok(0) => Ok(()),
        Ok(closed) => {
            tracing::warn!(path = %path.display(), closed, "files of the data folder were open to others");
            Ok(())
        }
        // A volume's root may be somebody else's: then its group is how this process has it.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            tracing::warn!(path = %path.display(), %error, "the data folder can't be closed to others: it is another user's");
            Ok(())
        }
        Err(source) => Err(DataDirError::Io { path: path.to_owned(), source }),
    }
}

enum Refusal {
    Held(String),
    Io(io::Error),
}

fn take(lock: &mut File, path: &Path) -> Result<(), Refusal> {
    let deadline = Instant::now() + PREDECESSOR;
    loop {
        match lock.try_lock() {
            Ok(()) => break,
            Err(TryLockError::Error(source)) => return Err(Refusal::Io(source)),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => thread::sleep(POLL),
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Only for the message.
                let _ = lock.take(32).read_to_string(&mut holder);
                let holder = holder.trim();
                let holder = if holder.is_empty() { "unknown".into() } else { format!("process {holder}") };
                return Err(Refusal::Held(holder));
            }
        }
    }
    let note = |lock: &mut File| {
        lock.set_len(0)?;
        lock.rewind()?;
        writeln!(lock, "{}", std::process::id())
    };
    if let Err(error) = note(lock) {
        tracing::debug!(path = %path.display(), %error, "cannot note the process id");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_process_is_refused_and_told_who_has_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataDir::open(dir.path()).unwrap();
        let error = DataDir::open(dir.path()).unwrap_err().to_string();
        let me = format!("(process {})", std::process::id());
        assert!(error.contains("is in use") && error.contains(&me), "{error}");
        drop(first);
        DataDir::open(dir.path()).unwrap();
    }

    #[test]
    fn a_folder_that_was_not_restored_to_its_end_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(UNFINISHED)).unwrap();
        let error = DataDir::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains("was not restored to its end"), "{error}");
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        File::create(&file).unwrap();
        let error = DataDir::open(&file.join("data")).unwrap_err();
        assert!(error.to_string().contains("file/data"), "{error}");
    }
}
