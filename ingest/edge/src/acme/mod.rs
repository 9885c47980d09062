//! Certificates from an authority by ACME (RFC 8555), for one edge process that its clients reach themselves.
//!
//! | module | what it does |
//! |---|---|
//! | [`keeper`] | looks which hosts need a certificate, and when to try again |
//! | `order` | one certificate for one host |
//! | `state` | the account and the certificates in files |
//!
//! Only for hosts that a setting or the registry names, and for so many. Several edges behind one name cannot do
//! it: the authority asks any of them for what only one has; they are given certificates as files.

pub mod keeper;
mod order;
mod state;

use std::{io, path::PathBuf};

pub use keeper::{HOSTS_MAX, Keeper, hosts_to_order};

whence_runtime::choice! {
    /// How it is proved that a host is answered here.
    pub enum ChallengeKind {
        /// By an answer to a plain request at port 80.
        Http01 = "http-01",
        /// By a certificate shown at port 443.
        TlsAlpn01 = "tls-alpn-01",
    }
}

/// How certificates are ordered.
#[derive(Clone, Debug)]
pub struct AcmeConfig {
    /// The address of the authority's directory.
    pub directory: String,
    /// Where the authority writes to, such as `mailto:ops@shop.example`.
    pub contact: Vec<String>,
    /// For which hosts; empty: for all that programs list in the registry.
    pub hosts: Vec<String>,
    /// How hosts are proved.
    pub challenge: ChallengeKind,
    /// Root certificate, PEM, by which the authority's own server is verified; `None`: the machine's trust store.
    pub root_path: Option<PathBuf>,
    /// Where account and certificates are kept.
    pub dir: PathBuf,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum AcmeError {
    /// The authority refused, or was not there.
    #[error("the certificate authority gave no certificate")]
    Authority(#[from] instant_acme::Error),
    /// It offers no challenge of this kind.
    #[error("the certificate authority offers no challenge of this kind: {0:?}")]
    NoChallenge(ChallengeKind),
    /// The authority did not find the proof, or did not accept it.
    #[error("the certificate authority did not accept the proof for the host: {0}")]
    NotProved(String),
    /// It took too long.
    #[error("the certificate authority took too long")]
    TooSlow,
    /// What it gave is not a certificate.
    #[error("the certificate authority's certificate is not usable")]
    Certificate(#[from] super::tls::certificate::CertificateError),
    /// A certificate for a challenge could not be made.
    #[error("cannot make a certificate for a challenge")]
    Challenge(#[from] rcgen::Error),
    /// A file cannot be read or written.
    #[error("cannot keep {path}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}
