//! The official Rust client, unmodified, with validation on.

use crate::support::Engine;
use clickhouse::{Client, Compression, Row};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Row, Serialize, Deserialize)]
struct Click {
    id: u128,
    code: String,
    #[serde(with = "clickhouse::serde::uuid")]
    visitor: uuid::Uuid,
    campaign: Option<String>,
    scores: Vec<i32>,
    verdict: i8,
}

const TABLE: &str = "CREATE TABLE clicks (id UInt128, code LowCardinality(String), visitor UUID, \
    campaign Nullable(String), scores Array(Int32), verdict Enum8('human' = 1, 'bot' = 2)) \
    ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 100";

fn click(id: u128) -> Click {
    Click {
        id,
        code: format!("code-{}\n\n", id % 7),
        visitor: uuid::Uuid::from_u128(id * 31),
        campaign: (!id.is_multiple_of(3)).then(|| format!("campaign {id}")),
        scores: (0..i32::try_from(id % 5).unwrap()).collect(),
        verdict: if id.is_multiple_of(2) { 1 } else { 2 },
    }
}

fn client(engine: &Engine, compression: Compression) -> Client {
    Client::default()
        .with_url(engine.process.url())
        .with_user("default")
        .with_password(engine.process.password())
        .with_compression(compression)
}

async fn round_trip(compression: Compression) {
    let engine = Engine::start();
    let client = client(&engine, compression);
    client.query(TABLE).execute().await.unwrap();
    let mut insert = client.insert::<Click>("clicks").await.unwrap();
    for id in 0..20_000 {
        insert.write(&click(id)).await.unwrap();
    }
    insert.end().await.unwrap();
    let mut cursor = client
        .query("SELECT ?fields FROM clicks WHERE id >= {first:UInt128} ORDER BY id")
        .param("first", 10_u128)
        .fetch::<Click>()
        .unwrap();
    let mut expected = 10;
    while let Some(stored) = cursor.next().await.unwrap() {
        assert_eq!(stored, click(expected));
        expected += 1;
    }
    assert_eq!(expected, 20_000);
    let bound = client.query("SELECT count() FROM clicks WHERE code = ?").bind("code-3\n\n");
    assert_eq!(bound.fetch_one::<u64>().await.unwrap(), 2857);
}

#[tokio::test]
async fn rows_go_in_and_come_back_plain() {
    round_trip(Compression::None).await;
}

#[tokio::test]
async fn rows_go_in_and_come_back_packed_by_lz4() {
    round_trip(Compression::Lz4).await;
}

#[tokio::test]
async fn an_exception_reaches_the_caller_before_and_amid_a_result() {
    let engine = Engine::start();
    for compression in [Compression::None, Compression::Lz4] {
        let client = client(&engine, compression);
        let missing = client.query("SELECT a FROM nowhere").fetch_all::<u8>().await.unwrap_err();
        assert!(missing.to_string().contains("UNKNOWN_TABLE"), "{missing}");
        let mut cursor = client
            .query("SELECT number + throwIf(number = 3000000) AS n FROM numbers(4000000)")
            .fetch::<u64>()
            .unwrap();
        let failure = loop {
            match cursor.next().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the result must not look whole"),
                Err(error) => break error,
            }
        };
        assert!(failure.to_string().contains("FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"), "{failure}");
    }
}

#[tokio::test]
async fn a_mismatched_row_is_refused_and_leaves_no_row() {
    #[derive(Row, Serialize)]
    struct Wrong {
        id: u128,
        code: u64,
    }
    let engine = Engine::start();
    let client = client(&engine, Compression::Lz4);
    client.query(TABLE).execute().await.unwrap();
    // The client compares the row with the table's columns, which it asks the server for.
    let refused = client.insert::<Wrong>("clicks").await.map(drop).unwrap_err();
    assert!(matches!(refused, clickhouse::error::Error::SchemaMismatch(_)), "{refused}");
    assert_eq!(client.query("SELECT count() FROM clicks").fetch_one::<u64>().await.unwrap(), 0);
}

#[tokio::test]
async fn an_encoded_batch_is_sent_again_under_its_token_and_stored_once() {
    let engine = Engine::start();
    let client = client(&engine, Compression::None)
        .with_setting("async_insert", "0")
        .with_setting("wait_end_of_query", "1")
        .with_setting("insert_deduplication_token", "block 1");
    client.query("CREATE TABLE n (n UInt64) ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 9").execute().await.unwrap();
    let batch: Vec<u8> = (0..1000_u64).flat_map(u64::to_le_bytes).collect();
    for _ in 0..2 {
        let mut insert = client.insert_formatted_with("INSERT INTO n FORMAT RowBinary");
        insert.send(batch.clone().into()).await.unwrap();
        insert.end().await.unwrap();
    }
    assert_eq!(client.query("SELECT count() FROM n").fetch_one::<u64>().await.unwrap(), 1000);
}
