//! Processes by another clock: what takes days in the world is not waited for.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::UNIX_EPOCH;

/// Variables of a process.
pub type Environment = Vec<(&'static str, OsString)>;

/// A clock of a process's own, which may be set while the process lives by it. (With libfaketime processes hung now and
/// then before they listened, with glibc 2.36 on a loaded machine.)
pub struct OtherClock {
    library: PathBuf,
    offset: PathBuf,
}

impl OtherClock {
    /// So many seconds ahead of the machine's, or behind. Made in this folder, by the compiler that has made librdkafka.
    pub fn off_by_s(dir: &Path, seconds: i64) -> Self {
        let name = format!("clock-{}", uuid::Uuid::new_v4().simple());
        let clock = Self { library: dir.join(format!("{name}.so")), offset: dir.join(name) };
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/roles/support/clock.c");
        let made = Command::new("cc")
            .args(["-D_GNU_SOURCE", "-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o"])
            .args([&clock.library, &source])
            .output()
            .expect("cc compiles");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        fs::write(&clock.offset, seconds.to_ne_bytes()).unwrap();
        clock
    }

    /// Sets it.
    pub fn set(&self, seconds: i64) {
        let file = fs::OpenOptions::new().write(true).open(&self.offset).unwrap();
        // In place: the process has mapped it.
        file.write_all_at(&seconds.to_ne_bytes(), 0).unwrap();
    }

    /// For the process.
    pub fn environment(&self) -> Environment {
        let of = |path: &Path| path.as_os_str().to_owned();
        vec![("LD_PRELOAD", of(&self.library)), ("CLOCK_OFFSET_FILE", of(&self.offset))]
    }
}

/// Milliseconds since the epoch by this machine's clock.
pub fn now_ms() -> i64 {
    i64::try_from(UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap()
}
