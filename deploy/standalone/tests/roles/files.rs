//! What a process leaves on disk is its owner's alone, and what it is given of secrets must be.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::fs;
use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use crate::support::{Role, run, until, whence, write_private};
use serde_json::json;
use tempfile::tempdir;

/// Everything in a folder that others than its owner may do something with. What goes away meanwhile is left out.
fn open_to_others(folder: &Path) -> (usize, Vec<PathBuf>) {
    let (mut seen, mut open, mut folders) = (0, Vec::new(), vec![folder.to_owned()]);
    let mut look = |path: &Path| {
        let Ok(found) = fs::symlink_metadata(path) else { return false };
        seen += 1;
        if !found.is_symlink() && found.permissions().mode() & 0o077 != 0 {
            open.push(path.to_owned());
        }
        found.is_dir()
    };
    look(folder);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if look(&entry.path()) {
                folders.push(entry.path());
            }
        }
    }
    (seen, open)
}

#[test]
fn all_that_a_process_keeps_is_its_owners_alone_whatever_the_folder_and_the_umask_were() {
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    fs::create_dir_all(data.join("journal/old")).unwrap();
    fs::write(data.join("journal/old/left"), "by an earlier version").unwrap();
    for (path, mode) in [("", 0o777), ("journal", 0o777), ("journal/old", 0o755), ("journal/old/left", 0o666)]
    {
        fs::set_permissions(data.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    let open = |command: &mut std::process::Command| {
        // SAFETY: sets the mask of the child, between fork and exec; umask is async-signal-safe.
        unsafe {
            command.pre_exec(|| {
                libc::umask(0);
                Ok(())
            })
        };
    };
    // Files that roll while the test runs.
    let flags = ["up", "--journal-segment", "1MiB", "--journal-segment-age", "1s"];
    let whence = Role::start_with(&data, &flags, open);
    whence.until_ready();
    whence.set_up_world(&fs::read_to_string(data.join("admin-key")).unwrap());
    let token = whence.click("x");
    let lead = json!({ "type": "lead", "program": "p", "id": "1", "lead": "bob", "wclid": token });
    whence.call("POST", "/v1/events", &lead);
    whence.until_count("SELECT count() FROM leads", 1);
    for kept in
        ["lock", "addresses.json", "secrets.toml", "admin-key", "registry.redb", "journal", "clickhouse"]
    {
        assert!(data.join(kept).exists(), "{kept}");
    }
    for _ in 0..5 {
        let (seen, open) = open_to_others(&data);
        assert!(seen > 100, "the engine's files are among them: {seen}");
        assert_eq!(open, [] as [PathBuf; 0]);
        whence.click("x");
    }
    assert!(whence.stop().success());
    assert_eq!(open_to_others(&data).1, [] as [PathBuf; 0]);
}

#[test]
fn every_file_with_a_secret_that_others_may_read_is_refused_alike() {
    let dir = tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let data = path("data");
    let key = path("key.pem");
    write_private(Path::new(&key), "made up");
    let given = [
        ("webhook-secrets-file", "p/main=0123456789abcdef0123"),
        ("clickhouse-password-file", "hunter2hunter2"),
        ("api-admin-key-file", "0123456789abcdef0123456789abcdef"),
        ("kafka-properties-file", &format!("ssl.key.location={key}")),
        ("secrets-file", "mint-with = 1"),
    ];
    let refused = |arguments: &[&str]| {
        let ended = run(&[&["up", "--data", &data], arguments].concat());
        let said =
            String::from_utf8_lossy(&ended.stderr).into_owned() + &String::from_utf8_lossy(&ended.stdout);
        assert_eq!(ended.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains("is open to others (mode 644): chmod 600 it"), "{arguments:?}: {said}");
        assert!(!said.contains("hunter2") && !said.contains("0123456789"), "{said}");
    };
    let open = |path: &str| fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    for (flag, secret) in given {
        let file = path(flag);
        write_private(Path::new(&file), secret);
        open(&file);
        refused(&[&format!("--{flag}"), &file]);
    }
    // A file with a secret in it besides, and one that only another file names.
    let config = path("whence.toml");
    write_private(Path::new(&config), "clickhouse-password = \"hunter2\"\n");
    open(&config);
    refused(&["--config", &config]);
    let properties = path("kafka-properties-file");
    fs::set_permissions(&properties, fs::Permissions::from_mode(0o600)).unwrap();
    open(&key);
    refused(&["--kafka-properties-file", &properties]);
}

#[test]
fn secrets_in_the_data_folder_that_others_could_read_are_refused_and_not_closed_in_silence() {
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    let first = Role::start(&data, &["up"]);
    for name in ["secrets.toml", "admin-key"] {
        until("it is made", || data.join(name).exists().then_some(()));
    }
    assert!(first.stop().success());
    for name in ["secrets.toml", "admin-key"] {
        fs::set_permissions(data.join(name), fs::Permissions::from_mode(0o644)).unwrap();
        let again = Role::start(&data, &["up"]);
        assert_eq!(again.ended().code(), Some(1), "{name}");
        let log = fs::read_to_string(data.join("stderr")).unwrap();
        assert!(log.contains(&format!("{name} holds a secret and is open to others")), "{log}");
        fs::set_permissions(data.join(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    // A tool does not call with it either.
    fs::set_permissions(data.join("admin-key"), fs::Permissions::from_mode(0o644)).unwrap();
    let file = dir.path().join("rows.csv");
    fs::write(&file, "type,lead\n").unwrap();
    let call =
        ["import", file.to_str().unwrap(), "--program", "p", "--api-url", "http://127.0.0.1:1", "--data"];
    let ended = whence().args(call).arg(&data).output().unwrap();
    assert!(String::from_utf8_lossy(&ended.stderr).contains("chmod 600"), "{ended:?}");
}

#[test]
fn a_secret_without_a_program_is_refused_with_how_to_rename_it() {
    let dir = tempdir().unwrap();
    let secrets = dir.path().join("webhook-secrets");
    write_private(&secrets, "# old\nstripe-live=0123456789abcdef\n");
    let ended = run(&["validate", "up", "--webhook-secrets-file", secrets.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("line 2 says no program: rename it to PROGRAM/NAME="), "{said}");
    assert!(!said.contains("0123456789abcdef"), "{said}");
}

/// A terminal without a person.
struct Terminal {
    master: fs::File,
    slave: OwnedFd,
}

impl Terminal {
    fn open() -> Terminal {
        let (mut master, mut slave) = (0, 0);
        let nothing = std::ptr::null_mut();
        // SAFETY: writes two descriptors, which nobody else owns, and no name; settings and size are optional.
        let outcome =
            unsafe { libc::openpty(&mut master, &mut slave, nothing, nothing.cast(), nothing.cast()) };
        assert_eq!(outcome, 0);
        // SAFETY: they were opened just now.
        unsafe { Terminal { master: fs::File::from_raw_fd(master), slave: OwnedFd::from_raw_fd(slave) } }
    }

    /// What is written to it, until that has `end`.
    fn until(&mut self, end: &str) -> String {
        let mut text = String::new();
        while !text.contains(end) {
            let mut piece = [0; 256];
            let length = self.master.read(&mut piece).unwrap();
            text += str::from_utf8(&piece[..length]).unwrap();
        }
        text
    }
}

#[test]
fn the_admin_key_is_shown_on_a_terminal_and_nowhere_else() {
    let dir = tempdir().unwrap();
    let mut terminal = Terminal::open();
    let slave = terminal.slave.as_raw_fd();
    let (seen, unseen) = (dir.path().join("seen"), dir.path().join("unseen"));
    let whence = Role::start_with(&seen, &["up"], |command| {
        // SAFETY: between fork and exec; dup2 is async-signal-safe, and the terminal outlives the start.
        unsafe {
            command.pre_exec(move || match libc::dup2(slave, 1) {
                -1 => Err(std::io::Error::last_os_error()),
                _ => Ok(()),
            })
        };
    });
    let text = terminal.until("admin-key");
    let shown = text.split_once("shown this once: ").unwrap().1.lines().next().unwrap().trim();
    assert_eq!(shown, fs::read_to_string(seen.join("admin-key")).unwrap().trim());
    whence.until_ready();
    whence.set_up_world(shown);
    assert!(whence.stop().success());

    let whence = Role::up(&unseen);
    let key = fs::read_to_string(unseen.join("admin-key")).unwrap();
    for text in [whence.printed(), whence.log()] {
        assert!(!text.contains(key.trim()), "{text}");
    }
    assert!(whence.printed().contains("it is in"), "{}", whence.printed());
    assert!(whence.stop().success());
}
