//! One certificate chain with its key, and the names that it is for. Pure.

use std::{ops::Not as _, sync::Arc, time::SystemTime};

use rustls::{
    InconsistentKeys,
    crypto::ring::sign::any_supported_type,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject as _},
    },
    sign::CertifiedKey,
};
use x509_cert::{
    Certificate as X509,
    der::{self, Decode as _},
    ext::pkix::{SubjectAltName, name::GeneralName},
};

/// Certificates of one chain.
const CHAIN_MAX: usize = 10;
/// Names of one certificate.
const NAMES_MAX: usize = 1000;

/// A certificate that can be shown to clients.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The chain and the key.
    pub key: Arc<CertifiedKey>,
    /// The DNS names that it is for, in lower case; `*.` stands for one label.
    pub names: Vec<String>,
    /// When it begins.
    pub begins_at: SystemTime,
    /// When it ends.
    pub ends_at: SystemTime,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The text has no usable chain.
    #[error("no certificate chain in PEM form")]
    Chain(#[source] Option<pem::Error>),
    /// The text has no usable key.
    #[error("no private key in PEM form")]
    Key(#[source] pem::Error),
    /// The key is of a kind that is not supported, or broken.
    #[error("the private key is not usable")]
    KeyKind(#[source] rustls::Error),
    /// The key belongs to another certificate.
    #[error("the private key is not the certificate's")]
    KeyMismatch,
    /// The certificate cannot be read.
    #[error("the certificate is not readable")]
    Form(#[source] der::Error),
    /// The certificate names no DNS name.
    #[error("the certificate names no host: it has no DNS name in its subjectAltName")]
    NoName,
}

impl Certificate {
    /// The certificate of a chain (its own certificate first) and its key, both PEM.
    ///
    /// # Errors
    /// See [`CertificateError`].
    pub fn parse(chain: &[u8], key: &[u8]) -> Result<Certificate, CertificateError> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain)
            .take(CHAIN_MAX)
            .collect::<Result<_, _>>()
            .map_err(|error| CertificateError::Chain(Some(error)))?;
        let own = chain.first().ok_or(CertificateError::Chain(None))?;
        let own = X509::from_der(own).map_err(CertificateError::Form)?;
        let names = names(&own)?;
        let validity = own.tbs_certificate().validity();
        let (begins_at, ends_at) =
            (validity.not_before.to_system_time(), validity.not_after.to_system_time());
        let key = PrivateKeyDer::from_pem_slice(key).map_err(CertificateError::Key)?;
        Ok(Certificate { key: Certificate::of(chain, &key)?, names, begins_at, ends_at })
    }

    fn of(
        chain: Vec<CertificateDer<'static>>,
        key: &PrivateKeyDer<'static>,
    ) -> Result<Arc<CertifiedKey>, CertificateError> {
        let key = any_supported_type(key).map_err(CertificateError::KeyKind)?;
        let key = CertifiedKey::new(chain, key);
        match key.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(Arc::new(key)),
            Err(rustls::Error::InconsistentKeys(_)) => Err(CertificateError::KeyMismatch),
            Err(error) => Err(CertificateError::KeyKind(error)),
        }
    }

    /// Whether a new one should be had: a third of its time is left.
    #[must_use]
    pub fn is_due(&self, now: SystemTime) -> bool {
        let lifetime = self.ends_at.duration_since(self.begins_at).unwrap_or_default();
        self.ends_at.duration_since(now).is_ok_and(|left| left > lifetime / 3).not()
    }
}

fn names(certificate: &X509) -> Result<Vec<String>, CertificateError> {
    let extension = certificate.tbs_certificate().get_extension::<SubjectAltName>();
    let Some((_, SubjectAltName(names))) = extension.map_err(CertificateError::Form)? else {
        return Err(CertificateError::NoName);
    };
    let dns = names.iter().filter_map(|name| match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_ascii_lowercase()),
        _ => None,
    });
    let names: Vec<String> = dns.take(NAMES_MAX).collect();
    if names.is_empty() { Err(CertificateError::NoName) } else { Ok(names) }
}
