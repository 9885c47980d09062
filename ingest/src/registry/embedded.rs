//! The registry of one machine: a redb file. Each write is one transaction, synced before it is answered.

use super::{
    CHANGES_MAX, Change, Clock, EntryKey, Outcomes, Registry, RegistryError, RegistryState, Shared, check,
};
use futures_util::future::BoxFuture;
use redb::{Database, ReadableTable, TableDefinition};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::sync::Mutex;
use whence_schemas::event::{self, DecodeError, RegistryEntry};

/// [`EntryKey`] as text → the newest entry of that record.
const ENTRIES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("entries");

/// Why the file can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// redb refuses it: damaged, locked by another process, or not readable.
    #[error("cannot open the registry file {path}")]
    Database {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<redb::Error>,
    },
    /// A record in it is no entry: written by a later version, or not by whence.
    #[error("the registry file {path} holds a record that is no entry: {key}")]
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

/// The registry in a redb file. One process at a time: the file is locked.
pub struct EmbeddedRegistry {
    database: Arc<Mutex<Database>>,
    shared: Arc<Shared>,
    clock: Clock,
}

impl EmbeddedRegistry {
    /// Opens the file at `path`, or creates it, and reads all of it. Blocks.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(path: &Path, clock: Clock) -> Result<EmbeddedRegistry, OpenError> {
        let database =
            |source: redb::Error| OpenError::Database { path: path.to_owned(), source: source.into() };
        let file = Database::create(path).map_err(|error| database(error.into()))?;
        let records = read_records(&file).map_err(database)?;
        let mut entries = Vec::with_capacity(records.len());
        for (key, record) in records {
            let entry = event::decode::<RegistryEntry>(&record).map_err(|source| OpenError::Entry {
                path: path.to_owned(),
                key,
                source,
            })?;
            entries.push(Arc::new(entry));
        }
        entries.sort_unstable_by_key(|entry| entry.version);
        let mut state = RegistryState::default();
        for entry in entries {
            let inconsistent = |source| OpenError::Inconsistent { path: path.to_owned(), source };
            state.apply(entry).map_err(inconsistent)?;
        }
        let shared = Arc::new(Shared::starting_at(state));
        Ok(EmbeddedRegistry { database: Arc::new(Mutex::new(file)), shared, clock })
    }
}

fn read_records(file: &Database) -> Result<Vec<(String, Vec<u8>)>, redb::Error> {
    let transaction = file.begin_write()?;
    let mut records = Vec::new();
    for record in transaction.open_table(ENTRIES)?.iter()? {
        let (key, value) = record?;
        records.push((key.value().to_owned(), value.value().to_owned()));
    }
    // Creates the table in a new file.
    transaction.commit()?;
    Ok(records)
}

fn write_entries(file: &Database, entries: &[Arc<RegistryEntry>]) -> Result<(), redb::Error> {
    let transaction = file.begin_write()?;
    {
        let mut table = transaction.open_table(ENTRIES)?;
        for entry in entries {
            let key = EntryKey::of(entry).expect("staged entries hold a record").to_string();
            table.insert(key.as_str(), event::encode(entry.as_ref()).as_ref())?;
        }
    }
    // redb's default durability: on disk when this returns.
    transaction.commit()?;
    Ok(())
}

impl Registry for EmbeddedRegistry {
    /// Waits for the writes before it; how many can wait is bounded by whoever lets callers in.
    fn write(&self, changes: Vec<Change>) -> BoxFuture<'_, Result<Outcomes, RegistryError>> {
        Box::pin(async move {
            if changes.len() > CHANGES_MAX {
                return Err(RegistryError::TooMany(changes.len()));
            }
            let database = Arc::clone(&self.database).lock_owned().await;
            let (shared, now) = (Arc::clone(&self.shared), (self.clock)());
            // The blocking task owns the lock: a caller that goes away cannot come between the file and
            // the state.
            let written = tokio::task::spawn_blocking(move || {
                let staged = check::stage(&shared.read(), &changes, now);
                if !staged.entries.is_empty() {
                    write_entries(&database, &staged.entries).map_err(RegistryError::store)?;
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
