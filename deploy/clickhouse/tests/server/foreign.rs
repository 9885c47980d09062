//! The official Python client, unmodified, takes the server for ClickHouse.

use std::process::Command;

use crate::support::Engine;

/// Fails, and does not skip, where the client cannot be installed.
#[test]
fn the_python_client_writes_and_reads_back_every_type_on_eight_connections() {
    let engine = Engine::start();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/foreign-client");
    let url = format!("http://default:{}@{}", engine.process.password(), engine.process.address());
    let output = Command::new(script).arg(url).output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("180000 rows in and back"), "{said}");
}
