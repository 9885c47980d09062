//! Processes by another clock: what takes days in the world is not waited for.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::time::UNIX_EPOCH;

/// Variables of a process.
pub type Environment = Vec<(&'static str, OsString)>;

/// libfaketime, preloaded: what only measures how long something takes, and times of files, are not touched.
fn faked(how: (&'static str, OsString)) -> Environment {
    let machines = fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path());
    let library = machines.map(|of| of.join("faketime/libfaketime.so.1")).find(|path| path.exists());
    let library = library.expect("deploy/dev/setup installs libfaketime");
    let kept = [("FAKETIME_DONT_FAKE_MONOTONIC", "1"), ("NO_FAKE_STAT", "1")];
    let kept = kept.map(|(name, value)| (name, value.into()));
    kept.into_iter().chain([("LD_PRELOAD", library.into()), how]).collect()
}

/// For a process whose clock is so much ahead, or behind.
pub fn off_by_s(seconds: i64) -> Environment {
    faked(("FAKETIME", format!("{seconds:+}").into()))
}

/// A clock that is set while a process lives by it.
pub struct SettableClock(PathBuf);

impl SettableClock {
    /// Shows the machine's time until it is set. `file` says how far it is off.
    pub fn new(file: PathBuf) -> Self {
        let clock = Self(file);
        clock.set(0);
        clock
    }

    /// Sets it so many seconds ahead of the machine's, or behind.
    pub fn set(&self, seconds: i64) {
        // Renamed, so that nobody reads half of it.
        let next = self.0.with_extension("next");
        fs::write(&next, format!("{seconds:+}")).unwrap();
        fs::rename(&next, &self.0).unwrap();
    }

    /// For the process.
    pub fn environment(&self) -> Environment {
        let mut environment = faked(("FAKETIME_TIMESTAMP_FILE", self.0.clone().into()));
        environment.push(("FAKETIME_NO_CACHE", "1".into()));
        environment
    }
}

/// Milliseconds since the epoch by this machine's clock.
pub fn now_ms() -> i64 {
    i64::try_from(UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap()
}
