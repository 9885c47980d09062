//! Brokers with TLS, users and permissions, of a test's own.

use std::fs;
use std::path::{Path, PathBuf};

use super::brokers::OwnBroker;
use super::write_private;

/// One such broker.
pub struct Secured {
    own: OwnBroker,
    pub brokers: String,
}

impl Secured {
    pub fn start() -> Secured {
        let own = OwnBroker::start(&["--secure"]);
        Secured { brokers: own.brokers.clone(), own }
    }

    /// Gives (`--add`) or takes (`--remove`) what whence's user may do.
    pub fn permit(&self, change: &str, what: &[&str]) {
        let change = if change == "--remove" { vec![change, "--force"] } else { vec![change] };
        let user = ["--allow-principal", "User:whence"];
        let done = self.own.kafka("admin", &[&["acls", "--"], &change[..], &user, what].concat());
        assert!(done.status.success(), "{done:?}");
    }

    /// A file in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.own.dir().join(name)
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
