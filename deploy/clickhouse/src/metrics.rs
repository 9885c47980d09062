//! Names of this crate's metrics, and their descriptions.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Requests that ended, by `kind` (`query`, `insert`, `command`, `other`) and `outcome` (`ok`,
/// `exception`, `refused`).
pub const REQUESTS: &str = "whence_engine_requests_total";
/// Time from a request's headers to the end of its statement, by `kind`.
pub const REQUEST_SECONDS: &str = "whence_engine_request_duration_seconds";
/// Requests refused because a bound was reached, by `bound`.
pub const REFUSED: &str = "whence_engine_refused_requests_total";
/// Rows that inserts stored, those of views included.
pub const INSERTED_ROWS: &str = "whence_engine_inserted_rows_total";
/// Bytes of insert bodies, unpacked.
pub const INSERTED_BYTES: &str = "whence_engine_inserted_bytes_total";
/// Insert bodies that did not arrive whole and were dropped before the engine saw a byte.
pub const BROKEN_BODIES: &str = "whence_engine_broken_bodies_total";
/// Statements ended because their client went away or stopped reading.
pub const ABANDONED: &str = "whence_engine_abandoned_queries_total";
/// Memory that request bodies hold at this moment.
pub const BODY_BYTES: &str = "whence_engine_body_bytes";
/// Open connections.
pub const CONNECTIONS: &str = "whence_engine_connections";
/// Idle connections that made room for others, by `kind` (`stranger`, `owner`, `reader`).
pub const EVICTED: &str = "whence_engine_evicted_connections_total";
/// Requests refused before they were read, by `reason` (`host`, `cross_site`, `credentials`).
pub const TURNED_AWAY: &str = "whence_engine_turned_away_requests_total";
/// Statements refused because they are not on the allow-list, by `identity`.
pub const NOT_ALLOWED: &str = "whence_engine_not_allowed_statements_total";
/// Tables and views in the scratch database.
pub const SCRATCH_TABLES: &str = "whence_engine_scratch_tables";
/// Size on disk of the tables in the scratch database, parts that are replaced and not yet gone included.
pub const SCRATCH_BYTES: &str = "whence_engine_scratch_bytes";
/// Memory of the primary keys of the tables in the scratch database.
pub const SCRATCH_KEY_BYTES: &str = "whence_engine_scratch_primary_key_bytes";
/// Tables of the scratch database that were dropped because nobody changed them for too long.
pub const SCRATCH_DROPPED: &str = "whence_engine_scratch_dropped_total";
/// Times the supervised engine process was started again after it ended by itself.
pub const RESTARTS: &str = "whence_engine_restarts_total";
/// Times the supervised engine process ended itself because a statement of the reader went on long after its kill.
pub const STUCK: &str = "whence_engine_stuck_statements_total";
/// 1 while the supervised engine process answers.
pub const UP: &str = "whence_engine_up";

/// Describes every metric to the installed recorder. Call once, after it is installed.
pub fn describe() {
    describe_counter!(REQUESTS, "requests that ended, by kind and outcome");
    describe_histogram!(REQUEST_SECONDS, Unit::Seconds, "time of a request to the end of its statement");
    describe_counter!(REFUSED, "requests refused because a bound was reached");
    describe_counter!(INSERTED_ROWS, "rows stored by inserts, rows of views included");
    describe_counter!(INSERTED_BYTES, Unit::Bytes, "bytes of insert bodies, unpacked");
    describe_counter!(BROKEN_BODIES, "insert bodies that did not arrive whole and were dropped");
    describe_counter!(ABANDONED, "statements ended because their client went away or stopped reading");
    describe_gauge!(BODY_BYTES, Unit::Bytes, "memory that request bodies hold");
    describe_gauge!(CONNECTIONS, "open connections");
    describe_counter!(EVICTED, "idle connections that made room for others, by whose they were");
    describe_counter!(TURNED_AWAY, "requests refused for their host, site or credentials");
    describe_counter!(NOT_ALLOWED, "statements refused because they are not on the allow-list");
    describe_gauge!(SCRATCH_TABLES, "tables and views in the scratch database");
    describe_gauge!(SCRATCH_BYTES, Unit::Bytes, "size of the tables in the scratch database");
    describe_gauge!(
        SCRATCH_KEY_BYTES,
        Unit::Bytes,
        "memory of primary keys of the tables in the scratch database"
    );
    describe_counter!(SCRATCH_DROPPED, "tables of the scratch database dropped for their age");
    describe_counter!(RESTARTS, "restarts of the engine process after it ended by itself");
    describe_counter!(
        STUCK,
        "statements of the reader that did not end, so that the engine process was started again"
    );
    describe_gauge!(UP, "1 while the engine process answers");
}
