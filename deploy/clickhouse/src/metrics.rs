//! This crate's metrics.

whence_metrics::declare! {
    /// Requests that ended, by `kind` (`query`, `insert`, `command`, `other`) and `outcome` (`ok`,
    /// `exception`, `refused`).
    counter REQUESTS: "whence_engine_requests_total" { kind, outcome };
    /// Time from a request's headers to the end of its statement, by `kind`.
    histogram REQUEST_SECONDS: "whence_engine_request_duration_seconds" { kind };
    /// Requests refused because a bound was reached, by `bound`.
    counter REFUSED: "whence_engine_refused_requests_total" { bound };
    /// Rows that inserts stored, those of views included.
    counter INSERTED_ROWS: "whence_engine_inserted_rows_total";
    /// Bytes of insert bodies, unpacked.
    counter INSERTED_BYTES: "whence_engine_inserted_bytes_total";
    /// Insert bodies that did not arrive whole and were dropped before the engine saw a byte.
    counter BROKEN_BODIES: "whence_engine_broken_bodies_total";
    /// Statements ended because their client went away or stopped reading.
    counter ABANDONED: "whence_engine_abandoned_queries_total";
    /// Memory that request bodies hold at this moment.
    gauge BODY_BYTES: "whence_engine_body_bytes";
    /// Open connections.
    gauge CONNECTIONS: "whence_engine_connections";
    /// Idle connections that made room for others, by `kind` (`stranger`, `owner`, `reader`).
    counter EVICTED: "whence_engine_evicted_connections_total" { kind };
    /// Requests refused before they were read, by `reason` (`host`, `cross_site`, `credentials`).
    counter TURNED_AWAY: "whence_engine_turned_away_requests_total" { reason };
    /// Statements refused because they are not on the allow-list, by `identity`.
    counter NOT_ALLOWED: "whence_engine_not_allowed_statements_total" { identity };
    /// Tables and views in the scratch database.
    gauge SCRATCH_TABLES: "whence_engine_scratch_tables";
    /// Size on disk of the tables in the scratch database, parts that are replaced and not yet gone included.
    gauge SCRATCH_BYTES: "whence_engine_scratch_bytes";
    /// Memory of the primary keys of the tables in the scratch database.
    gauge SCRATCH_KEY_BYTES: "whence_engine_scratch_primary_key_bytes";
    /// Tables of the scratch database that were dropped because nobody changed them for too long.
    counter SCRATCH_DROPPED: "whence_engine_scratch_dropped_total";
    /// Times the supervised engine process was started again after it ended by itself.
    counter RESTARTS: "whence_engine_restarts_total";
    /// Times the supervised engine process ended itself because a statement of the reader went on long after its kill.
    counter STUCK: "whence_engine_stuck_statements_total";
    /// 1 while the supervised engine process answers.
    gauge UP: "whence_engine_up";
}
