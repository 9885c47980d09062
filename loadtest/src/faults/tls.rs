//! TLS before a server that speaks none, as a proxy in front of it would: an authority of its own, and bytes passed on.

use super::FaultError;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

/// Connections at a time; more wait.
const CONNECTIONS_MAX: usize = 256;

/// Ends when dropped.
#[derive(Debug)]
pub(super) struct TlsFront {
    /// `https://localhost:port`.
    pub url: String,
    /// The authority's certificate, PEM.
    pub authority: PathBuf,
    task: JoinHandle<()>,
}

impl TlsFront {
    /// Before `http://host:port`; the authority's certificate is written into `folder`.
    pub async fn before(url: &str, folder: &Path) -> Result<TlsFront, FaultError> {
        let authority = folder.join("clickhouse-ca.pem");
        let failed = |source| FaultError::File { path: authority.clone(), source };
        let upstream = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let (config, pem) = certified().map_err(|error| failed(io::Error::other(error)))?;
        std::fs::write(&authority, pem).map_err(failed)?;
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        let task = tokio::spawn(pass_on(listener, TlsAcceptor::from(config), upstream));
        Ok(TlsFront { url: format!("https://localhost:{port}"), authority, task })
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass_on(listener: TcpListener, acceptor: TlsAcceptor, upstream: String) {
    let places = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (acceptor, upstream) = (acceptor.clone(), upstream.clone());
        tokio::spawn(async move {
            let _place = place;
            // What goes wrong here is a connection that ends, and is the client's to deal with.
            let _ = async {
                let mut inside = acceptor.accept(stream).await?;
                let mut outside = TcpStream::connect(&upstream).await?;
                copy_bidirectional(&mut inside, &mut outside).await
            }
            .await;
        });
    }
}

/// A server's configuration for `localhost`, and who signed it.
fn certified() -> Result<(Arc<ServerConfig>, String), Box<dyn std::error::Error + Send + Sync>> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate()?;
    let authority = params.self_signed(&key)?;
    let issuer = Issuer::from_params(&params, &key);
    let own_key = KeyPair::generate()?;
    let own = CertificateParams::new(["localhost".to_owned()])?.signed_by(&own_key, &issuer)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(own_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![own.der().clone()], private)?;
    Ok((Arc::new(config), authority.pem()))
}
