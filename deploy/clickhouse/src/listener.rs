//! A listening socket that a parent hands to its child.
//!
//! The supervisor binds and keeps the socket: the port stays the same over restarts of the child, port
//! 0 included, and connections made while it is down wait in the backlog instead of being refused.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use whence_runtime::listeners;

/// Number of the inherited descriptor, in the child's environment.
pub const LISTENER_ENV: &str = "WHENCE_CLICKHOUSE_LISTENER_FD";

/// The socket to serve on: the one the parent hands over, or else a new one on `address`. Set to
/// non-blocking, as tokio requires.
///
/// Call once, early: the inherited descriptor has one owner.
///
/// # Errors
/// The address cannot be bound, or the environment names no listening socket.
pub fn take(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = match std::env::var(LISTENER_ENV) {
        Ok(number) => inherited(&number)?,
        Err(_) => listeners::listen("clickhouse", address)?,
    };
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn inherited(number: &str) -> io::Result<TcpListener> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidInput, format!("{LISTENER_ENV} is not a socket"));
    let fd: RawFd = number.parse().map_err(|_| invalid())?;
    // SAFETY: a plain system call that fails for a number that is not open.
    if unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } != 0 {
        return Err(invalid());
    }
    // SAFETY: open, and handed over by the parent to be owned here.
    let listener = unsafe { TcpListener::from_raw_fd(fd) };
    listener.local_addr().map_err(|_| invalid())?;
    Ok(listener)
}

/// Hands `listener` to the child of `command`; the caller keeps it open until the child is spawned.
pub(crate) fn hand_over(command: &mut Command, listener: &TcpListener) {
    let fd = listener.as_raw_fd();
    command.env(LISTENER_ENV, fd.to_string());
    let keep = move || {
        // SAFETY: a plain system call, allowed between fork and exec.
        if unsafe { libc::fcntl(fd, libc::F_SETFD, 0) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    };
    // SAFETY: the closure allocates nothing and takes no lock.
    unsafe { command.pre_exec(keep) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_socket_is_refused() {
        assert!(inherited("no number").is_err());
        assert!(inherited("999999").is_err());
        let file = tempfile::tempfile().unwrap();
        assert!(inherited(&std::os::fd::IntoRawFd::into_raw_fd(file).to_string()).is_err());
    }
}
