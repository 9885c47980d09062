//! One HTTP/1.1 connection. The task that uses it also drives it, so that a request costs no second
//! task's wake-ups.

use super::target::Target;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    HeaderMap, Request, StatusCode,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use std::{
    future::poll_fn,
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};

/// Bytes of an answer's body that are read; a longer one is a failure.
const BODY_BYTES_MAX: usize = 16 << 20;
/// hyper's smallest: answers' heads are short, and there are many connections.
const BUFFER_BYTES_MAX: usize = 16 << 10;
/// After this much silence a connection is given up rather than used: the server may be closing it at
/// that very moment, and the request would go unanswered for no fault of anybody's.
const IDLE_MAX: Duration = Duration::from_secs(2);

/// An answer that came whole.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// No connection: the request did not leave.
    #[error("cannot connect")]
    Connect(#[source] std::io::Error),
    /// The connection was closed before the request was written.
    #[error("the connection was closed before the request was sent")]
    NotSent(#[source] hyper::Error),
    /// The request may have arrived.
    #[error("the connection broke after the request was sent")]
    Lost(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Nothing came in time; the request may have arrived.
    #[error("no answer in time")]
    TimedOut,
}

impl Failure {
    /// Whether the server may have worked on the request.
    #[must_use]
    pub fn may_have_arrived(&self) -> bool {
        matches!(self, Failure::Lost(_) | Failure::TimedOut)
    }
}

type Driver = http1::Connection<TokioIo<TcpStream>, Full<Bytes>>;

/// An open connection.
#[derive(Debug)]
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// `None` once it has ended; it must not be polled again.
    driver: Option<Pin<Box<Driver>>>,
    used_at: Instant,
}

impl Connection {
    /// Opens a connection.
    ///
    /// # Errors
    /// [`Failure::Connect`], or [`Failure::TimedOut`] after the deadline, which here means not sent.
    pub async fn open(target: &Target, deadline: Instant) -> Result<Connection, Failure> {
        let refused = |kind: std::io::ErrorKind| Failure::Connect(kind.into());
        let stream = timeout_at(deadline, TcpStream::connect(target.address))
            .await
            .map_err(|_| refused(std::io::ErrorKind::TimedOut))?
            .map_err(Failure::Connect)?;
        stream.set_nodelay(true).map_err(Failure::Connect)?;
        let (sender, driver) = http1::Builder::new()
            .max_buf_size(BUFFER_BYTES_MAX)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(Failure::NotSent)?;
        Ok(Connection { sender, driver: Some(Box::pin(driver)), used_at: Instant::now() })
    }

    /// Whether another request can be sent.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.driver.is_some() && !self.sender.is_closed() && self.used_at.elapsed() < IDLE_MAX
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// See [`Failure`]. After one the connection is of no use.
    pub async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
        deadline: Instant,
    ) -> Result<Answer, Failure> {
        let Connection { sender, driver, .. } = self;
        let exchange = async {
            drive(driver, sender.ready()).await.map_err(Failure::NotSent)?;
            let sent = sender.try_send_request(request);
            let response = drive(driver, sent).await.map_err(|mut error| match error.take_message() {
                Some(_) => Failure::NotSent(error.into_error()),
                None => Failure::Lost(error.into_error().into()),
            })?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, BODY_BYTES_MAX);
            let body = drive(driver, body.collect()).await.map_err(Failure::Lost)?;
            Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes() })
        };
        let answer = timeout_at(deadline, exchange).await.unwrap_or(Err(Failure::TimedOut));
        self.used_at = Instant::now();
        if answer.is_err() {
            self.driver = None;
        }
        answer
    }
}

/// Runs `work`, which needs the connection to move on.
async fn drive<F: Future>(driver: &mut Option<Pin<Box<Driver>>>, work: F) -> F::Output {
    let mut work = pin!(work);
    poll_fn(|cx| {
        let has_ended = driver.as_mut().is_some_and(|driver| driver.as_mut().poll(cx).is_ready());
        if has_ended {
            // How it ended is what `work` is told.
            *driver = None;
        }
        match work.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(output),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
