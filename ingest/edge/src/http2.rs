//! HTTP/2 within bounds: how many streams, resets and bytes a connection may have, and why one ended.
//!
//! | flood | what bounds it |
//! |---|---|
//! | streams opened at once | [`STREAMS_MAX`] at a time |
//! | streams opened and reset (CVE-2023-44487) | [`RESETS_MAX`] that wait, then the connection ends |
//! | CONTINUATION without end (CVE-2024-27316) | the size of a header list, kept by h2 from its first frame on |
//! | PING, SETTINGS, PRIORITY, WINDOW_UPDATE, empty DATA | bytes without a request: [`Frames`] |
//! | nothing at all, and answers that nobody takes | the place's silence, which only requests end |

use std::{
    cell::Cell,
    error::Error as _,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use hyper::{
    rt::{Executor, Read, ReadBufCursor, Write},
    server::conn::http2::Builder,
};
use tokio::task::spawn_local;

use super::stream::{ReadMemory, Wire};

/// Requests in hand at a time. A page asks for one link.
const STREAMS_MAX: u32 = 32;
/// Streams that were reset before they were looked at.
const RESETS_MAX: usize = 20;
/// Bytes of a stream's answer that wait; answers are small.
const SEND_BYTES_MAX: usize = 16 << 10;
/// The protocol's smallest windows: bodies are not read.
const STREAM_WINDOW_BYTES: u32 = 16 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 65_535;
/// What a connection may send without asking for anything: a full window of a body that nobody reads, and as much
/// again for frames that steer. Heads come on top, of as many requests as may be in hand: under load they are all read before
/// the first of them is looked at.
const SILENT_BYTES_MAX: usize = 128 << 10;

/// How connections are served; `head_bytes_max` bounds a request's header list.
pub fn http2(head_bytes_max: usize) -> Builder<LocalExecutor> {
    let mut http = Builder::new(LocalExecutor);
    http.max_concurrent_streams(STREAMS_MAX)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .max_local_error_reset_streams(RESETS_MAX)
        .max_header_list_size(u32::try_from(head_bytes_max).unwrap_or(u32::MAX))
        .max_send_buf_size(SEND_BYTES_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    http
}

/// Runs a connection's streams on its own thread.
#[derive(Clone, Copy, Debug)]
pub struct LocalExecutor;

impl<F: Future<Output = ()> + 'static> Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        drop(spawn_local(future));
    }
}

/// Bytes of a connection since its last request.
#[derive(Clone, Debug)]
pub struct Silence {
    bytes: Rc<Cell<usize>>,
    bytes_max: usize,
}

impl Silence {
    /// Of a connection whose requests have heads of at most so many bytes.
    pub fn new(head_bytes_max: usize) -> Silence {
        let heads_bytes_max = STREAMS_MAX as usize * head_bytes_max;
        Silence { bytes: Rc::default(), bytes_max: SILENT_BYTES_MAX + heads_bytes_max }
    }

    /// A request has come.
    pub fn end(&self) {
        self.bytes.set(0);
    }

    fn go_on(&self, bytes: usize) -> io::Result<()> {
        self.bytes.set(self.bytes.get() + bytes);
        if self.is_noise() { Err(io::Error::other("too many bytes without a request")) } else { Ok(()) }
    }

    fn is_noise(&self) -> bool {
        self.bytes.get() > self.bytes_max
    }
}

/// A connection's bytes, counted.
#[derive(Debug)]
pub struct Frames<W> {
    wire: W,
    memory: ReadMemory,
    silence: Silence,
}

impl<W: Wire> Frames<W> {
    /// Whoever sees a request ends the silence.
    pub fn new(wire: W, memory: ReadMemory, silence: Silence) -> Frames<W> {
        Frames { wire, memory, silence }
    }
}

impl<W: Wire> Read for Frames<W> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let Frames { wire, memory, silence } = &mut *self;
        let mut memory = memory.borrow_mut();
        let most = memory.len().min(buffer.remaining());
        let count = ready!(wire.poll_read(context, &mut memory[..most]))?;
        silence.go_on(count)?;
        buffer.put_slice(&memory[..count]);
        Poll::Ready(Ok(()))
    }
}

impl<W: Wire> Write for Frames<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.wire.poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire.poll_end(context)
    }
}

/// Why a connection was ended here; the label `reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Too much of something: resets, header frames, settings.
    Calm,
    /// Too many bytes without a request.
    Noise,
    /// Against the protocol.
    Protocol,
}

impl Ended {
    /// All of them, each at the place of its value.
    pub const ALL: [Ended; 3] = [Ended::Calm, Ended::Noise, Ended::Protocol];

    /// The label.
    pub fn word(self) -> &'static str {
        match self {
            Ended::Calm => "too_many_frames",
            Ended::Noise => "bytes_without_request",
            Ended::Protocol => "protocol",
        }
    }

    /// What the end of a connection says; `None` where the client or the network ended it.
    pub fn of(error: &hyper::Error, silence: &Silence) -> Option<Ended> {
        if silence.is_noise() {
            return Some(Ended::Noise);
        }
        let error = error.source()?.downcast_ref::<h2::Error>().filter(|error| !error.is_remote())?;
        match error.reason()? {
            h2::Reason::NO_ERROR => None,
            h2::Reason::ENHANCE_YOUR_CALM => Some(Ended::Calm),
            _ => Some(Ended::Protocol),
        }
    }
}
