//! ClickHouse over https and at several addresses: the embedded engine behind a proxy that terminates TLS, and what is
//! said at the start, by `validate --connect` and in readiness when it can't be used.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use crate::support::proxy::{Authority, Proxy};
use crate::support::{Role, run, until, whence, write_private};
use serde_json::json;
use tempfile::{TempDir, tempdir};

/// An engine, and the passwords of its users.
struct Store {
    engine: Role,
    dir: TempDir,
}

impl Store {
    fn start() -> Self {
        Self::with(|_| ())
    }

    /// With a further file of the engine's own settings.
    fn with(prepare: impl FnOnce(&Path)) -> Self {
        let dir = tempdir().unwrap();
        let data = dir.path().join("engine");
        prepare(&data);
        let engine = Role::start(&data, &["clickhouse"]);
        engine.until_ready();
        Self { engine, dir }
    }

    fn url(&self) -> String {
        self.engine.address("clickhouse")
    }

    fn bare(&self) -> String {
        format!("http://{}", self.url().rsplit('@').next().unwrap())
    }

    /// The file with the password of this user.
    fn password(&self, file: &str) -> String {
        self.engine.data().join(file).to_str().unwrap().to_owned()
    }

    fn owner(&self) -> [String; 2] {
        ["--clickhouse-password-file".to_owned(), self.password("clickhouse-password")]
    }

    fn proxy(&self, leaf: crate::support::proxy::Leaf, clients: Option<&Authority>) -> Proxy {
        Proxy::before(&self.url(), leaf, clients)
    }

    fn place(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }
}

fn nobody() -> String {
    format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap())
}

/// Runs a command with these arguments; whether it succeeded, and all that it said.
fn said(arguments: &[&str]) -> (bool, String) {
    let output = run(arguments);
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

fn strs(owned: &[String]) -> Vec<&str> {
    owned.iter().map(String::as_str).collect()
}

#[test]
fn everything_works_over_https_with_a_dead_address_before_it() {
    let own = Authority::new("own");
    let store = Store::start();
    let proxy = store.proxy(own.leaf("localhost"), Some(&own));
    let [certificate, key] = own.identity();
    let url = format!("{},{}", nobody(), proxy.url("localhost"));
    let mut given: Vec<String> = [
        "--clickhouse-url",
        &url,
        "--clickhouse-ca-file",
        &own.file(),
        "--clickhouse-certificate-file",
        &certificate,
        "--clickhouse-key-file",
        &key,
    ]
    .map(str::to_owned)
    .into();
    given.extend(store.owner());
    let given = strs(&given);
    let (done, text) = said(&[&["migrate"], &given[..]].concat());
    assert!(done && text.contains("migrations ran"), "{text}");
    let up = Role::start(&store.dir.path().join("up"), &[&["up"], &given[..]].concat());
    up.until_ready();
    up.set_up_world(&fs::read_to_string(up.data().join("admin-key")).unwrap());
    let token = up.click("x");
    for _ in 0..20 {
        up.click("y");
    }
    let lead =
        json!({ "type": "lead", "program": "p", "id": "1", "lead": "bob", "touches": [{ "token": token }] });
    up.call("POST", "/v1/events", &lead);
    let count = |sql: &str, wanted| store.engine.until_count(sql, wanted);
    count("SELECT count() FROM clicks", 21);
    count("SELECT count() FROM leads WHERE evidence = 'token' AND referrer = 'ann'", 1);
    count("SELECT toUInt64(sum(missing + extra)) FROM reconciliation", 0);
    assert!(up.counter("whence_clickhouse_server_failures_total") > 0);
    for tool in [
        &["report", "funnel"] as &[&str],
        &["status", "p"],
        &["lineage", "p", "bob", "--secrets-file", up.data().join("secrets.toml").to_str().unwrap()],
    ] {
        let (done, text) = said(&[tool, &given[..]].concat());
        assert!(done && !text.contains("did not answer"), "{tool:?}: {text}");
    }
    let (done, text) = said(&[&["validate", "up", "--connect"], &given[..]].concat());
    assert!(!done && text.contains("connection refused") && text.contains("ClickHouse 2"), "{text}");
    assert!(up.stop().success());
}

#[test]
fn what_is_wrong_with_a_server_is_said_by_migrate_validate_and_up() {
    let (own, other) = (Authority::new("own"), Authority::new("other"));
    let store = Store::start();
    let trusted = store.proxy(own.leaf("localhost"), None);
    let strange = store.proxy(other.leaf("localhost"), None);
    let expired = store.proxy(own.expired("localhost"), None);
    let elsewhere = store.proxy(own.leaf("db.example"), None);
    let wanting = store.proxy(own.leaf("localhost"), Some(&own));
    let wrong = store.place("wrong");
    write_private(Path::new(&wrong), "hunter2");
    let right = store.password("clickhouse-password");
    let reader = store.password("clickhouse-reader-password");
    let plain = trusted.url("localhost").replace("https", "http");
    let secure = store.bare().replace("http", "https");
    let cases: [(&str, &str, &str, &str, &[&str]); 9] = [
        (
            "authority",
            &strange.url("localhost"),
            &right,
            "default",
            &["unknown issuer", "clickhouse-ca-file"],
        ),
        ("host", &elsewhere.url("localhost"), &right, "default", &["localhost", "db.example"]),
        ("host", &trusted.url("127.0.0.1"), &right, "default", &["127.0.0.1", "localhost"]),
        (
            "client",
            &wanting.url("localhost"),
            &right,
            "default",
            &["client certificate", "clickhouse-key-file"],
        ),
        ("no TLS", &secure, &right, "default", &["speaks no TLS", "http://"]),
        ("TLS", &plain, &right, "default", &["https://"]),
        (
            "password",
            &trusted.url("localhost"),
            &wrong,
            "default",
            &["authentication failed", "clickhouse-password"],
        ),
        ("right", &trusted.url("localhost"), &reader, "reader", &["lacks", "INSERT", "--grants"]),
        ("expired", &expired.url("localhost"), &right, "default", &["has expired", "renew"]),
    ];
    for (index, (name, url, password, user, words)) in cases.into_iter().enumerate() {
        let ca = own.file();
        let mut given =
            vec!["--clickhouse-url", url, "--clickhouse-user", user, "--clickhouse-password-file", password];
        if url.starts_with("https") {
            given.extend(["--clickhouse-ca-file", &ca]);
        }
        for command in [&["migrate"] as &[&str], &["validate", "migrate", "--connect"]] {
            let (done, text) = said(&[command, &given[..]].concat());
            assert!(!done, "{name} {command:?}: {text}");
            for word in words {
                assert!(text.contains(word), "{name} {command:?}: no {word} in {text}");
            }
            assert!(!text.contains("hunter2"), "{text}");
        }
        let up = Role::start(&store.dir.path().join(format!("up{index}")), &[&["up"], &given[..]].concat());
        if name == "expired" {
            let reason = until("readiness says what clickhouse lacks", || {
                let (_, readiness) = up.noted_readiness()?;
                let components = readiness["components"].as_array()?.clone();
                let clickhouse =
                    components.into_iter().find(|component| component["name"] == "clickhouse")?;
                clickhouse["reason"].as_str().filter(|reason| *reason != "starting").map(str::to_owned)
            });
            assert!(words.iter().all(|word| reason.contains(word)), "{reason}");
            assert!(up.stop().success());
        } else {
            let data = up.data().to_owned();
            assert_eq!(up.ended().code(), Some(1), "{name}");
            let log = fs::read_to_string(data.join("stderr")).unwrap();
            assert!(words.iter().all(|word| log.lines().last().unwrap().contains(word)), "{name}: {log}");
        }
    }
}

#[test]
fn tools_call_the_api_and_the_edge_over_https() {
    let (own, other) = (Authority::new("own"), Authority::new("other"));
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    let up = Role::up(&data);
    let proxies = ["edge", "api"].map(|part| Proxy::before(&up.address(part), own.leaf("localhost"), None));
    let [edge, api] = proxies.each_ref().map(|proxy| proxy.url("localhost"));
    let parts = ["try", "p", "--data", data.to_str().unwrap(), "--edge-url", &edge, "--api-url", &api];
    up.set_up_world(&fs::read_to_string(data.join("admin-key")).unwrap());
    let (done, text) = said(&[&parts[..], &["--call-ca-file", &own.file()]].concat());
    assert!(done && text.contains("no trace in the funnel"), "{text}");
    let asked = ["validate", "try", "--connect", "--data", data.to_str().unwrap(), "--api-url", &api];
    let (done, text) = said(&[&asked[..], &["--call-ca-file", &own.file()]].concat());
    assert!(done && text.contains("knows the key"), "{text}");
    let (done, text) = said(&[&asked[..], &["--call-ca-file", &other.file()]].concat());
    assert!(!done && text.contains("unknown issuer"), "{text}");
    let key = dir.path().join("key");
    write_private(&key, "whk_nobodys");
    let wrong = ["--call-ca-file", &own.file(), "--api-key-file", key.to_str().unwrap()];
    let (done, text) = said(&[&asked[..], &wrong].concat());
    assert!(!done && text.contains("does not know this key"), "{text}");
    for (given, words) in [
        (vec!["--call-ca-file".to_owned(), other.file()], ["unknown issuer", "call-ca-file"]),
        (
            vec!["--api-url".to_owned(), api.replace("localhost", "127.0.0.1")],
            ["unknown issuer", "call-ca-file"],
        ),
        (vec!["--api-url".to_owned(), nobody()], ["connection refused", "does not answer"]),
        (
            vec!["--api-url".to_owned(), "https://ann:hunter2@localhost".to_owned()],
            ["not an address", "password"],
        ),
    ] {
        let mut all: Vec<&str> = parts[..6].to_vec();
        if given[0] != "--api-url" {
            all.extend(["--api-url", &api]);
        }
        all.extend(strs(&given));
        let (done, text) = said(&all);
        assert!(!done && words.iter().all(|word| text.contains(word)), "{given:?}: {text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}

/// Clusters of one replica a shard, of which there are so many.
fn clusters(data: &Path) {
    let folder = data.join("clickhouse/engine/config.d");
    fs::create_dir_all(&folder).unwrap();
    let shard = "<shard><replica><host>127.0.0.1</host><port>9000</port></replica></shard>";
    let text = format!(
        "<clickhouse><remote_servers><one>{shard}</one><two>{shard}{shard}</two></remote_servers></clickhouse>"
    );
    write_private(&folder.join("clusters.xml"), &text);
}

#[test]
fn a_cluster_of_several_shards_and_an_unknown_one_are_refused_by_name() {
    let store = Store::with(clusters);
    let owner = store.owner();
    let url = store.bare();
    let secrets = store.place("secrets.toml");
    assert!(run(&["secrets", "new", &secrets]).status.success());
    for (cluster, words) in
        [("two", ["two has 2 shards", "one shard"]), ("three", ["no cluster of the name three", "one, two"])]
    {
        let mut given = vec!["--clickhouse-url", &url, "--clickhouse-cluster", cluster];
        given.extend(strs(&owner));
        let kafka = ["--kafka-brokers", "127.0.0.1:1", "--secrets-file", &secrets];
        for command in [&["migrate"] as &[&str], &["validate", "up", "--connect"]] {
            let (done, text) = said(&[command, &given[..]].concat());
            assert!(!done && words.iter().all(|word| text.contains(word)), "{command:?}: {text}");
        }
        for role in ["up", "aggregate", "console"] {
            let kafka = if role == "up" { &[][..] } else { &kafka[..] };
            let data = store.dir.path().join(format!("{role}-{cluster}"));
            let role = Role::start(&data, &[&[role], &given[..], kafka].concat());
            assert_eq!(role.ended().code(), Some(1));
            let log = fs::read_to_string(data.join("stderr")).unwrap();
            assert!(words.iter().all(|word| log.contains(word)), "{log}");
        }
    }
    let mut given = vec!["--clickhouse-url", &url, "--clickhouse-cluster", "one"];
    given.extend(strs(&owner));
    let (_, text) = said(&[&["validate", "migrate", "--connect"], &given[..]].concat());
    assert!(text.contains("1 shard, 1 replicas"), "{text}");
}

#[test]
fn two_servers_without_a_cluster_are_refused() {
    let stores = [Store::start(), Store::start()];
    for store in &stores {
        let (done, text) = said(&["migrate", "--clickhouse-url", &store.url()]);
        assert!(done, "{text}");
    }
    // One account for both.
    let password = fs::read_to_string(stores[0].password("clickhouse-password")).unwrap();
    let other = stores[1].url();
    let refused = said(&["migrate", "--clickhouse-url", &format!("{},{other}", stores[0].url())]);
    assert!(!refused.0 && refused.1.contains("different users or passwords"), "{}", refused.1);
    assert!(!refused.1.contains(password.trim()));
    let same = format!("{},{}", stores[0].url(), stores[0].bare());
    let (done, text) = said(&["validate", "migrate", "--connect", "--clickhouse-url", &same]);
    assert!(done && text.contains("one server"), "{text}");
}

#[test]
fn an_engine_file_that_is_none_ends_the_start_and_validate() {
    let dir = tempdir().unwrap();
    let engine = dir.path().join("libchdb.so");
    fs::write(&engine, "no library").unwrap();
    let engine = engine.to_str().unwrap();
    let library = fs::read_dir("/lib/x86_64-linux-gnu").into_iter().flatten().flatten();
    let other = library.map(|entry| entry.path()).find(|path| path.ends_with("libc.so.6"));
    let other = other.map(|path| path.to_str().unwrap().to_owned());
    for engine in [Some(engine), other.as_deref()].into_iter().flatten() {
        let (done, text) = said(&["validate", "up", "--clickhouse-engine", engine]);
        assert!(!done && text.contains("is not an engine") && text.contains("fetch-engine"), "{text}");
        let data = dir.path().join("data");
        let up = Role::start(&data, &["up", "--clickhouse-engine", engine]);
        assert_eq!(up.ended().code(), Some(1));
        let log = fs::read_to_string(data.join("stderr")).unwrap();
        assert!(log.lines().last().unwrap().contains("is not an engine"), "{log}");
        fs::remove_dir_all(data).unwrap();
    }
}

#[test]
fn files_of_certificates_that_cannot_be_used_end_every_command_with_their_name() {
    let own = Authority::new("own");
    let dir = tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (words, missing) = (path("words.pem"), path("missing.pem"));
    write_private(Path::new(&words), "hunter2");
    let [certificate, key] = own.identity();
    let exposed = path("exposed.key");
    fs::copy(&key, &exposed).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(&exposed, mode).unwrap();
    let url = ["--clickhouse-url", "https://db.example"];
    for (given, word) in [
        (vec!["--clickhouse-ca-file", &missing], "missing.pem"),
        (vec!["--clickhouse-ca-file", &words], "no certificate"),
        (vec!["--clickhouse-certificate-file", &certificate], "both or neither"),
        (
            vec!["--clickhouse-certificate-file", &certificate, "--clickhouse-key-file", &words],
            "no private key",
        ),
        (vec!["--clickhouse-certificate-file", &certificate, "--clickhouse-key-file", &exposed], "chmod 600"),
    ] {
        for command in [&["migrate"] as &[&str], &["validate", "up"], &["report", "funnel"], &["up"]] {
            let output =
                whence().current_dir(dir.path()).args([command, &url, &given[..]].concat()).output().unwrap();
            let text = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{command:?} {given:?}: {text}");
            assert!(text.contains(word) && !text.contains("hunter2"), "{command:?} {given:?}: {text}");
        }
    }
}
