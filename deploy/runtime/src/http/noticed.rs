//! A connection of which is noticed when it has begun something: bytes came, or an answer is not taken.
//! Knows nothing of what the bytes are.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};

/// A stream, and what is to be done whenever something has begun on it.
#[derive(Debug)]
pub struct Noticed<S, F> {
    stream: S,
    begun: F,
}

impl<S, F: Fn()> Noticed<S, F> {
    /// Calls `begun` at every read that gives something, and at every write that has to wait.
    pub fn new(stream: S, begun: F) -> Self {
        Self { stream, begun }
    }
}

impl<S: Read + Unpin, F: Fn() + Unpin> Read for Noticed<S, F> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if read.is_ready() {
            (self.begun)();
        }
        read
    }
}

impl<S: Write + Unpin, F: Fn() + Unpin> Write for Noticed<S, F> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if written.is_pending() {
            (self.begun)();
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        if written.is_pending() {
            (self.begun)();
        }
        written
    }
}
