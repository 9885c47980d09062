//! Sleeps that end within some ten microseconds: tokio's own timer counts milliseconds, which is longer
//! than most answers take, and would be measured as their latency.

use std::{
    fs::File,
    io::{self, Read as _},
    os::fd::{FromRawFd as _, OwnedFd},
    time::Duration,
};
use tokio::io::{Interest, unix::AsyncFd};

/// Shorter sleeps are rounded up: what is due within it is sent in one go.
const SLEEP_MIN: Duration = Duration::from_micros(50);

/// A timer of the system (Linux: timerfd).
#[derive(Debug)]
pub(super) struct Timer(AsyncFd<File>);

impl Timer {
    /// A timer of the current runtime.
    pub fn new() -> io::Result<Timer> {
        // SAFETY: the call takes no pointers.
        let fd =
            unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK | libc::TFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made, and nobody else has it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: a `File` owns its descriptor, and always gives the same one.
        let timer = unsafe { AsyncFd::register_with_interest(File::from(fd), Interest::READABLE) };
        timer.map(Timer).map_err(io::Error::from)
    }

    /// Waits for about this long. Dropped early, it leaves nothing behind: the next sleep sets the timer
    /// again.
    pub async fn sleep(&self, time: Duration) -> io::Result<()> {
        self.set(time.max(SLEEP_MIN))?;
        loop {
            let mut ready = self.0.readable().await?;
            let read = ready.try_io(|timer| timer.get_ref().read(&mut [0; 8]));
            // An expiry of an earlier, dropped sleep may still be noted: then there is nothing to read.
            if let Ok(read) = read {
                return read.map(|_expiries| ());
            }
        }
    }

    fn set(&self, time: Duration) -> io::Result<()> {
        use std::os::fd::AsRawFd as _;
        let once = libc::itimerspec {
            it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: libc::timespec {
                tv_sec: libc::time_t::try_from(time.as_secs()).unwrap_or(libc::time_t::MAX),
                tv_nsec: time.subsec_nanos().into(),
            },
        };
        // SAFETY: the descriptor is open, the new value is initialised, and no old value is asked for.
        let set =
            unsafe { libc::timerfd_settime(self.0.as_raw_fd(), 0, &raw const once, std::ptr::null_mut()) };
        if set < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[tokio::test]
    async fn it_never_wakes_early_even_after_a_sleep_that_was_dropped() {
        let timer = Timer::new().unwrap();
        {
            let mut short = std::pin::pin!(timer.sleep(Duration::from_millis(1)));
            assert!(futures_util::poll!(short.as_mut()).is_pending());
        }
        for time in [Duration::from_millis(3), Duration::from_micros(300)] {
            let started = Instant::now();
            timer.sleep(time).await.unwrap();
            assert!(started.elapsed() >= time);
        }
    }
}
