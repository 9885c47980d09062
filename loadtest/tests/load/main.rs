//! The generator, its oracle and the scenarios of faults, over the pipeline itself.

#![allow(clippy::unwrap_used, reason = "helpers of tests are no tests to the lint")]

mod common;
mod engine;
mod faults;
mod generator;
mod oracle;
