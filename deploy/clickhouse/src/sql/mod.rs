//! As much SQL as a server must see from outside the engine: what kind of statement a text is, where
//! its `FORMAT` clause stands, where an insert's rows begin, and what may not be asked here at all.
//!
//! The engine parses everything again; this module only finds places. It knows nothing of HTTP and
//! nothing of the engine.

mod guard;
mod statement;
mod tokens;

pub use guard::check_values;
pub use statement::{Insert, Output, Statement, parse};
