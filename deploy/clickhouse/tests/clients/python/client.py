"""The official Python client (clickhouse-connect) against a server, which it takes for ClickHouse.

usage: client.py URL, where URL has the user and the password

Creates a table, inserts rows of many types, streams them back and compares every one, and sees proper
errors: alone, then on eight connections at once. Then tables by pandas and by SQLAlchemy, which learns what there is from the
server. Ends with status 0 only if everything was right.
"""

import datetime
import decimal
import ipaddress
import logging
import sys
import threading
import uuid
from urllib.parse import urlparse

import clickhouse_connect
import pandas
import sqlalchemy
from clickhouse_connect.driver.exceptions import DatabaseError

ROWS = 100_000
ROWS_EACH = 10_000
CONNECTIONS = 8
COLUMNS = [
    ("id", "UInt64"),
    ("text", "String"),
    ("maybe", "Nullable(String)"),
    ("kind", "LowCardinality(String)"),
    ("numbers", "Array(Int32)"),
    ("labels", "Map(String, String)"),
    ("amount", "Decimal(18, 4)"),
    ("ratio", "Float64"),
    ("day", "Date"),
    ("at", "DateTime64(3, 'UTC')"),
    ("visitor", "UUID"),
    ("address", "IPv6"),
    ("flag", "Bool"),
    ("big", "UInt128"),
]


def row(i):
    return [
        i,
        f"line {i}\n\n; 'quoted' \\ \t\x00 é {'x' * (i % 50)}",
        None if i % 3 == 0 else f"maybe {i}\n\n",
        f"kind-{i % 11}",
        list(range(i % 6)),
        {"a": str(i), "b\n\n": ""},
        decimal.Decimal(i) / 16,
        i / 7,
        datetime.date(2020, 1, 1) + datetime.timedelta(days=i % 3000),
        datetime.datetime(2024, 2, 29, 12, tzinfo=datetime.timezone.utc) + datetime.timedelta(milliseconds=i),
        uuid.UUID(int=i * 2**64 + i),
        ipaddress.IPv6Address(2**120 + i),
        i % 2 == 0,
        2**100 + i,
    ]


def connect(url, **options):
    parts = urlparse(url)
    return clickhouse_connect.get_client(
        host=parts.hostname,
        port=parts.port,
        username=parts.username,
        password=parts.password,
        tz_mode="aware",
        **options,
    )


def expect(what, got, wanted):
    if got != wanted:
        raise AssertionError(f"{what}: got {got!r}, wanted {wanted!r}")


def round_trip(url, table, count, compress):
    client = connect(url, compress=compress)
    client.command(f"DROP TABLE IF EXISTS {table}")
    columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS)
    client.command(f"CREATE TABLE {table} ({columns}) ENGINE = MergeTree ORDER BY id")
    summary = client.insert(table, [row(i) for i in range(count)], column_names=[name for name, _ in COLUMNS])
    expect("written rows", summary.written_rows, count)
    expect("stored rows", client.query(f"SELECT count() FROM {table}").result_rows, [(count,)])

    first = count // 10
    query = f"SELECT * FROM {table} WHERE id >= {{first:UInt64}} ORDER BY id"
    seen = first
    with client.query_row_block_stream(query, parameters={"first": first}) as blocks:
        for block in blocks:
            for stored in block:
                expect(f"row {seen}", list(stored), row(seen))
                seen += 1
    expect("streamed rows", seen, count)

    found = client.query(
        f"SELECT id FROM {table} WHERE text = {{text:String}} AND has(numbers, {{number:Int32}})",
        parameters={"text": row(4)[1], "number": 2},
    )
    expect("found by parameters", found.result_rows, [(4,)])
    empty = client.query(f"SELECT id, text FROM {table} WHERE id > {{last:UInt64}}", parameters={"last": count})
    expect("no rows", empty.result_rows, [])
    client.close()


def fails(client, query, *expected):
    try:
        client.query(query)
    except DatabaseError as error:
        for text in expected:
            if text not in str(error):
                raise AssertionError(f"{query!r}: {text!r} is not in {error}") from error
        return
    raise AssertionError(f"{query!r} did not fail")


def errors(url):
    client = connect(url)
    fails(client, "SELECT nonsense FROM", "SYNTAX_ERROR")
    fails(client, "SELECT * FROM nowhere", "60", "UNKNOWN_TABLE")
    fails(client, "SELECT throwIf(1)", "395")
    expect("after errors", client.command("SELECT 1"), 1)
    try:
        with client.query_row_block_stream(
            "SELECT throwIf(number = 3000000) FROM numbers(4000000)", settings={"max_block_size": 1000}
        ) as blocks:
            for _ in blocks:
                pass
    except Exception as error:
        expect("an error in mid-result names its cause", "throwIf" in str(error), True)
    else:
        raise AssertionError("an error in mid-result went unseen")
    client.close()


def at_once(url):
    failures = []

    def work(number):
        try:
            round_trip(url, f"foreign_{number}", ROWS_EACH, ["lz4", "zstd", "gzip", False][number % 4])
            errors(url)
        except Exception as error:
            failures.append(f"connection {number}: {error!r}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise AssertionError("; ".join(failures))


def nested(url):
    """Columns whose data names its types, in the form of the protocol's version that the client asks for."""
    client = connect(url)
    expect("the form of Native", client.protocol_version, 54405)
    sql = """SELECT concat('{"a":', toString(number), ',"b":[1,{"c":"x"}]}')::JSON(a UInt64) AS json,
             if(number % 2 = 0, number::Variant(UInt64, String), 'odd'::Variant(UInt64, String)) AS variant,
             if(number % 2 = 0, number::Dynamic, [toString(number)]::Dynamic) AS dynamic,
             arrayMap(x -> toLowCardinality(toString(x)), range(number % 3)) AS words
             FROM numbers(1000)"""
    rows = client.query(sql, settings={"max_block_size": 100}).result_rows
    expected = [
        (
            {"a": i, "b": [1, {"c": "x"}]},
            "odd" if i % 2 else i,
            [str(i)] if i % 2 else i,
            [str(x) for x in range(i % 3)],
        )
        for i in range(1000)
    ]
    expect("nested types", rows, expected)
    client.close()


def by_pandas(url):
    client = connect(url)
    client.command("DROP TABLE IF EXISTS frames")
    client.command("CREATE TABLE frames (n UInt64, s String, at DateTime64(3, 'UTC')) ENGINE = MergeTree ORDER BY n")
    frame = pandas.DataFrame(
        {
            "n": range(ROWS_EACH),
            "s": [f"line {i}" for i in range(ROWS_EACH)],
            "at": pandas.date_range("2026-01-01", periods=ROWS_EACH, freq="ms", tz="UTC"),
        }
    )
    client.insert_df("frames", frame)
    stored = client.query_df("SELECT * FROM frames ORDER BY n")
    expect("rows of a frame", len(stored), ROWS_EACH)
    for column in ("n", "s", "at"):
        expect(f"column {column} of a frame", list(stored[column]), list(frame[column]))
    client.close()


def by_sqlalchemy(url):
    parts = urlparse(url)
    engine = sqlalchemy.create_engine(
        f"clickhousedb://{parts.username}:{parts.password}@{parts.hostname}:{parts.port}/default"
    )
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text("DROP TABLE IF EXISTS alchemy"))
        connection.execute(
            sqlalchemy.text("CREATE TABLE alchemy (id UInt64, note Nullable(String)) ENGINE = MergeTree ORDER BY id")
        )
        seen = sqlalchemy.inspect(engine)
        expect("a table is seen", "alchemy" in seen.get_table_names() and seen.has_table("alchemy"), True)
        expect("databases are seen", "default" in seen.get_schema_names(), True)
        expect("columns are seen", [column["name"] for column in seen.get_columns("alchemy")], ["id", "note"])
        table = sqlalchemy.Table("alchemy", sqlalchemy.MetaData(), autoload_with=engine)
        rows = [{"id": i, "note": None if i % 3 == 0 else f"it's {i} \\ \n"} for i in range(100)]
        connection.execute(table.insert(), rows)
        found = connection.execute(sqlalchemy.select(table).where(table.c.id >= 90).order_by(table.c.id)).all()
        expect("rows are found", [row._asdict() for row in found], rows[90:])
    engine.dispose()


def main():
    url = sys.argv[1]
    # The client logs what it then raises, and some of what it raises is wanted here.
    logging.disable()
    round_trip(url, "foreign", ROWS, True)
    errors(url)
    at_once(url)
    nested(url)
    by_pandas(url)
    by_sqlalchemy(url)
    print(f"clickhouse-connect {clickhouse_connect.__version__}: {ROWS + CONNECTIONS * ROWS_EACH} rows in and back")


if __name__ == "__main__":
    main()
