//! Edge redirector, events API, link registry, shipper.
