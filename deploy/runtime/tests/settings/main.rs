//! Settings from the outside: precedence, every mistake at once, secrets that stay secret.

#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::ExposeSecret;
use whence_runtime::settings::{
    ByteSize, Catalogue, Environment, Group, Loaded, Mistakes, Origin, Problem, Secret,
};
use whence_runtime::{choice, compose, settings};

mod secrets;

choice! {
    /// How hard.
    pub enum Effort {
        /// Little.
        Low = "low",
        /// Much.
        High = "high",
    }
}

settings! {
    /// Clicks.
    pub struct Clicks {
        /// Address of the redirector.
        pub listen: SocketAddr = "127.0.0.1:8080",
        /// Disk the click journal may take.
        ///
        /// When it is reached, visitors are still redirected.
        pub click_journal_quota: ByteSize = "8GiB" in ByteSize::mib(64)..=ByteSize::gib(1024),
        /// Time a batch may wait.
        pub linger: Duration = "20ms",
        /// Hosts that may be redirected to.
        pub hosts: Vec<String>,
        /// Whether visitors are recognised.
        pub cookies: bool = "true",
        /// How hard to try.
        pub effort: Effort = "low",
        /// Share of requests that are logged.
        pub log_share: f64 = "0" in 0.0..=1.0,
    }
    check lingers_less_with_effort
}

fn lingers_less_with_effort(clicks: &Clicks) -> Vec<String> {
    let wrong = clicks.effort == Effort::High && clicks.linger > Duration::from_secs(1);
    wrong.then(|| "effort high needs linger of at most 1s".to_owned()).into_iter().collect()
}

settings! {
    /// Store
    pub struct Store {
        /// Where ClickHouse answers.
        pub clickhouse_url: String,
        /// Password of the ClickHouse user.
        pub clickhouse_password: Option<Secret>,
        /// Threads that insert.
        pub insert_threads: usize = "2" in 1..=64,
    }
}

settings! {
    /// Another role
    pub struct Other {
        /// Something else.
        pub other_thing: Option<PathBuf>,
    }
}

compose! {
    /// What `up` needs; `Store` twice, as when two roles share it.
    pub struct Up {
        /// Edge.
        pub clicks: Clicks,
        /// One role's.
        pub store: Store,
        /// Another role's.
        pub store_again: Store,
    }
    check the_store_is_not_the_edge
}

fn the_store_is_not_the_edge(up: &Up) -> Vec<String> {
    let wrong = up.store.clickhouse_url.ends_with(&up.clicks.listen.to_string());
    wrong.then(|| "clickhouse-url points at listen".to_owned()).into_iter().collect()
}

type Pairs<'a> = &'a [(&'a str, &'a str)];

fn catalogue() -> Catalogue {
    Catalogue::default().with::<Up>().with::<Other>().with_variable("WHENCE_SCRIPT_ONLY")
}

fn load<G: Group>(argv: &[&str], environment: Pairs<'_>) -> Result<Loaded<G>, Mistakes> {
    let command = settings::command::<G>(clap::Command::new("test").no_binary_name(true));
    let flags = command.try_get_matches_from(argv).expect("the flags exist");
    settings::load(&flags, &Environment::from_pairs(environment.iter().copied()), &catalogue())
}

fn file(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_flag_wins_over_a_variable_over_the_file_over_the_default() {
    let dir = tempfile::tempdir().unwrap();
    let config = file(dir.path(), "whence.toml", "linger = '3ms'");
    let flag: &[&str] = &["--linger", "1ms"];
    let variable: Pairs<'_> = &[("WHENCE_LINGER", "2ms")];
    let config: Pairs<'_> = &[("WHENCE_CONFIG", &config)];
    let cases = [
        (flag, variable, config, 1, Origin::Flag),
        (flag, &[], &[], 1, Origin::Flag),
        (&[], variable, config, 2, Origin::Environment),
        (&[], &[], config, 3, Origin::File),
        (&[], &[], &[], 20, Origin::Default),
        (&[], &[("WHENCE_LINGER", "")], config, 3, Origin::File),
    ];
    for (argv, variable, config, linger_ms, origin) in cases {
        let loaded = load::<Clicks>(argv, &[variable, config].concat()).unwrap();
        assert_eq!(
            loaded.settings.linger,
            Duration::from_millis(linger_ms),
            "{argv:?} {variable:?} {config:?}"
        );
        let effective = loaded.effective.iter().find(|setting| setting.name == "linger").unwrap();
        assert_eq!((effective.origin, effective.value.as_str()), (origin, format!("{linger_ms}ms").as_str()));
    }
}

#[test]
fn the_config_flag_wins_over_its_variable() {
    let dir = tempfile::tempdir().unwrap();
    let by_flag = file(dir.path(), "flag.toml", "linger = '1ms'");
    let by_variable = file(dir.path(), "variable.toml", "linger = '2ms'");
    let loaded = load::<Clicks>(&["--config", &by_flag], &[("WHENCE_CONFIG", &by_variable)]).unwrap();
    assert_eq!(loaded.settings.linger, Duration::from_millis(1));
}

#[test]
fn every_mistake_is_reported_at_once_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let config = file(
        dir.path(),
        "whence.toml",
        "click-jornal-quota = '1GiB'\nlog-share = 2\n[kafka]\nbrokers = 'b:9092'\n",
    );
    let mistakes = load::<Up>(
        &["--config", &config, "--listen", "localhost", "--insert-threads=65"],
        &[("WHENCE_LINGER", "20"), ("WHENCE_EFFORT", "medium"), ("WHENCE_CLICK_JOURNAL_QUOTA", "1MiB")],
    )
    .unwrap_err();
    let text = mistakes.to_string().replace(&config, "whence.toml");
    assert_eq!(
        text,
        "9 settings are wrong:
  whence.toml, `click-jornal-quota`: unknown; did you mean `click-journal-quota`?
  whence.toml, `kafka`: a section has no meaning here; write `name = value` lines only, without sections
  --listen: `localhost`: expected an address with a port, such as 127.0.0.1:8080 or [::1]:8080
  WHENCE_CLICK_JOURNAL_QUOTA: `1MiB`: must be at least 64MiB and at most 1TiB
  WHENCE_LINGER: `20`: expected whole numbers with units, such as 30s or 1h30m (us, ms, s, m, h, d)
  WHENCE_EFFORT: `medium`: expected one of: low high
  whence.toml, `log-share`: `2`: must be at least 0 and at most 1
  clickhouse-url: is required: set --clickhouse-url, WHENCE_CLICKHOUSE_URL or `clickhouse-url` in the \
         configuration file
  --insert-threads: `65`: must be at least 1 and at most 64"
    );
}

#[test]
fn settings_that_contradict_each_other_are_a_mistake() {
    let mistakes = load::<Clicks>(&["--effort", "high"], &[("WHENCE_LINGER", "2s")]).unwrap_err();
    assert_eq!(
        mistakes.to_string(),
        "one setting is wrong:\n  settings: effort high needs linger of at most 1s"
    );
}

#[test]
fn groups_that_contradict_each_other_are_a_mistake() {
    let mistakes = load::<Up>(&["--clickhouse-url", "http://127.0.0.1:8080"], &[]).unwrap_err();
    assert_eq!(mistakes.to_string(), "one setting is wrong:\n  settings: clickhouse-url points at listen");
}

#[test]
fn a_variable_nobody_knows_is_a_warning_and_another_roles_is_not() {
    let environment = [
        ("WHENCE_LISTN", "x"),
        ("WHENCE_QQQ", "x"),
        ("WHENCE_OTHER_THING", "x"),
        ("WHENCE_CLICKHOUSE_PASSWORD_FILE", "x"),
        ("WHENCE_SCRIPT_ONLY", "x"),
        ("HOME", "x"),
    ];
    let warnings = load::<Clicks>(&[], &environment).unwrap().warnings;
    let texts: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "WHENCE_LISTN is set, and no setting has that name; did you mean WHENCE_LISTEN?",
            "WHENCE_QQQ is set, and no setting has that name",
        ]
    );
}

#[test]
fn a_file_may_hold_another_roles_settings() {
    let dir = tempfile::tempdir().unwrap();
    let config = file(dir.path(), "whence.toml", "other-thing = '/x'\nlinger = '5ms'");
    assert_eq!(load::<Clicks>(&["--config", &config], &[]).unwrap().settings.linger.as_millis(), 5);
}

#[test]
fn a_syntax_error_says_where_and_does_not_quote_the_line() {
    let dir = tempfile::tempdir().unwrap();
    let config =
        file(dir.path(), "whence.toml", "linger = '1s'\nclickhouse-password = \"hunter2\nlisten = 1");
    let mistakes = load::<Clicks>(&["--config", &config], &[]).unwrap_err();
    assert!(matches!(mistakes[0].problem, Problem::Syntax { line: 2, .. }), "{mistakes}");
    assert!(!format!("{mistakes} {mistakes:?}").contains("hunter2"), "{mistakes:?}");
}

#[test]
fn a_missing_config_file_is_reported_beside_the_other_mistakes() {
    let mistakes = load::<Clicks>(&["--config", "/nowhere/whence.toml", "--linger", "x"], &[]).unwrap_err();
    assert_eq!(mistakes.len(), 2, "{mistakes}");
    assert!(matches!(mistakes[0].problem, Problem::Unreadable { .. }));
}

#[test]
fn credentials_inside_an_address_are_masked() {
    let url = "http://user:hunter2@db:8123/?x=@";
    let loaded = load::<Store>(&["--clickhouse-url", url], &[]).unwrap();
    assert_eq!(loaded.settings.clickhouse_url, url);
    assert_eq!(loaded.effective[0].value, "http://(secret)@db:8123/?x=@");
    let several = "http://ann:hunter2@a:8123/x@y,https://ann:hunter2@b";
    let loaded = load::<Store>(&["--clickhouse-url", several], &[]).unwrap();
    assert_eq!(loaded.effective[0].value, "http://(secret)@a:8123/x@y,https://(secret)@b");
}

#[test]
fn lists_come_from_commas_repeated_flags_and_arrays() {
    let dir = tempfile::tempdir().unwrap();
    let config = file(dir.path(), "whence.toml", "hosts = ['a', 'b,c']");
    let hosts = |argv: &[&str], environment: Pairs<'_>| {
        load::<Clicks>(argv, environment).unwrap().settings.hosts.clone()
    };
    assert_eq!(hosts(&["--hosts", "a", "--hosts", "b"], &[]), ["a", "b"]);
    assert_eq!(hosts(&[], &[("WHENCE_HOSTS", "a, b,,c")]), ["a", "b", "c"]);
    assert_eq!(hosts(&["--config", &config], &[]), ["a", "b,c"]);
    assert_eq!(hosts(&[], &[]), [""; 0]);
}

#[test]
fn an_array_for_a_single_value_is_a_mistake() {
    let dir = tempfile::tempdir().unwrap();
    let config = file(dir.path(), "whence.toml", "linger = ['1s', '2s']");
    let mistakes = load::<Clicks>(&["--config", &config], &[]).unwrap_err();
    assert!(mistakes.to_string().ends_with("`1s,2s`: expected one value, not a list"), "{mistakes}");
}

#[test]
fn a_switch_needs_no_value_and_can_be_turned_off() {
    assert!(load::<Clicks>(&["--cookies"], &[("WHENCE_COOKIES", "off")]).unwrap().settings.cookies);
    assert!(!load::<Clicks>(&["--cookies=false"], &[]).unwrap().settings.cookies);
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_text_is_a_mistake() {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;
    let environment = Environment::from_pairs([("WHENCE_LINGER", OsString::from_vec(vec![0xff]))]);
    let flags = settings::command::<Clicks>(clap::Command::new("test")).get_matches_from(["test"]);
    let mistakes = settings::load::<Clicks>(&flags, &environment, &catalogue()).unwrap_err();
    assert_eq!(mistakes.to_string(), "one setting is wrong:\n  WHENCE_LINGER: is not valid UTF-8");
}

#[test]
fn help_names_the_flag_its_default_and_its_variable_under_the_groups_heading() {
    let mut command = settings::command::<Up>(clap::Command::new("up"));
    let help = command.render_long_help().to_string();
    for expected in [
        "Clicks:\n",
        "--click-journal-quota <SIZE>\n          Disk the click journal may take.",
        "[default: 8GiB]",
        "When it is reached, visitors are still redirected.",
        "Variable: WHENCE_CLICK_JOURNAL_QUOTA",
        "--effort <low|high>",
        "--clickhouse-url <TEXT>\n          Where ClickHouse answers. [required]",
        "Variables: WHENCE_CLICKHOUSE_PASSWORD or WHENCE_CLICKHOUSE_PASSWORD_FILE",
        "--config <PATH>",
    ] {
        assert!(help.contains(expected), "no {expected:?} in {help}");
    }
}

#[test]
fn the_table_has_one_row_per_setting() {
    let table = settings::markdown(Catalogue::default().with::<Store>().with::<Other>().rows());
    assert_eq!(
        table,
        "**Store**

| Setting | Variable | Default | Meaning |
|---|---|---|---|
| `--clickhouse-url` | `WHENCE_CLICKHOUSE_URL` | required | Where ClickHouse answers. |
| `--clickhouse-password-file` | `WHENCE_CLICKHOUSE_PASSWORD` or `WHENCE_CLICKHOUSE_PASSWORD_FILE` | – | \
Password of the ClickHouse user. |
| `--insert-threads` | `WHENCE_INSERT_THREADS` | `2` | Threads that insert. |

**Another role**

| Setting | Variable | Default | Meaning |
|---|---|---|---|
| `--other-thing` | `WHENCE_OTHER_THING` | – | Something else. |
"
    );
}

#[test]
fn a_group_shared_by_two_roles_is_one_set_of_flags_with_one_value() {
    let loaded = load::<Up>(&["--clickhouse-url", "u", "--insert-threads", "3"], &[]).unwrap();
    assert_eq!((loaded.settings.store.insert_threads, loaded.settings.store_again.insert_threads), (3, 3));
    assert_eq!(loaded.effective.iter().filter(|setting| setting.name == "insert-threads").count(), 1);
}

mod clash {
    whence_runtime::settings! {
        /// Clash
        pub struct Clash {
            /// The same name with another meaning.
            pub linger: u64 = "1",
        }
    }
}

#[test]
#[should_panic(expected = "setting `linger` is declared twice")]
fn one_name_for_two_settings_is_refused() {
    let _ = Catalogue::default().with::<Clicks>().with::<clash::Clash>();
}

#[test]
fn a_group_can_be_built_from_pairs_and_refuses_names_it_does_not_have() {
    let store = settings::from_pairs::<Store>(&[("clickhouse-url", "u"), ("insert-threads", "4")]).unwrap();
    assert_eq!(store.insert_threads, 4);
    let mistakes =
        settings::from_pairs::<Store>(&[("clickhouse-url", "u"), ("insert-thread", "4")]).unwrap_err();
    assert!(mistakes.to_string().contains("did you mean `insert-threads`?"), "{mistakes}");
    assert!(settings::defaults::<Store>().is_err() && settings::defaults::<Clicks>().is_ok());
}
