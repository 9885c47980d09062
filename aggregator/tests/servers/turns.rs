//! Several servers in turn.

use crate::twin::{Manner, Twin, nobody, plain};
use bytes::Bytes;
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use whence_aggregator::servers::{AnswerTimeout, trouble};

const FINE: Manner = Manner::Answer(200, "fine\n");
/// More than is kept of a request to be sent again.
const LARGE: usize = 9 << 20;

async fn asked(client: &clickhouse::Client, sql: &str) -> Result<Bytes, clickhouse::error::Error> {
    client.query(sql).fetch_bytes("TSV")?.collect().await
}

#[tokio::test]
async fn a_dead_server_is_left_out_and_asked_no_more_while_another_answers() {
    let (dead, lives) = (Twin::start(Manner::Close).await, Twin::start(FINE).await);
    let servers = plain(&[dead.http(), nobody().await, lives.http()]);
    let client = servers.any();
    for _ in 0..20 {
        assert_eq!(asked(&client, "SELECT 1").await.unwrap(), "fine\n");
    }
    assert_eq!((dead.asked().len(), lives.asked().len()), (1, 20));
    assert_eq!(asked(&servers.any(), "SELECT 1").await.unwrap(), "fine\n");
    assert_eq!(dead.asked().len(), 1, "all clients of the servers know");
}

#[tokio::test]
async fn each_server_is_asked_by_its_own_name_at_its_own_path_with_the_login() {
    let (busy, lives) = (Twin::start(Manner::Answer(503, "busy")).await, Twin::start(FINE).await);
    let urls = [format!("http://localhost:{}/ch/one/", busy.port), format!("{}/two", lives.http())];
    asked(&plain(&urls).any(), "SELECT 1").await.unwrap();
    let (first, second) = (&busy.asked()[0], &lives.asked()[0]);
    assert_eq!((first.host.clone(), first.path.as_str()), (format!("localhost:{}", busy.port), "/ch/one"));
    assert_eq!((second.host.clone(), second.path.as_str()), (format!("127.0.0.1:{}", lives.port), "/two"));
    assert!(first.user == "ann" && second.user == "ann");
    assert_eq!(first.body, "SELECT 1");
    assert_eq!(second.body, "SELECT 1");
}

#[tokio::test]
async fn what_clickhouse_says_of_a_statement_is_its_answer_and_no_reason_to_ask_another() {
    let refuses = Twin::start(Manner::Answer(400, "Code: 62. DB::Exception: Syntax error")).await;
    let other = Twin::start(FINE).await;
    let client = plain(&[refuses.http(), other.http()]).any();
    for _ in 0..3 {
        let error = asked(&client, "SELEC 1").await.unwrap_err();
        assert!(error.to_string().contains("Code: 62"), "{error}");
    }
    assert_eq!((refuses.asked().len(), other.asked().len()), (3, 0));
}

#[tokio::test]
async fn only_what_changes_nothing_is_sent_again_once_it_may_have_arrived() {
    for (sql, token, may_repeat) in [
        ("SELECT 1", "", true),
        ("  with 1 as x select x", "", true),
        ("ALTER TABLE t ADD COLUMN c UInt8", "", false),
        ("CREATE TABLE t (a UInt8) ENGINE = Memory", "", false),
        ("SELECTION", "", false),
        ("INSERT INTO t VALUES (1)", "", false),
        ("INSERT INTO t VALUES (1)", "block-1", true),
    ] {
        for breaks in [Manner::Close, Manner::Answer(502, "bad gateway"), Manner::Answer(504, "timeout")] {
            let (first, second) = (Twin::start(breaks).await, Twin::start(FINE).await);
            let mut client = plain(&[first.http(), second.http()]).any();
            if !token.is_empty() {
                client = client.with_setting("insert_deduplication_token", token);
            }
            let outcome = client.query(sql).execute().await;
            assert_eq!(outcome.is_ok(), may_repeat, "{sql} {breaks:?}: {outcome:?}");
            assert_eq!(second.asked().len(), usize::from(may_repeat), "{sql}");
        }
        // Not connected at all, or turned away at the door: nothing has been done.
        let (busy, last) = (Twin::start(Manner::Answer(503, "busy")).await, Twin::start(FINE).await);
        let client = plain(&[nobody().await, busy.http(), last.http()]).any();
        client.query(sql).execute().await.unwrap();
        assert_eq!(last.asked().len(), 1, "{sql}");
    }
}

async fn insert(client: &clickhouse::Client, body: &Bytes) -> Result<(), clickhouse::error::Error> {
    let client = client.clone().with_compression(clickhouse::Compression::None);
    let mut insert = client.insert_formatted_with("INSERT INTO t FORMAT RowBinary");
    for chunk in body.chunks(1 << 20) {
        insert.send(body.slice_ref(chunk)).await?;
    }
    insert.end().await
}

#[tokio::test]
async fn an_insert_that_is_too_large_to_be_kept_reaches_the_server_that_can_be_reached_whole() {
    let body = Bytes::from((0..LARGE).map(|byte| byte as u8).collect::<Vec<_>>());
    let (busy, lives) = (Twin::start(Manner::Answer(503, "busy")).await, Twin::start(FINE).await);
    insert(&plain(&[nobody().await, lives.http()]).any(), &body).await.unwrap();
    let arrived = lives.asked();
    assert!(arrived.len() == 1 && arrived[0].body == body);
    // Half of it is gone: whoever has all of it sends it again, and is led to a server that takes it.
    let client = plain(&[busy.http(), lives.http()]).any();
    assert!(insert(&client, &body).await.unwrap_err().to_string().contains("503"));
    insert(&client, &body).await.unwrap();
    assert!(lives.asked().len() == 2 && lives.asked()[1].body == body);
}

#[tokio::test]
async fn when_none_answers_each_is_named_with_what_is_wrong_and_no_password() {
    let (closes, busy) = (Twin::start(Manner::Close).await, Twin::start(Manner::Answer(503, "busy")).await);
    let nobody = nobody().await;
    let servers = plain(&[closes.http(), nobody.clone(), busy.http()]);
    let error = asked(&servers.any(), "SELECT 1").await.unwrap_err();
    let text = trouble(&error).text;
    for part in [&closes.http(), &nobody, &busy.http(), "connection refused", "says 503"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("hunter2") && !trouble(&error).is_final);
    assert_eq!((closes.connections(), busy.connections()), (1, 1), "each is asked once");
}

#[tokio::test]
async fn a_server_that_lets_its_caller_wait_in_vain_is_not_asked_next() {
    let (silent, lives) = (Twin::start(Manner::Silent).await, Twin::start(FINE).await);
    let client = plain(&[silent.http(), lives.http()]).any();
    let given_up = tokio::time::timeout(Duration::from_millis(2500), asked(&client, "SELECT 1")).await;
    assert!(given_up.is_err());
    // The connection's end is noticed by its other side a moment later.
    let moved = async {
        while tokio::time::timeout(Duration::from_millis(100), asked(&client, "SELECT 1")).await.is_err() {}
    };
    tokio::time::timeout(Duration::from_secs(120), moved).await.unwrap();
}

#[tokio::test]
async fn an_answer_of_any_size_passes() {
    let answer: &'static str = "x".repeat(3 << 20).leak();
    let lives = Twin::start(Manner::Answer(200, answer)).await;
    let client = plain(&[nobody().await, lives.http()]).any();
    assert_eq!(asked(&client, "SELECT 1").await.unwrap(), answer);
}

#[tokio::test]
async fn silence_is_told_and_ends_and_another_server_is_asked_then() {
    let (silent, stalls) = (Twin::start(Manner::Silent).await, Twin::start(Manner::Stall).await);
    let lives = Twin::start(FINE).await;
    let told = Arc::<Mutex<Vec<(String, u64)>>>::default();
    let timeout = || {
        let told = Arc::clone(&told);
        AnswerTimeout {
            after: Duration::from_secs(3),
            tell: Arc::new(move |url, silent| told.lock().unwrap().push((url.to_string(), silent.as_secs()))),
        }
    };
    let both = plain(&[silent.http(), lives.http()]).with_timeout(timeout());
    assert_eq!(asked(&both.any(), "SELECT 1").await.unwrap(), "fine\n");
    assert_eq!(std::mem::take(&mut *told.lock().unwrap()), [(silent.http(), 2)]);

    // An answer that takes long to send does not count as silence.
    let slow = plain(&[lives.http()]).with_timeout(timeout()).any();
    let mut sent = slow.insert_formatted_with("INSERT INTO t FORMAT TSV");
    for _ in 0..8 {
        sent.send(Bytes::from(vec![b'x'; 2 << 20])).await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    sent.end().await.unwrap();
    assert_eq!(*told.lock().unwrap(), []);

    let alone = plain(&[silent.http()]).with_timeout(timeout());
    let error = asked(&alone.any(), "SELECT 1").await.unwrap_err();
    assert!(alone.say(&error).text.contains("it has not answered for 3 s"), "{error:?}");
    told.lock().unwrap().clear();
    let alone = plain(&[stalls.http()]).with_timeout(timeout());
    asked(&alone.any(), "SELECT 1").await.unwrap_err();
    assert_eq!(*told.lock().unwrap(), [(stalls.http(), 3)]);
}
