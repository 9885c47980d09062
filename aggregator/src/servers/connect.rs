//! One connection to one server, over TCP or TLS, within a time.

use hyper::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use rustls::ClientConfig;
use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::net::TcpStream;
use tower_service::Service;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How long a connection may take to be there, its TLS handshake included.
pub const CONNECT_MAX: Duration = Duration::from_secs(5);
/// The same of the addresses of a name together, so that TLS has some of it.
const TCP_MAX: Duration = Duration::from_secs(3);
/// A machine that is gone acknowledges nothing; what was sent to it has failed after this long.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(30);
const KEEPALIVE: Duration = Duration::from_secs(60);
/// Less than the 3 s after which a ClickHouse of old closes a silent connection: a request must not meet that.
const IDLE_MAX: Duration = Duration::from_secs(2);

/// Makes connections.
#[derive(Clone, Debug)]
pub(super) struct Connector(HttpsConnector<HttpConnector>);

impl Connector {
    pub(super) fn new(tls: Arc<ClientConfig>) -> Connector {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEPALIVE));
        tcp.set_connect_timeout(Some(TCP_MAX));
        tcp.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX));
        let tls = HttpsConnectorBuilder::new().with_tls_config(Arc::unwrap_or_clone(tls));
        Connector(tls.https_or_http().enable_http1().wrap_connector(tcp))
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let connection = self.0.call(to);
        Box::pin(async move {
            let too_late = |_| io::Error::from(io::ErrorKind::TimedOut);
            tokio::time::timeout(CONNECT_MAX, connection).await.map_err(too_late)?
        })
    }
}

/// A client whose connections this makes. Bodies are whatever they are sent with.
pub(super) fn pool<C, B>(connector: C) -> Client<C, B>
where
    C: hyper_util::client::legacy::connect::Connect + Clone,
    B: hyper::body::Body + Send,
    B::Data: Send,
{
    Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_MAX)
        .build(connector)
}
