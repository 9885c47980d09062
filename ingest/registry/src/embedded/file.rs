//! The redb file itself. Knows nothing of changes or of the present.
//!
//! Every page has a checksum, and all of them are checked when the file is opened: one that was altered is refused,
//! never read in part. What redb asserts of a file is no assertion to us: a panic of it is an error like any other.

use super::OpenError;
use crate::EntryKey;
use redb::{Builder, Database, ReadableTable, TableDefinition};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
};
use whence_schemas::event::{self, RegistryEntry};

/// [`EntryKey`] as text → the newest entry of that record.
const ENTRIES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("entries");

/// Opens the file, or makes it, and reads all entries, oldest first. Blocks.
pub(super) fn open(path: &Path) -> Result<(File, Vec<Arc<RegistryEntry>>), OpenError> {
    let failed = |source: redb::Error| OpenError::Database { path: path.to_owned(), source: source.into() };
    let opened = caught(|| {
        let database = Builder::new().set_check_integrity_on_open(true).create(path)?;
        let records = read(&database)?;
        Ok((File(Some(database)), records))
    });
    let (file, records) = opened.map_err(failed)?;
    let mut entries = Vec::with_capacity(records.len());
    for (key, record) in records {
        let decoded = event::decode::<RegistryEntry>(&record);
        let entry = decoded.map_err(|source| OpenError::Entry { path: path.to_owned(), key, source })?;
        entries.push(Arc::new(entry));
    }
    entries.sort_unstable_by_key(|entry| entry.version);
    Ok((file, entries))
}

/// The open file.
pub(super) struct File(Option<Database>);

impl File {
    /// Writes these entries in one transaction; they are on the disk when this returns. Blocks. After an error the
    /// file is of no more use, and it is not known whether they are in it.
    pub(super) fn write(&self, entries: &[Arc<RegistryEntry>]) -> Result<(), redb::Error> {
        let database = self.0.as_ref().expect("there until dropped");
        caught(|| {
            let transaction = database.begin_write()?;
            {
                let mut table = transaction.open_table(ENTRIES)?;
                for entry in entries {
                    let key = EntryKey::of(entry).expect("staged entries hold a record").to_string();
                    table.insert(key.as_str(), event::encode(entry.as_ref()).as_ref())?;
                }
            }
            // redb's default durability.
            Ok(transaction.commit()?)
        })
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let database = self.0.take();
        // It writes a last time.
        let closed = caught(|| {
            drop(database);
            Ok(())
        });
        if let Err(error) = closed {
            tracing::warn!(%error, "cannot close the registry file in order; it is checked when it is opened");
        }
    }
}

fn read(database: &Database) -> Result<Vec<(String, Vec<u8>)>, redb::Error> {
    let transaction = database.begin_write()?;
    let mut records = Vec::new();
    for record in transaction.open_table(ENTRIES)?.iter()? {
        let (key, value) = record?;
        records.push((key.value().to_owned(), value.value().to_owned()));
    }
    // Creates the table in a new file.
    transaction.commit()?;
    Ok(records)
}

fn caught<T>(work: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, redb::Error> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
        Err(redb::Error::Corrupted(text.to_owned()))
    })
}
