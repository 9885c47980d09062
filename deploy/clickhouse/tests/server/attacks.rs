//! Attacks that got in once, each with others of its kind: code that is hidden in what looks like data.

use crate::support::{Answer, Engine};

/// Refused by the list, or no statement at all.
const REFUSED: [u16; 3] = [497, 452, 62];

/// As the owner, as the reader.
fn both(engine: &Engine, sql: &str) -> [Answer; 2] {
    [engine.post("/", &[], sql.as_bytes()), engine.read("/", sql)]
}

/// Refused before the engine sees it, whoever asks.
fn refused(engine: &Engine, sql: &str) {
    for answer in both(engine, sql) {
        let code = answer.code();
        assert!(code.is_some_and(|code| REFUSED.contains(&code)), "{sql}: {code:?} {}", answer.text());
    }
}

fn served(engine: &Engine, sql: &str, expected: &str) {
    for answer in both(engine, sql) {
        assert_eq!((answer.status, answer.text().trim_end()), (200, expected), "{sql}");
    }
}

#[test]
fn rows_in_format_values_are_literals_and_never_evaluated() {
    let engine = Engine::start();
    let password = engine.data.path().join("password");
    let columns = "(a Dynamic, s String, b Dynamic)";
    for database in ["scratch", "whence"] {
        for (kind, name) in
            [("Dynamic", "d"), ("Variant(String, Array(String))", "v"), ("Array(Dynamic)", "r")]
        {
            let columns = columns.replace("Dynamic", kind);
            let make =
                format!("CREATE TABLE {database}.{name} {columns} ENGINE = MergeTree ORDER BY tuple()");
            let made = if database == "scratch" {
                engine.read("/", &make)
            } else {
                engine.post("/", &[], make.as_bytes())
            };
            assert_eq!(made.status, 200, "{}", made.text());
        }
    }
    let calls = [
        format!("file('{}')", password.display()),
        "hostName()".into(),
        "upper('x')".into(),
        "1 + 1".into(),
        "{p:String}".into(),
        "(SELECT 'x')".into(),
        "x".into(),
    ];
    for call in &calls {
        for (before, after) in [
            ("[ `] ", " [`]"),
            ("[ \"] ", " [\"]"),
            ("[`", "`]"),
            ("`", "`"),
            ("'a'", "'b'"),
            ("[ ` ', ` ] ", "[ ` ', ` ]"),
            ("['] ", " [']"),
            ("{`} ", " {`}"),
            ("(`) ", " (`)"),
            ("[ /* ] ", " [ */ ]"),
        ] {
            for name in ["d", "v", "r"] {
                let rows = format!("({before}, {call}, {after})");
                let target = format!("INSERT INTO scratch.{name} VALUES");
                let answer = engine.read("/?param_p=x", &format!("{target} {rows}"));
                let text = answer.text();
                assert_ne!(answer.status, 200, "{rows}: {text}");
                assert!(!text.contains(engine.process.password()), "{rows}: {text}");
                let own = format!("INSERT INTO whence.{name} VALUES {rows}");
                assert_ne!(engine.post("/?param_p=x", &[], own.as_bytes()).status, 200, "{own}");
                let formatted = format!("INSERT INTO scratch.{name} FORMAT Values {rows}");
                assert_ne!(engine.read("/?param_p=x", &formatted).status, 200, "{formatted}");
            }
        }
    }
    for table in ["scratch.d", "scratch.v", "scratch.r", "whence.d", "whence.v", "whence.r"] {
        assert_eq!(engine.read("/", &format!("SELECT count() FROM {table}")).text(), "0\n");
    }
    // Literals of every kind are taken.
    let make = "CREATE TABLE scratch.t (n Int64, s String, f Float64, d Date, a Array(String), m Map(String, UInt8), \
                t Tuple(UInt8, String), o Nullable(String), b Bool, e DateTime64(3), x Decimal(9, 2), u UUID) \
                ENGINE = MergeTree ORDER BY n";
    assert_eq!(engine.read("/", make).status, 200);
    let rows = "INSERT INTO scratch.t VALUES -- a note\n \
        ( - 1 , 'it''s; (\\'a\\')', -1.5e3, '2026-01-02', [ 'a' , 'b' ], { 'a' : 1 }, ( 1 , 'x' ), NULL, true, \
        '2026-01-02 03:04:05.678', 1.25, '61f0c404-5cb3-11e7-907b-a6006ad3dba0'), \
        (2, '', inf, '1970-01-01', [], {}, (0, ''), 'y', FALSE, 0, -7, '00000000-0000-0000-0000-000000000000');";
    let stored = engine.read("/", rows);
    assert_eq!(stored.status, 200, "{}", stored.text());
    let first = "SELECT n, s, f, d, a, m, t, o, b, e, x, u FROM scratch.t WHERE n < 0 FORMAT TSVRaw";
    assert_eq!(
        engine.read("/", first).text(),
        "-1\tit's; ('a')\t-1500\t2026-01-02\t['a','b']\t{'a':1}\t(1,'x')\t\\N\ttrue\t2026-01-02 03:04:05.678\t1.25\t\
         61f0c404-5cb3-11e7-907b-a6006ad3dba0\n"
    );
}

#[test]
fn no_text_is_read_as_the_structure_of_a_table() {
    let engine = Engine::start();
    let hidden = "a UInt8, b String ALIAS file(''/proc/self/status'')";
    let split = "concat(''a UInt8, b String ALI'', ''AS file(\\''/proc/self/status\\'')'')";
    let mut tried = 0;
    for structure in [
        format!("'{hidden}'"),
        format!("('{hidden}')"),
        hidden.replace("ALIAS", "DEFAULT").replace("''", "\\'").replacen("a UInt8", "'a UInt8", 1) + "'",
        format!("'{}'", hidden.replace("file", "fi\\x6ce")),
        split.replace("''", "'").replace("\\'", "\\\\'"),
        "{p:String}".into(),
        "'a UInt8'".into(),
        "unhex('61')".into(),
    ] {
        for call in [
            "generateRandom(?, 1, 1, 1)",
            "generateRandom(?)",
            "values(?, 1)",
            "VALUES(?, (1))",
            "`values`(?, 1)",
            "null(?)",
            "NULL(?)",
            "SQLStandardValues(?, 1)",
            "input(?)",
            "file('x', 'CSV', ?)",
            "format(CSV, ?, '1')",
            "format('CSV', ?, '1')",
            "fuzzJSON(?)",
        ] {
            let call = call.replace('?', &structure);
            for sql in [
                format!("SELECT b FROM {call} LIMIT 1"),
                format!("SELECT b FROM system.one, {call} LIMIT 1"),
                format!("SELECT 1 IN {call}"),
                format!("SELECT * FROM (SELECT * FROM {call})"),
                format!("DESCRIBE TABLE {call}"),
                format!("CREATE TABLE scratch.s AS {call}"),
                format!("CREATE TABLE whence.s AS {call}"),
                format!("CREATE VIEW scratch.s AS SELECT * FROM {call}"),
                format!("EXPLAIN SELECT * FROM {call}"),
            ] {
                refused(&engine, &sql);
                tried += 1;
            }
        }
    }
    assert!(tried > 900, "{tried}");
    for sql in ["SELECT * FROM (VALUES ('a UInt8 ALIAS 1', 1))", "WITH t AS (VALUES (1)) SELECT * FROM t"] {
        refused(&engine, sql);
    }
    for function in ["structureToCapnProtoSchema", "structureToProtobufSchema", "fuzzQuery"] {
        refused(&engine, &format!("SELECT {function}('{hidden}', 'x')"));
    }
    served(&engine, "SELECT sum(number) FROM numbers(3)", "3");
    served(&engine, "SELECT * FROM view(SELECT 1 AS a)", "1");
}

#[test]
fn no_name_is_read_out_of_a_text_that_says_it_otherwise() {
    let engine = Engine::start();
    let file = "file(''/proc/self/status'')";
    for sql in [
        // Names of formats.
        "SELECT * FROM format('V\\x61lues', 's String', '(file(\\'/proc/self/status\\'))')".to_owned(),
        "SELECT * FROM format('O\\x52C', 's String', unhex('4f5243'))".into(),
        "SELECT * FROM format('CSV', '1')".into(),
        "SELECT * FROM format('{}CSV\\b\\b', '1')".into(),
        "SELECT * FROM format({f:String}, '1')".into(),
        "SELECT * FROM format(concat('CS', 'V'), '1')".into(),
        "SELECT * FROM format('{' || '}', '1')".into(),
        "SELECT * FROM `format`('Values', 's String', '(1)')".into(),
        "SELECT * FROM FORMAT(Values, 's String', '(1)')".into(),
        "SELECT arrayMap(format, ['CSV'], ['1'])".into(),
        // It writes schemas of its own beside the data.
        "SELECT formatRow('Protobuf', 1)".into(),
        "SELECT formatRow('T\\x65mplate', 1)".into(),
        // Names of aggregate functions, whose parameters are evaluated.
        format!("SELECT arrayReduce('groupConcat({file})', ['a', 'b'])"),
        format!("SELECT arrayReduce ( 'groupConcat({file})' , ['a', 'b'])"),
        format!("SELECT `arrayReduce`('groupConcat({file})', ['a', 'b'])"),
        format!("SELECT arrayReduceInRanges('groupConcat({file})', [(1, 2)], ['a', 'b'])"),
        format!("SELECT finalizeAggregation(initializeAggregation('groupConcatState({file})', 'a'))"),
        "SELECT arrayReduce(concat('groupConcat(', 'file(\\'/proc/self/status\\'))'), ['a', 'b'])".into(),
        "SELECT arrayReduce('groupConcat' || '(hostName())', ['a', 'b'])".into(),
        "SELECT arrayReduce('groupConcat(hostName())', ['a', 'b'])".into(),
        "SELECT arrayReduce('groupConcat(\\x66ile(1))', ['a', 'b'])".into(),
        "SELECT arrayReduce(('groupConcat(hostName())'), ['a', 'b'])".into(),
        "SELECT arrayReduce({f:String}, ['a', 'b'])".into(),
        "WITH 'groupConcat(hostName())' AS f SELECT arrayReduce(f, ['a', 'b'])".into(),
        "SELECT arrayMap(arrayReduce, ['sum'], [[1]])".into(),
        "SELECT * APPLY(arrayReduce) FROM (SELECT 'sum' AS a)".into(),
        "SELECT arrayReduce('aggThrow(1)', [1])".into(),
        // Settings that put a function's name into the text, or read it as older code does.
        "SELECT countDistinct('/proc/self/status') SETTINGS count_distinct_implementation='file', enable_analyzer=0"
            .into(),
        "SELECT count(DISTINCT 'x') SETTINGS count_distinct_implementation='hostName'".into(),
        "SELECT 1 SETTINGS enable_analyzer=0".into(),
        "SELECT 1 SETTINGS allow_experimental_analyzer=0".into(),
    ] {
        refused(&engine, &sql);
    }
    for url in ["/?count_distinct_implementation=file", "/?enable_analyzer=0", "/?allow_simdjson=0"] {
        assert_eq!(engine.read(url, "SELECT 1").code(), Some(452), "{url}");
        assert_eq!(engine.post(url, &[], b"SELECT 1").code(), Some(452), "{url}");
    }
    // Types are read out of texts, too, and hold no expression.
    for name in
        ["AggregateFunction(groupConcat(hostName()), String)", "Enum8(hostName() = 1)", "FixedString(1 + 1)"]
    {
        for answer in both(&engine, &format!("SELECT CAST(unhex(''), '{name}')")) {
            assert!(answer.status != 200, "{name}: {}", answer.text());
        }
    }
    served(&engine, "SELECT format('{} and {}', 'a', 'b'), format('{0}''{0}', 'x')", "a and b\tx\\'x");
    served(&engine, "SELECT arrayReduce('sum', [1, 2]), arrayReduce('quantiles(0.5, 0.9)', [1])", "3\t[1,1]");
    served(&engine, "SELECT arrayReduceInRanges('uniqExactIf', [(1, 2)], [1, 2], [1, 0])", "[1]");
    served(&engine, "SELECT arrayMap(x -> arrayReduce('max', x), [[1, 2]])", "[2]");
}
