//! The registry of one machine: a redb file. Each write is one transaction, synced before it is answered.

mod file;

use super::{CHANGES_MAX, Change, Clock, Outcomes, Registry, RegistryError, RegistryState, Shared, check};
use file::File;
use futures_util::future::BoxFuture;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{Mutex, watch};
use whence_runtime::seldom;
use whence_schemas::event::{DecodeError, RegistryEntry};

/// How long a file that failed is left alone: opening it reads all of it.
const REST: Duration = Duration::from_secs(1);

/// Why the file can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// redb refuses it: damaged, locked by another process, or not readable.
    #[error(
        "cannot use the registry file {path}: if it is damaged, put back a copy of it, or move it away to begin \
         without programs and links"
    )]
    Database {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<redb::Error>,
    },
    /// A record in it is not an entry: written by a later version, or not by whence.
    #[error("the registry file {path} holds a record that is not an entry of this version: {key}")]
    Entry {
        /// The file.
        path: PathBuf,
        /// The record's key.
        key: String,
        /// Why.
        #[source]
        source: DecodeError,
    },
    /// Its entries contradict each other.
    #[error("the registry file {path} is not consistent")]
    Inconsistent {
        /// The file.
        path: PathBuf,
        /// How.
        #[source]
        source: super::state::ApplyError,
    },
}

/// Writes these entries into a new file at `path`, which is as good as the one that they are of. Blocks.
///
/// # Errors
/// See [`OpenError`].
pub fn write_copy(path: &Path, entries: impl Iterator<Item = Arc<RegistryEntry>>) -> Result<(), OpenError> {
    let (file, _) = file::open(path)?;
    let entries: Vec<_> = entries.collect();
    let failed = |source: redb::Error| OpenError::Database { path: path.to_owned(), source: source.into() };
    file.write(&entries).map_err(failed)
}

/// The registry in a redb file. One process at a time: the file is locked.
///
/// A file that failed in a write (a full disk) is reopened, by the next write or by
/// [`EmbeddedRegistry::reopen`], at most once a second; links are answered as they were meanwhile.
pub struct EmbeddedRegistry {
    store: Arc<Mutex<Store>>,
    shared: Arc<Shared>,
    clock: Clock,
    trouble: watch::Receiver<Option<String>>,
}

struct Store {
    path: PathBuf,
    /// None: it failed, and it is not known whether the last write is in it.
    file: Option<File>,
    failed: Option<Instant>,
    trouble: watch::Sender<Option<String>>,
}

/// The file failed a moment ago, and was not asked again.
#[derive(Debug, thiserror::Error)]
#[error("the registry file failed a moment ago: {0}")]
struct Resting(String);

impl EmbeddedRegistry {
    /// Opens the file at `path`, or creates it, and reads all of it. Blocks.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(path: &Path, clock: Clock) -> Result<EmbeddedRegistry, OpenError> {
        let (file, entries) = file::open(path)?;
        let mut state = RegistryState::default();
        for entry in entries {
            let inconsistent = |source| OpenError::Inconsistent { path: path.to_owned(), source };
            state.apply(entry).map_err(inconsistent)?;
        }
        let (sender, trouble) = watch::channel(None);
        let store = Store { path: path.to_owned(), file: Some(file), failed: None, trouble: sender };
        let shared = Arc::new(Shared::starting_at(state));
        Ok(EmbeddedRegistry { store: Arc::new(Mutex::new(store)), shared, clock, trouble })
    }

    /// Why nothing can be written; `None` while all is well.
    #[must_use]
    pub fn trouble(&self) -> watch::Receiver<Option<String>> {
        self.trouble.clone()
    }

    /// Has another look at a file that failed, without a write.
    pub async fn reopen(&self) {
        let mut store = Arc::clone(&self.store).lock_owned().await;
        if store.file.is_some() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        // What became of it is shown.
        drop(tokio::task::spawn_blocking(move || store.ready(&shared).map(drop)).await);
    }
}

impl Store {
    /// The file, reopened where it failed: then the state gets what was written without anybody knowing.
    fn ready(&mut self, shared: &Shared) -> Result<&File, RegistryError> {
        if self.file.is_none() {
            if self.failed.is_some_and(|failed| failed.elapsed() < REST) {
                let why = self.trouble.borrow().clone().unwrap_or_default();
                return Err(RegistryError::store(Resting(why)));
            }
            self.failed = Some(Instant::now());
            match self.open_again(shared) {
                Ok(file) => self.file = Some(file),
                Err(error) => {
                    self.trouble.send_replace(Some(told(&*error)));
                    return Err(RegistryError::Store(error));
                }
            }
            tracing::info!("the registry file takes changes again");
            self.trouble.send_replace(None);
        }
        Ok(self.file.as_ref().expect("opened just now if there was none"))
    }

    fn open_again(&self, shared: &Shared) -> Result<File, Box<dyn std::error::Error + Send + Sync>> {
        let (file, entries) = file::open(&self.path)?;
        let known = shared.read().version();
        let found = entries.last().map_or(0, |entry| entry.version);
        if found < known {
            return Err(format!(
                "the registry file has changes up to {found}, and up to {known} were made: it was exchanged; stop \
                 this process and put the right one back"
            )
            .into());
        }
        let unknown: Vec<_> = entries.into_iter().filter(|entry| entry.version > known).collect();
        shared.apply(unknown);
        Ok(file)
    }

    fn write(&mut self, entries: &[Arc<RegistryEntry>]) -> Result<(), RegistryError> {
        let file = self.file.take().expect("made ready before");
        match file.write(entries) {
            Ok(()) => {
                self.file = Some(file);
                Ok(())
            }
            Err(error) => {
                drop(file);
                self.failed = Some(Instant::now());
                seldom!(error, error = told(&error), "the registry file takes no changes");
                self.trouble.send_replace(Some(told(&error)));
                Err(RegistryError::store(error))
            }
        }
    }
}

/// An error with its causes.
fn told(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

impl Registry for EmbeddedRegistry {
    /// Waits for the writes before it; how many can wait is bounded by whoever lets callers in.
    fn write(&self, changes: Vec<Change>) -> BoxFuture<'_, Result<Outcomes, RegistryError>> {
        Box::pin(async move {
            if changes.len() > CHANGES_MAX {
                return Err(RegistryError::TooMany(changes.len()));
            }
            let mut store = Arc::clone(&self.store).lock_owned().await;
            let (shared, now) = (Arc::clone(&self.shared), (self.clock)());
            // The blocking task owns the lock: a caller that goes away cannot come between the file and
            // the state.
            let span = tracing::Span::current();
            let written = tokio::task::spawn_blocking(move || {
                let _entered = span.entered();
                store.ready(&shared)?;
                let staged = check::stage(&shared.read(), &changes, now);
                if !staged.entries.is_empty() {
                    store.write(&staged.entries)?;
                    shared.apply(staged.entries);
                }
                Ok(staged.outcomes)
            });
            written.await.map_err(RegistryError::store)?
        })
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}
