//! A connection whose last answer arrives.
//!
//! A server that closes a socket with bytes unread, or to which more bytes come, makes the system send a reset,
//! and a reset takes the answer away from a client that has not read it yet: a 431 from who still writes its
//! head, a 413 from who still writes its body. So the server ends its own side, and reads what comes for a
//! while: until the client ends, too, or for [`LINGER`] or [`LINGER_BYTES_MAX`].

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};
use tokio_util::sync::CancellationToken;

/// How long a client may go on writing after its last answer. A client that does not read it in this time
/// hardly will.
const LINGER: Duration = Duration::from_secs(2);
/// How much a client may go on writing.
const LINGER_BYTES_MAX: usize = 1 << 20;
const CHUNK_BYTES: usize = 4096;

/// The connection.
pub(super) struct Parting {
    stream: TcpStream,
    /// The client has ended its side.
    is_read: bool,
    parting: Option<Pin<Box<Sleep>>>,
    left_bytes: usize,
    /// From then on nobody is waited for.
    shutdown: CancellationToken,
}

impl Parting {
    pub(super) fn new(stream: TcpStream, shutdown: CancellationToken) -> Self {
        Self { stream, is_read: false, parting: None, left_bytes: LINGER_BYTES_MAX, shutdown }
    }
}

impl AsyncRead for Parting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.remaining();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.is_read = before > 0 && buffer.remaining() == before;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Parting {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Parting { stream, is_read, parting, left_bytes, shutdown } = &mut *self;
        let mut stream = Pin::new(stream);
        if parting.is_none() {
            ready!(stream.as_mut().poll_shutdown(context))?;
        }
        let over = parting.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        let mut chunk = [0; CHUNK_BYTES];
        let mut is_over = |context: &mut Context<'_>| over.as_mut().poll(context).is_ready();
        while !*is_read && *left_bytes > 0 && !shutdown.is_cancelled() && !is_over(context) {
            let mut chunk = ReadBuf::new(&mut chunk);
            if ready!(stream.as_mut().poll_read(context, &mut chunk)).is_err() {
                break;
            }
            *left_bytes = left_bytes.saturating_sub(chunk.filled().len());
            *is_read = chunk.filled().is_empty();
        }
        Poll::Ready(Ok(()))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }
}
