//! The PROXY protocol, versions 1 and 2: who a proxy connects for, before the first byte of that client's.
//!
//! Networks that speak it are configured. From them a connection without it is refused, because its address would be
//! the proxy's; from anybody else a connection with it is, because anybody could say anything. What version and
//! what further fields there are is no matter.

use std::net::IpAddr;

use proxy_header::{Error, ParseConfig, ProxyHeader};
use tokio::{io::AsyncReadExt as _, net::TcpStream};

whence_metrics::declare! {
    /// Connections with a header of the PROXY protocol that may not have one, or without one that must, by reason.
    counter EDGE_PROXY_HEADERS_REFUSED: "whence_edge_proxy_headers_refused_total" { reason: ["untrusted", "missing"] };
}

/// Bytes of a header, further fields included: those of load balancers have a few hundred.
const HEADER_BYTES_MAX: usize = 4096;
const V1: &[u8] = b"PROXY ";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Why a connection was refused; the label `reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyRefusal {
    /// A header from a network that is not configured for it.
    Untrusted,
    /// None from a network that is, or one that cannot be read.
    Missing,
}

impl ProxyRefusal {
    /// Counts it.
    #[cold]
    pub fn count(self) {
        let reason = match self {
            ProxyRefusal::Untrusted => "untrusted",
            ProxyRefusal::Missing => "missing",
        };
        metrics::counter!(EDGE_PROXY_HEADERS_REFUSED, "reason" => reason).increment(1);
    }
}

/// Whether a connection's first bytes are a header.
pub fn is_header(bytes: &[u8]) -> bool {
    bytes.starts_with(V1) || bytes.starts_with(V2)
}

/// Reads the header: the client that the connection is for, and the bytes behind it. `None` if there is no readable
/// one. A header that names nobody (a proxy's own check) leaves the connection to `peer`.
pub async fn read(stream: &mut TcpStream, peer: IpAddr) -> Option<(IpAddr, Vec<u8>)> {
    let mut bytes = Vec::with_capacity(256);
    loop {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        let config = ParseConfig { include_tlvs: false, ..ParseConfig::default() };
        match ProxyHeader::parse(&bytes, config) {
            Ok((header, length)) => {
                let address = header.proxied_address().map_or(peer, |address| address.source.ip());
                return Some((address.to_canonical(), bytes.split_off(length)));
            }
            Err(Error::BufferTooShort) if bytes.len() < HEADER_BYTES_MAX => {}
            Err(_) => return None,
        }
    }
}
