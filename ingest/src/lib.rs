//! Edge redirector, events API, link registry, shipper.

pub mod api;
pub mod edge;
pub mod registry;
pub mod ship;
pub mod topics;
