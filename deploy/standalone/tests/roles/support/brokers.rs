//! The broker for tests, and what processes share over it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use tempfile::{TempDir, tempdir};

use super::{DEADLINE, Role, clock::now_ms, run};

/// The broker, and a prefix of topics that no other run uses.
pub fn brokers(name: &str) -> (String, String) {
    let brokers = std::env::var("WHENCE_TEST_KAFKA_BROKERS")
        .expect("WHENCE_TEST_KAFKA_BROKERS names a broker for tests; `make test` starts one");
    (brokers, format!("{name}-{}-{}.", std::process::id(), now_ms()))
}

/// A broker of a test's own, which may be frozen; killed when dropped.
pub struct OwnBroker {
    dir: TempDir,
    pub brokers: String,
}

impl OwnBroker {
    pub fn start(arguments: &[&str]) -> OwnBroker {
        let mut own = OwnBroker { dir: tempdir().unwrap(), brokers: String::new() };
        let ports = ["--port", "0", "--controller-port", "0", "--wait", "120"];
        let started = own.kafka("up", &[arguments, &ports].concat());
        assert!(started.status.success(), "{started:?}");
        own.brokers = String::from_utf8(started.stdout).unwrap().trim().to_owned();
        own
    }

    /// The folder of its data, and of whatever else.
    pub fn dir(&self) -> &Path {
        self.dir.path()
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
}

impl Drop for OwnBroker {
    fn drop(&mut self) {
        self.kafka("kill", &[]);
    }
}

/// What processes of their own share: the broker, secrets, an admin key, a folder. Dropped after them.
pub struct Shared {
    pub brokers: String,
    /// Of topics, and the group's name.
    pub prefix: String,
    pub secrets: String,
    pub key_file: String,
    pub key: String,
    dir: TempDir,
}

impl Shared {
    pub fn new(name: &str) -> Self {
        let (brokers, prefix) = brokers(name);
        Self::over(brokers, prefix)
    }

    /// The same over these brokers.
    pub fn over(brokers: String, prefix: String) -> Self {
        let dir = tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let (secrets, key_file) = (path("secrets.toml"), path("admin"));
        assert!(run(&["secrets", "new", &secrets]).status.success());
        let key = "an admin key that nobody can guess, 0123456789".to_owned();
        super::write_private(Path::new(&key_file), &key);
        Self { brokers, prefix, secrets, key_file, key, dir }
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A place of that name in the folder.
    pub fn place(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The same as text.
    pub fn path(&self, name: &str) -> String {
        self.place(name).to_str().unwrap().to_owned()
    }

    /// The settings by which all find the topics.
    pub fn bus(&self) -> [&str; 4] {
        ["--kafka-brokers", &self.brokers, "--kafka-prefix", &self.prefix]
    }

    /// Makes topics of so many partitions of clicks and of conversions; what is told.
    pub fn make_topics(&self, clicks: u32, conversions: u32) -> String {
        let (clicks, conversions) = (clicks.to_string(), conversions.to_string());
        let partitions = ["--clicks-partitions", &clicks, "--conversions-partitions", &conversions];
        let call = [&["topics", "--topic-replication", "1"], &self.bus()[..], &partitions].concat();
        let deadline = Instant::now() + DEADLINE;
        loop {
            // It gives up sooner than a broker that many tests keep busy answers.
            let made = run(&call);
            if made.status.success() {
                return String::from_utf8(made.stdout).unwrap();
            }
            assert!(Instant::now() < deadline, "{made:?}");
        }
    }

    /// Deletes one; returns once it is gone.
    pub fn delete_topic(&self, name: &str) {
        let mut config = rdkafka::ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        let admin: AdminClient<DefaultClientContext> = config.create().unwrap();
        let topic = format!("{}{name}", self.prefix);
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
        let deleted = admin.delete_topics(&[&topic], &options);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(deleted).unwrap().remove(0).unwrap();
        super::until(&format!("{topic} is gone"), || {
            let metadata = admin.inner().fetch_metadata(None, Duration::from_secs(10)).unwrap();
            metadata.topics().iter().all(|known| known.name() != topic).then_some(())
        });
    }

    /// An engine.
    pub fn clickhouse(&self) -> Role {
        let clickhouse = Role::start(&self.place("clickhouse"), &["clickhouse"]);
        clickhouse.until_ready();
        clickhouse
    }

    /// An engine with the tables in it.
    pub fn migrated(&self) -> Role {
        let clickhouse = self.clickhouse();
        let migrated = run(&["migrate", "--clickhouse-url", &clickhouse.address("clickhouse")]);
        assert!(migrated.status.success(), "{migrated:?}");
        clickhouse
    }
}
