//! The first API key: it may do everything, and makes the others. It stands in no registry.

use super::key_text;
use secrecy::{ExposeSecret, SecretString};
use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};
use subtle::ConstantTimeEq;
use whence_runtime::private::{self, PrivateError};

/// The file in the data folder that holds a generated key.
pub const FILE_NAME: &str = "admin-key";
/// Characters of a key that is given by setting: fewer could be guessed.
pub const GIVEN_CHARS_MIN: usize = 32;
/// Longer than any key.
const FILE_BYTES_MAX: u64 = 4096;

/// The admin key, as its hash.
#[derive(Clone)]
pub struct AdminKey {
    hash: [u8; 32],
    /// The key itself, if it was made just now: to be shown to the operator, once.
    pub shown: Option<SecretString>,
}

impl fmt::Debug for AdminKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminKey")
    }
}

impl AdminKey {
    /// Whether this is the key's hash, in constant time.
    #[must_use]
    pub fn is(&self, hash: &[u8; 32]) -> bool {
        self.hash.ct_eq(hash).into()
    }

    /// A key that nobody has: for processes that know the keys of the registry only.
    #[must_use]
    pub fn nobodys() -> AdminKey {
        AdminKey { hash: key_text::new_key().hash, shown: None }
    }

    fn of(key: &str) -> AdminKey {
        AdminKey { hash: key_text::hash(key), shown: None }
    }
}

/// Why there is no admin key.
#[derive(Debug, thiserror::Error)]
pub enum AdminKeyError {
    /// The file can't be written.
    #[error("cannot use the admin key file {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file can't be read, or others may read it.
    #[error("{0}, or remove it to have a new key made")]
    File(#[from] PrivateError),
    /// The key has too few characters.
    #[error("the admin key must have at least {GIVEN_CHARS_MIN} characters")]
    TooShort,
}

/// The admin key: the given one, which is kept as its hash only, or the one in the folder `dir`, which is
/// made at the first start and readable by its owner only. Blocks.
///
/// # Errors
/// See [`AdminKeyError`].
pub fn ensure_admin_key(dir: &Path, given: Option<&SecretString>) -> Result<AdminKey, AdminKeyError> {
    if let Some(given) = given {
        return checked(given.expose_secret());
    }
    let path = dir.join(FILE_NAME);
    let failed = |source| AdminKeyError::Io { path: path.clone(), source };
    let made = key_text::new_key();
    match create(dir, &path, made.key.expose_secret()) {
        Ok(()) => return Ok(AdminKey { hash: made.hash, shown: Some(made.key) }),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(error)),
    }
    checked(read_admin_key(dir)?.expose_secret())
}

/// The key that is kept in the folder, for whoever calls with it. Blocks.
///
/// # Errors
/// There is no such file, or others may read it.
pub fn read_admin_key(dir: &Path) -> Result<SecretString, PrivateError> {
    Ok(private::read(&dir.join(FILE_NAME), FILE_BYTES_MAX)?.trim().into())
}

fn checked(key: &str) -> Result<AdminKey, AdminKeyError> {
    if key.chars().count() < GIVEN_CHARS_MIN {
        return Err(AdminKeyError::TooShort);
    }
    Ok(AdminKey::of(key))
}

/// Writes beside and links into place: the file is never seen half written, and of two processes that
/// start at once one makes the key.
fn create(dir: &Path, path: &Path, key: &str) -> io::Result<()> {
    if path.try_exists()? {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let beside = dir.join(format!("{FILE_NAME}.{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    let linked = (|| {
        writeln!(file, "{key}")?;
        file.sync_all()?;
        fs::hard_link(&beside, path)?;
        File::open(dir)?.sync_all()
    })();
    fs::remove_file(&beside)?;
    linked
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn hash_of(key: &SecretString) -> [u8; 32] {
        key_text::hash(key.expose_secret())
    }

    #[test]
    fn a_key_that_can_be_guessed_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let short = SecretString::from("s3cret");
        assert!(matches!(ensure_admin_key(dir.path(), Some(&short)), Err(AdminKeyError::TooShort)));
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        ensure_admin_key(dir.path(), None).unwrap();
        let path = dir.path().join(FILE_NAME);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let refused = ensure_admin_key(dir.path(), None).unwrap_err().to_string();
        assert!(refused.contains("chmod 600") && refused.contains(path.to_str().unwrap()), "{refused}");
        assert!(read_admin_key(dir.path()).is_err(), "nor does a tool call with it");
    }

    #[test]
    fn a_generated_key_is_shown_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let first = ensure_admin_key(dir.path(), None).unwrap();
        let shown = first.shown.as_ref().unwrap();
        let mode = fs::metadata(dir.path().join(FILE_NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let second = ensure_admin_key(dir.path(), None).unwrap();
        assert!(second.shown.is_none());
        assert!(second.is(&hash_of(shown)));
        assert_eq!(format!("{first:?}"), "AdminKey");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside the key");
    }

    #[test]
    fn a_given_key_is_kept_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let given = SecretString::from("0123456789abcdef0123456789abcdef");
        let key = ensure_admin_key(dir.path(), Some(&given)).unwrap();
        assert!(key.shown.is_none() && key.is(&hash_of(&given)));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
