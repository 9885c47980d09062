//! Every setting that the program names, given one by one, and all together: each loads, and a role or a tool is built
//! with it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::support::proxy::Authority;
use crate::support::{run, whence, write_private};
use tempfile::TempDir;

const ROLES: [&str; 7] = ["topics", "migrate", "console", "aggregate", "clickhouse", "up", "ingest"];
/// Tools with settings that no role has, and how they are called.
const TOOLS: [&[&str]; 2] = [&["try", "p"], &["import", "p", "none.csv"]];

/// A setting as the program lists it.
struct Setting {
    flag: String,
    default: Option<String>,
}

fn settings() -> Vec<Setting> {
    let table = String::from_utf8(run(&["settings"]).stdout).unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `--"));
    let setting = |row: &str| {
        let mut cells = row.split(" | ");
        let flag = cells.next().unwrap().trim_end_matches('`').to_owned();
        let default = cells.nth(1).unwrap().trim_matches('`').to_owned();
        Setting { flag, default: (default != "–").then_some(default) }
    };
    rows.map(setting).collect()
}

/// Values for settings that have no default, and what they need beside them.
struct Samples {
    dir: TempDir,
    authority: Authority,
}

impl Samples {
    fn new() -> Self {
        let samples = Self { dir: tempfile::tempdir().unwrap(), authority: Authority::new("own") };
        assert!(run(&["secrets", "new", &samples.path("secrets.toml")]).status.success());
        fs::create_dir(samples.path("certificates")).unwrap();
        samples
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        write_private(Path::new(&path), text);
        path
    }

    /// The value of a setting, then further flags.
    fn of(&self, flag: &str) -> Vec<String> {
        let https = || ["--clickhouse-url".to_owned(), "https://db.example".to_owned()].to_vec();
        let one = |value: &str| vec![value.to_owned()];
        match flag {
            "allowed-hosts" => one("ops.shop.example"),
            "secrets-file" => vec![self.path("secrets.toml")],
            "agents-file" => vec![self.file("agents", "bot\tMybot")],
            "edge-tls-listen" => {
                [one("127.0.0.1:0"), vec!["--tls-certificates".into(), self.path("certificates")]].concat()
            }
            "tls-certificates" => [vec![self.path("certificates")], self.tls()].concat(),
            "acme-directory" => {
                [one("https://ca.example/directory"), self.tls(), one("--acme-accept-terms")].concat()
            }
            "acme-contact" => one("mailto:ops@shop.example"),
            "acme-hosts" => one("go.shop.example"),
            "acme-root-file" => vec![self.authority.file()],
            "api-admin-key-file" => vec![self.file("key", "an admin key that nobody can guess, 0123456789")],
            "api-dns-servers" => one("127.0.0.1:53"),
            "disposable-domains-file" => vec![self.file("domains", "mail.example")],
            "trusted-proxies" | "proxy-protocol-from" => one("10.0.0.0/8"),
            "webhook-secrets-file" => {
                vec![self.file("webhooks", "p/shop=whsec_b25lIHNlY3JldCBvZiB0aGUgdGVzdHM=")]
            }
            "clickhouse-url" => one("http://db:8123,https://db.example/ch"),
            "clickhouse-ca-file" => [vec![self.authority.file()], https()].concat(),
            "clickhouse-certificate-file" => {
                let [certificate, key] = self.authority.identity();
                [vec![certificate, "--clickhouse-key-file".into(), key], https()].concat()
            }
            "clickhouse-key-file" => {
                let [certificate, key] = self.authority.identity();
                [vec![key, "--clickhouse-certificate-file".into(), certificate], https()].concat()
            }
            "clickhouse-cluster" => [one("main"), https()].concat(),
            "fsync-inserts" => one("true"),
            "blocks-remembered" => one("1000"),
            "clickhouse-password-file" | "clickhouse-reader-password-file" => {
                vec![self.file(flag, "a password of the tests, 0123456789")]
            }
            "clickhouse-engine" => {
                vec![std::env::var("WHENCE_CLICKHOUSE_ENGINE").expect("the engine is set")]
            }
            "kafka-brokers" => one("127.0.0.1:1"),
            "kafka-prefix" => one("ours."),
            "kafka-properties-file" => vec![self.file("properties", "client.id=tests")],
            "kafka-group" | "kafka-member" => one("ours"),
            "topic-replication" => one("3"),
            "edge-url" | "api-url" => one("https://127.0.0.1:1"),
            "call-ca-file" => vec![self.authority.file()],
            "api-key-file" => vec![self.file("api-key", "whk_0123456789")],
            other => panic!("--{other} has no default and no sample in this test"),
        }
    }

    fn tls(&self) -> Vec<String> {
        vec!["--edge-tls-listen".to_owned(), "127.0.0.1:0".to_owned()]
    }

    /// What a command needs whatever is tried.
    fn needed(&self, command: &str, given: &[String]) -> Vec<String> {
        let secrets = ["--secrets-file".to_owned(), self.path("secrets.toml")];
        let kafka = ["--kafka-brokers", "127.0.0.1:1"].map(str::to_owned);
        let store = ["--clickhouse-url", "http://127.0.0.1:1"].map(str::to_owned);
        let needed: Vec<[String; 2]> = match command {
            "topics" => vec![kafka],
            "ingest" => vec![kafka, secrets],
            "console" | "aggregate" => vec![kafka, secrets, store],
            // Without the embedded engine, whose library takes its time.
            "up" => vec![store],
            _ => Vec::new(),
        };
        needed.into_iter().filter(|[flag, _]| !given.contains(flag)).flatten().collect()
    }
}

/// The flags of a command.
fn flags_of(command: &str) -> BTreeSet<String> {
    let help = String::from_utf8(run(&[command, "--help"]).stdout).unwrap();
    let flags = help.split_whitespace().filter_map(|word| word.strip_prefix("--"));
    flags.map(|flag| flag.split(['=', '[', ',']).next().unwrap().to_owned()).collect()
}

#[test]
fn every_setting_that_is_named_builds_a_role_or_is_taken_by_a_tool() {
    let samples = Samples::new();
    let roles = ROLES.map(|role| (role, flags_of(role)));
    let mut tried = 0;
    for Setting { flag, default } in settings() {
        let value = default.map_or_else(|| samples.of(&flag), |default| vec![default]);
        let given = [vec![format!("--{flag}")], value].concat();
        // A switch takes its value behind `=`.
        let joined = |given: Vec<String>| {
            let first = format!("{}={}", given[0], given[1]);
            [vec![first], given[2..].to_vec()].concat()
        };
        let role = roles.iter().find(|(_, flags)| flags.contains(&flag));
        if let Some((role, _)) = role {
            let needed = samples.needed(role, &given);
            let checked =
                whence().args(["validate", role]).args(joined(given)).args(needed).output().unwrap();
            let text = String::from_utf8(checked.stderr).unwrap();
            assert!(checked.status.success(), "validate {role} --{flag}: {text}");
        } else {
            let tool = TOOLS.iter().find(|tool| flags_of(tool[0]).contains(&flag));
            let tool = tool.unwrap_or_else(|| panic!("--{flag} is of no command that is known here"));
            let mut command = whence();
            let output =
                command.current_dir(samples.dir.path()).args(*tool).args(joined(given)).output().unwrap();
            let text = String::from_utf8(output.stderr).unwrap();
            let is_taken = ["wrong", "unexpected", "invalid value"].iter().all(|word| !text.contains(word));
            assert!(is_taken, "{tool:?} --{flag}: {text}");
        }
        tried += 1;
    }
    assert!(tried > 100, "the table was not read: {tried} settings");
}
