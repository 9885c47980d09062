//! The events API, with webhooks and the calls for the registry. The crates that it stands on are shown as modules: one
//! process has all of them.

pub mod api;
pub mod hosts;

pub use whence_edge as edge;
pub use whence_registry as registry;
pub use whence_ship::{self as ship, edges, topics};
pub use whence_webhooks as webhooks;
