//! A topic that nobody describes. What brokers answer is tried where they are: librdkafka's mock of them has no
//! controller, which is who is asked.

#![allow(clippy::unwrap_used, reason = "helpers of tests are no tests to the lint")]

use std::time::Duration;

use whence_kafka::Cluster;
use whence_kafka::attempt::Listener;

#[test]
fn silence_is_told_with_who_was_asked() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let listener = Listener::new(&Cluster::at(nobody.clone())).unwrap();
    let error = listener.describe("any", Duration::from_millis(300)).unwrap_err().trouble();
    assert!(error.may_heal && error.text.contains(&nobody), "{error}");
}
