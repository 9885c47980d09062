//! A connection as hyper takes it, with as few system calls as a cold one needs.
//!
//! A referral click is mostly a connection that asks once and goes. Its request is there as a rule when it is
//! accepted, and its answer fits the send buffer: such a connection is read, answered and closed without
//! ever being registered for events. Only who makes the edge wait is registered. Nor is a connection
//! half-closed before it is closed, as hyper does: for a plain socket, closing sends the same FIN.
//!
//! All that is read passes through [`Heads`]. A connection that ends with a head unread (the parser refuses it,
//! or a body follows that nobody reads) is half-closed and read out for a while: closing it at once would make
//! the system send a reset, which takes the answer away from a client that still writes.

use std::{
    cell::RefCell,
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream as PlainStream},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use hyper::rt::{Read, ReadBufCursor, Write};
use rustix::net::{Shutdown, SocketFlags, acceptfrom_with, shutdown};
use tokio::{
    io::{AsyncRead as _, AsyncWrite as _, Interest, ReadBuf, unix::AsyncFd},
    net::TcpStream,
};

use super::{
    heads::Heads,
    proxy_header::{self, ProxyRefusal},
};

/// Bytes a read takes; what a client sends beyond is read later.
const READ_BYTES: usize = 4096;
/// Bytes that are read out of a connection that is to end. A client that has more to say gets its reset.
const LINGER_BYTES_MAX: usize = 1 << 20;

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

/// Which listener a connection came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Plain HTTP.
    Plain,
    /// TLS.
    Secure,
}

/// A core's listeners.
#[derive(Debug)]
pub struct Listeners {
    /// Plain HTTP.
    pub plain: Listener,
    /// TLS.
    pub secure: Option<Listener>,
}

impl Listeners {
    /// The next connection of any of them. Dropping the future loses none.
    ///
    /// # Errors
    /// As `accept(2)`.
    pub async fn accept(&self) -> io::Result<(PlainStream, SocketAddr, Door)> {
        let (accepted, door) = match &self.secure {
            None => (self.plain.accept().await, Door::Plain),
            // In an order that changes by chance: a flood of one kind does not hide the other.
            Some(secure) => tokio::select! {
                accepted = self.plain.accept() => (accepted, Door::Plain),
                accepted = secure.accept() => (accepted, Door::Secure),
            },
        };
        accepted.map(|(stream, peer)| (stream, peer, door))
    }

    /// The next connection that waits already.
    ///
    /// # Errors
    /// As [`Listener::accept_waiting`].
    pub fn accept_waiting(&self) -> io::Result<(PlainStream, SocketAddr, Door)> {
        let plain = self.plain.accept_waiting().map(|(stream, peer)| (stream, peer, Door::Plain));
        match (plain, &self.secure) {
            (Err(error), Some(secure)) if error.kind() == io::ErrorKind::WouldBlock => {
                secure.accept_waiting().map(|(stream, peer)| (stream, peer, Door::Secure))
            }
            (plain, _) => plain,
        }
    }
}

/// Memory for reads, one for all connections of a core.
pub type ReadMemory = Rc<RefCell<[u8; READ_BYTES]>>;

/// Memory for reads.
#[must_use]
pub fn read_memory() -> ReadMemory {
    Rc::new(RefCell::new([0; READ_BYTES]))
}

/// What bytes come over.
pub trait Wire: Unpin {
    /// Reads into `memory`; 0 is the end.
    fn poll_read(&mut self, context: &mut Context<'_>, memory: &mut [u8]) -> Poll<io::Result<usize>>;
    /// Writes some of `bytes`.
    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;
    /// Gives what was written to the system.
    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>>;
    /// Tells the other end that nothing more will be written.
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>>;
    /// Whether the other end has to be told before the connection is closed.
    const HAS_FAREWELL: bool;
}

/// A client's connection.
#[derive(Debug)]
pub struct ClientStream<W> {
    wire: W,
    memory: ReadMemory,
    heads: Heads,
    /// What the reader had no room for.
    rest: Vec<u8>,
    /// The client has written all it will.
    is_read: bool,
    is_told: bool,
    lingered: usize,
}

impl<W: Wire> ClientStream<W> {
    /// The connection over this wire.
    #[must_use]
    pub fn new(wire: W, memory: ReadMemory) -> ClientStream<W> {
        let (heads, rest) = (Heads::default(), Vec::new());
        ClientStream { wire, memory, heads, rest, is_read: false, is_told: false, lingered: 0 }
    }

    /// A connection of which `read` was read before.
    #[must_use]
    pub fn begun(wire: W, memory: ReadMemory, read: Vec<u8>) -> ClientStream<W> {
        let mut stream = ClientStream::new(wire, memory);
        if !stream.heads.pass(&read, &mut stream.rest) {
            stream.rest = read;
        }
        stream
    }

    /// Whether all that the client has sent belongs to requests that ended.
    fn is_heard_out(&self) -> bool {
        self.is_read || self.heads.are_complete() && self.rest.is_empty()
    }
}

impl<W: Wire> Read for ClientStream<W> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let ClientStream { wire, memory, heads, rest, is_read, .. } = &mut *self;
        if rest.is_empty() {
            let mut memory = memory.borrow_mut();
            let most = memory.len().min(buffer.remaining());
            let count = ready!(wire.poll_read(context, &mut memory[..most]))?;
            *is_read = count == 0;
            if heads.are_complete() && proxy_header::is_header(&memory[..count]) {
                // The parser refuses it.
                ProxyRefusal::Untrusted.count();
            }
            if !heads.pass(&memory[..count], rest) {
                buffer.put_slice(&memory[..count]);
                return Poll::Ready(Ok(()));
            }
        }
        let count = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..count]);
        rest.drain(..count);
        Poll::Ready(Ok(()))
    }
}

impl<W: Wire> Write for ClientStream<W> {
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

    /// Ready when the connection may be closed. How long that may take is the place's business.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let is_heard_out = self.is_heard_out();
        let ClientStream { wire, memory, is_told, lingered, .. } = &mut *self;
        if !*is_told && (W::HAS_FAREWELL || !is_heard_out) {
            ready!(wire.poll_end(context))?;
            *is_told = true;
        }
        if is_heard_out {
            return Poll::Ready(Ok(()));
        }
        let mut memory = memory.borrow_mut();
        while *lingered < LINGER_BYTES_MAX {
            match ready!(wire.poll_read(context, &mut memory[..])) {
                Ok(0) | Err(_) => break,
                Ok(count) => *lingered += count,
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// A plain connection.
#[derive(Debug)]
pub struct PlainWire(WireState);

#[derive(Debug)]
enum WireState {
    /// Not registered.
    Plain(PlainStream, Wish),
    Registered(TcpStream),
    /// Could not be registered.
    Gone,
}

/// What a connection that is not registered does when it is to read.
#[derive(Debug)]
enum Wish {
    Read,
    /// Nothing, but once more: hyper looks for the next request right after an answer, and most connections
    /// have ended before they are asked again.
    Wait,
    /// Wait for events.
    Register,
}

impl PlainWire {
    /// The connection of this socket, which does not block.
    #[must_use]
    pub fn new(stream: PlainStream) -> PlainWire {
        PlainWire(WireState::Plain(stream, Wish::Read))
    }

    /// The connection of this socket, which is registered.
    #[must_use]
    pub fn registered(stream: TcpStream) -> PlainWire {
        PlainWire(WireState::Registered(stream))
    }

    /// What can be done without registering; `None` if nothing can.
    fn read_unregistered(
        &mut self,
        context: &mut Context<'_>,
        memory: &mut [u8],
    ) -> Option<Poll<io::Result<usize>>> {
        let WireState::Plain(stream, wish) = &mut self.0 else { return None };
        match std::mem::replace(wish, Wish::Register) {
            Wish::Read => match stream.read(memory) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
                done => {
                    *wish = Wish::Wait;
                    Some(Poll::Ready(done))
                }
            },
            Wish::Wait => {
                context.waker().wake_by_ref();
                Some(Poll::Pending)
            }
            Wish::Register => None,
        }
    }

    fn register(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        if let WireState::Plain(..) = self.0
            && let WireState::Plain(stream, _) = std::mem::replace(&mut self.0, WireState::Gone)
        {
            self.0 = WireState::Registered(TcpStream::from_std(stream)?);
        }
        match &mut self.0 {
            WireState::Registered(stream) => Ok(Pin::new(stream)),
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl Wire for PlainWire {
    const HAS_FAREWELL: bool = false;

    fn poll_read(&mut self, context: &mut Context<'_>, memory: &mut [u8]) -> Poll<io::Result<usize>> {
        if let Some(done) = self.read_unregistered(context, memory) {
            return done;
        }
        let mut buffer = ReadBuf::new(memory);
        ready!(self.register()?.poll_read(context, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let WireState::Plain(stream, _) = &mut self.0 {
            match stream.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
        self.register()?.poll_write(context, bytes)
    }

    fn poll_flush(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A socket keeps nothing back.
        Poll::Ready(Ok(()))
    }

    fn poll_end(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(match &self.0 {
            WireState::Plain(stream, _) => shutdown(stream, Shutdown::Write).map_err(io::Error::from),
            WireState::Registered(stream) => shutdown(stream, Shutdown::Write).map_err(io::Error::from),
            WireState::Gone => Ok(()),
        })
    }
}
