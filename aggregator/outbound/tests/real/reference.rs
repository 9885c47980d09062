//! What is sent, as the reference library of Standard Webhooks sees it.

use crate::{
    receiver::{Received, Receiver, status},
    world::{OTHER, SECRET, World, settings},
};
use serde_json::{Map, Value, json};
use std::{
    io::Write,
    process::{Command, Stdio},
};

/// One received message, with the secrets that must verify it and those that must not.
fn case(received: &Received, secrets: &[&str], others: &[&str]) -> Value {
    let text = |value: &hyper::header::HeaderValue| Value::from(value.to_str().unwrap());
    let headers: Map<String, Value> =
        received.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    let body = String::from_utf8(received.raw.clone()).unwrap();
    json!({ "headers": headers, "body": body, "secrets": secrets, "others": others })
}

/// Fails, and does not skip, where the library can't be installed.
fn verify(cases: &[Value]) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reference/verify");
    let mut verifier = Command::new(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines: String = cases.iter().map(|case| format!("{case}\n")).collect();
    verifier.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = verifier.wait_with_output().unwrap();
    lines = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{lines}");
    assert!(lines.contains(&format!("{} messages verified", cases.len())), "{lines}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reference_library_verifies_first_tries_retries_and_both_secrets_while_one_is_replaced() {
    let world = World::new().await;
    world.leads(1, 0, 5).await;
    // Letters beyond ASCII, and what JSON has to escape.
    world
        .run("ALTER TABLE leads UPDATE lead = 'Zoë \"✓\" \\\\ \\n' WHERE 1 SETTINGS mutations_sync = 2")
        .await;
    let receiver = Receiver::start(|_, before| status(if before == 0 { 500 } else { 200 })).await;
    let settled = "SELECT count() FROM delivery_states WHERE state = 'delivered' AND endpoint = ";
    let steps = [
        ("before", vec!["main"], vec![SECRET], vec![OTHER]),
        ("between", vec!["other", "main"], vec![OTHER, SECRET], vec![]),
        ("after", vec!["other"], vec![OTHER], vec![SECRET]),
    ];
    let work = world.work(settings(), 1, 5);
    let mut cases = Vec::new();
    for (name, named, signed_by, not_by) in steps {
        let path = format!("/{name}");
        let secrets = |endpoint: &mut whence_schemas::event::WebhookEndpoint| {
            endpoint.secrets = named.iter().map(|name| (*name).to_owned()).collect();
        };
        world.known.put(name, receiver.url(&path), secrets);
        world.until(&format!("{settled}'{name}'"), 5).await;
        let came = receiver.at(&path);
        assert_eq!(came.len(), 10);
        assert!(came.iter().all(|one| one.gist().1 == "Zoë \"✓\" \\ \n"));
        cases.extend(came.iter().map(|one| case(one, &signed_by, &not_by)));
    }
    verify(&cases);
    work.stop().await;
}
