//! Where this process listens: at an address that nobody else listens at, or with the sockets that its parent hands
//! over (`LISTEN_FDS`, as systemd does), which it may share with others.
//!
//! A socket that is handed over is that of the listener of its name (`LISTEN_FDNAMES`: `edge`, `edge-tls`, `api`,
//! `admin`, `console`, `clickhouse`), or else of the listener whose setting has its address.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// The first descriptor that is handed over.
const FIRST: RawFd = 3;
/// More than any process of whence could use: a number beyond it is a mistake.
const HANDED_MAX: RawFd = 64;
/// What listeners are called.
const NAMES: [&str; 6] = ["admin", "api", "clickhouse", "console", "edge", "edge-tls"];

struct Handed {
    /// One of [`NAMES`]; other names say nothing.
    name: Option<String>,
    address: SocketAddr,
    listener: TcpListener,
}

/// The sockets for the listener of this name, or with this address, each given once. Empty: none was handed over.
///
/// # Errors
/// What was handed over are not listening sockets.
pub fn handed(name: &str, address: SocketAddr) -> io::Result<Vec<TcpListener>> {
    debug_assert!(NAMES.contains(&name), "{name} is a name that can be given");
    let mut all = all()?;
    let (found, rest) = std::mem::take(&mut *all)
        .into_iter()
        .partition(|socket| is_for(socket.name.as_deref(), socket.address, name, address));
    *all = rest;
    let found: Vec<Handed> = found;
    Ok(found.into_iter().map(|socket| socket.listener).collect())
}

/// The one listener of this name: handed over, or bound to the address.
///
/// # Errors
/// What was handed over can't be used, or another process listens there.
pub fn listen(name: &str, address: SocketAddr) -> io::Result<TcpListener> {
    let listener = match handed(name, address)?.into_iter().next() {
        Some(listener) => listener,
        None => TcpListener::bind(address).map_err(told)?,
    };
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The same, for tokio.
///
/// # Errors
/// As [`listen`].
pub fn listen_async(name: &str, address: SocketAddr) -> io::Result<tokio::net::TcpListener> {
    tokio::net::TcpListener::from_std(listen(name, address)?)
}

/// An error of binding, in words.
#[must_use]
pub fn told(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            io::Error::new(error.kind(), "another process listens there: stop it, or choose another address")
        }
        _ => error,
    }
}

/// Addresses of sockets that were handed over and that nobody has taken.
#[must_use]
pub fn unclaimed() -> Vec<SocketAddr> {
    all().map_or_else(|_| Vec::new(), |all| all.iter().map(|socket| socket.address).collect())
}

fn is_for(name: Option<&str>, address: SocketAddr, wanted: &str, setting: SocketAddr) -> bool {
    // `[::]` takes what comes to `0.0.0.0`, too.
    let is_everywhere = address.ip().is_unspecified() && setting.ip().is_unspecified();
    name.map_or_else(
        || address.port() == setting.port() && (address.ip() == setting.ip() || is_everywhere),
        |name| name == wanted,
    )
}

fn all() -> io::Result<MutexGuard<'static, Vec<Handed>>> {
    static ALL: OnceLock<Result<Mutex<Vec<Handed>>, String>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        let variable = |name| std::env::var(name).ok();
        let number = number(variable("LISTEN_PID"), variable("LISTEN_FDS"), std::process::id())?;
        let names = variable("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':').map(|name| NAMES.contains(&name).then(|| name.to_owned()));
        let sockets = (FIRST..FIRST + number).map(|descriptor| socket(descriptor, names.next().flatten()));
        sockets.collect::<Result<_, String>>().map(Mutex::new)
    });
    match all {
        Ok(all) => Ok(all.lock().unwrap_or_else(PoisonError::into_inner)),
        Err(text) => Err(io::Error::new(io::ErrorKind::InvalidInput, text.clone())),
    }
}

/// How many are handed over to the process of this number.
fn number(pid: Option<String>, descriptors: Option<String>, own: u32) -> Result<RawFd, String> {
    let (Some(pid), Some(descriptors)) = (pid, descriptors) else { return Ok(0) };
    // Those that are for the parent are left in the environment of its children.
    if pid != own.to_string() {
        return Ok(0);
    }
    let number = descriptors.parse().ok().filter(|number| (0..=HANDED_MAX).contains(number));
    number.ok_or_else(|| format!("LISTEN_FDS must be a number from 0 to {HANDED_MAX}"))
}

fn socket(descriptor: RawFd, name: Option<String>) -> Result<Handed, String> {
    let wrong = |error: &dyn std::fmt::Display| {
        format!("descriptor {descriptor} of LISTEN_FDS is not a listening socket: {error}")
    };
    // SAFETY: only asked about; a number that is not open is refused by the call.
    let borrowed = unsafe { std::os::fd::BorrowedFd::borrow_raw(descriptor) };
    rustix::io::fcntl_setfd(borrowed, rustix::io::FdFlags::CLOEXEC).map_err(|error| wrong(&error))?;
    let is_listening = rustix::net::sockopt::socket_acceptconn(borrowed).map_err(|error| wrong(&error))?;
    if !is_listening {
        return Err(wrong(&"it does not listen"));
    }
    // SAFETY: open, handed over to be owned here, and taken once.
    let listener = TcpListener::from(unsafe { OwnedFd::from_raw_fd(descriptor) });
    let address = listener.local_addr().map_err(|error| wrong(&error))?;
    Ok(Handed { name, address, listener })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_for_the_process_that_they_are_handed_to() {
        let of = |pid: &str, number: &str| number_of(Some(pid), Some(number));
        fn number_of(pid: Option<&str>, number_text: Option<&str>) -> Result<RawFd, String> {
            number(pid.map(str::to_owned), number_text.map(str::to_owned), 7)
        }
        assert_eq!((of("7", "2"), of("8", "2"), number_of(None, None)), (Ok(2), Ok(0), Ok(0)));
        for wrong in ["-1", "x", "1000", ""] {
            assert!(of("7", wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_socket_is_the_listeners_of_its_name_or_else_of_its_address() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let local = address("127.0.0.1:80");
        assert!(is_for(Some("edge"), address("127.0.0.1:9"), "edge", local));
        assert!(!is_for(Some("api"), local, "edge", local));
        assert!(is_for(None, local, "edge", local));
        assert!(!is_for(None, address("127.0.0.2:80"), "edge", local));
        assert!(!is_for(None, address("127.0.0.1:81"), "edge", local));
        assert!(is_for(None, address("[::]:80"), "edge", address("0.0.0.0:80")));
        assert!(!is_for(None, address("[::]:80"), "edge", local));
    }

    #[test]
    fn an_address_that_somebody_has_is_told_in_words() {
        let first = listen("api", address_of("127.0.0.1:0")).unwrap();
        let error = listen("api", first.local_addr().unwrap()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains("another process listens there"), "{error}");
        fn address_of(text: &str) -> SocketAddr {
            text.parse().unwrap()
        }
    }
}
