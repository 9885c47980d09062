//! Results in format Native for clients that send `client_protocol_version`: the same data, with what the version adds.

use crate::support::Engine;

/// The version that adds a block's information alone, and the one that adds a byte for each column too.
const INFO: u64 = 54_405;
const CUSTOM: u64 = 54_454;

/// Expressions over `number`, one of each type at least.
const COLUMNS: &[&str] = &[
    "toUInt8(number)",
    "toInt16(number)",
    "toUInt32(number)",
    "number",
    "toInt128(number)",
    "toUInt256(number)",
    "toFloat32(number)",
    "toFloat64(number)",
    "toBFloat16(number)",
    "number % 2 = 0",
    "toDecimal32(number, 2)",
    "toDecimal64(number, 2)",
    "toDecimal128(number, 2)",
    "toDecimal256(number, 2)",
    "toDate(number)",
    "toDate32(number)",
    "toDateTime(number, 'Europe/Berlin')",
    "toDateTime64(number, 3, 'UTC')",
    "toTime(number)",
    "toTime64(number, 3)",
    "toIntervalDay(number)",
    "toUUID('61f0c404-5cb3-11e7-907b-a6006ad3dba0')",
    "toIPv4('127.0.0.1')",
    "toIPv6('::1')",
    "toFixedString('abc', 7)",
    "CAST(number % 3, 'Enum8(\\'a, ( b\\' = 0, \\'c\\' = 1, \\'`\\' = 2)')",
    "CAST(number % 3, 'Enum16(\\'a\\' = 0, \\'b\\' = 1, \\'c\\' = 2, \\'d\\' = 2000)')",
    "toString(number)",
    "repeat('x', number * 3 % 700)",
    "NULL",
    "[]",
    "tuple()",
    "if(number % 3 = 0, NULL, toString(number))",
    "toLowCardinality(toString(number % 7))",
    "toLowCardinality(if(number % 3 = 0, NULL, toString(number % 5)))",
    "CAST(number % 7, 'LowCardinality(UInt16)')",
    "range(number % 5)",
    "arrayMap(x -> range(x), range(number % 4))",
    "arrayMap(x -> toLowCardinality(toString(x)), range(number % 4))",
    "arrayMap(x -> if(x % 2 = 0, NULL, toString(x)), range(number % 4))",
    "(number, toString(number), [number])",
    "CAST((number, toString(number)), 'Tuple(a UInt8, `b ( c` LowCardinality(String))')",
    "map('a', number, toString(number), 2)",
    "CAST([(1, 'x')], 'Nested(a UInt8, b String)')",
    "(1.5, 2.5)::Point",
    "[(1.5, 2.5)]::Ring",
    "[[[(1.5, 2.5)]]]::MultiPolygon",
    "CAST(number, 'SimpleAggregateFunction(max, UInt64)')",
    "if(number % 3 = 0, NULL, if(number % 3 = 1, number::Variant(UInt64, Array(String)), ['a']::Variant(UInt64, Array(String))))",
    "if(number % 3 = 0, NULL, if(number % 3 = 1, number::Dynamic, ['a']::Dynamic))",
    "if(number % 2 = 0, number::Dynamic(max_types = 1), toString(number)::Dynamic(max_types = 1))",
    "concat('{\"a\": ', toString(number), ', \"c\": [1, {\"d\": 2}], \"e\": \"f\"}')::JSON(max_dynamic_paths = 1, a UInt64, SKIP x)",
    "[concat('{\"k', toString(number % 9), '\": ', toString(number), '}')::JSON]",
];

const ROWS: usize = 1000;
const BLOCKS: usize = 10;

fn native(engine: &Engine, version: u64, column: &str, further: &str) -> Vec<u8> {
    // The second column shows that the first was stepped over to its end.
    let sql = format!(
        "SELECT {column} AS a, 'sentinel' AS b FROM numbers({ROWS}) \
         SETTINGS max_block_size = {}, allow_experimental_variant_type = 1, allow_suspicious_low_cardinality_types = 1, enable_time_time64_type = 1 FORMAT Native",
        ROWS / BLOCKS
    );
    let answer = engine.post(&format!("/?client_protocol_version={version}{further}"), &[], sql.as_bytes());
    assert!(answer.status == 200 && answer.complete, "{column}: {}", answer.text());
    answer.body
}

#[test]
fn every_type_is_stepped_over_and_each_block_and_column_has_what_its_version_adds() {
    let engine = Engine::start();
    for column in COLUMNS {
        for further in ["", "&output_format_native_use_flattened_dynamic_and_json_serialization=1"] {
            let plain = native(&engine, 0, column, further);
            let informed = native(&engine, INFO, column, further);
            let custom = native(&engine, CUSTOM, column, further);
            assert_eq!(informed.len(), plain.len() + 8 * BLOCKS, "{column}");
            assert_eq!(custom.len(), informed.len() + 2 * BLOCKS, "{column}");
            // What was added is where it belongs: taken out again, what is left is the plain form.
            assert!(without_info(&informed) == plain, "{column}");
        }
    }
}

/// The plain form of a result whose blocks have two columns.
fn without_info(result: &[u8]) -> Vec<u8> {
    const INFO: [u8; 8] = [1, 0, 2, 255, 255, 255, 255, 0];
    let rows = u8::try_from(ROWS / BLOCKS).unwrap();
    let mut left = Vec::new();
    let mut rest = result;
    while let Some((first, after)) = rest.split_first() {
        let begins = rest.strip_prefix(&INFO).filter(|block| block.starts_with(&[2, rows]));
        rest = begins.unwrap_or_else(|| {
            left.push(*first);
            after
        });
    }
    left
}

#[test]
fn states_of_aggregate_functions_are_refused_by_name_and_other_formats_are_what_they_were() {
    let engine = Engine::start();
    let sql = b"SELECT sumState(number) AS s FROM numbers(3) FORMAT Native";
    assert_eq!(engine.post("/", &[], sql).status, 200);
    let refused = engine.post("/?client_protocol_version=54460", &[], sql);
    assert_eq!((refused.status, refused.code()), (501, Some(48)), "{}", refused.text());
    assert!(refused.text().contains("AggregateFunction(sum, UInt64) of column s"), "{}", refused.text());
    assert_eq!(engine.post("/?client_protocol_version=54400", &[], sql).code(), Some(36));
    assert_eq!(engine.post("/?client_protocol_version=54460", &[], b"SELECT 1").text(), "1\n");
    // The statement that was refused in the middle is over.
    let long = b"SELECT sumState(number) AS s FROM numbers(1000000000000) GROUP BY number % 2 FORMAT Native";
    let _ = engine.post("/?client_protocol_version=54460&max_execution_time=1", &[], long);
    assert_eq!(engine.query("SELECT 1"), "1");
}

#[test]
fn deeply_nested_data_is_passed_on() {
    let engine = Engine::start();
    for depth in [1, 5, 20, 100, 400] {
        let sql = format!(
            "SELECT concat(repeat('{{\"a\":[', {depth}), '1', repeat(']}}', {depth}))::JSON AS j FORMAT Native"
        );
        let plain = engine.post("/", &[], sql.as_bytes());
        let answer = engine.post("/?client_protocol_version=54460", &[], sql.as_bytes());
        assert_eq!(answer.status, 200, "{depth}: {}", answer.text());
        assert_eq!(answer.body.len(), plain.body.len() + 9, "{depth}");
    }
}

#[test]
fn statements_that_run_whole_have_the_versions_form_too() {
    let engine = Engine::start();
    let target = "/?default_format=Native&client_protocol_version=54460";
    for sql in ["SHOW DATABASES", "DESCRIBE (SELECT 1)", "EXISTS TABLE t"] {
        let plain = engine.post("/?default_format=Native", &[], sql.as_bytes()).body;
        let answer = engine.post(target, &[], sql.as_bytes());
        assert_eq!(answer.body[..8], [1, 0, 2, 255, 255, 255, 255, 0], "{sql}");
        let columns = usize::from(plain[0]);
        assert_eq!(answer.body.len(), plain.len() + 8 + columns, "{sql}");
    }
    // Of a result without rows, the format has nothing.
    for target in ["/?default_format=Native", target] {
        assert_eq!(engine.post(target, &[], b"SELECT 1 AS a WHERE 0").body, b"", "{target}");
    }
}

#[test]
fn a_long_result_is_streamed_and_one_that_fails_ends_in_its_exception() {
    let engine = Engine::start();
    let target = "/?client_protocol_version=54460";
    let sql = "SELECT number, toString(number) AS s FROM numbers(1000000) FORMAT Native";
    let plain = engine.post("/", &[], sql.as_bytes());
    let answer = engine.post(target, &[], sql.as_bytes());
    assert!(answer.complete && answer.header("transfer-encoding") == Some("chunked"));
    let added = answer.body.len() - plain.body.len();
    assert!(added > 0 && added.is_multiple_of(10), "{added}");
    let sql = "SELECT throwIf(number = 3000000), toString(number) FROM numbers(4000000) FORMAT Native";
    let answer = engine.post(target, &[], sql.as_bytes());
    assert_eq!((answer.status, answer.complete), (200, false));
    assert!(answer.text().contains("Code: 395. DB::Exception: "));
    let answer = engine.post(&format!("{target}&wait_end_of_query=1"), &[], sql.as_bytes());
    assert_eq!((answer.status, answer.code()), (500, Some(395)));
}
