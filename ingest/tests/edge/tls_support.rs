//! Certificates of the tests' own, an edge that shows them, and clients that trust them.

use crate::harness::*;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use std::{
    net::TcpStream,
    sync::Arc,
    time::{Duration, SystemTime},
};
use whence_ingest::edge::{
    EdgeConfig, SecureConfig,
    tls::{CertificateStore, certificate::Certificate},
};

/// A certificate of its own authority, PEM.
#[derive(Clone)]
pub struct Pair {
    pub chain: String,
    pub key: String,
}

/// One for these names, for the next day.
pub fn pair(names: &[&str]) -> Pair {
    pair_until(names, SystemTime::now() + Duration::from_secs(86_400))
}

pub fn pair_until(names: &[&str], end: SystemTime) -> Pair {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = rcgen::CertificateParams::new(names).unwrap();
    params.not_before = (end - Duration::from_secs(2 * 86_400)).into();
    params.not_after = end.into();
    let key = rcgen::KeyPair::generate().unwrap();
    Pair { chain: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
}

pub fn certificate(pair: &Pair) -> Certificate {
    Certificate::parse(pair.chain.as_bytes(), pair.key.as_bytes()).unwrap()
}

/// What a client speaks that trusts these and no others.
pub fn client(trusted: &[&Pair], protocols: &[&[u8]]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for pair in trusted {
        roots.add(CertificateDer::from_pem_slice(pair.chain.as_bytes()).unwrap()).unwrap();
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|&protocol| protocol.to_vec()).collect();
    Arc::new(config)
}

/// An edge with a certificate for go.example, and that certificate.
pub fn secured(change: impl FnOnce(&mut EdgeConfig)) -> (Edge, Pair) {
    let pair = pair(&["go.example"]);
    let store = Arc::new(CertificateStore::default());
    store.put_given(vec![certificate(&pair)], None);
    (with_store(&store, change), pair)
}

pub fn with_store(store: &Arc<CertificateStore>, change: impl FnOnce(&mut EdgeConfig)) -> Edge {
    Edge::start_with(|config| {
        let listen = "127.0.0.1:0".parse().unwrap();
        config.secure = Some(SecureConfig { listen, certificates: Arc::clone(store) });
        change(config);
    })
}

pub type TlsStream = StreamOwned<ClientConnection, TcpStream>;

impl Edge {
    /// A connection to the TLS listener, before any handshake.
    pub fn connect_secure(&self) -> TcpStream {
        let stream = TcpStream::connect(self.secure.unwrap()).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        stream
    }

    /// A connection for this name after its handshake.
    pub fn shake_hands(&self, config: &Arc<ClientConfig>, name: &str) -> std::io::Result<TlsStream> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut connection = ClientConnection::new(Arc::clone(config), name).unwrap();
        let mut stream = self.connect_secure();
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        Ok(StreamOwned::new(connection, stream))
    }
}
