//! Idle connections from many source addresses: what the scenario `idle` starts as processes of its own.

use std::{
    io::Read as _,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

use socket2::{Domain, Socket, Type};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections that are opened again, at most, before a pause.
const AGAIN_AT_ONCE: usize = 50;
const PAUSE: Duration = Duration::from_millis(100);

/// Holds so many connections to `to` from the networks `127.100.FIRST.0/24` on, in turn, until it is killed.
/// `connected` is told once how many there were at a time. Connections that were closed are opened again.
pub fn hold(
    to: SocketAddr,
    connections: usize,
    (first, networks): (usize, usize),
    connected: impl FnOnce(usize),
) {
    let open = |n: usize| connect(source(first + n % networks), to);
    let mut held: Vec<Option<TcpStream>> = (0..connections).map(open).collect();
    held.iter_mut().for_each(forget_closed);
    connected(held.iter().flatten().count());
    loop {
        held.iter_mut().for_each(forget_closed);
        let closed = held.iter_mut().enumerate().filter(|(_, stream)| stream.is_none());
        for (n, stream) in closed.take(AGAIN_AT_ONCE) {
            *stream = open(n);
        }
        std::thread::sleep(PAUSE);
    }
}

/// The first address of the nth network.
fn source(n: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 100 + (n / 256 % 100) as u8, (n % 256) as u8, 1)
}

fn connect(source: Ipv4Addr, to: SocketAddr) -> Option<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).ok()?;
    socket.bind(&SocketAddr::new(IpAddr::V4(source), 0).into()).ok()?;
    socket.connect_timeout(&to.into(), CONNECT_TIMEOUT).ok()?;
    let stream = TcpStream::from(socket);
    stream.set_nonblocking(true).ok()?;
    Some(stream)
}

fn forget_closed(stream: &mut Option<TcpStream>) {
    let is_open = |stream: &mut TcpStream| matches!(stream.read(&mut [0; 64]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock);
    if stream.as_mut().is_some_and(|stream| !is_open(stream)) {
        *stream = None;
    }
}
