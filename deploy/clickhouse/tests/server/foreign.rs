//! The official clients, unmodified, take the server for ClickHouse. What each of them does is in `tests/clients`.

use std::process::Command;

use crate::support::Engine;

const RUN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/run");

/// All at once against one server. `WHENCE_TEST_CLIENTS` names those that can run here, as `clients/run prepare` does; without it
/// all have to. Fails, and does not skip, where a client cannot be installed.
#[test]
fn the_official_clients_write_rows_and_read_them_back() {
    let clients = std::env::var("WHENCE_TEST_CLIENTS").unwrap_or_else(|_| "python node java go".to_owned());
    for needed in ["python", "node", "java"] {
        assert!(clients.split(' ').any(|client| client == needed), "{needed} is not among {clients}");
    }
    let engine = Engine::start();
    let url = format!("http://default:{}@{}", engine.process.password(), engine.process.address());
    std::thread::scope(|scope| {
        for client in clients.split(' ') {
            let url = &url;
            scope.spawn(move || {
                let output = Command::new(RUN).args([client, url]).output().unwrap();
                let said = String::from_utf8_lossy(&output.stdout).into_owned()
                    + &String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{client}: {said}");
                assert!(said.contains("rows in and back"), "{client}: {said}");
            });
        }
    });
    for table in ["foreign", "frames", "alchemy", "node", "java"] {
        assert_ne!(engine.query(&format!("SELECT count() FROM {table}")), "0", "{table}");
    }
}
