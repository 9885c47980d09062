//! Edge redirector, events API, webhooks, link registry, shipper.

pub mod api;
pub mod edge;
pub mod edges;
mod host;
pub mod hosts;
pub mod registry;
pub mod ship;
pub mod topics;
pub mod webhooks;
