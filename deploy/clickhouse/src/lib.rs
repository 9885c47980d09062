//! The embedded ClickHouse engine behind the ClickHouse HTTP interface.
//!
//! `libchdb` is the ClickHouse engine as one shared library, without a listener. This crate loads it
//! at run time and answers as a ClickHouse server's HTTP port does, so that the same clients, and the
//! same code, work against it and against a cluster.
//!
//! | module | role |
//! |---|---|
//! | [`engine`] | the library, the data folder, a session per statement |
//! | [`rights`] | who asks, and the engine's roles |
//! | `scratch` | what the reader's own tables may take |
//! | `sql` | finds clauses; the allow-list of what may be asked |
//! | `codec` | compression of bodies |
//! | `native` | format `Native` for clients of a protocol version |
//! | `http` | the interface |
//! | [`confine`] | takes from this process what it does not need |
//! | [`passwords`] | passwords that are made at the first start |
//! | `pulse` | how a supervisor asks its child |
//! | `watchdog` | ends the process when a statement of the reader does not end |
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
pub mod confine;
pub mod engine;
mod http;
pub mod library;
pub mod listener;
pub mod metrics;
mod native;
pub mod passwords;
mod pulse;
pub mod rights;
mod scratch;
mod sql;
pub mod still;
pub mod supervise;
#[cfg(feature = "testing")]
pub mod testing;
mod watchdog;

pub use config::{Account, ScratchLimits, ServerConfig, ServerLimits};
pub use engine::EngineLimits;
pub use http::{ServeError, serve, serve_and_tell};
