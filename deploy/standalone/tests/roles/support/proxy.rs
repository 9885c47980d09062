//! An authority of the tests' own, certificates by it, and a proxy that terminates TLS before something that does not
//! speak it.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    date_time_ymd,
};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

use super::write_private;

/// Signs certificates.
pub struct Authority {
    dir: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key.
pub struct Leaf {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { dir, issuer }
    }

    /// The file with its certificate.
    pub fn file(&self) -> String {
        self.path("ca.pem").to_str().unwrap().to_owned()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn leaf(&self, name: &str) -> Leaf {
        self.sign(|_| (), name).0
    }

    pub fn expired(&self, name: &str) -> Leaf {
        let in_the_past = |params: &mut CertificateParams| {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2020, 2, 1);
        };
        self.sign(in_the_past, name).0
    }

    /// The files of a client's certificate and of its key.
    pub fn identity(&self) -> [String; 2] {
        let of_a_client = |params: &mut CertificateParams| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        };
        let (_, certificate, key) = self.sign(of_a_client, "whence");
        let paths = [self.path("client.pem"), self.path("client.key")];
        fs::write(&paths[0], certificate).unwrap();
        write_private(&paths[1], &key);
        paths.map(|path| path.to_str().unwrap().to_owned())
    }

    fn sign(&self, change: impl FnOnce(&mut CertificateParams), name: &str) -> (Leaf, String, String) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let leaf = Leaf {
            certificate: certificate.der().clone(),
            key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        };
        (leaf, certificate.pem(), key.serialize_pem())
    }
}

/// Terminates TLS until it is dropped.
pub struct Proxy {
    port: u16,
    _runtime: Runtime,
}

impl Proxy {
    /// Before the server at `base`; with `clients` only for clients whose certificate it signed.
    pub fn before(base: &str, leaf: Leaf, clients: Option<&Authority>) -> Self {
        let to: SocketAddr = base.rsplit(['/', '@']).next().unwrap().parse().unwrap();
        let provider = Arc::new(ring::default_provider());
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let config = config.with_safe_default_protocol_versions().unwrap();
        let config = match clients {
            None => config.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.issuer.der().clone()).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
                config.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let config = config.with_single_cert(vec![leaf.certificate], leaf.key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let mut client = acceptor.accept(stream).await?;
                    let mut server = TcpStream::connect(to).await?;
                    copy_bidirectional(&mut client, &mut server).await
                });
            }
        });
        Self { port, _runtime: runtime }
    }

    /// Its address by this name of the machine.
    pub fn url(&self, host: &str) -> String {
        format!("https://{host}:{}", self.port)
    }
}
