//! The embedded ClickHouse engine behind the ClickHouse HTTP interface.
