//! A connection as hyper wants it, with as few system calls as a cold one needs.
//!
//! A referral click is mostly a connection that asks once and goes. Its request is there as a rule when it is
//! accepted, and its answer fits the send buffer: such a connection is read, answered and closed without
//! ever being registered for events. Only who makes the edge wait is registered. Nor is a connection
//! half-closed before it is closed, as hyper does: for a plain socket, closing sends the same FIN.

use std::{
    cell::RefCell,
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream as PlainStream},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use rustix::net::{SocketFlags, acceptfrom_with};
use tokio::{
    io::{Interest, unix::AsyncFd},
    net::TcpStream,
};

/// Bytes a first read takes; what a client sends beyond is read later.
const FIRST_READ_BYTES: usize = 4096;

/// A listener whose connections are not registered for events.
#[derive(Debug)]
pub struct Listener(AsyncFd<std::net::TcpListener>);

impl Listener {
    /// Takes over a listener that does not block. Needs a running runtime.
    ///
    /// # Errors
    /// The listener cannot be registered.
    pub fn new(listener: std::net::TcpListener) -> io::Result<Listener> {
        // SAFETY: the standard library's listener owns its descriptor, and has no way to exchange it.
        let registered = unsafe { AsyncFd::register_with_interest(listener, Interest::READABLE) };
        registered.map(Listener).map_err(io::Error::from)
    }

    /// The next connection and who opened it. Dropping the future loses none.
    ///
    /// # Errors
    /// As `accept(2)`.
    pub async fn accept(&self) -> io::Result<(PlainStream, SocketAddr)> {
        self.0.async_io(Interest::READABLE, Self::accept_now).await
    }

    /// The next connection that waits already, without the runtime, which grants a task only so many.
    ///
    /// # Errors
    /// As `accept(2)`; [`io::ErrorKind::WouldBlock`] where none waits.
    pub fn accept_waiting(&self) -> io::Result<(PlainStream, SocketAddr)> {
        Self::accept_now(self.0.get_ref())
    }

    fn accept_now(listener: &std::net::TcpListener) -> io::Result<(PlainStream, SocketAddr)> {
        let (socket, peer) = acceptfrom_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
        let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
        Ok((PlainStream::from(socket), peer.ok_or(io::ErrorKind::InvalidData)?))
    }
}

/// Memory for first reads, one for all connections of a core.
pub type FirstRead = Rc<RefCell<[u8; FIRST_READ_BYTES]>>;

/// Memory for first reads.
#[must_use]
pub fn first_read() -> FirstRead {
    Rc::new(RefCell::new([0; FIRST_READ_BYTES]))
}

/// What a connection that is not registered does when it is to read.
#[derive(Debug)]
enum Wish {
    /// Read into this memory.
    Read(FirstRead),
    /// Nothing, but once more: hyper looks for the end of a connection between request and answer, and most
    /// connections have ended before they are asked again.
    Wait,
    /// Wait for events.
    Register,
}

/// A client's connection.
#[derive(Debug)]
pub struct ClientStream(State);

#[derive(Debug)]
enum State {
    /// Not registered.
    Plain(PlainStream, Wish),
    Registered(TokioIo<TcpStream>),
    /// Could not be registered.
    Gone,
}

impl ClientStream {
    /// The connection of this socket, which does not block.
    #[must_use]
    pub fn new(stream: PlainStream, memory: FirstRead) -> ClientStream {
        ClientStream(State::Plain(stream, Wish::Read(memory)))
    }

    /// What can be done without registering; `None` if nothing can.
    fn read_unregistered(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBufCursor<'_>,
    ) -> Option<Poll<io::Result<()>>> {
        let State::Plain(stream, wish) = &mut self.0 else { return None };
        match std::mem::replace(wish, Wish::Register) {
            Wish::Read(memory) => {
                let mut memory = memory.borrow_mut();
                let most = memory.len().min(buffer.remaining());
                match stream.read(&mut memory[..most]) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
                    Err(error) => Some(Poll::Ready(Err(error))),
                    Ok(count) => {
                        buffer.put_slice(&memory[..count]);
                        *wish = Wish::Wait;
                        Some(Poll::Ready(Ok(())))
                    }
                }
            }
            Wish::Wait => {
                context.waker().wake_by_ref();
                Some(Poll::Pending)
            }
            Wish::Register => None,
        }
    }

    fn registered(&mut self) -> io::Result<Pin<&mut TokioIo<TcpStream>>> {
        if let State::Plain(..) = self.0
            && let State::Plain(stream, _) = std::mem::replace(&mut self.0, State::Gone)
        {
            self.0 = State::Registered(TokioIo::new(TcpStream::from_std(stream)?));
        }
        match &mut self.0 {
            State::Registered(stream) => Ok(Pin::new(stream)),
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl Read for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        match self.read_unregistered(context, &mut buffer) {
            Some(done) => done,
            None => self.registered()?.poll_read(context, buffer),
        }
    }
}

impl Write for ClientStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let State::Plain(stream, _) = &mut self.0 {
            match stream.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
        self.registered()?.poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A socket keeps nothing back.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
