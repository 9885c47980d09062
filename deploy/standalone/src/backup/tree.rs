//! Copies trees of files, and hashes what is copied. Knows nothing of what the files are.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::BackupError;

const READ_BYTES: usize = 1 << 20;

/// What is in a tree, each by its path within it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    /// Folders, each before what is in it.
    pub folders: Vec<String>,
    /// Files.
    pub files: Vec<Entry>,
    /// Symbolic links within the tree.
    pub links: Vec<Link>,
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its path.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
}

/// A symbolic link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its path.
    pub path: String,
    /// Where it leads, from its own folder.
    pub target: String,
}

/// Copies what is in `from` into the folder `to`, which is there. What is neither file, folder nor link is left out.
///
/// # Errors
/// Something can't be read or written, has a name that is not UTF-8, or leads out of the tree.
pub fn copy(from: &Path, to: &Path) -> Result<Tree, BackupError> {
    let mut tree = Tree::default();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let inner = from.join(&folder);
        let mut entries: Vec<_> = fs::read_dir(&inner)
            .and_then(Iterator::collect::<Result<_, _>>)
            .map_err(BackupError::io(&inner))?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = folder.join(entry.file_name());
            let (source, target) = (from.join(&path), to.join(&path));
            let name = name(&path)?;
            let kind = entry.file_type().map_err(BackupError::io(&source))?;
            if kind.is_dir() {
                fs::create_dir(&target).map_err(BackupError::io(&target))?;
                tree.folders.push(name);
                folders.push(path);
            } else if kind.is_symlink() {
                let leads = fs::read_link(&source).map_err(BackupError::io(&source))?;
                std::os::unix::fs::symlink(&leads, &target).map_err(BackupError::io(&target))?;
                tree.links.push(Link { path: name, target: self::name(&leads)? });
            } else if kind.is_file() {
                let (size, sha256) = copy_file(&source, &target)?;
                tree.files.push(Entry { path: name, size, sha256 });
            }
        }
    }
    Ok(tree)
}

/// Makes what a tree says in the folder `to` of what is in `from`; returns what of it is not as it says.
///
/// # Errors
/// Something can't be written. What can't be read is among what is returned.
pub fn restore(tree: &Tree, from: &Path, to: &Path) -> Result<Vec<String>, BackupError> {
    let mut wrong = Vec::new();
    for folder in &tree.folders {
        let path = to.join(within(folder)?);
        fs::create_dir(&path).map_err(BackupError::io(&path))?;
    }
    for Link { path, target } in &tree.links {
        let at = within(path)?;
        // A link may lead upwards, but not out of the folder.
        let depth =
            Path::new(target).components().try_fold(at.components().count() - 1, |depth, part| match part {
                Component::ParentDir => depth.checked_sub(1),
                Component::Normal(_) => Some(depth + 1),
                Component::CurDir => Some(depth),
                Component::RootDir | Component::Prefix(_) => None,
            });
        if depth.is_none() {
            wrong.push(format!("the link {path} leads out of the folder"));
            continue;
        }
        let at = to.join(at);
        std::os::unix::fs::symlink(target, &at).map_err(BackupError::io(&at))?;
    }
    for Entry { path, size, sha256 } in &tree.files {
        let (source, target) = (from.join(within(path)?), to.join(within(path)?));
        if let Err(error) = File::open(&source) {
            wrong.push(format!("{path} can't be read ({error})"));
            continue;
        }
        let (found, hash) = copy_file(&source, &target)?;
        if found != *size {
            wrong.push(format!("{path} has {found} bytes, not {size}"));
        } else if hash != *sha256 {
            wrong.push(format!("{path} has other bytes than were written (its SHA-256 differs)"));
        }
    }
    Ok(wrong)
}

fn copy_file(from: &Path, to: &Path) -> Result<(u64, String), BackupError> {
    let mut source = File::open(from).map_err(BackupError::io(from))?;
    let mut target = File::create(to).map_err(BackupError::io(to))?;
    let (mut hash, mut size, mut bytes) = (Sha256::new(), 0, vec![0; READ_BYTES]);
    loop {
        let read = source.read(&mut bytes).map_err(BackupError::io(from))?;
        if read == 0 {
            return Ok((size, hex::encode(hash.finalize())));
        }
        hash.update(&bytes[..read]);
        target.write_all(&bytes[..read]).map_err(BackupError::io(to))?;
        size += read as u64;
    }
}

/// Puts everything on the file system of `folder` on the disk: what was copied, file by file, would take longer.
///
/// # Errors
/// The disk's.
pub fn sync(folder: &Path) -> Result<(), BackupError> {
    let file = File::open(folder).map_err(BackupError::io(folder))?;
    // SAFETY: a plain system call on an open descriptor.
    match unsafe { libc::syncfs(file.as_raw_fd()) } {
        0 => Ok(()),
        _ => Err(BackupError::io(folder)(std::io::Error::last_os_error())),
    }
}

fn name(path: &Path) -> Result<String, BackupError> {
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| BackupError::Refused(format!("{} is not UTF-8: give it another name", path.display())))
}

/// A path of a manifest, which leads nowhere else.
fn within(path: &str) -> Result<&Path, BackupError> {
    let path = Path::new(path);
    match !path.as_os_str().is_empty() && path.components().all(|part| matches!(part, Component::Normal(_))) {
        true => Ok(path),
        false => Err(BackupError::Refused(format!("{} is not a path within a backup", path.display()))),
    }
}
