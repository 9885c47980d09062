//! A topic as brokers describe it: librdkafka's mock of them, which answers without permissions.

#![allow(clippy::unwrap_used, reason = "helpers of tests are no tests to the lint")]

use std::time::Duration;

use rdkafka::mocking::MockCluster;
use whence_kafka::Cluster;
use whence_kafka::attempt::{AskError, Listener};
use whence_kafka::describe::DescribeError;

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn a_topic_is_described_by_id_partitions_and_copies_and_one_that_is_missing_is_told() {
    let mock = MockCluster::new(3).unwrap();
    mock.create_topic("there", 5, 2).unwrap();
    let listener = Listener::new(&Cluster::at(mock.bootstrap_servers())).unwrap();
    let described = listener.describe("there", PATIENCE).unwrap();
    assert_eq!((described.partitions, described.copies), (5, 2));
    assert_eq!(listener.describe("there", PATIENCE).unwrap().id, described.id);
    assert_eq!(listener.brokers(PATIENCE).unwrap(), 3);
    let missing = listener.describe("missing", PATIENCE).unwrap_err();
    assert_eq!(missing, AskError::Topic(DescribeError::NotThere("missing".into())));
    assert!(missing.trouble().may_heal);
}

#[test]
fn silence_is_told_with_who_was_asked() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let listener = Listener::new(&Cluster::at(nobody.clone())).unwrap();
    let error = listener.describe("any", Duration::from_millis(300)).unwrap_err().trouble();
    assert!(error.may_heal && error.text.contains(&nobody), "{error}");
}
