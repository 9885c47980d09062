//! The deployment's secrets: keys of click tokens, and what identities and addresses are hashed with.
//!
//! ```toml
//! mint-with = 1
//! identity-secret = "64 hexadecimal digits"
//! address-secret = "64 hexadecimal digits"
//!
//! [token-keys]
//! 1 = "64 hexadecimal digits"
//! ```
//!
//! To rotate: add a key everywhere, then mint with it everywhere, and remove the old one when the longest
//! attribution window has passed. The other two are for good: with another identity secret nobody is known
//! any more.
//!
//! Nothing of the file's content is ever in an error or a log line.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rand::TryRng;
use rand::rngs::SysRng;
use toml::{Table, Value};
use whence_ingest::edge::AddressHasher;
use whence_runtime::private::{self, PrivateError};
use whence_schemas::subject::IdentityHasher;
use whence_schemas::token::{KeyRing, KeyRingError};

/// A secret, and every key.
type Key = [u8; 32];

/// Room for hundreds of keys.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// What the secrets are good for; the bytes themselves are not kept.
#[derive(Clone, Debug)]
pub struct Secrets {
    /// Mints and checks click tokens.
    pub keys: KeyRing,
    /// Hashes who leads are.
    pub identity: IdentityHasher,
    /// Hashes addresses and visitors.
    pub addresses: AddressHasher,
}

/// Why there are no secrets.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// The file can't be written.
    #[error("cannot use the secrets file {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is there already.
    #[error("the secrets file {0} already exists and is left as it is: tokens and identities depend on it")]
    Exists(PathBuf),
    /// The file can't be read, or others may read or change it.
    #[error(transparent)]
    File(#[from] PrivateError),
    /// The file is not as it must be.
    #[error("the secrets file {path} is not usable: {what}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong; never what is in it.
        what: String,
    },
    /// The keys don't fit together.
    #[error("the secrets file {path} is not usable")]
    Keys {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: KeyRingError,
    },
    /// The system gives no randomness.
    #[error("the system's random number generator failed")]
    Random(#[source] rand::rngs::SysError),
}

/// The secrets in the file, which is made if it is missing.
///
/// # Errors
/// See [`SecretsError`].
pub fn ensure(path: &Path) -> Result<Secrets, SecretsError> {
    match create(path) {
        Ok(()) => tracing::info!(path = %path.display(), "secrets created"),
        Err(SecretsError::Exists(_)) => {}
        Err(error) => return Err(error),
    }
    load(path)
}

/// The secrets in the file.
///
/// # Errors
/// See [`SecretsError`].
pub fn load(path: &Path) -> Result<Secrets, SecretsError> {
    parse(path, &private::read(path, FILE_BYTES_MAX)?)
}

/// Makes a file with new secrets, for its owner only.
///
/// # Errors
/// See [`SecretsError`]; a file that is there is left alone.
pub fn create(path: &Path) -> Result<(), SecretsError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AlreadyExists => SecretsError::Exists(path.to_owned()),
        _ => SecretsError::Io { path: path.to_owned(), source },
    };
    if path.try_exists().map_err(failed)? {
        return Err(SecretsError::Exists(path.to_owned()));
    }
    let text = format!(
        "# Secrets of this whence deployment: the same for all of its processes, and to be kept.\n\
         mint-with = 1\nidentity-secret = \"{}\"\naddress-secret = \"{}\"\n\n[token-keys]\n1 = \"{}\"\n",
        random_hex()?,
        random_hex()?,
        random_hex()?
    );
    write_new(path, &text).map_err(failed)
}

/// Written beside and linked into place: the file is never seen half written, and never replaced.
fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy().into_owned();
    let beside = folder.join(format!(".{name}.{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    let linked = (|| {
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::hard_link(&beside, path)?;
        File::open(folder)?.sync_all()
    })();
    fs::remove_file(&beside)?;
    linked
}

fn random_hex() -> Result<String, SecretsError> {
    let mut key: Key = [0; 32];
    SysRng.try_fill_bytes(&mut key).map_err(SecretsError::Random)?;
    Ok(hex::encode(key))
}

fn parse(path: &Path, text: &str) -> Result<Secrets, SecretsError> {
    let content = |what: String| SecretsError::Content { path: path.to_owned(), what };
    // The parser's own message quotes the line.
    let table: Table = text.parse().map_err(|_| content("it is not TOML".to_owned()))?;
    let known: BTreeSet<&str> = ["mint-with", "identity-secret", "address-secret", "token-keys"].into();
    if let Some(unknown) = table.keys().find(|key| !known.contains(key.as_str())) {
        return Err(content(format!("`{unknown}` is unknown")));
    }
    let secret = |name: &str| {
        let value = table.get(name).and_then(Value::as_str).and_then(key_of_hex);
        value.ok_or_else(|| content(format!("`{name}` must be 64 hexadecimal digits")))
    };
    let minting = table.get("mint-with").and_then(Value::as_integer).and_then(|id| u8::try_from(id).ok());
    let minting =
        minting.ok_or_else(|| content("`mint-with` must be a key's number from 0 to 255".to_owned()))?;
    let listed = table.get("token-keys").and_then(Value::as_table);
    let listed = listed.ok_or_else(|| content("`[token-keys]` is missing".to_owned()))?;
    let mut keys = Vec::with_capacity(listed.len());
    for (id, value) in listed {
        let wrong = || {
            content(format!(
                "`token-keys.{id}` must be 64 hexadecimal digits, its name a number from 0 to 255"
            ))
        };
        let id: u8 = id.parse().map_err(|_| wrong())?;
        keys.push((id, value.as_str().and_then(key_of_hex).ok_or_else(wrong)?));
    }
    Ok(Secrets {
        keys: KeyRing::new(minting, &keys)
            .map_err(|source| SecretsError::Keys { path: path.to_owned(), source })?,
        identity: IdentityHasher::new(&secret("identity-secret")?),
        addresses: AddressHasher::new(&secret("address-secret")?),
    })
}

fn key_of_hex(hex: &str) -> Option<Key> {
    let mut key: Key = [0; 32];
    hex::decode_to_slice(hex, &mut key).ok()?;
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const HEX: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    fn file(text: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secrets.toml");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (dir, path)
    }

    fn text(mint_with: &str, identity: &str, key: &str) -> String {
        format!(
            "mint-with = {mint_with}\nidentity-secret = '{identity}'\naddress-secret = '{HEX}'\n[token-keys]\n{key}\n"
        )
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        let good = text("1", HEX, &format!("1 = '{HEX}'"));
        for mode in [0o644, 0o640, 0o604, 0o660, 0o602] {
            let (_dir, path) = file(&good, mode);
            assert!(matches!(load(&path), Err(SecretsError::File(PrivateError::Exposed { .. }))), "{mode:o}");
        }
        for mode in [0o600, 0o400] {
            let (_dir, path) = file(&good, mode);
            load(&path).unwrap_or_else(|error| panic!("{mode:o}: {error}"));
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_the_secrets() {
        let key = format!("1 = '{HEX}'");
        let cases = [
            (text("1", "abc123", &key), "`identity-secret` must be 64"),
            (text("1", HEX, "1 = 'abc123'"), "`token-keys.1` must be 64"),
            (text("1", HEX, &format!("300 = '{HEX}'")), "`token-keys.300`"),
            (text("'abc123'", HEX, &key), "`mint-with`"),
            (text("2", HEX, &key), "not usable"),
            (format!("identity-secret = 'abc123'\nx = [\"{HEX}"), "not TOML"),
            (format!("identity = 1\n{}", text("1", HEX, &key)), "`identity` is unknown"),
        ];
        for (text, expected) in cases {
            let (_dir, path) = file(&text, 0o600);
            let error = load(&path).unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(error.to_string().contains(expected), "{error}");
            assert!(!shown.contains("abc123") && !shown.contains(HEX), "{shown}");
        }
    }

    #[test]
    fn new_secrets_are_private_and_never_replace_old_ones() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secrets.toml");
        create(&path).unwrap();
        let before = fs::read_to_string(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(create(&path), Err(SecretsError::Exists(_))));
        ensure(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), before);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn two_new_files_share_no_secret() {
        let dir = tempfile::tempdir().unwrap();
        let lines = |name: &str| {
            let path = dir.path().join(name);
            create(&path).unwrap();
            let text = fs::read_to_string(path).unwrap();
            text.lines().filter(|line| line.contains('"')).map(str::to_owned).collect::<BTreeSet<_>>()
        };
        let (one, other) = (lines("a"), lines("b"));
        assert!(one.len() == 3 && one.is_disjoint(&other));
    }
}
