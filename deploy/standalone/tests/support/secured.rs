//! Brokers with TLS, users and permissions, of a test's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::{TempDir, tempdir};

use super::write_private;

/// One such broker; it is killed when dropped.
pub struct Secured {
    dir: TempDir,
    pub brokers: String,
}

impl Secured {
    pub fn start() -> Secured {
        let dir = tempdir().unwrap();
        let mut secured = Secured { dir, brokers: String::new() };
        let started =
            secured.kafka("up", &["--secure", "--port", "0", "--controller-port", "0", "--wait", "120"]);
        assert!(started.status.success(), "{started:?}");
        secured.brokers = String::from_utf8(started.stdout).unwrap().trim().to_owned();
        secured
    }

    /// The script that runs it.
    pub fn kafka(&self, command: &str, arguments: &[&str]) -> Output {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../kafka/kafka");
        let mut run = Command::new(script);
        run.arg(command).args(arguments.first().filter(|_| command == "admin"));
        run.arg("--data").arg(self.dir.path().join("kafka"));
        run.args(arguments.iter().skip(usize::from(command == "admin"))).stdin(Stdio::null());
        run.output().unwrap()
    }

    /// Gives (`--add`) or takes (`--remove`) what whence's user may do.
    pub fn permit(&self, change: &str, what: &[&str]) {
        let change = if change == "--remove" { vec![change, "--force"] } else { vec![change] };
        let user = ["--allow-principal", "User:whence"];
        let done = self.kafka("admin", &[&["acls", "--"], &change[..], &user, what].concat());
        assert!(done.status.success(), "{done:?}");
    }

    /// A file in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What a client needs.
    pub fn properties(&self) -> String {
        fs::read_to_string(self.path("kafka/client.properties")).unwrap()
    }

    /// The same with other values of some properties; `None` takes one out. A file with them.
    pub fn properties_with(&self, name: &str, changes: &[(&str, Option<&str>)]) -> String {
        let properties = self.properties();
        let kept = properties.lines().filter(|line| {
            let property = line.split('=').next().unwrap();
            changes.iter().all(|(changed, _)| *changed != property)
        });
        let given = changes.iter().filter_map(|(name, value)| Some(format!("{name}={}", (*value)?)));
        let text: Vec<String> = kept.map(str::to_owned).chain(given).collect();
        write_properties(&self.path(name), &text.join("\n"))
    }
}

pub fn write_properties(path: &Path, text: &str) -> String {
    write_private(path, text);
    path.to_str().unwrap().to_owned()
}

impl Drop for Secured {
    fn drop(&mut self) {
        self.kafka("kill", &[]);
    }
}
