//! Clients that are generated from the OpenAPI documents compile, and do what they are called for. What each does is in
//! `tests/generated`.

use std::{fs, process::Command};

use crate::support::Role;
use tempfile::tempdir;

const RUN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/generated/run");

/// `WHENCE_TEST_GENERATED` names those that can run here, as `generated/run prepare` does; without it all have to. Fails, and
/// does not skip, where one cannot be made.
#[test]
fn clients_that_are_generated_from_the_documents_send_events_and_read_what_became_of_them() {
    let clients =
        std::env::var("WHENCE_TEST_GENERATED").unwrap_or_else(|_| "python typescript go".to_owned());
    for needed in ["python", "typescript"] {
        assert!(clients.split(' ').any(|client| client == needed), "{needed} is not among {clients}");
    }
    let dir = tempdir().unwrap();
    let role = Role::up(&dir.path().join("data"));
    let key = fs::read_to_string(role.data().join("admin-key")).unwrap();
    role.set_up_world(&key);

    let (api, console) = (role.address("api"), role.address("console"));
    std::thread::scope(|scope| {
        for client in clients.split(' ') {
            let (api, console, key) = (&api, &console, key.trim());
            scope.spawn(move || {
                let output = Command::new(RUN).args([client, api, console, key]).output().unwrap();
                let said = String::from_utf8_lossy(&output.stdout).into_owned()
                    + &String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{client}: {said}");
                assert!(said.contains("sent and read back"), "{client}: {said}");
            });
        }
    });
    let clients = clients.split(' ').count() as u64;
    role.until_count("SELECT count() FROM leads", clients);
    role.until_count("SELECT toUInt64(sum(value_minor * sign)) FROM qualifications", clients * 5_000_000_000);
    assert!(role.stop().success());
}
