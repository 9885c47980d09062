//! The broker for tests, and what processes share over it.

use std::fs;
use std::path::Path;

use super::clock::now_ms;

/// The broker, and a prefix of topics that no other run uses.
pub fn brokers(name: &str) -> (String, String) {
    let brokers = std::env::var("WHENCE_TEST_KAFKA_BROKERS")
        .expect("WHENCE_TEST_KAFKA_BROKERS names a broker for tests; `make test` starts one");
    (brokers, format!("{name}-{}-{}.", std::process::id(), now_ms()))
}

/// A file with an admin key for several processes, and the key.
pub fn admin_key(dir: &Path) -> (String, String) {
    let (file, key) = (dir.join("admin"), "an admin key that nobody can guess, 0123456789");
    fs::write(&file, key).unwrap();
    (file.to_str().unwrap().to_owned(), key.to_owned())
}
