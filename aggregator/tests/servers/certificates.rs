//! An authority of the tests' own, and certificates by it.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    date_time_ymd,
};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, sync::Arc};
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;

pub struct Authority {
    dir: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key.
pub struct Leaf {
    pub certificate: CertificateDer<'static>,
    pub key: KeyPair,
}

impl Authority {
    pub fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Authority { dir: tempfile::tempdir().unwrap(), issuer }
    }

    /// The file with the authority's certificate.
    pub fn file(&self) -> PathBuf {
        self.put("ca.pem", &self.issuer.pem(), 0o644)
    }

    pub fn put(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    pub fn leaf(&self, names: &[&str]) -> Leaf {
        self.sign(&params(names))
    }

    pub fn expired(&self, names: &[&str]) -> Leaf {
        let mut params = params(names);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2020, 2, 1);
        self.sign(&params)
    }

    /// A client's certificate and key as files.
    pub fn identity(&self) -> (PathBuf, PathBuf) {
        let mut params = params(&["client"]);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = self.put("client.key", &key.serialize_pem(), 0o600);
        (self.put("client.pem", &certificate.pem(), 0o644), key)
    }

    fn sign(&self, params: &CertificateParams) -> Leaf {
        let key = KeyPair::generate().unwrap();
        Leaf { certificate: params.signed_by(&key, &self.issuer).unwrap().der().clone(), key }
    }

    /// Accepts clients whose certificate this authority signed.
    fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let provider = Arc::new(ring::default_provider());
        WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build().unwrap()
    }
}

fn params(names: &[&str]) -> CertificateParams {
    CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap()
}

/// Terminates TLS with this certificate; with `clients` only for clients whose certificate it signed.
pub fn acceptor(leaf: Leaf, clients: Option<&Authority>) -> TlsAcceptor {
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap();
    let config = match clients {
        None => config.with_no_client_auth(),
        Some(authority) => config.with_client_cert_verifier(authority.verifier()),
    };
    let key = PrivateKeyDer::try_from(leaf.key.serialize_der()).unwrap();
    TlsAcceptor::from(Arc::new(config.with_single_cert(vec![leaf.certificate], key).unwrap()))
}
