//! TLS at the edge: which certificate, which protocol, over which bytes. Knows nothing of places and links.
//!
//! | module | what it does |
//! |---|---|
//! | [`certificate`] | one chain with its key |
//! | [`store`] | all certificates, by name |
//! | [`folder`] | certificates in files, read again while the edge runs |
//! | `wire` | a TLS connection as hyper takes it |
//!
//! rustls with ring, TLS 1.2 and 1.3. Sessions are resumed by tickets, whose keys rustls changes every six hours;
//! there is no early data, which could be sent twice, and with it a click.

pub mod certificate;
pub mod folder;
pub mod store;
pub(super) mod wire;

use std::sync::Arc;

use rustls::{
    ServerConfig,
    crypto::ring::{Ticketer, default_provider},
    server::NoServerSessionStorage,
};

pub use folder::{CertificateFolder, FolderError};
pub use store::CertificateStore;

/// What a client chooses for HTTP/2.
pub(super) const HTTP_2: &[u8] = b"h2";

/// How connections are taken: with the store's certificates, for HTTP/2, HTTP/1.1 and authorities' challenges.
///
/// # Errors
/// The system gives no randomness.
pub fn server_config(store: Arc<CertificateStore>) -> Result<Arc<ServerConfig>, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?;
    let mut config = builder.with_no_client_auth().with_cert_resolver(store);
    config.alpn_protocols = vec![HTTP_2.to_vec(), b"http/1.1".to_vec(), store::CHALLENGE_PROTOCOL.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = Ticketer::new()?;
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}
