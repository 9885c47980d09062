//! Three replicas do what a cluster does.

#![allow(clippy::unwrap_used, reason = "helpers of tests are no tests to the lint")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use whence_clickhouse_replica::cluster::Cluster;

fn post(cluster: &Cluster, replica: usize, target: &str, sql: &str) -> Result<String, String> {
    let url = cluster.url(replica);
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    let (password, length) = (cluster.password(), sql.len());
    write!(
        stream,
        "POST {target} HTTP/1.1\r\nhost: localhost\r\nx-clickhouse-user: default\r\nx-clickhouse-key: {password}\r\n\
         connection: close\r\ncontent-length: {length}\r\n\r\n{sql}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    if head.starts_with("HTTP/1.1 200") { Ok(body.trim().to_owned()) } else { Err(body.trim().to_owned()) }
}

const QUORUM: &str = "/?insert_quorum=auto&insert_quorum_parallel=0&database=whence";

#[test]
fn rows_reach_every_replica_and_a_token_counts_on_all_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(dir.path(), 3);
    let ask = |replica, sql: &str| post(&cluster, replica, "/?database=whence", sql);
    let engine = "ReplicatedMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')";
    ask(0, &format!("CREATE TABLE t ON CLUSTER `main`\n(a UInt64, b String) ENGINE = {engine} ORDER BY a"))
        .unwrap();
    assert_eq!(ask(1, "SELECT count() FROM system.clusters WHERE cluster = 'main'").unwrap(), "3");
    let insert = |cluster: &Cluster, replica: usize, token: &str| {
        let target = format!("{QUORUM}&insert_deduplication_token={token}");
        post(
            cluster,
            replica,
            &target,
            "INSERT INTO t SELECT number, repeat('x', number % 5000) FROM numbers(10000)",
        )
    };
    insert(&cluster, 0, "one").unwrap();
    insert(&cluster, 1, "one").unwrap();
    insert(&cluster, 2, "two").unwrap();
    for replica in 0..3 {
        ask(replica, "SYSTEM SYNC REPLICA t LIGHTWEIGHT").unwrap();
        assert_eq!(ask(replica, "SELECT count(), sum(length(b)) FROM t").unwrap(), "20000\t49990000");
    }
    ask(0, "ALTER TABLE t UPDATE b = '' WHERE 1 SETTINGS mutations_sync = 2").unwrap();
    assert_eq!(ask(2, "SELECT sum(length(b)) FROM t").unwrap(), "0");

    cluster.kill(0);
    let deadline = Instant::now() + Duration::from_secs(240);
    while let Err(error) = insert(&cluster, 1, "three") {
        assert!(Instant::now() < deadline, "{error}");
    }
    cluster.revive(0);
    let synced = post(&cluster, 0, "/?database=whence", "SYSTEM SYNC REPLICA t LIGHTWEIGHT");
    assert_eq!(synced.as_deref(), Ok(""), "it is active again");
    assert_eq!(post(&cluster, 0, "/?database=whence", "SELECT count() FROM t").unwrap(), "30000");

    cluster.kill_keeper();
    // What ClickHouse does without Keeper is its own business: wait, or say so.
    let url = format!("{QUORUM}&insert_quorum_timeout=1000&insert_keeper_max_retries=1");
    let without = post(&cluster, 0, &url, "INSERT INTO t VALUES (1, '')");
    assert!(without.as_ref().is_err_and(|text| text.contains("Code: ")), "{without:?}");
    cluster.start_keeper();
    let deadline = Instant::now() + Duration::from_secs(240);
    while let Err(error) = insert(&cluster, 1, "four") {
        assert!(Instant::now() < deadline, "{error}");
    }
}
