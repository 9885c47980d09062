//! A data folder as it stands at one moment, in a folder beside: files that never change are linked, the others copied.
//!
//! [`take`] is called while no block is being stored and the engine stands still, or when there is no process.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{BackupError, DOOR, STAGING, UNFINISHED};
use crate::parts::journals;

/// Files that a process creates at each start, or holds for itself.
const NOT_KEPT: [&str; 6] = ["lock", "addresses.json", "addresses.json.new", DOOR, STAGING, UNFINISHED];
/// Handled on their own: what is in them changes while it is copied.
const APART: [&str; 3] = ["clickhouse", "journal", "registry.redb"];
/// Folders of the engine that hold nothing of tables.
const ENGINE_NOT_KEPT: [&str; 3] = ["tmp", "shadow", "preprocessed_configs"];
/// Parts that the engine has not finished, or is about to remove.
const UNFINISHED_PARTS: [&str; 2] = ["tmp_", "delete_tmp_"];
/// The engine may stand still for so long: its supervisor takes it for dead after a minute.
const STILL_MAX: Duration = Duration::from_secs(40);

/// Makes the empty folder that snapshots of a data folder are taken into; what an earlier one left goes.
///
/// # Errors
/// The disk's.
pub fn clear(data: &Path) -> Result<PathBuf, BackupError> {
    let staging = data.join(STAGING);
    remove(&staging)?;
    folder(&staging)?;
    Ok(staging)
}

/// Removes what was taken, if anything was.
///
/// # Errors
/// The disk's.
pub fn remove(staging: &Path) -> Result<(), BackupError> {
    match fs::remove_dir_all(staging) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(BackupError::io(staging)(error)),
        _ => Ok(()),
    }
}

/// What must not change meanwhile: the engine's tables, the aggregator's places, the journals.
///
/// # Errors
/// The disk's; or the engine's folder is on another file system than the data folder.
pub fn take(data: &Path, staging: &Path) -> Result<(), BackupError> {
    let store = data.join("clickhouse/store");
    if store.is_dir() {
        folder(&staging.join("clickhouse"))?;
        let deadline = Instant::now() + STILL_MAX;
        link_engine(&store, &staging.join("clickhouse/store"), 0, false, deadline)?;
    }
    let journals = data.join("journal");
    if !journals.is_dir() {
        return Ok(());
    }
    folder(&staging.join("journal"))?;
    for journal in journals::find(&journals).map_err(BackupError::io(&journals))? {
        let name = journal.dir.file_name().expect("a journal has a name");
        let into = staging.join("journal").join(name);
        folder(&into)?;
        // Places first: what is behind them is still there when it is linked.
        for entry in entries(&journal.dir)? {
            let path = entry.path();
            if path.extension().is_some_and(|end| end == "checkpoint") {
                copy(&path, &into.join(entry.file_name()))?;
            }
        }
        whence_journal::snapshot(&journal.dir, &into).map_err(BackupError::io(&journal.dir))?;
    }
    Ok(())
}

/// Everything else, except for the registry of one machine, which only its process can read while it works.
///
/// # Errors
/// The disk's.
pub fn take_rest(data: &Path, staging: &Path) -> Result<(), BackupError> {
    for entry in entries(data)? {
        let name = entry.file_name();
        if NOT_KEPT.iter().chain(&APART).any(|other| name == *other) {
            continue;
        }
        copy_all(&entry.path(), &staging.join(name))?;
    }
    Ok(())
}

/// The registry of one machine, of a folder that no process has.
///
/// # Errors
/// The disk's.
pub fn take_registry(data: &Path, staging: &Path) -> Result<(), BackupError> {
    let file = data.join("registry.redb");
    if file.exists() { copy(&file, &staging.join("registry.redb")) } else { Ok(()) }
}

/// The files of a part never change; what the engine writes in place lies beside the parts, and is small.
/// `depth` counts `store/abc/TABLE/PART`.
fn link_engine(
    from: &Path,
    to: &Path,
    depth: usize,
    is_store: bool,
    deadline: Instant,
) -> Result<(), BackupError> {
    folder(to)?;
    if Instant::now() >= deadline {
        return Err(BackupError::Refused(format!(
            "the engine would have to stand still for more than {} s: stop the process, and back its folder up then",
            STILL_MAX.as_secs()
        )));
    }
    for entry in entries(from)? {
        let (source, name) = (entry.path(), entry.file_name());
        let target = to.join(&name);
        let name = name.to_string_lossy();
        let kind = entry.file_type().map_err(BackupError::io(&source))?;
        if kind.is_dir() {
            let is_left_out = match depth {
                0 => ENGINE_NOT_KEPT.contains(&&*name),
                3 => UNFINISHED_PARTS.iter().any(|start| name.starts_with(start)),
                _ => false,
            };
            let is_store = if depth == 0 { name == "store" } else { is_store };
            let is_written_in_place = depth == 3 && name == "deduplication_logs";
            if is_written_in_place {
                copy_all(&source, &target)?;
            } else if !is_left_out {
                link_engine(&source, &target, depth + 1, is_store, deadline)?;
            }
        } else if kind.is_symlink() {
            copy_link(&source, &target)?;
        } else if kind.is_file() && is_store && depth >= 4 {
            fs::hard_link(&source, &target).map_err(|error| match error.kind() {
                io::ErrorKind::CrossesDevices => BackupError::Refused(format!(
                    "{} is on another file system than the data folder, so that nothing in it can be linked: stop the \
                     process, and copy the whole folder",
                    from.display()
                )),
                _ => BackupError::io(&source)(error),
            })?;
        } else if kind.is_file() {
            copy(&source, &target)?;
        }
    }
    Ok(())
}

fn copy_all(from: &Path, to: &Path) -> Result<(), BackupError> {
    let kind = match fs::symlink_metadata(from) {
        // A file that is replaced comes under its own name, too.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        metadata => metadata.map_err(BackupError::io(from))?.file_type(),
    };
    if kind.is_dir() {
        folder(to)?;
        for entry in entries(from)? {
            copy_all(&entry.path(), &to.join(entry.file_name()))?;
        }
    } else if kind.is_symlink() {
        copy_link(from, to)?;
    } else if kind.is_file() {
        copy(from, to)?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<(), BackupError> {
    match fs::copy(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        copied => copied.map(drop).map_err(BackupError::io(from)),
    }
}

fn copy_link(from: &Path, to: &Path) -> Result<(), BackupError> {
    let leads = fs::read_link(from).map_err(BackupError::io(from))?;
    std::os::unix::fs::symlink(leads, to).map_err(BackupError::io(to))
}

fn folder(path: &Path) -> Result<(), BackupError> {
    DirBuilder::new().mode(0o700).create(path).map_err(BackupError::io(path))
}

fn entries(path: &Path) -> Result<Vec<fs::DirEntry>, BackupError> {
    fs::read_dir(path).and_then(Iterator::collect).map_err(BackupError::io(path))
}
