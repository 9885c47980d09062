//! The parts of a process. Each is started with settings, shows its health, and adds its stage to the end.

pub mod account;
pub mod accounts;
pub mod aggregation;
pub mod certificates;
pub mod completeness;
pub mod console;
pub mod contact;
pub mod dimensions;
pub mod engine;
pub mod follow;
pub mod ingest;
pub mod journals;
pub mod kafka;
pub mod machine;
pub mod outbound;
pub mod partition_status;
pub mod registry;
pub mod replicas;
pub mod retention;
pub mod shipper;
pub mod store;
pub mod tokens;
