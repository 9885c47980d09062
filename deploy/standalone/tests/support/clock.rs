//! Processes by another clock: what takes days in the world is not waited for.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::UNIX_EPOCH;

/// Variables of a process.
pub type Environment = Vec<(&'static str, OsString)>;

/// What puts a process's clock off.
pub struct OtherClock(PathBuf);

impl OtherClock {
    /// Made in this folder, by the compiler that has made librdkafka.
    pub fn new(dir: &Path) -> Self {
        let library = dir.join("clock.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/clock.c");
        let made = Command::new("cc")
            .args(["-D_GNU_SOURCE", "-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o"])
            .args([&library, &source])
            .output()
            .expect("cc compiles");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Self(library)
    }

    /// For a process whose clock is so much ahead, or behind.
    pub fn off_by_s(&self, seconds: i64) -> Environment {
        vec![("LD_PRELOAD", self.0.clone().into()), ("CLOCK_OFFSET_SECONDS", seconds.to_string().into())]
    }
}

/// Milliseconds since the epoch by this machine's clock.
pub fn now_ms() -> i64 {
    i64::try_from(UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap()
}
