//! The contract: ids, click token, events, codec, topics, ClickHouse rows.
