//! What is kept: the account at the authority, and each host's certificate. For the owner's eyes only.
//!
//! ```text
//! DIR/DIRECTORY/account.json     the account's key; DIRECTORY stands for the authority's address
//! DIR/DIRECTORY/HOST.pem         the key and the chain
//! ```

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use instant_acme::AccountCredentials;

use super::AcmeError;
use crate::tls::certificate::Certificate;

/// The files.
#[derive(Debug)]
pub struct AcmeStore {
    dir: PathBuf,
}

impl AcmeStore {
    /// Makes the folder if it is missing. Each authority has its own: an account means nothing to another.
    pub fn open(dir: &Path, directory: &str) -> Result<AcmeStore, AcmeError> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
        let address = directory.split_once("://").map_or(directory, |(_, rest)| rest);
        let name: String = address.chars().map(|c| if is_plain(c) { c } else { '_' }).take(200).collect();
        let dir = dir.join(name.trim_start_matches('.'));
        kept(&dir, |dir| DirBuilder::new().recursive(true).mode(0o700).create(dir))?;
        Ok(AcmeStore { dir })
    }

    /// The account, if there is one that can be read.
    pub fn account(&self) -> Result<Option<AccountCredentials>, AcmeError> {
        let path = self.dir.join("account.json");
        let Some(bytes) = read(&path)? else { return Ok(None) };
        kept(&path, |_| serde_json::from_slice(&bytes).map_err(io::Error::from)).map(Some)
    }

    /// Keeps the account.
    pub fn keep_account(&self, account: &AccountCredentials) -> Result<(), AcmeError> {
        let path = self.dir.join("account.json");
        let json = kept(&path, |_| serde_json::to_vec(account).map_err(io::Error::from))?;
        replace(&path, &json)
    }

    /// A host's certificate, if there is a usable one.
    pub fn certificate(&self, host: &str) -> Option<Certificate> {
        let bytes = read(&self.of_host(host)).ok()??;
        Certificate::parse(&bytes, &bytes).ok()
    }

    /// Keeps a host's certificate.
    pub fn keep_certificate(&self, host: &str, chain: &str, key: &str) -> Result<(), AcmeError> {
        // Both in one file: they are never of two orders.
        replace(&self.of_host(host), [key, chain].concat().as_bytes())
    }

    fn of_host(&self, host: &str) -> PathBuf {
        self.dir.join(format!("{host}.pem"))
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, AcmeError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(AcmeError::Io { path: path.to_owned(), source }),
    }
}

/// Replaces the file as a whole, also where the machine stops meanwhile.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), AcmeError> {
    kept(path, |path| {
        let beside = path.with_extension("new");
        // A file that is there would keep its mode.
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    })
}

fn kept<T>(path: &Path, work: impl FnOnce(&Path) -> io::Result<T>) -> Result<T, AcmeError> {
    work(path).map_err(|source| AcmeError::Io { path: path.to_owned(), source })
}
