//! How an edge is set up, and why it may not start.

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use ipnet::IpNet;

use whence_runtime::http::forwarded::ForwardedHeader;

use super::{agents::AgentListError, tls::CertificateStore, visitor::CookieConfig};

/// An edge's settings.
#[derive(Clone, Debug)]
pub struct EdgeConfig {
    /// Where to listen; port 0 lets the system choose one for all threads.
    pub listen: SocketAddr,
    /// Where to listen for TLS, and the certificates that are shown there.
    pub secure: Option<SecureConfig>,
    /// Threads, each with a listener and a journal of its own; as many as there are cores.
    pub threads: usize,
    /// The journals are `clicks-0`, `clicks-1`, … in here, one for each thread.
    pub journal_dir: PathBuf,
    /// Bytes of a journal's segment.
    pub segment_bytes: u64,
    /// A journal's segment with records is closed this long after its first one.
    pub segment_age: Duration,
    /// Bytes of all journals together; each thread has an equal part.
    pub quota_bytes: u64,
    /// Bytes of a request's head, and of a connection's read buffer; hyper's minimum is 8192.
    pub head_bytes_max: usize,
    /// Time from one request's head to the next one's, or from connecting to the first: for the head's
    /// bytes, for taking the answer, and for the silence between. A quarter more (a second at most) may pass
    /// before the connection is closed. Also how long a client may leave sent bytes unacknowledged.
    pub head_timeout: Duration,
    /// Connections at a time, for each thread.
    pub connections_max: usize,
    /// A network's share of them (/24 or /48), in percent: a network that has it leaves as much free for others.
    pub connections_share_percent: usize,
    /// Unknown codes that one network may ask for in a minute; more are answered 429 and recorded as a count.
    pub unknown_codes_per_minute: u32,
    /// Time for the connections that are open when the edge stops.
    pub drain_timeout: Duration,
    /// Networks of proxies whose headers on forwarded clients count; empty: the client is who connects.
    pub trusted_proxies: Vec<IpNet>,
    /// The header that they write.
    pub forwarded_header: ForwardedHeader,
    /// Networks whose connections begin with a header of the PROXY protocol.
    pub proxy_protocol_from: Vec<IpNet>,
    /// The visitor cookie, for programs that have it.
    pub cookie: CookieConfig,
    /// A list of user agents to be used instead of the built-in one: lines of a tag, a tab and a regular
    /// expression.
    pub agents_path: Option<PathBuf>,
}

/// How TLS is spoken.
#[derive(Clone, Debug)]
pub struct SecureConfig {
    /// Where to listen; port 0 lets the system choose one for all threads.
    pub listen: SocketAddr,
    /// The certificates.
    pub certificates: Arc<CertificateStore>,
}

impl EdgeConfig {
    /// Sensible settings for `listen` and `journal_dir`: a thread for each core, segments of 16 MiB
    /// or an hour, 8 GiB in all, heads of 16 KiB within 15 s, 20,000 connections a thread, 10 s to drain.
    #[must_use]
    pub fn new(listen: SocketAddr, journal_dir: impl Into<PathBuf>) -> EdgeConfig {
        EdgeConfig {
            listen,
            secure: None,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            journal_dir: journal_dir.into(),
            segment_bytes: 16 << 20,
            segment_age: Duration::from_secs(3600),
            quota_bytes: 8 << 30,
            head_bytes_max: 16 << 10,
            head_timeout: Duration::from_secs(15),
            connections_max: 20_000,
            connections_share_percent: 25,
            unknown_codes_per_minute: 300,
            drain_timeout: Duration::from_secs(10),
            trusted_proxies: Vec::new(),
            forwarded_header: ForwardedHeader::XForwardedFor,
            proxy_protocol_from: Vec::new(),
            cookie: CookieConfig::default(),
            agents_path: None,
        }
    }
}

/// Why an edge did not start.
#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    /// No threads.
    #[error("the edge needs at least one thread")]
    NoThreads,
    /// The cookie's name is not valid.
    #[error("the visitor cookie's name must be made of letters, digits, '-' and '_'")]
    CookieName,
    /// Less than hyper can work with.
    #[error("request heads need at least 8192 bytes")]
    HeadBytes,
    /// The list of agents could not be read.
    #[error("cannot read the agent list {path}")]
    AgentFile {
        /// Where it should be.
        path: PathBuf,
        /// What the system says.
        #[source]
        error: io::Error,
    },
    /// The list of agents is not valid.
    #[error("cannot use the agent list")]
    AgentList(#[from] AgentListError),
    /// The address cannot be listened at.
    #[error("cannot listen at {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        #[source]
        error: io::Error,
    },
    /// A journal cannot be opened.
    #[error("cannot open the click journal")]
    Journal(#[from] whence_journal::OpenError),
    /// TLS cannot be spoken.
    #[error("cannot set up TLS")]
    Tls(#[source] rustls::Error),
    /// The system gives no randomness.
    #[error("the system's random number generator failed")]
    Random(#[source] rand::rngs::SysError),
    /// A thread could not be started.
    #[error("cannot start a thread of the edge")]
    Thread(#[source] io::Error),
}
