//! From records to facts: consume, deduplicate, join, insert, commit. The pure core is [`whence_decisions`]; here is what it
//! runs on.
//!
//! | module | what it does | I/O |
//! |---|---|---|
//! | [`journal`], [`kafka`] | where records come from and where events of the aggregator's own go | files; Kafka |
//! | [`clickhouse`] | the store: look-ups, inserts, migrations | ClickHouse |
//! | [`account`] | whether what is stored adds up with the account of the blocks | ClickHouse |
//! | [`retention`] | what is past its age is dropped or blanked | ClickHouse |
//! | [`sweep`] | sends timers for rewards that are due | through the store and an outbox |
//! | `unlink` | the keys of persons who were forgotten cease to lead to events | through the store |
//! | [`servers`] | ClickHouse's servers, one or several, over TCP or TLS: every client of them is made here | clients |
//! | [`partition_status`] | how each partition of the process does | none |
//! | [`work`] | the partitions of a process, each in its loop | – |

pub mod account;
pub mod clickhouse;
pub mod journal;
pub mod kafka;
pub mod metrics;
pub mod partition_status;
pub mod retention;
pub mod servers;
pub mod sweep;
mod unlink;
pub mod work;

pub use whence_decisions::{
    click, clock, completeness, conversion, filter, partition, pause, position, refusal, reward, source,
    store,
};

use whence_decisions::chain;
