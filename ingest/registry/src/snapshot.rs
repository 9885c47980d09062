//! A copy of the registry on local disk: read at start, so that a process serves while Kafka is down;
//! written by whoever follows.
//!
//! Format: the 8 bytes `whenceR1`, then for each entry, oldest first, its length (u32, little endian) and
//! its Protobuf bytes, then a length of 0 and the SHA-256 of everything before. A file is replaced whole
//! (written beside, synced, renamed), so a torn one is damage and is refused, never read in part.

use super::{RegistryState, Shared};
use sha2::{Digest, Sha256};
use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use whence_runtime::seldom;
use whence_schemas::event::{self, DecodeError, RECORD_BYTES_MAX, RegistryEntry};

whence_metrics::declare! {
    /// Registry snapshots that could not be written.
    counter REGISTRY_SNAPSHOT_FAILURES: "whence_registry_snapshot_failures_total";
}

const MAGIC: &[u8; 8] = b"whenceR1";
/// Entries that are read at once: bounds the memory of a restore, arbitrary otherwise.
const BUFFER_BYTES: usize = 256 * 1024;
/// Entries that are taken out of the registry at once: bounds how long it is locked.
const PAGE: usize = 1000;

/// Why a snapshot can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The file can't be opened, read or written.
    #[error("cannot use the registry snapshot {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is not a snapshot, or not a whole one.
    #[error("the registry snapshot {path} is damaged: {what}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How.
        what: &'static str,
    },
    /// An entry in it is not valid.
    #[error("the registry snapshot {path} has an entry that is not valid")]
    Entry {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: DecodeError,
    },
}

/// Every entry, oldest first, page by page: the registry is free for others in between. A record that is
/// changed meanwhile comes as it was, as it is, or both in this order.
pub fn entries(shared: &Shared) -> impl Iterator<Item = Arc<RegistryEntry>> {
    let mut version = 0;
    let pages = std::iter::from_fn(move || {
        let page = shared.read().entries_after(version, PAGE);
        version = page.last()?.version;
        Some(page)
    });
    pages.flatten()
}

/// Writes these entries, oldest first, to `path`, replacing what is there. Blocks.
///
/// # Errors
/// If the file can't be written; the old one is then as it was.
pub fn write(path: &Path, entries: impl Iterator<Item = Arc<RegistryEntry>>) -> Result<(), SnapshotError> {
    let failed = |source| SnapshotError::Io { path: path.to_owned(), source };
    let beside = path.with_extension("new");
    write_new(&beside, entries).map_err(failed)?;
    fs::rename(&beside, path).map_err(failed)?;
    // The rename itself has to survive a power cut.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}

fn write_new(path: &Path, entries: impl Iterator<Item = Arc<RegistryEntry>>) -> io::Result<()> {
    let mut file = BufWriter::with_capacity(BUFFER_BYTES, File::create(path)?);
    let mut hash = Sha256::new();
    let mut put = |bytes: &[u8]| {
        hash.update(bytes);
        file.write_all(bytes)
    };
    put(MAGIC)?;
    for entry in entries {
        let record = event::encode(entry.as_ref());
        let len = u32::try_from(record.len()).ok().filter(|len| *len as usize <= RECORD_BYTES_MAX);
        put(&len.ok_or(io::ErrorKind::InvalidInput)?.to_le_bytes())?;
        put(&record)?;
    }
    put(&0u32.to_le_bytes())?;
    file.write_all(&hash.finalize())?;
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

/// The state in the snapshot at `path`, or `None` where there is no file. Blocks.
///
/// # Errors
/// See [`SnapshotError`]: a snapshot that can't be used is no reason to stop, only to wait for the topic.
pub fn read(path: &Path) -> Result<Option<RegistryState>, SnapshotError> {
    let failed = |source| SnapshotError::Io { path: path.to_owned(), source };
    let damaged = |what| SnapshotError::Damaged { path: path.to_owned(), what };
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(failed)?,
    };
    let mut reader = Checked { file: BufReader::with_capacity(BUFFER_BYTES, file), hash: Sha256::new() };
    let short = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof => damaged("it ends early"),
        _ => failed(error),
    };
    if reader.array::<8>().map_err(short)? != *MAGIC {
        return Err(damaged("it is not a snapshot of this version"));
    }
    let mut state = RegistryState::default();
    loop {
        let len = u32::from_le_bytes(reader.array().map_err(short)?) as usize;
        match len {
            0 => break,
            1..=RECORD_BYTES_MAX => {}
            _ => return Err(damaged("an entry is too long")),
        }
        let record = reader.bytes(len).map_err(short)?;
        let entry = event::decode::<RegistryEntry>(&record)
            .map_err(|source| SnapshotError::Entry { path: path.to_owned(), source })?;
        state.apply(Arc::new(entry)).map_err(|_| damaged("its entries do not fit together"))?;
    }
    let expected = reader.hash.finalize_reset();
    let mut found = [0; 32];
    reader.file.read_exact(&mut found).map_err(short)?;
    if found[..] != expected[..] {
        return Err(damaged("its checksum is wrong"));
    }
    Ok(Some(state))
}

/// A file whose bytes are hashed as they are read.
struct Checked {
    file: BufReader<File>,
    hash: Sha256,
}

impl Checked {
    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes)?;
        self.hash.update(bytes);
        Ok(bytes)
    }

    fn bytes(&mut self, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        self.file.read_exact(&mut bytes)?;
        self.hash.update(&bytes);
        Ok(bytes)
    }
}

/// Keeps the snapshot at `path` no older than `every` while the registry changes, until `shutdown`, and
/// writes it once more then. A failure is counted and logged and tried again.
pub async fn keep(shared: Arc<Shared>, path: PathBuf, every: Duration, shutdown: CancellationToken) {
    let mut written_version = 0;
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let is_last = shutdown.run_until_cancelled(ticks.tick()).await.is_none();
        let version = shared.read().version();
        if version != written_version {
            let (to, from) = (path.clone(), Arc::clone(&shared));
            let written = tokio::task::spawn_blocking(move || write(&to, entries(&from))).await;
            match written.expect("writing a snapshot does not panic") {
                Ok(()) => written_version = version,
                Err(error) => {
                    metrics::counter!(REGISTRY_SNAPSHOT_FAILURES).increment(1);
                    seldom!(warn, error = &error as &dyn std::error::Error, "registry snapshot not written");
                }
            }
        }
        if is_last {
            return;
        }
    }
}
