//! Files that nobody else may read: one rule for reading those with secrets, whatever they are for, and one for making
//! what a process keeps.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;

/// Everything but what the owner may do.
const OTHERS: u32 = 0o077;
/// The same but that the group may read.
const OTHERS_BUT_GROUP_READS: u32 = 0o037;

/// Why a secret is not read.
#[derive(Debug, thiserror::Error)]
pub enum PrivateError {
    /// The file can't be read.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others than its owner may read or change it.
    #[error("{path} holds a secret and is open to others (mode {mode:o}): chmod 600 it")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
}

/// The text of a file with a secret, of at most `bytes_max`, which only its owner may read or change. The group may
/// read one that belongs to another user than the process's: that is how Kubernetes mounts a secret for a user that is
/// not root. Pipes have no readers but those that were given them.
///
/// # Errors
/// See [`PrivateError`]; a file that is too large or no UTF-8 is an [`io::Error`] that shows nothing of it.
pub fn read(path: &Path, bytes_max: u64) -> Result<String, PrivateError> {
    let failed = |source| PrivateError::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    check_open(path, &file)?;
    read_bounded(file, bytes_max).map_err(failed)
}

/// Whether only its owner may read or change the file: see [`read`].
///
/// # Errors
/// See [`PrivateError`].
pub fn check(path: &Path) -> Result<(), PrivateError> {
    let file = File::open(path).map_err(|source| PrivateError::Io { path: path.to_owned(), source })?;
    check_open(path, &file)
}

/// Looks at the very file that is then read, not at what its name leads to by then.
fn check_open(path: &Path, file: &File) -> Result<(), PrivateError> {
    let metadata = file.metadata().map_err(|source| PrivateError::Io { path: path.to_owned(), source })?;
    let is_own = metadata.uid() == rustix::process::geteuid().as_raw();
    let forbidden = if is_own { OTHERS } else { OTHERS_BUT_GROUP_READS };
    let mode = metadata.permissions().mode() & 0o777;
    if metadata.is_file() && mode & forbidden != 0 {
        return Err(PrivateError::Exposed { path: path.to_owned(), mode });
    }
    Ok(())
}

/// The text of a file that holds no secret, of at most `bytes_max`.
///
/// # Errors
/// See [`PrivateError`], of which nothing is exposed.
pub fn read_open(path: &Path, bytes_max: u64) -> Result<String, PrivateError> {
    let failed = |source| PrivateError::Io { path: path.to_owned(), source };
    read_bounded(File::open(path).map_err(failed)?, bytes_max).map_err(failed)
}

/// The text of a file of at most `bytes_max`.
///
/// # Errors
/// The system's, `FileTooLarge`, or `InvalidData` for bytes that are not UTF-8.
pub(crate) fn read_bounded(file: File, bytes_max: u64) -> io::Result<String> {
    let mut text = String::new();
    let read = file.take(bytes_max + 1).read_to_string(&mut text)?;
    if read as u64 > bytes_max {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("is larger than {bytes_max} bytes")));
    }
    Ok(text)
}

/// From here on every file and folder that this process and its children make is for their owner only, whatever makes
/// it and whatever the process was started with. To be called before anything else: it is the whole process's.
pub fn make_only_private_files() {
    rustix::process::umask(Mode::from_raw_mode(OTHERS));
}

/// Takes from others what they may do with a folder and all that is in it, except for the files of these names in the
/// folder itself, which are refused by whoever reads them: what others could read may have been read. Links are not
/// followed. Returns how many were open to others.
///
/// # Errors
/// The folder can't be read, or something in it is open to others and belongs to another user.
pub fn close_to_others(folder: &Path, but_for: &[&str]) -> io::Result<u64> {
    let mut closed = close(folder)?;
    let mut folders = vec![folder.to_owned()];
    while let Some(inner) = folders.pop() {
        for entry in fs::read_dir(&inner)? {
            let entry = entry?;
            let path = entry.path();
            if inner == folder && path.file_name().is_some_and(|name| but_for.iter().any(|own| name == *own))
            {
                continue;
            }
            closed += close(&path)?;
            // A symbolic link's own type is not a folder.
            if entry.file_type()?.is_dir() {
                folders.push(path);
            }
        }
    }
    Ok(closed)
}

fn close(path: &Path) -> io::Result<u64> {
    let mode = match fs::symlink_metadata(path) {
        Ok(found) if !found.is_symlink() => found.permissions().mode() & 0o7777,
        Ok(_) => return Ok(0),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    if mode & OTHERS == 0 {
        return Ok(0);
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode & !OTHERS)).map_err(|error| {
        io::Error::new(error.kind(), format!("{} is open to others: {error}", path.display()))
    })?;
    Ok(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn with_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_secret_that_others_may_read_or_change_is_refused_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        fs::write(&path, "hunter2").unwrap();
        for open in [0o644, 0o640, 0o604, 0o660, 0o602, 0o601, 0o610, 0o777, 0o666] {
            with_mode(&path, open);
            let error = read(&path, 100).unwrap_err().to_string();
            assert!(error.contains("chmod 600") && error.contains(&format!("{open:o}")), "{error}");
            assert!(!error.contains("hunter2"));
        }
        for private in [0o600, 0o400, 0o700] {
            with_mode(&path, private);
            assert_eq!(read(&path, 100).unwrap(), "hunter2", "{private:o}");
        }
        let link = dir.path().join("link");
        symlink(&path, &link).unwrap();
        with_mode(&path, 0o644);
        assert!(read(&link, 100).is_err(), "what a link leads to counts");
        with_mode(&path, 0o600);
        let error = read(&link, 3).unwrap_err().to_string();
        assert!(error.contains("larger") && !error.contains("hun"), "{error}");
        assert!(read(Path::new("/dev/null"), 3).unwrap().is_empty(), "no file that lies there for others");
    }

    #[test]
    fn a_folder_is_closed_to_others_with_all_that_is_in_it_but_what_may_have_been_read() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("a/b")).unwrap();
        for (name, open) in
            [("f", 0o666), ("a/f", 0o644), ("a/b/x", 0o755), ("secret", 0o644), ("a/secret", 0o644)]
        {
            fs::write(at(name), "").unwrap();
            with_mode(&at(name), open);
        }
        fs::write(outside.path().join("f"), "").unwrap();
        with_mode(&outside.path().join("f"), 0o644);
        symlink(outside.path(), at("a/out")).unwrap();
        for folder in [dir.path().to_owned(), at("a"), at("a/b")] {
            with_mode(&folder, 0o777);
        }
        assert_eq!(close_to_others(dir.path(), &["secret"]).unwrap(), 7);
        let expected = [
            (".", 0o700),
            ("a", 0o700),
            ("a/b", 0o700),
            ("f", 0o600),
            ("a/f", 0o600),
            ("a/b/x", 0o700),
            ("secret", 0o644),
        ];
        for (name, left) in expected {
            assert_eq!(mode(&at(name)), left, "{name}");
        }
        assert_eq!(mode(&outside.path().join("f")), 0o644, "links are not followed");
        assert_eq!(close_to_others(dir.path(), &["secret"]).unwrap(), 0);
    }
}
