//! Sockets and threads: a current-thread runtime and an `SO_REUSEPORT` listener for each core.
//!
//! The kernel spreads connections over the listeners; nothing is handed from core to core. Options that
//! every connection needs (no delay, a limit for unacknowledged bytes) are set on the listener, whose
//! connections inherit them on Linux, at no call for each connection.

use std::{
    cell::RefCell,
    convert::Infallible,
    io::{self, Write as _},
    net::{SocketAddr, TcpStream},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use hyper::server::conn::{http1, http2};
use ipnet::IpNet;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::{
    task::{JoinHandle, coop::consume_budget, spawn_local},
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use whence_runtime::{descriptors, listeners, seats::Guest, seldom};

use super::{
    http2::{LocalExecutor, http2},
    meters::HAND_OVER_EVERY,
    places::ConnectionSlots,
    stream::{Door, Listeners, ReadMemory, read_memory},
    worker::Worker,
};

/// Connections that wait to be accepted; the kernel's `somaxconn` (4096 as a rule) is a limit as well.
const BACKLOG: i32 = 4096;
/// After a failed `accept` (usually: out of file descriptors) there is nothing to do but wait for a
/// connection to end. The length is arbitrary.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Sent raw to a client for which there is no slot; its request is not read.
const REFUSAL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// What one core allows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) connections_max: usize,
    /// The part of them that one network may have.
    pub(super) share_percent: usize,
    pub(super) head_bytes_max: usize,
    pub(super) head_timeout: Duration,
    pub(super) drain_timeout: Duration,
}

/// As many listeners as wanted that share an address; one on port 0 chooses the port. They are handed over, or bound.
pub(super) fn listen(
    name: &str,
    mut address: SocketAddr,
    number: usize,
    unacknowledged_max: Duration,
) -> io::Result<Vec<std::net::TcpListener>> {
    let handed = listeners::handed(name, address)?;
    if !handed.is_empty() {
        // One queue of connections for all threads, or some for each.
        let of_thread = |index: usize| {
            let listener = handed[index % handed.len()].try_clone()?;
            prepare(&SockRef::from(&listener), unacknowledged_max)?;
            Ok(listener)
        };
        return (0..number).map(of_thread).collect();
    }
    let mut bound = Vec::with_capacity(number);
    for index in 0..number {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        prepare(&SockRef::from(&socket), unacknowledged_max)?;
        socket.set_reuse_address(true)?;
        // The first one listens alone before it shares: who shares from the start is given half of another process's
        // connections without a word. From then on whoever is alone first is refused.
        socket.set_reuse_port(index > 0)?;
        socket.bind(&address.into()).and_then(|()| socket.listen(BACKLOG)).map_err(listeners::told)?;
        socket.set_reuse_port(true)?;
        let listener = std::net::TcpListener::from(socket);
        address = listener.local_addr()?;
        bound.push(listener);
    }
    Ok(bound)
}

fn prepare(socket: &SockRef<'_>, unacknowledged_max: Duration) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    // A client that takes nothing more would keep its connection for ever: hyper's time-outs are for
    // reading only.
    socket.set_tcp_user_timeout(Some(unacknowledged_max))?;
    socket.set_nonblocking(true)
}

/// Serves on this thread's runtime until `shutdown`, then drains. Returns how many connections were cut.
pub(super) async fn serve(
    listeners: Listeners,
    secure: Option<TlsAcceptor>,
    limits: Limits,
    worker: Worker,
    shutdown: CancellationToken,
) -> usize {
    let core = Rc::new(Core {
        places: ConnectionSlots::new(limits.connections_max, limits.share_percent, limits.head_timeout),
        http1: http1(limits),
        http2: http2(limits.head_bytes_max),
        secure,
        limits,
        introducing: Arc::clone(worker.proxy_protocol_from()),
        worker: RefCell::new(worker),
        memory: read_memory(),
        newcomer: RefCell::default(),
    });
    let ticking = [spawn_local(tick(Rc::clone(&core))), spawn_local(step(Rc::clone(&core)))];
    let stopped = shutdown.run_until_cancelled(accept(&listeners, &core)).await;
    debug_assert!(stopped.is_none(), "accepting does not end by itself");
    core.seat_newcomer().await;
    core.welcome_waiting(&listeners).await;
    drop(listeners);
    core.places.drain();
    let is_empty = timeout(limits.drain_timeout, core.places.emptied()).await.is_ok();
    let left = if is_empty { 0 } else { core.places.taken() };
    ticking.iter().for_each(JoinHandle::abort);
    let mut worker = core.worker.borrow_mut();
    worker.meters().show_connections(0);
    worker.finish();
    left
}

fn http1(limits: Limits) -> http1::Builder {
    let mut http = http1::Builder::new();
    // The time for a head is the places' business. `max_headers` stays as it is: setting it allocates on every
    // request. `pipeline_flush` stays off: with
    // it, hyper 1.12 goes on answering a client that takes no answers, and keeps them all in memory.
    // Without a body there is one piece to write, and nothing to gather.
    // With `half_close`, hyper does not look for the client's end before it has answered: a client that has
    // ended its side may wait for the answer (RFC 9112, 9.6). It costs nothing; a client that is gone
    // altogether is noticed when the answer is written.
    http.header_read_timeout(None).max_buf_size(limits.head_bytes_max).half_close(true).writev(false);
    http
}

/// What the connections of one core have in common.
pub(super) struct Core {
    pub(super) places: Rc<ConnectionSlots>,
    pub(super) http1: http1::Builder,
    pub(super) http2: http2::Builder<LocalExecutor>,
    pub(super) secure: Option<TlsAcceptor>,
    pub(super) limits: Limits,
    /// Networks whose connections begin with a header of the PROXY protocol.
    pub(super) introducing: Arc<[IpNet]>,
    pub(super) worker: RefCell<Worker>,
    pub(super) memory: ReadMemory,
    /// Accepted, and without a seat yet.
    newcomer: RefCell<Option<(TcpStream, SocketAddr, Door)>>,
}

async fn tick(core: Rc<Core>) {
    let mut ticks = interval(HAND_OVER_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let mut worker = core.worker.borrow_mut();
        worker.meters().show_connections(core.places.taken());
        worker.tick();
    }
}

async fn step(core: Rc<Core>) {
    let mut steps = interval(core.places.step_length());
    // Time that was lost by a stall is nobody's silence.
    steps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        steps.tick().await;
        core.places.step();
    }
}

async fn accept(listeners: &Listeners, core: &Rc<Core>) -> Infallible {
    loop {
        // Those who are there already get their turns during a flood of newcomers, too.
        consume_budget().await;
        match listeners.accept().await {
            Ok((stream, peer, door)) => core.welcome(stream, peer, door).await,
            Err(error) => {
                core.worker.borrow_mut().meters().accept_errors.increment(1);
                seldom!(warn, %error, "accept failed");
                if descriptors::are_exhausted(&error) {
                    core.places.make_room();
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

impl Core {
    /// Who has connected already is answered still: as many as can have waited.
    async fn welcome_waiting(self: &Rc<Self>, listeners: &Listeners) {
        for _ in 0..BACKLOG {
            match listeners.accept_waiting() {
                Ok((stream, peer, door)) => self.welcome(stream, peer, door).await,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // Others than this one may be there still.
                Err(_) => self.worker.borrow_mut().meters().accept_errors.increment(1),
            }
        }
    }

    async fn welcome(self: &Rc<Self>, stream: TcpStream, peer: SocketAddr, door: Door) {
        self.newcomer.replace(Some((stream, peer, door)));
        self.seat_newcomer().await;
    }

    /// Dropping the future loses none: who has no seat yet is the newcomer still.
    async fn seat_newcomer(self: &Rc<Self>) {
        let Some(peer) = self.newcomer.borrow().as_ref().map(|(_, peer, _)| peer.ip()) else { return };
        let guest = Guest::of(peer, self.worker.borrow().proxies());
        let place = self.places.seat(guest).await;
        let Some((stream, _, door)) = self.newcomer.take() else { return };
        match (place, door) {
            (None, _) => self.refuse(stream, door),
            (Some(place), Door::Plain) => drop(spawn_local(Rc::clone(self).plain(stream, peer, place))),
            (Some(place), Door::Secure) => drop(spawn_local(Rc::clone(self).secure(stream, peer, place))),
        }
    }

    /// Best effort: the socket is dropped right after, and a client that has already written may see a
    /// reset instead of the answer. Both tell it to come back later.
    fn refuse(&self, mut stream: TcpStream, door: Door) {
        self.worker.borrow_mut().meters().connections_refused.increment(1);
        // A client of TLS would not understand it, and a handshake is what there is no place for.
        if door == Door::Plain
            && let Err(error) = stream.write(REFUSAL)
        {
            tracing::debug!(%error, "cannot answer a refused connection");
        }
    }
}
