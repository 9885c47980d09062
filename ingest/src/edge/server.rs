//! Sockets and threads: a current-thread runtime and an `SO_REUSEPORT` listener for each core.
//!
//! The kernel spreads connections over the listeners; nothing is handed from core to core. Options that
//! every connection needs (no delay, a limit for unacknowledged bytes) are set on the listener, whose
//! connections inherit them on Linux, at no call for each connection.

use std::{
    cell::RefCell,
    convert::Infallible,
    future::{Ready, poll_fn, ready},
    io::{self, Write as _},
    net::{IpAddr, SocketAddr, TcpStream},
    pin::pin,
    rc::Rc,
    task::Poll,
    time::Duration,
};

use hyper::{
    Request,
    body::{Body, Incoming},
    server::conn::http1,
    service::{Service, service_fn},
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    task::{JoinHandle, coop::consume_budget, spawn_local},
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use whence_runtime::http::Refusal;

use super::{
    answer::{self, Answer},
    meters::HAND_OVER_EVERY,
    places::{Order, Place, Places},
    redirector::Request as Asked,
    stream::{ClientStream, Listener, PlainWire, ReadMemory, read_memory},
    worker::Worker,
};

/// Connections that wait to be accepted; the kernel's `somaxconn` (4096 as a rule) is a limit as well.
const BACKLOG: i32 = 4096;
/// After a failed `accept` (usually: out of file descriptors) there is nothing to do but wait for a
/// connection to end. The length is arbitrary.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Sent raw to a client for whom there is no place; its request is not read.
const REFUSAL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// What one core allows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) connections_max: usize,
    pub(super) head_bytes_max: usize,
    pub(super) head_timeout: Duration,
    pub(super) drain_timeout: Duration,
}

/// A listener that shares its address with others.
pub(super) fn listen(address: SocketAddr, unacknowledged_max: Duration) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_tcp_nodelay(true)?;
    // A client that takes nothing more would keep its connection for ever: hyper's time-outs are for
    // reading only.
    socket.set_tcp_user_timeout(Some(unacknowledged_max))?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Serves on this thread's runtime until `shutdown`, then drains. Returns how many connections were cut.
pub(super) async fn serve(
    listener: Listener,
    limits: Limits,
    worker: Worker,
    shutdown: CancellationToken,
) -> usize {
    let core = Rc::new(Core {
        places: Places::new(limits.connections_max, limits.head_timeout),
        http: http(limits),
        worker: RefCell::new(worker),
        memory: read_memory(),
    });
    let ticking = [spawn_local(tick(Rc::clone(&core))), spawn_local(step(Rc::clone(&core)))];
    let stopped = shutdown.run_until_cancelled(accept(&listener, &core)).await;
    debug_assert!(stopped.is_none(), "accepting does not end by itself");
    core.welcome_waiting(&listener);
    drop(listener);
    core.places.drain();
    let is_empty = timeout(limits.drain_timeout, core.places.emptied()).await.is_ok();
    let left = if is_empty { 0 } else { core.places.taken() };
    ticking.iter().for_each(JoinHandle::abort);
    let mut worker = core.worker.borrow_mut();
    worker.meters().show_connections(0);
    worker.tick();
    left
}

fn http(limits: Limits) -> http1::Builder {
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

struct Core {
    places: Rc<Places>,
    http: http1::Builder,
    worker: RefCell<Worker>,
    memory: ReadMemory,
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

async fn accept(listener: &Listener, core: &Rc<Core>) -> Infallible {
    loop {
        // Those who are there already get their turns during a flood of newcomers, too.
        consume_budget().await;
        match listener.accept().await {
            Ok((stream, peer)) => core.welcome(stream, peer),
            Err(error) => {
                core.worker.borrow_mut().meters().accept_errors.increment(1);
                tracing::warn!(%error, "accept failed");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

impl Core {
    /// Who has connected already is answered still: as many as can have waited.
    fn welcome_waiting(self: &Rc<Self>, listener: &Listener) {
        for _ in 0..BACKLOG {
            match listener.accept_waiting() {
                Ok((stream, peer)) => self.welcome(stream, peer),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // Others than this one may be there still.
                Err(_) => self.worker.borrow_mut().meters().accept_errors.increment(1),
            }
        }
    }

    fn welcome(self: &Rc<Self>, stream: TcpStream, peer: SocketAddr) {
        match self.places.take() {
            Some(place) => drop(spawn_local(Rc::clone(self).connection(stream, peer.ip(), place))),
            None => self.refuse(stream),
        }
    }

    /// Best effort: the socket is dropped right after, and a client that has already written may see a
    /// reset instead of the answer. Both tell it to come back later.
    fn refuse(&self, mut stream: TcpStream) {
        self.worker.borrow_mut().meters().connections_refused.increment(1);
        if let Err(error) = stream.write(REFUSAL) {
            tracing::debug!(%error, "cannot answer a refused connection");
        }
    }

    async fn connection(self: Rc<Self>, stream: TcpStream, peer: IpAddr, place: Place) {
        let connection = self.http.serve_connection(
            ClientStream::new(PlainWire::new(stream), Rc::clone(&self.memory)),
            self.service(peer, place.seat()),
        );
        let mut connection = pin!(connection);
        let (mut is_told, mut is_heard) = (false, false);
        let ended = poll_fn(|context| {
            match place.order(context) {
                Order::GoOn => {}
                Order::Drain if is_told => {}
                Order::Drain => {
                    // Told before its first turn, hyper would close it with its request unread.
                    if !is_heard && let Poll::Ready(ended) = connection.as_mut().poll(context) {
                        return Poll::Ready(ended);
                    }
                    is_told = true;
                    connection.as_mut().graceful_shutdown();
                }
                Order::Leave => {
                    self.worker.borrow_mut().meters().connections_silent.increment(1);
                    return Poll::Ready(Ok(()));
                }
            }
            is_heard = true;
            connection.as_mut().poll(context)
        });
        if let Err(error) = ended.await {
            if let Some(reason) = Refusal::of(&error) {
                self.worker.borrow_mut().meters().refused(reason);
            }
            // Clients that vanish or talk nonsense are daily life.
            tracing::debug!(%error, "connection ended early");
        }
    }

    /// The answer is there as soon as the request's head is: nothing is awaited in between.
    fn service(
        self: &Rc<Self>,
        peer: IpAddr,
        seat: usize,
    ) -> impl Service<
        Request<Incoming>,
        Response = Answer,
        Error = Infallible,
        Future = Ready<Result<Answer, Infallible>>,
    > + use<> {
        let core = Rc::clone(self);
        service_fn(move |request: Request<Incoming>| {
            let (head, body) = request.into_parts();
            core.places.heard_from(seat);
            let mut worker = core.worker.borrow_mut();
            let (method, uri, version, headers) = (&head.method, &head.uri, head.version, head.headers);
            let mut answer = worker.answer(Asked { method, uri, version, headers, peer });
            if !body.is_end_stream() {
                // Where the next request begins is known only while there are no bodies.
                answer::end(&mut answer);
            }
            ready(Ok(answer))
        })
    }
}
