//! A broker of a test's own, so that it can be frozen and killed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// Runs until dropped; its data goes with it.
pub struct Broker {
    data: TempDir,
    pub address: String,
}

impl Broker {
    pub fn start() -> Broker {
        let data = tempfile::tempdir().unwrap();
        let address = control("up", data.path());
        Broker { data, address }
    }

    pub fn pause(&self) {
        control("pause", self.data.path());
    }

    pub fn resume(&self) {
        control("resume", self.data.path());
    }

    pub fn kill(&self) {
        control("kill", self.data.path());
    }

    pub fn start_again(&self) {
        assert_eq!(control("up", self.data.path()), self.address);
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let killed = script("kill", self.data.path()).status();
        assert!(
            killed.is_ok_and(|status| status.success()) || std::thread::panicking(),
            "the broker is killed"
        );
    }
}

fn script(verb: &str, data: &Path) -> Command {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy/kafka/kafka");
    let mut command = Command::new(path);
    command.arg(verb).arg("--data").arg(data).stderr(Stdio::null());
    if verb == "up" {
        command.args(["--port", "0", "--wait", "60"]);
    }
    command
}

fn control(verb: &str, data: &Path) -> String {
    let output = script(verb, data).output().unwrap();
    assert!(output.status.success(), "kafka {verb}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
