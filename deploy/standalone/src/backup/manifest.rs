//! What a backup holds: a text whose first line has the format's number and the SHA-256 of the rest, which is JSON.
//! Written last and put in place at once, so that what has one is whole.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::BackupError;
use super::tree::Tree;

/// Its name within a backup.
pub const NAME: &str = "manifest";
const MAGIC: &str = "whence-backup";
/// The newest format that this code knows.
const FORMAT: u32 = 1;

/// A backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of whence that made it.
    pub whence: String,
    /// When the snapshot was begun, in milliseconds since 1970.
    pub at_ms: i64,
    /// Up to where each journal is in the tables.
    pub positions: Vec<JournalPosition>,
    /// Everything in it.
    pub tree: Tree,
}

/// A place in a journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalPosition {
    /// `clicks` or `conversions`.
    pub stream: String,
    /// Number of the journal.
    pub partition: u32,
    /// Incarnation of its records.
    pub incarnation: String,
    /// Offset of the first record that is not in the tables.
    pub next: u64,
}

impl Manifest {
    /// Writes it into the folder, which is a backup from then on.
    ///
    /// # Errors
    /// The disk's.
    pub fn write(&self, folder: &Path) -> Result<(), BackupError> {
        let json = serde_json::to_string(self).expect("texts and numbers");
        let text = format!("{MAGIC} {FORMAT} {}\n{json}\n", hex::encode(Sha256::digest(&json)));
        let (beside, path) = (folder.join("manifest.tmp"), folder.join(NAME));
        let written = || {
            let mut file = File::create(&beside)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&beside, &path)?;
            File::open(folder)?.sync_all()
        };
        written().map_err(BackupError::io(&path))
    }

    /// Reads that of a backup.
    ///
    /// # Errors
    /// There is none, so that the backup was not finished; it is damaged, or of a later version.
    pub fn read(folder: &Path) -> Result<Manifest, BackupError> {
        let path = folder.join(NAME);
        let damaged =
            |what: &str| BackupError::Damaged { folder: folder.to_owned(), what: vec![what.into()] };
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(damaged("it has no manifest: it is not a backup, or was not finished"));
            }
            read => read.map_err(BackupError::io(&path))?,
        };
        let text = String::from_utf8(bytes).map_err(|_| damaged("manifest is damaged"))?;
        let (head, json) = text.split_once('\n').ok_or_else(|| damaged("manifest is damaged"))?;
        let json = json.strip_suffix('\n').ok_or_else(|| damaged("manifest is cut"))?;
        let [MAGIC, format, hash] = head.split(' ').collect::<Vec<_>>()[..] else {
            return Err(damaged("manifest is damaged"));
        };
        if format.parse().is_ok_and(|format: u32| format > FORMAT) {
            return Err(BackupError::Refused(format!(
                "the backup {} has format {format}, and this version of whence knows formats up to {FORMAT}: restore \
                 it with the version that made it, or a later one",
                folder.display()
            )));
        }
        if hash != hex::encode(Sha256::digest(json)) {
            return Err(damaged("manifest has other bytes than were written (its SHA-256 differs)"));
        }
        serde_json::from_str(json).map_err(|_| damaged("manifest is damaged"))
    }
}
