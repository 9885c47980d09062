//! The embedded ClickHouse engine behind the ClickHouse HTTP interface.
//!
//! `libchdb` is the ClickHouse engine as one shared library, without a listener. This crate loads it
//! at run time and answers as a ClickHouse server's HTTP port does, so that the same clients, and the
//! same code, work against it and against a cluster.
//!
//! | module | role |
//! |---|---|
//! | [`engine`] | the library, the data folder, a session per statement |
//! | `sql` | finds clauses, refuses what must not be asked |
//! | `codec` | compression of bodies |
//! | `http` | the interface |
//! | [`supervise`] | runs a server as a child process and starts it again |
//! | [`listener`] | the socket a parent hands to its child |
//! | [`library`] | where the engine library is |
//! | [`metrics`] | names of metrics |
//! | `testing` | a server for another crate's tests (feature `testing`) |
//!
//! It must not know what whence stores: no table, topic or event appears here.

mod child;
mod codec;
mod config;
pub mod engine;
mod http;
pub mod library;
pub mod listener;
pub mod metrics;
mod sql;
pub mod supervise;
#[cfg(feature = "testing")]
pub mod testing;

pub use config::{ServerConfig, ServerLimits};
pub use engine::EngineLimits;
pub use http::{ServeError, serve};
