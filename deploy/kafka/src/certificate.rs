//! Why a broker's certificate is not accepted. librdkafka says only that it is not, in one sentence for an unknown
//! authority, an end that has come and another host's name; so the broker is asked for it once more, by rustls.

use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, ClientConnection, RootCertStore};

use crate::cluster::Cluster;
use crate::trouble::Trouble;

/// What is wrong with the certificate of the broker that librdkafka's words `said` name, as `PROTOCOL://HOST:PORT/…`.
pub(crate) fn why(cluster: &Cluster, said: &str, timeout: Duration) -> Option<Trouble> {
    let (_, address) = said.split_once("ssl://")?;
    let address = address.split('/').next()?;
    let (host, _) = address.rsplit_once(':')?;
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).ok()?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().ok()?;
    let config = config.with_root_certificates(roots(cluster)).with_no_client_auth();
    let mut connection = ClientConnection::new(Arc::new(config), name).ok()?;
    let mut stream = TcpStream::connect_timeout(&address.to_socket_addrs().ok()?.next()?, timeout).ok()?;
    stream.set_read_timeout(Some(timeout)).and_then(|()| stream.set_write_timeout(Some(timeout))).ok()?;
    let error = loop {
        match connection.complete_io(&mut stream) {
            Err(error) => break error,
            Ok(_) if !connection.is_handshaking() => return None,
            Ok(_) => {}
        }
    };
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(reason) => Some(told(reason, address)),
        _ => None,
    }
}

fn roots(cluster: &Cluster) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let given = |name: &str| cluster.properties.get(name);
    let certificates: Vec<CertificateDer<'static>> = if let Some(path) = given("ssl.ca.location") {
        CertificateDer::pem_file_iter(path).into_iter().flatten().filter_map(Result::ok).collect()
    } else if let Some(text) = given("ssl.ca.pem") {
        CertificateDer::pem_slice_iter(text.as_bytes()).filter_map(Result::ok).collect()
    } else {
        rustls_native_certs::load_native_certs().certs
    };
    roots.add_parsable_certificates(certificates);
    roots
}

fn told(reason: &CertificateError, address: &str) -> Trouble {
    match reason {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Trouble::elsewhere(format!(
            "the certificate of a kafka broker has expired, it must be renewed at {address}"
        )),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            Trouble::elsewhere(format!(
                "the certificate of a kafka broker is not valid yet, check the clocks here and at {address}"
            ))
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Trouble::lasting(format!(
                "the certificate of a kafka broker is for another host than {address}, which kafka-brokers or the \
                 broker's advertised listener names"
            ))
        }
        CertificateError::UnknownIssuer => Trouble::lasting(format!(
            "the certificate of a kafka broker is not signed by a trusted authority, check ssl.ca.location: {address}"
        )),
        other => Trouble::elsewhere(format!(
            "the certificate of a kafka broker is not accepted: {address}: {other:?}"
        )),
    }
}
