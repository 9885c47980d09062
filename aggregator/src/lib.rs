//! Consumer, dedup, join, rules, ClickHouse writer.
