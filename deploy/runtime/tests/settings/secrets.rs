//! Secrets: where they come from, and what is never shown.

use super::*;

#[test]
fn a_secret_comes_from_its_variable_its_key_or_a_file_and_the_nearer_source_wins() {
    let dir = tempfile::tempdir().unwrap();
    let secret_file = file(dir.path(), "secret", "from-file\n");
    let inline = file(dir.path(), "inline.toml", "clickhouse-url = 'u'\nclickhouse-password = 'from-toml'");
    let named = file(
        dir.path(),
        "named.toml",
        &format!("clickhouse-url = 'u'\nclickhouse-password-file = '{secret_file}'"),
    );
    let by_flag: &[&str] = &["--config", &inline, "--clickhouse-password-file", &secret_file];
    let in_variable: Pairs<'_> = &[("WHENCE_CLICKHOUSE_PASSWORD", "from-env")];
    let by_variable: Pairs<'_> = &[("WHENCE_CLICKHOUSE_PASSWORD_FILE", &secret_file)];
    let cases: [(&[&str], Pairs<'_>, &str); 5] = [
        (by_flag, in_variable, "from-file"),
        (&["--config", &inline], in_variable, "from-env"),
        (&["--config", &inline], by_variable, "from-file"),
        (&["--config", &inline], &[], "from-toml"),
        (&["--config", &named], &[], "from-file"),
    ];
    for (argv, environment, expected) in cases {
        let loaded = load::<Store>(argv, environment).unwrap();
        let password = loaded.settings.clickhouse_password.as_ref().unwrap();
        assert_eq!(password.expose_secret(), expected, "{argv:?} {environment:?}");
        let everything = format!("{:?} {:?}", loaded.settings, loaded.effective);
        assert!(!everything.contains(expected), "{everything}");
    }
}

#[test]
fn a_secret_given_twice_in_one_source_is_a_mistake_that_does_not_show_it() {
    let environment =
        [("WHENCE_CLICKHOUSE_PASSWORD", "hunter2"), ("WHENCE_CLICKHOUSE_PASSWORD_FILE", "/nowhere")];
    let mistakes = load::<Store>(&["--clickhouse-url", "u"], &environment).unwrap_err();
    assert!(matches!(mistakes[0].problem, Problem::Ambiguous { .. }), "{mistakes:?}");
    assert!(!format!("{mistakes} {mistakes:?}").contains("hunter2"));
}

#[test]
fn a_secret_has_no_flag_that_takes_its_value() {
    let command = settings::command::<Store>(clap::Command::new("test").no_binary_name(true));
    let error = command.try_get_matches_from(["--clickhouse-password", "hunter2"]).unwrap_err();
    assert!(error.to_string().contains("--clickhouse-password-file"), "{error}");
}

#[test]
fn missing_empty_and_oversized_secret_files_are_mistakes() {
    let dir = tempfile::tempdir().unwrap();
    let nowhere = dir.path().join("nowhere").to_str().unwrap().to_owned();
    let empty = file(dir.path(), "empty", "\n");
    let oversized = file(dir.path(), "oversized", &"hunter2".repeat(10_000));
    for path in [nowhere, empty, oversized] {
        let environment = [("WHENCE_CLICKHOUSE_PASSWORD_FILE", path.as_str())];
        let mistakes = load::<Store>(&["--clickhouse-url", "u"], &environment).unwrap_err();
        assert_eq!(mistakes.len(), 1, "{mistakes}");
        assert_eq!(mistakes[0].place, "WHENCE_CLICKHOUSE_PASSWORD_FILE");
        assert!(!format!("{mistakes} {mistakes:?}").contains("hunter2"));
    }
}

#[test]
fn a_file_with_a_secret_that_others_may_read_is_a_mistake_whether_it_is_for_the_secret_alone_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let secret = file(dir.path(), "secret", "hunter2");
    let inline = file(dir.path(), "inline.toml", "clickhouse-url = 'u'\nclickhouse-password = 'hunter2'");
    let named = file(
        dir.path(),
        "named.toml",
        &format!("clickhouse-url = 'u'\nclickhouse-password-file = '{secret}'"),
    );
    let plain = file(dir.path(), "plain.toml", "clickhouse-url = 'u'");
    for path in [&secret, &inline, &named, &plain] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    }
    let by_variable: Pairs<'_> = &[("WHENCE_CLICKHOUSE_PASSWORD_FILE", &secret)];
    let cases: [(&[&str], Pairs<'_>); 4] = [
        (&["--clickhouse-url", "u", "--clickhouse-password-file", &secret], &[]),
        (&["--clickhouse-url", "u"], by_variable),
        (&["--config", &inline], &[]),
        (&["--config", &named], &[]),
    ];
    for (argv, environment) in cases {
        let mistakes = load::<Store>(argv, environment).unwrap_err();
        let shown = format!("{mistakes} {mistakes:?}");
        assert!(mistakes.len() == 1 && shown.contains("chmod 600"), "{argv:?}: {shown}");
        assert!(!shown.contains("hunter2"));
    }
    load::<Store>(&["--config", &plain], &[]).expect("without a secret in it, it is for everybody");
}
