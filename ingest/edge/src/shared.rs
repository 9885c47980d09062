//! What all cores work with.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;
use ipnet::IpNet;
use whence_runtime::{http::forwarded::ForwardedHeader, shares::Share};
use whence_schemas::{time::UnixMs, token::KeyRing};

use super::{
    address::AddressHasher, links::LinkTable, majority::Told, tls::CertificateStore, visitor::VisitorCookie,
};

/// Where the time comes from; read once for each request.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> UnixMs + Send + Sync>);

impl Clock {
    /// A clock of this function.
    pub fn new(now: impl Fn() -> UnixMs + Send + Sync + 'static) -> Clock {
        Clock(Arc::new(now))
    }

    /// The machine's clock.
    #[must_use]
    pub fn system() -> Clock {
        Clock::new(|| {
            let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
            UnixMs(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
        })
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> UnixMs {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// What all cores share.
#[derive(Clone, Debug)]
pub struct Shared {
    /// The links.
    pub links: Arc<LinkTable>,
    /// The keys that tokens are made with, replaced as a whole when they rotate.
    pub keys: Arc<ArcSwap<KeyRing>>,
    /// The secret that addresses are hashed with.
    pub hasher: AddressHasher,
    /// Networks whose headers on forwarded clients count.
    pub trusted_proxies: Arc<[IpNet]>,
    /// The header that they write.
    pub forwarded_header: ForwardedHeader,
    /// Networks whose connections begin with a header of the PROXY protocol.
    pub proxy_protocol_from: Arc<[IpNet]>,
    /// What a certificate authority is answered, where certificates are ordered from one.
    pub certificates: Option<Arc<CertificateStore>>,
    /// All networks of proxies.
    pub proxies: Arc<[IpNet]>,
    /// What of unknown codes each network may ask for.
    pub unknown_codes: Arc<Share>,
    /// Tells of a network that makes most of the requests.
    pub majority: Arc<Told>,
    /// The visitor cookie.
    pub cookie: VisitorCookie,
    /// The time.
    pub clock: Clock,
}
