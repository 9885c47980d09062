//! The certificates that the oracle trusts where ClickHouse is queried over https.

use clickhouse::Client;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use std::{io, path::Path, sync::Arc, time::Duration};

/// A server closes a silent connection after 3 s.
const IDLE_MAX: Duration = Duration::from_secs(2);

/// Certificates of authorities.
#[derive(Clone, Debug)]
pub struct Roots(Arc<RootCertStore>);

impl Roots {
    /// Those that the machine trusts.
    #[must_use]
    pub fn machine() -> Roots {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Roots(roots.into())
    }

    /// Those in a PEM file.
    ///
    /// # Errors
    /// It can't be read, or has none.
    pub fn of(file: &Path) -> io::Result<Roots> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(file).map_err(io::Error::other)? {
            roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
        }
        match roots.is_empty() {
            true => Err(io::Error::other(format!("{} has no certificate in PEM form", file.display()))),
            false => Ok(Roots(roots.into())),
        }
    }

    /// A client for http and https.
    pub(super) fn client(&self) -> Client {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has the default versions")
            .with_root_certificates(Arc::clone(&self.0))
            .with_no_client_auth();
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        let https = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1();
        let pool = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_MAX)
            .build(https.wrap_connector(tcp));
        Client::with_http_client(pool)
    }
}
