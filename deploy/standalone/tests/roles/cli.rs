//! The commands that end by themselves.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::{Role, run, whence};
use tempfile::tempdir;

const BEGIN: &str = "<!-- settings:begin -->\n";
const END: &str = "<!-- settings:end -->";

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

#[test]
fn every_wrong_setting_is_told_at_once() {
    let refused = whence()
        .args([
            "validate",
            "up",
            "--linger",
            "5",
            "--block-records-max",
            "0",
            "--trusted-proxies",
            "10.0.0.0/33",
        ])
        .env("WHENCE_EDGE_LISTEN", "localhost")
        .output()
        .unwrap();
    let error = text(refused.stderr);
    assert_eq!(refused.status.code(), Some(1));
    for expected in [
        "4 settings are wrong:",
        "--linger: `5`",
        "--block-records-max: `0`",
        "--trusted-proxies: `10.0.0.0/33`",
        "WHENCE_EDGE_LISTEN: `localhost`",
    ] {
        assert!(error.contains(expected), "no {expected:?} in {error}");
    }
}

#[test]
fn a_shell_completes_commands_and_flags_and_man_has_a_page_of_each() {
    let bash = text(run(&["completions", "bash"]).stdout);
    let dir = tempdir().unwrap();
    let file = dir.path().join("whence.bash");
    fs::write(&file, bash).unwrap();
    // As bash asks: the words of the line so far, and which of them is being written.
    let complete = |words: &str, at: usize| {
        let script = format!(
            "source {}; COMP_WORDS=({words}); COMP_CWORD={at}; _whence whence \"${{COMP_WORDS[{at}]}}\" \"\"; echo \"${{COMPREPLY[@]}}\"",
            file.display()
        );
        text(std::process::Command::new("bash").args(["-c", &script]).output().unwrap().stdout)
    };
    assert_eq!(complete("whence lin", 1).trim(), "lineage");
    assert_eq!(complete("whence import --deli", 2).trim(), "--delimiter");
    for shell in ["zsh", "fish"] {
        assert!(text(run(&["completions", shell]).stdout).contains("lineage"), "{shell}");
    }
    assert_eq!(run(&["completions", "csh"]).status.code(), Some(1));
    let man = dir.path().join("man/man1");
    assert!(run(&["manual", man.to_str().unwrap()]).status.success());
    let help = text(run(&["--help"]).stdout);
    let commands =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let commands: Vec<&str> = commands.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(commands.len() > 20, "{commands:?}");
    for command in commands.iter().filter(|command| **command != "help") {
        let page = fs::read_to_string(man.join(format!("whence-{command}.1"))).unwrap();
        assert!(page.contains(".SH SYNOPSIS"), "{command}");
    }
}

#[test]
fn a_start_with_wrong_settings_begins_nothing() {
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    let refused = run(&["up", "--data", data.to_str().unwrap(), "--click-journal-quota", "8MiB"]);
    let error = text(refused.stderr);
    assert_eq!(refused.status.code(), Some(1));
    assert!(error.contains("click-journal-quota must be at least"), "{error}");
    assert!(!data.exists());
}

#[test]
fn roles_over_kafka_say_what_they_need() {
    let ingest = text(run(&["validate", "ingest"]).stderr);
    assert!(
        ingest.contains("kafka-brokers is required") && ingest.contains("secrets-file is required"),
        "{ingest}"
    );
    let aggregate = text(run(&["validate", "aggregate"]).stderr);
    assert!(aggregate.starts_with("whence validate: 3 settings are wrong:"), "{aggregate}");
    assert!(aggregate.contains("clickhouse-url is required"), "{aggregate}");
}

#[test]
fn validate_shows_what_applies_and_no_secret() {
    let shown = whence()
        .args([
            "validate",
            "aggregate",
            "--linger",
            "2s",
            "--secrets-file",
            "/s",
            "--kafka-brokers",
            "b:9092",
        ])
        .env("WHENCE_CLICKHOUSE_PASSWORD", "hunter2")
        .env("WHENCE_CLICKHOUSE_URL", "http://ann:hunter2@db:8123")
        .env("WHENCE_LINGR", "1s")
        .output()
        .unwrap();
    let out = text(shown.stdout);
    assert!(shown.status.success(), "{}", text(shown.stderr));
    let line = |name: &str| {
        let mut lines = out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        lines.find(|words| words[0] == name).unwrap_or_else(|| panic!("no {name} in {out}"))
    };
    assert_eq!(line("linger"), ["linger", "2s", "flag"]);
    assert_eq!(line("clickhouse-password"), ["clickhouse-password", "(secret)", "environment"]);
    assert_eq!(line("block-records-max"), ["block-records-max", "100000", "default"]);
    assert!(!out.contains("hunter2") && out.contains("did you mean WHENCE_LINGER?"), "{out}");
}

#[test]
fn new_secrets_are_for_their_owner_and_exposed_ones_are_refused() {
    let dir = tempdir().unwrap();
    let file = dir.path().join("secrets.toml");
    let new = ["secrets", "new", file.to_str().unwrap()];
    assert!(run(&new).status.success());
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let again = run(&new);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(again.stderr).contains("already exists and is left as it is"));

    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let up = Role::start(&dir.path().join("data"), &["up", "--secrets-file", file.to_str().unwrap()]);
    let log = dir.path().join("data/stderr");
    assert_eq!(up.ended().code(), Some(1));
    let log = fs::read_to_string(log).unwrap();
    assert!(log.contains("is open to others (mode 644): chmod 600 it"), "{log}");
}

#[test]
fn a_report_about_all_programs_takes_no_program() {
    let refused = run(&["report", "reconciliation", "--program", "p"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(refused.stderr).contains("leave --program out"));
}

#[test]
fn a_report_without_clickhouse_says_so() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refused = run(&["report", "funnel", "--clickhouse-url", &format!("http://{nobody}")]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(refused.stderr).contains("clickhouse did not answer"));
}

#[test]
fn a_tool_that_waits_for_clickhouse_says_so_and_ends() {
    // Connections are there, and nobody ever answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let folder = tempdir().unwrap();
    let secrets = folder.path().join("secrets.toml");
    assert!(run(&["secrets", "new", secrets.to_str().unwrap()]).status.success());
    let tools: [&[&str]; 7] = [
        &["report", "funnel"],
        &["status", "p"],
        &["lineage", "p", "ann"],
        &["replay", "p"],
        &["verify"],
        &["migrate"],
        &["payouts", "export", "p"],
    ];
    std::thread::scope(|scope| {
        for tool in tools {
            let (url, data) = (&url, folder.path().to_str().unwrap());
            scope.spawn(move || {
                let own = ["--data", data, "--clickhouse-url", url, "--answer-timeout", "3s"];
                let ended = run(&[tool, &own[..]].concat());
                let said = text(ended.stderr);
                assert_eq!(ended.status.code(), Some(1), "{tool:?}: {said}");
                assert!(
                    said.contains(&format!("waiting for ClickHouse at {url}: silent for 2 s")),
                    "{tool:?}: {said}"
                );
                assert!(said.contains("has not answered for 3 s"), "{tool:?}: {said}");
            });
        }
    });
}

#[test]
fn the_version_is_told() {
    let version = text(run(&["version"]).stdout);
    assert!(version.starts_with(concat!("whence ", env!("CARGO_PKG_VERSION"), " (")), "{version}");
}

/// `WHENCE_UPDATE_README=1 cargo test -p whence --test cli` writes it.
#[test]
fn the_readme_has_the_table_of_settings() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let readme = fs::read_to_string(&path).unwrap();
    let table = text(run(&["settings"]).stdout);
    let (before, rest) = readme.split_once(BEGIN).expect("README.md has the line that begins the table");
    let (found, after) = rest.split_once(END).expect("README.md has the line that ends the table");
    if std::env::var_os("WHENCE_UPDATE_README").is_some() {
        fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
        return;
    }
    assert!(
        found == table,
        "the settings in README.md are not those of the program: \
         WHENCE_UPDATE_README=1 cargo test -p whence --test cli"
    );
}
