//! Statements whose result is rows: the engine writes the result into a pipe, and the pipe is the
//! body of the response.
//!
//! chdb's own streaming interface restarts the format at every block (a `CSVWithNames` result has its
//! header again every 65,000 rows, a `JSON` result is many documents) and only takes `SELECT`. So the
//! statement is sent as `… INTO OUTFILE '/proc/self/fd/N' APPEND …`, which writes exactly what a
//! ClickHouse server would send, in any format, and stops the engine while the client is behind.
//!
//! The engine goes on with a statement whose pipe nobody reads, so a statement that is abandoned is
//! killed by its mark: a unique `log_comment`, a setting of no other use here, where nothing is logged.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::Response;
use hyper::body::Frame;
use metrics::counter;
use tokio::io::{AsyncReadExt, DuplexStream};
use tokio::net::unix::pipe::Receiver;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Sleep, sleep, timeout};

use super::asked::Asked;
use super::outfile::Piped;
use super::reply::{About, Body, Failure, exception_frame};
use super::server::Server;
use crate::codec::Encoder;
use crate::engine::{Answer, EngineError, Exception};
use crate::metrics::{ABANDONED, REFUSED};
use crate::native::{self, NativeError, Version};
use crate::rights::Identity;
use crate::sql::Output;

/// A result up to this size is sent whole, with its status and summary known.
const HELD_BYTES: usize = 256 << 10;
/// Size of one chunk of a longer result.
const CHUNK_BYTES: usize = 256 << 10;
/// Chunks between the pipe and the client.
const CHUNKS_AHEAD: usize = 2;
/// Linux's limit for unprivileged processes (`/proc/sys/fs/pipe-max-size`).
const PIPE_BYTES: i32 = 1 << 20;

/// Runs the statement and answers with its result, whole or streamed.
pub async fn run(
    server: &Arc<Server>,
    Asked { ask, identity, taken }: Asked<'_>,
    about: About,
    output: &Output,
) -> Result<Response<Body>, Failure> {
    let place = server.place(taken, false).await?;
    let started = Instant::now();
    let (receiver, writer) = pipe().map_err(|error| no_pipe(&error))?;
    let format =
        output.format.clone().or_else(|| ask.said.default_format.clone()).unwrap_or("TabSeparated".into());
    let marker = uuid::Uuid::new_v4().simple().to_string();
    let version = ask.said.version;
    let piped = Arc::new(Piped::new(output, &format, &writer)?);
    let params = ask.said.params.clone();
    let open = server.open_session(ask, identity, true, Some(&marker));
    let watched = (identity == Identity::Reader).then(|| server.watchdog.watch(&marker));
    let sent = Arc::clone(&piped);
    let engine = server.blocking.spawn_blocking(move || {
        let _held = (place, watched);
        // Dropped last: with it the pipe ends.
        let _writer = writer;
        open()?.query(&sent.sql, "Null", &params)
    });
    let result = match version.changes(&format) {
        true => Source::rewritten(receiver, version),
        false => Source::Plain(receiver),
    };
    let mut running = Running { server: server.clone(), marker, engine: Some(engine), piped, result };

    let held_max = match ask.said.wait_end_of_query {
        true => server.limits.held_result_bytes_max,
        false => ask.said.buffer_bytes.min(server.limits.held_result_bytes_max).max(HELD_BYTES),
    };
    let mut held = BytesMut::with_capacity(16 << 10);
    let first_max = (identity == Identity::Reader).then(|| server.time_max(ask));
    loop {
        let more = running.result.read(&mut held);
        let more = match first_max.map(|time_max| (time_max, time_max.saturating_sub(started.elapsed()))) {
            None => more.await,
            Some((time_max, left)) => timeout(left, more).await.map_err(|_| Server::timed_out(time_max))?,
        };
        if more.map_err(|error| no_pipe(&error))? == 0 {
            let answer = running.end().await?;
            return Ok(about.whole(&format, &answer, started.elapsed().as_nanos(), held.freeze()));
        }
        if held.len() >= held_max {
            break;
        }
    }
    if ask.said.wait_end_of_query {
        counter!(REFUSED, "bound" => "held_result_bytes").increment(1);
        let message = format!("The result exceeds {held_max} bytes, more than wait_end_of_query holds back");
        return Err(Exception::new(396, "TOO_MANY_ROWS_OR_BYTES", &message).into());
    }
    let tag = tag();
    let (sender, pieces) = mpsc::channel(CHUNKS_AHEAD);
    let response = about.streamed(&format, &tag, Streamed { pieces, cut: None }.boxed());
    // The owner's reads are as long as its blocks; a person's must not keep a place for ever by reading slowly.
    let time_max = (identity == Identity::Reader)
        .then(|| Duration::from_secs(server.setting_limits.seconds_max) + server.limits.idle_max);
    server.blocking.spawn(async move {
        let pumping = pump(running, held.freeze(), about, tag, sender);
        match time_max {
            None => pumping.await,
            Some(time_max) => {
                if timeout(time_max, pumping).await.is_err() {
                    counter!(REFUSED, "bound" => "result_time").increment(1);
                }
            }
        }
    });
    Ok(response)
}

fn no_pipe(error: &io::Error) -> Failure {
    Exception::new(Exception::STD_EXCEPTION, "STD_EXCEPTION", &format!("Cannot use a pipe: {error}")).into()
}

fn pipe() -> io::Result<(Receiver, File)> {
    let mut ends = [0; 2];
    // SAFETY: fills two file descriptors, owned from here on.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: both are open and owned by nothing else.
    let [reader, writer] = ends.map(|end| unsafe { OwnedFd::from_raw_fd(end) });
    // SAFETY: a plain call on an open descriptor; refusal leaves the default size, which works too.
    unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETPIPE_SZ, PIPE_BYTES) };
    Ok((Receiver::from_owned_fd(reader)?, writer.into()))
}

/// Sixteen lower-case letters, as ClickHouse's tags are.
fn tag() -> String {
    uuid::Uuid::new_v4().as_bytes().iter().map(|byte| char::from(b'a' + byte % 26)).collect()
}

/// A statement under way; dropped before its end, it is killed.
struct Running {
    server: Arc<Server>,
    marker: String,
    engine: Option<JoinHandle<Result<Answer, EngineError>>>,
    piped: Arc<Piped>,
    result: Source,
}

impl Running {
    /// The statement's outcome. Called when the pipe has ended, so it is there or about to be.
    async fn end(&mut self) -> Result<Answer, Failure> {
        let rewritten = self.result.end().await;
        // The engine would go on; dropped, it is killed.
        if let Err(error @ (NativeError::Unsupported { .. } | NativeError::TooDeep)) = &rewritten {
            return Err(error.exception().into());
        }
        let engine = self.engine.as_mut().expect("a statement ends once");
        let outcome = engine.await;
        self.engine = None;
        let answer = match outcome.expect("a statement's thread does not panic") {
            Err(EngineError::Exception(exception)) => return Err(self.piped.told(exception).into()),
            other => other?,
        };
        rewritten.map_err(|error| error.exception())?;
        Ok(answer)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.engine.take().is_some_and(|engine| !engine.is_finished()) {
            counter!(ABANDONED).increment(1);
            self.server.kill(&self.marker);
        }
    }
}

/// Where a result comes from.
enum Source {
    /// The engine's pipe.
    Plain(Receiver),
    /// A task that reads the pipe and writes `Native` in the form of a version.
    Rewritten(DuplexStream, Option<JoinHandle<Result<(), NativeError>>>),
}

impl Source {
    fn rewritten(receiver: Receiver, version: Version) -> Self {
        let (result, output) = tokio::io::duplex(CHUNK_BYTES);
        Self::Rewritten(result, Some(tokio::spawn(native::rewrite(receiver, output, version))))
    }

    /// Reads what is there; nothing at its end.
    async fn read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        match self {
            Self::Plain(receiver) => receiver.read_buf(buffer).await,
            Self::Rewritten(result, _) => result.read_buf(buffer).await,
        }
    }

    /// How the rewriting went, once its result has ended.
    async fn end(&mut self) -> Result<(), NativeError> {
        match self {
            Self::Rewritten(_, task) if task.is_some() => {
                let task = task.take().expect("it is there");
                task.await.expect("rewriting a result does not panic")
            }
            _ => Ok(()),
        }
    }
}

/// A piece of a streamed body. One that ends without `End` is cut: a result must never look whole
/// when it is not.
enum Piece {
    Data(Bytes),
    End,
    Cut,
}

/// Moves a long result from the pipe to the client, in order, and ends it with the exception if the
/// statement fails on the way.
async fn pump(mut running: Running, held: Bytes, about: About, tag: String, sender: mpsc::Sender<Piece>) {
    let idle_max = running.server.limits.idle_max;
    let send = async |piece| matches!(timeout(idle_max, sender.send(piece)).await, Ok(Ok(())));
    let mut encoder = Encoder::new(about.coding);
    let mut chunk = held;
    while !chunk.is_empty() {
        if !send(Piece::Data(encoder.chunk(chunk))).await {
            return;
        }
        let mut next = BytesMut::with_capacity(CHUNK_BYTES);
        match running.result.read(&mut next).await {
            Ok(_) => chunk = next.freeze(),
            Err(_) => return,
        }
    }
    let failure = running.end().await.err();
    if let Some(failure) = &failure {
        let frame = exception_frame(&about.told(&failure.exception), &tag);
        send(Piece::Data(encoder.chunk(frame))).await;
    }
    let end = encoder.finish();
    if !end.is_empty() {
        send(Piece::Data(end)).await;
    }
    send(if failure.is_some() { Piece::Cut } else { Piece::End }).await;
}

/// How long a statement's exception may take to the client before the connection is cut behind it.
const CUT_AFTER: Duration = Duration::from_millis(500);

/// The body of a streamed response.
struct Streamed {
    pieces: mpsc::Receiver<Piece>,
    /// Until when the exception's text may be on its way.
    cut: Option<Pin<Box<Sleep>>>,
}

impl hyper::body::Body for Streamed {
    type Data = Bytes;
    type Error = io::Error;

    /// An error cuts the connection at once, and what hyper still holds with it. It is passed on a moment late, so that
    /// hyper first sends the exception's text, also to a client that reads slowly.
    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.cut.is_none() {
            match std::task::ready!(self.pieces.poll_recv(context)) {
                Some(Piece::Data(chunk)) => return Poll::Ready(Some(Ok(Frame::data(chunk)))),
                Some(Piece::End) => return Poll::Ready(None),
                Some(Piece::Cut) | None => self.cut = Some(Box::pin(sleep(CUT_AFTER))),
            }
        }
        if let Some(cut) = &mut self.cut {
            std::task::ready!(cut.as_mut().poll(context));
        }
        let cut = io::Error::other("the statement failed after a part of its result was sent");
        Poll::Ready(Some(Err(cut)))
    }
}
