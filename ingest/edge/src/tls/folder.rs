//! Certificates in a folder: read at the start, looked at again and again, and kept while a new file is broken.
//!
//! In the folder and in its direct subfolders each pair of files is one certificate: `NAME.crt` or `NAME.pem` with
//! `NAME.key`, and, as certbot names them, `fullchain.pem` with `privkey.pem`. The pair `default` (or a subfolder
//! of that name, or the only pair there is) is shown for names that no certificate is for.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use whence_runtime::health::Component;

use super::{
    certificate::{Certificate, CertificateError},
    store::CertificateStore,
};

whence_metrics::declare! {
    /// Looks at certificates that found one unusable.
    counter EDGE_CERTIFICATES_BROKEN: "whence_edge_certificates_broken_total";
}

/// Pairs of a folder.
const PAIRS_MAX: usize = 10_000;
/// Bytes of a file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Why a folder's certificates cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The folder or a file of it cannot be read.
    #[error("cannot read {path}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is no pair of files.
    #[error(
        "no certificate in {0}: put NAME.crt (or NAME.pem) beside NAME.key there, or fullchain.pem beside privkey.pem"
    )]
    Empty(PathBuf),
    /// There are too many.
    #[error("more than {PAIRS_MAX} certificates in {0}")]
    TooMany(PathBuf),
    /// Others may read the key.
    #[error("the key file {path} is open to others (mode {mode:o}): chmod 600 it")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A pair of files is not a certificate and its key.
    #[error("the certificate {chain} is not usable")]
    Certificate {
        /// The file of the chain.
        chain: PathBuf,
        /// Why.
        #[source]
        source: CertificateError,
    },
}

/// The folder, and what was last found in it.
#[derive(Debug)]
pub struct CertificateFolder {
    path: PathBuf,
    store: Arc<CertificateStore>,
    health: Option<Component>,
    /// By the pair's name.
    held: BTreeMap<String, Held>,
}

#[derive(Debug)]
struct Held {
    chain: Vec<u8>,
    key: Vec<u8>,
    certificate: Certificate,
}

impl CertificateFolder {
    /// Reads the folder's certificates into the store.
    ///
    /// # Errors
    /// See [`FolderError`]; at the start one that is not usable is one too many.
    pub fn open(
        path: PathBuf,
        store: Arc<CertificateStore>,
        health: Option<Component>,
    ) -> Result<CertificateFolder, FolderError> {
        let mut folder = CertificateFolder { path, store, health, held: BTreeMap::new() };
        match folder.read() {
            (_, Some(error)) => Err(error),
            (held, None) => {
                folder.hold(held);
                folder.show(None);
                Ok(folder)
            }
        }
    }

    /// Reads it again. Certificates whose files are broken stay as they were, and the next look tries again.
    pub fn look(&mut self) {
        let (held, error) = self.read();
        if let Some(error) = &error {
            metrics::counter!(EDGE_CERTIFICATES_BROKEN).increment(1);
            let error = error as &dyn std::error::Error;
            tracing::error!(error, "a certificate cannot be used, the former one is kept");
        }
        if held.is_empty() {
            // Whoever removes all of them is in the middle of something.
            return self.show(error.as_ref());
        }
        let is_changed = held.len() != self.held.len()
            || held.iter().any(|(name, new)| {
                self.held.get(name).is_none_or(|old| old.chain != new.chain || old.key != new.key)
            });
        if is_changed {
            tracing::info!(certificates = held.len(), "certificates read");
        }
        self.hold(held);
        self.show(error.as_ref());
    }

    fn hold(&mut self, held: BTreeMap<String, Held>) {
        self.held = held;
        let is_only = self.held.len() == 1;
        let default = self.held.iter().find(|(name, _)| is_only || *name == "default");
        let default = default.map(|(_, held)| held.certificate.clone());
        self.store.put_given(self.held.values().map(|held| held.certificate.clone()).collect(), default);
    }

    fn show(&self, error: Option<&FolderError>) {
        let Some(health) = &self.health else { return };
        let now = SystemTime::now();
        let ended = self.held.iter().find(|(_, held)| held.certificate.ends_at < now);
        match (error, ended) {
            (Some(error), _) => health.not_ready(error.to_string()),
            (None, Some((name, _))) => health.not_ready(format!("the certificate {name} has expired")),
            (None, None) => health.ready(),
        }
    }

    /// What is there now, and the first thing that is wrong with it.
    fn read(&self) -> (BTreeMap<String, Held>, Option<FolderError>) {
        let pairs = match pairs(&self.path) {
            Ok(pairs) => pairs,
            Err(error) => return (BTreeMap::new(), Some(error)),
        };
        let (mut held, mut first) = (BTreeMap::new(), None);
        for (name, (chain, key)) in pairs {
            let former = self.held.get(&name);
            match one(&chain, &key, former) {
                Ok(one) => drop(held.insert(name, one)),
                Err(error) => {
                    first = first.or(Some(error));
                    if let Some(former) = former {
                        held.insert(name, former.again(former.certificate.clone()));
                    }
                }
            }
        }
        (held, first)
    }
}

impl Held {
    fn again(&self, certificate: Certificate) -> Held {
        Held { chain: self.chain.clone(), key: self.key.clone(), certificate }
    }
}

/// One pair's certificate, parsed only if its files have changed.
fn one(chain_path: &Path, key_path: &Path, former: Option<&Held>) -> Result<Held, FolderError> {
    let mode = io(key_path, |path| fs::metadata(path))?.permissions().mode() & 0o777;
    // The group may read: that is how Kubernetes mounts a secret for a user that is not root.
    if mode & 0o037 != 0 {
        return Err(FolderError::Exposed { path: key_path.to_owned(), mode });
    }
    let (chain, key) = (io(chain_path, content)?, io(key_path, content)?);
    if let Some(former) = former
        && former.chain == chain
        && former.key == key
    {
        return Ok(former.again(former.certificate.clone()));
    }
    let certificate = Certificate::parse(&chain, &key)
        .map_err(|source| FolderError::Certificate { chain: chain_path.to_owned(), source })?;
    Ok(Held { chain, key, certificate })
}

fn content(path: &Path) -> io::Result<Vec<u8>> {
    if fs::metadata(path)?.len() > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 1 MiB"));
    }
    fs::read(path)
}

fn io<T>(path: &Path, read: impl FnOnce(&Path) -> io::Result<T>) -> Result<T, FolderError> {
    read(path).map_err(|source| FolderError::Io { path: path.to_owned(), source })
}

/// The pairs of the folder and its direct subfolders: names, chains, keys.
fn pairs(path: &Path) -> Result<BTreeMap<String, (PathBuf, PathBuf)>, FolderError> {
    let mut pairs = BTreeMap::new();
    let mut add = |folder: &Path, prefix: Option<&str>| -> Result<Vec<PathBuf>, FolderError> {
        let mut inner = Vec::new();
        for entry in io(folder, |folder| fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>())? {
            let path = entry.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            // Kubernetes keeps the versions of a secret under names that begin with a dot.
            if name.starts_with('.') {
                continue;
            }
            if path.is_dir() {
                inner.push(path);
                continue;
            }
            let (name, key) = match name.rsplit_once('.') {
                Some(("fullchain", "pem")) => ("fullchain", path.with_file_name("privkey.pem")),
                Some((name, "crt" | "pem")) => (name, path.with_extension("key")),
                _ => continue,
            };
            if !key.exists() {
                continue;
            }
            let name = match (prefix, name) {
                (Some(prefix), "fullchain" | "tls") => prefix.to_owned(),
                (Some(prefix), name) => format!("{prefix}/{name}"),
                (None, name) => name.to_owned(),
            };
            pairs.insert(name, (path, key));
            if pairs.len() > PAIRS_MAX {
                return Err(FolderError::TooMany(folder.to_owned()));
            }
        }
        Ok(inner)
    };
    for inner in add(path, None)? {
        let prefix = inner.file_name().and_then(|name| name.to_str()).map(str::to_owned);
        add(&inner, prefix.as_deref())?;
    }
    if pairs.is_empty() { Err(FolderError::Empty(path.to_owned())) } else { Ok(pairs) }
}
