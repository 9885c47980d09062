//! The contract between whence's processes and with everybody who reads their topics and tables.
//!
//! | module | what it says |
//! |---|---|
//! | [`ids`] | program, referrer, link and channel names; click and event ids; positions |
//! | [`time`] | milliseconds since the epoch, the only clock reading that is ever stored |
//! | [`token`] | the click token (`wclid`): mint, verify, key rotation |
//! | [`subject`] | keyed hashes of lead ids and aliases, and how aliases are normalised |
//! | [`address`] | keyed hashes of addresses and visitors |
//! | [`money`] | amounts as whole minor units, and the currencies |
//! | [`digest`] | what tells another event under an id from the same |
//! | [`event`] | the records of the topics, from `proto/`, and their one codec |
//! | [`topics`] | topic names, record keys |
//! | [`outgoing`] | which addresses messages may be sent to |
//! | [`message`] | what is announced to others: types of messages |
//! | [`reject`] | why a record becomes no fact |
//! | [`reward`] | reward terms: what may stand in them; reward ids |
//! | [`rows`] | the rows of the ClickHouse tables and their RowBinary encoding |
//! | [`sql`] | migrations and report views, rendered for one server or a cluster |
//!
//! Architecture invariant: nothing here does I/O, reads a clock or knows tokio, rdkafka, hyper or
//! the ClickHouse client. Everything here is deterministic: the same input gives the same bytes.

pub mod address;
pub mod digest;
pub mod event;
pub mod history;
pub mod ids;
pub mod message;
pub mod money;
pub mod outgoing;
pub mod reject;
pub mod reward;
pub mod rows;
pub mod sql;
pub mod subject;
pub mod time;
pub mod token;
pub mod topics;
