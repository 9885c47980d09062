//! Edge redirector, events API, link registry, shipper.

pub mod registry;
