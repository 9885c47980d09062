//! The roles: which parts run together in a process, and in which order they end.

pub mod aggregate;
pub mod clickhouse;
pub mod console;
mod facts;
pub mod ingest;
mod keys;
pub mod up;
