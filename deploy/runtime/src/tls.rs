//! TLS as a client: the certificates that a connection trusts and presents, from files; and what went wrong, in words
//! that say what to do. Knows no protocol above TLS.

mod words;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};

use crate::private::{self, PrivateError};

pub use words::{Cause, Names, cause};

/// Larger than any chain of certificates or key.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Files in PEM form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificates of the authorities that are trusted, and no others; `None`: the machine's trust store.
    pub authorities: Option<PathBuf>,
    /// The certificate that this client shows, with those between it and an authority, and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// Why the files can't be used. The same start again ends the same way.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read, or others may read the key.
    #[error(transparent)]
    File(#[from] PrivateError),
    /// There is no certificate in the file.
    #[error("{0} has no certificate in PEM form (-----BEGIN CERTIFICATE-----)")]
    NoCertificate(PathBuf),
    /// A PEM block there is not a valid certificate.
    #[error("a certificate in {path} can't be read: {source}")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// There is no private key in the file.
    #[error("{0} has no private key in PEM form (-----BEGIN PRIVATE KEY-----)")]
    NoKey(PathBuf),
    /// Certificate and key do not match.
    #[error("the key in {key} is not that of the certificate in {certificate}: {source}")]
    NoPair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's.
        key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

/// How to connect over TLS 1.2 and 1.3.
///
/// # Errors
/// See [`TlsError`]. An empty trust store is not an error: each connection then fails, and says so.
pub fn client(files: &TlsFiles) -> Result<Arc<ClientConfig>, TlsError> {
    let roots = match &files.authorities {
        Some(path) => authorities(path)?,
        None => machine_authorities(),
    };
    let config = builder().with_root_certificates(roots);
    let Some((certificate, key)) = &files.identity else { return Ok(Arc::new(config.with_no_client_auth())) };
    let chain = certificates(certificate)?;
    let config = config.with_client_auth_cert(chain, private_key(key)?);
    let pair = |source| TlsError::NoPair { certificate: certificate.clone(), key: key.clone(), source };
    Ok(Arc::new(config.map_err(pair)?))
}

/// The same where nothing will be called over TLS: trusts nobody, and reads no file.
#[must_use]
pub fn unused() -> Arc<ClientConfig> {
    Arc::new(builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

fn builder() -> ConfigBuilder<ClientConfig, WantsVerifier> {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has the default versions")
}

/// The machine's trust store, which its operator keeps up to date and can add to.
fn machine_authorities() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        tracing::warn!("this machine has no certificates of authorities: nothing can be called over https");
    }
    roots
}

fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|source| not_a_certificate(path, source))?;
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = private::read_open(path, FILE_BYTES_MAX)?;
    let certificates: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let certificates = certificates.map_err(|source| not_a_certificate(path, source))?;
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate(path.to_owned()));
    }
    Ok(certificates)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = private::read(path, FILE_BYTES_MAX)?;
    // The parser's own error may quote the text.
    PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_| TlsError::NoKey(path.to_owned()))
}

fn not_a_certificate(path: &Path, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> TlsError {
    TlsError::Certificate { path: path.to_owned(), source: source.into() }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use rcgen::{CertifiedKey, generate_simple_self_signed};

    use super::*;

    struct Files(tempfile::TempDir);

    impl Files {
        fn put(&self, name: &str, text: &str, mode: u32) -> PathBuf {
            let path = self.0.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            path
        }
    }

    fn refused(authorities: Option<PathBuf>, identity: Option<(PathBuf, PathBuf)>) -> String {
        client(&TlsFiles { authorities, identity }).unwrap_err().to_string()
    }

    #[test]
    fn files_that_cannot_be_used_are_named_with_what_is_wrong_and_nothing_of_a_key() {
        let files = Files(tempfile::tempdir().unwrap());
        let made = || generate_simple_self_signed(vec!["db.example".to_owned()]).unwrap();
        let (CertifiedKey { cert, signing_key }, other) = (made(), made());
        let certificate = files.put("c.pem", &cert.pem(), 0o644);
        let key = files.put("k.pem", &signing_key.serialize_pem(), 0o600);
        client(&TlsFiles {
            authorities: Some(certificate.clone()),
            identity: Some((certificate.clone(), key.clone())),
        })
        .unwrap();
        client(&TlsFiles::default()).unwrap();

        let missing = files.0.path().join("missing.pem");
        assert!(refused(Some(missing.clone()), None).contains("cannot read"));
        let words = files.put("words.pem", "hunter2", 0o600);
        assert!(refused(Some(words.clone()), None).contains("no certificate in PEM form"));
        assert!(refused(Some(key.clone()), None).contains("no certificate in PEM form"));
        let torn =
            files.put("torn.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", 0o600);
        assert!(refused(Some(torn), None).contains("can't be read"));
        let large = files.put("large.pem", &"x".repeat(2 << 20), 0o600);
        assert!(refused(Some(large), None).contains("larger"));

        let with = |key: PathBuf| refused(None, Some((certificate.clone(), key)));
        assert!(with(missing).contains("cannot read"));
        let text = with(words);
        assert!(text.contains("no private key") && !text.contains("hunter2"), "{text}");
        let others = files.put("other.pem", &other.signing_key.serialize_pem(), 0o600);
        assert!(with(others).contains("is not that of the certificate"));
        let exposed = files.put("exposed.pem", &signing_key.serialize_pem(), 0o644);
        assert!(with(exposed).contains("chmod 600"));
    }
}
