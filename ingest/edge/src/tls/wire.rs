//! A TLS connection as a wire, and a socket some of whose bytes were read before.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

use crate::{
    proxy_header::{self, ProxyRefusal},
    stream::Wire,
};

/// A socket and what was read from it already.
#[derive(Debug)]
pub struct Begun {
    stream: TcpStream,
    read: Vec<u8>,
    is_first: bool,
}

impl Begun {
    /// `read` comes first.
    pub fn new(stream: TcpStream, read: Vec<u8>) -> Begun {
        Begun { stream, read, is_first: true }
    }
}

impl AsyncRead for Begun {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            let before = buffer.filled().len();
            let done = ready!(Pin::new(&mut self.stream).poll_read(context, buffer));
            if std::mem::take(&mut self.is_first) && proxy_header::is_header(&buffer.filled()[before..]) {
                // Not a handshake.
                ProxyRefusal::Untrusted.count();
            }
            return Poll::Ready(done);
        }
        let count = self.read.len().min(buffer.remaining());
        buffer.put_slice(&self.read[..count]);
        self.read.drain(..count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Begun {
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
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// A TLS connection.
#[derive(Debug)]
pub struct TlsWire(pub TlsStream<Begun>);

impl Wire for TlsWire {
    const HAS_FAREWELL: bool = true;

    fn poll_read(&mut self, context: &mut Context<'_>, memory: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(memory);
        match ready!(Pin::new(&mut self.0).poll_read(context, &mut buffer)) {
            // Many clients close without TLS's farewell; a request has its own end.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(0)),
            done => Poll::Ready(done.map(|()| buffer.filled().len())),
        }
    }

    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
