//! Passwords that nobody has to choose: made at the first start and kept in a file of their owner's.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use whence_runtime::private::{self, PrivateError};

/// Characters of a password that was made here: 160 bits in lower-case hexadecimal.
const CHARACTERS: usize = 40;
/// Longer files are not password files.
const BYTES_MAX: u64 = 4096;

/// Why a kept password can't be had.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// A new one can't be written.
    #[error("cannot keep a password in {path}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It can't be read, or others could have.
    #[error(transparent)]
    Private(#[from] PrivateError),
    /// An empty password would let everybody in.
    #[error("{path} has no password in it: remove the file, and a new one is made", path = path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// The password in `path`; a new one if there is no file yet, written with mode 0600 and synced.
///
/// # Errors
/// See [`PasswordError`].
pub fn kept(path: &Path) -> Result<SecretString, PasswordError> {
    match make(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => read(path),
        made => made.map_err(|source| PasswordError::Io { path: path.to_owned(), source }),
    }
}

/// The password in `path`, without its line's end.
///
/// # Errors
/// See [`PasswordError`]; a file that is not there is one, too.
pub fn read(path: &Path) -> Result<SecretString, PasswordError> {
    match private::read(path, BYTES_MAX)?.trim_end_matches(['\r', '\n']) {
        "" => Err(PasswordError::Empty { path: path.to_owned() }),
        password => Ok(password.to_owned().into()),
    }
}

/// Whole or not at all: written beside and linked to its place, which fails if somebody was faster.
fn make(path: &Path) -> io::Result<SecretString> {
    if path.exists() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let password = random();
    let beside = path.with_extension(format!("new-{}", std::process::id()));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        writeln!(file, "{password}")?;
        file.sync_all()?;
        std::fs::hard_link(&beside, path)
    })();
    let _ = std::fs::remove_file(&beside);
    written.map(|()| password.into())
}

fn random() -> String {
    let bits = [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()];
    let text: String = bits.iter().map(|uuid| uuid.simple().to_string()).collect();
    // Two of the 32 digits of a random UUID are fixed: 40 of 64 hold more than 144 random bits.
    text[..CHARACTERS].to_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_password_is_made_once_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        let made = kept(&path).unwrap();
        assert_eq!(made.expose_secret().len(), CHARACTERS);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(kept(&path).unwrap().expose_secret(), made.expose_secret());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_others_can_read_or_that_is_empty_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        std::fs::write(&path, "secret\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(kept(&path), Err(PasswordError::Private(PrivateError::Exposed { .. }))));
        std::fs::write(&path, "\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(kept(&path), Err(PasswordError::Empty { .. })));
    }
}
