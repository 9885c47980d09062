//! One connection from its first byte to its last: over plain TCP or TLS, by HTTP/1 or HTTP/2, in its place.

use std::{
    convert::Infallible,
    future::{Ready, poll_fn, ready},
    net::{IpAddr, TcpStream},
    pin::{Pin, pin},
    rc::Rc,
    task::Poll,
};

use hyper::{
    Request, Version,
    body::{Body, Incoming},
    header::CONNECTION,
    service::{Service, service_fn},
};
use tokio::io::AsyncWriteExt as _;
use whence_runtime::http::{Noticed, Refusal};

use super::{
    answer::{self, Answer},
    http2::{Ended, Frames, Silence},
    places::{ConnectionSlot, Order, Why},
    proxy_header::{self, ProxyRefusal},
    redirector::Request as Asked,
    server::Core,
    stream::{ClientStream, PlainWire, Wire},
    tls::{
        HTTP_2,
        store::CHALLENGE_PROTOCOL,
        wire::{Begun, TlsWire},
    },
};

/// What all requests of a connection have in common.
struct Visit {
    peer: IpAddr,
    seat: usize,
    is_secure: bool,
    silence: Option<Silence>,
}

impl Core {
    pub(super) async fn plain(self: Rc<Self>, stream: TcpStream, peer: IpAddr, place: ConnectionSlot) {
        if self.is_introduced(peer) {
            return Box::pin(self.introduced(stream, peer, place)).await;
        }
        self.http1(ClientStream::new(PlainWire::new(stream), Rc::clone(&self.memory)), peer, false, &place)
            .await;
    }

    /// A plain connection of a proxy that sends the PROXY header.
    async fn introduced(self: Rc<Self>, stream: TcpStream, peer: IpAddr, place: ConnectionSlot) {
        let Some((stream, peer, read)) = self.introduction(stream, peer, &place).await else { return };
        let stream = ClientStream::begun(PlainWire::registered(stream), Rc::clone(&self.memory), read);
        self.http1(stream, peer, false, &place).await;
    }

    pub(super) async fn secure(self: Rc<Self>, stream: TcpStream, peer: IpAddr, place: ConnectionSlot) {
        let Some(acceptor) = &self.secure else { return };
        let begun = if self.is_introduced(peer) {
            self.introduction(stream, peer, &place).await
        } else {
            registered(stream).map(|stream| (stream, peer, Vec::new()))
        };
        let Some((stream, peer, read)) = begun else { return };
        // A handshake is silence: what it may take is the place's business.
        let handshake = acceptor.accept(Begun::new(stream, read));
        let mut stream = match within(&place, handshake).await {
            Some(Ok(stream)) => stream,
            Some(Err(error)) => {
                self.worker.borrow_mut().meters().handshakes_failed.increment(1);
                return tracing::debug!(%error, "handshake failed");
            }
            None => return self.worker.borrow_mut().meters().handshakes_slow.increment(1),
        };
        match stream.get_ref().1.alpn_protocol() {
            Some(HTTP_2) => {
                let silence = Silence::new(self.limits.head_bytes_max);
                let frames = Frames::new(TlsWire(stream), Rc::clone(&self.memory), silence.clone());
                let frames = Noticed::new(frames, self.noticing(&place));
                let visit =
                    Visit { peer, seat: place.seat(), is_secure: true, silence: Some(silence.clone()) };
                let connection = pin!(self.http2.serve_connection(frames, self.service(visit)));
                let ended =
                    self.attend(&place, connection, |connection| connection.graceful_shutdown()).await;
                self.note_http2(ended, &silence);
            }
            // The handshake was the answer (RFC 8737, 3).
            Some(CHALLENGE_PROTOCOL) => drop(within(&place, stream.shutdown()).await),
            _ => {
                let stream = ClientStream::new(TlsWire(stream), Rc::clone(&self.memory));
                self.http1(stream, peer, true, &place).await;
            }
        }
    }

    async fn http1<W: Wire>(
        self: &Rc<Self>,
        stream: ClientStream<W>,
        peer: IpAddr,
        is_secure: bool,
        place: &ConnectionSlot,
    ) {
        let stream = Noticed::new(stream, self.noticing(place));
        let visit = Visit { peer, seat: place.seat(), is_secure, silence: None };
        let connection = pin!(self.http1.serve_connection(stream, self.service(visit)));
        let ended = self.attend(place, connection, |connection| connection.graceful_shutdown()).await;
        if let Err(error) = ended {
            if let Some(refusal) = Refusal::of(&error) {
                self.worker.borrow_mut().meters().refused(refusal);
            }
            // Clients that vanish or talk nonsense are daily life.
            tracing::debug!(%error, "connection ended early");
        }
    }

    /// Whether this peer sends the PROXY header.
    fn is_introduced(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.introducing.iter().any(|network| network.contains(&peer))
    }

    /// Reads the client that a connection is for, and the bytes behind the header.
    async fn introduction(
        &self,
        stream: TcpStream,
        peer: IpAddr,
        place: &ConnectionSlot,
    ) -> Option<(tokio::net::TcpStream, IpAddr, Vec<u8>)> {
        let mut stream = registered(stream)?;
        match within(place, proxy_header::read(&mut stream, peer)).await.flatten() {
            Some((address, read)) => Some((stream, address, read)),
            None => {
                ProxyRefusal::Missing.count();
                None
            }
        }
    }

    /// What tells the place that something has begun on its connection. A handshake does not count: a client that is
    /// slow at it is idle.
    fn noticing(&self, place: &ConnectionSlot) -> impl Fn() + use<> {
        let (places, seat) = (Rc::clone(&self.places), place.seat());
        move || places.begun(seat)
    }

    /// Serves a connection as long as its place says. `finish` tells it to take no further requests.
    async fn attend<C: Future<Output = hyper::Result<()>>>(
        &self,
        place: &ConnectionSlot,
        mut connection: Pin<&mut C>,
        finish: impl Fn(Pin<&mut C>),
    ) -> hyper::Result<()> {
        let (mut is_told, mut is_heard) = (false, false);
        poll_fn(|context| {
            match place.order(context) {
                Order::GoOn => {}
                Order::Drain if is_told => {}
                Order::Drain => {
                    // Told before its first turn, hyper would close it with its request unread.
                    if !is_heard && let Poll::Ready(ended) = connection.as_mut().poll(context) {
                        return Poll::Ready(ended);
                    }
                    is_told = true;
                    finish(connection.as_mut());
                }
                Order::Leave(why) => {
                    // What has arrived already is answered still.
                    if !is_heard && let Poll::Ready(ended) = connection.as_mut().poll(context) {
                        return Poll::Ready(ended);
                    }
                    {
                        let mut worker = self.worker.borrow_mut();
                        match why {
                            Why::Silent => worker.meters().connections_silent.increment(1),
                            Why::Displaced => worker.meters().connections_displaced.increment(1),
                        }
                    }
                    // Its protocol may have a farewell, for which there is one turn.
                    finish(connection.as_mut());
                    let _ = connection.as_mut().poll(context);
                    return Poll::Ready(Ok(()));
                }
            }
            is_heard = true;
            connection.as_mut().poll(context)
        })
        .await
    }

    fn note_http2(&self, ended: hyper::Result<()>, silence: &Silence) {
        if let Err(error) = ended {
            if let Some(ended) = Ended::of(&error, silence) {
                self.worker.borrow_mut().meters().http2_ended(ended);
            }
            tracing::debug!(%error, "connection ended early");
        }
    }

    /// The answer is there as soon as the request's head is: nothing is awaited in between.
    fn service(
        self: &Rc<Self>,
        visit: Visit,
    ) -> impl Service<
        Request<Incoming>,
        Response = Answer,
        Error = Infallible,
        Future = Ready<Result<Answer, Infallible>>,
    > + use<> {
        let core = Rc::clone(self);
        service_fn(move |request: Request<Incoming>| {
            let Visit { peer, seat, is_secure, silence } = &visit;
            let (head, body) = request.into_parts();
            core.places.heard_from(*seat);
            if let Some(silence) = silence {
                silence.end();
            }
            let mut worker = core.worker.borrow_mut();
            let mut answer = worker.answer(Asked {
                method: &head.method,
                uri: &head.uri,
                version: head.version,
                headers: head.headers,
                peer: *peer,
                is_secure: *is_secure,
            });
            if head.version >= Version::HTTP_2 {
                // A stream is not a connection, and has no such header (RFC 9113, 8.2.2).
                answer.headers_mut().remove(CONNECTION);
            } else if !body.is_end_stream() {
                // Where the next request begins is known only while there are no bodies.
                answer::end(&mut answer);
            }
            ready(Ok(answer))
        })
    }
}

fn registered(stream: TcpStream) -> Option<tokio::net::TcpStream> {
    let registered = tokio::net::TcpStream::from_std(stream);
    registered.inspect_err(|error| tracing::debug!(%error, "cannot register a connection")).ok()
}

/// What `future` gives, unless the place is to be left before: for its silence, or for a newcomer.
async fn within<F: Future>(place: &ConnectionSlot, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|context| match place.order(context) {
        Order::Leave(_) => Poll::Ready(None),
        Order::GoOn | Order::Drain => future.as_mut().poll(context).map(Some),
    })
    .await
}
