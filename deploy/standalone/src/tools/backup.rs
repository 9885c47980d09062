//! `whence backup`: a copy of a data folder from which all of it can be put back.

use std::fmt::Write as _;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::{Arg, ArgMatches, Command, value_parser};
use whence_runtime::settings;
use whence_runtime::telemetry::start_logs;

use crate::backup::door::{self, Lent};
use crate::backup::manifest::{JournalPosition, Manifest};
use crate::backup::{BackupError, snapshot, tree};
use crate::data_dir::DataDir;
use crate::failure::Failure;
use crate::parts::account::committed;
use crate::process::VERSION;
use crate::settings::{FolderSettings, load};

/// What a new file system has at its root.
const LOST_AND_FOUND: &str = "lost+found";

/// `whence backup`
pub fn command() -> Command {
    let to = Arg::new("to")
        .long("to")
        .value_name("FOLDER")
        .required(true)
        .value_parser(value_parser!(PathBuf))
        .help("Target folder, new or empty. It will hold keys and passwords");
    let about = "Copies a data folder, while its process works or is stopped, so that `whence restore` can put it back: \
                 registry, secrets, places, ClickHouse's tables, journals";
    settings::command::<FolderSettings>(Command::new("backup").about(about)).arg(to)
}

/// Makes the backup.
///
/// # Errors
/// The folder can't be read, or the backup not be written; then there is none.
pub fn run(flags: &ArgMatches) -> Result<(), Failure> {
    let settings = load::<FolderSettings>(flags)?.settings;
    start_logs(&settings.log)?;
    let data = settings.data.data.canonicalize().map_err(BackupError::io(&settings.data.data))?;
    if !data.join("lock").exists() {
        let text = format!("{} is not a data folder of whence", data.display());
        return Err(BackupError::Refused(text).into());
    }
    let to = flags.get_one::<PathBuf>("to").expect("required");
    let target = Target::make(to)?;
    let within = target.path.canonicalize().map_err(BackupError::io(&target.path))?;
    if within.starts_with(&data) {
        let text = format!("{} is in the data folder, and would be lost with it", to.display());
        return Err(BackupError::Refused(text).into());
    }
    let manifest = make(&data, &target.path)?;
    target.keep();
    super::print(&told(&manifest, to))
}

fn make(data: &Path, to: &Path) -> Result<Manifest, Failure> {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let source = Source::of(data)?;
    let tree = tree::copy(source.folder(), to)?;
    let positions = committed(&to.join("journal"))?.into_iter().map(|place| JournalPosition {
        stream: place.stream,
        partition: place.partition,
        incarnation: place.incarnation,
        next: place.next,
    });
    let manifest = Manifest {
        whence: VERSION.to_owned(),
        at_ms: i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX),
        positions: positions.collect(),
        tree,
    };
    tree::sync(to)?;
    manifest.write(to)?;
    Ok(manifest)
}

fn told(manifest: &Manifest, to: &Path) -> String {
    let bytes: u64 = manifest.tree.files.iter().map(|file| file.size).sum();
    let mut text = format!("{} files, {bytes} bytes, are in {}\n", manifest.tree.files.len(), to.display());
    for JournalPosition { stream, partition, incarnation, next } in &manifest.positions {
        // Writing to a text does not fail.
        let _ = writeln!(text, "{stream} {partition} of {incarnation}: in the tables up to offset {next}");
    }
    text.push_str("it holds keys and passwords: keep it as you keep those\n");
    text
}

/// What is copied: what a running process lends, or a snapshot of a folder that nobody else has.
enum Source {
    Lent(Lent),
    Own { staging: PathBuf, _data: DataDir },
}

impl Source {
    fn of(data: &Path) -> Result<Self, Failure> {
        if let Some(lent) = door::ask(data)? {
            return Ok(Self::Lent(lent));
        }
        let locked = DataDir::open(data)?;
        let own = Self::Own { staging: snapshot::clear(data)?, _data: locked };
        let staging = own.folder();
        snapshot::take(data, staging)?;
        snapshot::take_registry(data, staging)?;
        snapshot::take_rest(data, staging)?;
        Ok(own)
    }

    fn folder(&self) -> &Path {
        match self {
            Self::Lent(lent) => &lent.folder,
            Self::Own { staging, .. } => staging,
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        if let Self::Own { staging, .. } = self
            && let Err(error) = snapshot::remove(staging)
        {
            tracing::warn!(%error, "what was taken for the backup can't be removed; the next start does");
        }
    }
}

/// An empty folder to write to; dropped before it is kept, what was written goes.
pub(super) struct Target {
    /// The folder.
    pub(super) path: PathBuf,
    is_made: bool,
    is_kept: bool,
}

impl Target {
    /// Makes the folder, or takes one without anything in it.
    ///
    /// # Errors
    /// The folder is not empty, or can't be made.
    pub(super) fn make(path: &Path) -> Result<Self, BackupError> {
        let target = |is_made| Self { path: path.to_owned(), is_made, is_kept: false };
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => return Ok(target(true)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(BackupError::io(path)(error)),
        }
        match entries(path).map_err(BackupError::io(path))?.first() {
            None => Ok(target(false)),
            Some(entry) => Err(BackupError::Refused(format!(
                "{} is not empty (it has {}): give an empty folder, or one that does not exist yet",
                path.display(),
                entry.file_name().unwrap_or_default().display()
            ))),
        }
    }

    /// Keeps the folder: the backup is whole.
    pub(super) fn keep(mut self) {
        self.is_kept = true;
    }

    fn clear(&self) -> io::Result<()> {
        for entry in entries(&self.path)? {
            if entry.is_dir() && !entry.is_symlink() {
                fs::remove_dir_all(&entry)?;
            } else {
                fs::remove_file(&entry)?;
            }
        }
        if self.is_made { fs::remove_dir(&self.path) } else { Ok(()) }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if !self.is_kept
            && let Err(error) = self.clear()
        {
            tracing::warn!(folder = %self.path.display(), %error, "what was written can't be removed: it is not whole");
        }
    }
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    Ok(entries
        .into_iter()
        .filter(|entry| entry.file_name() != LOST_AND_FOUND)
        .map(|entry| entry.path())
        .collect())
}
