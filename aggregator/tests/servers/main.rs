//! ClickHouse's servers as whence reaches them: which is asked, what makes it ask another, and what is said when none
//! answers. Over real connections to twins that speak HTTP and TLS, and answer as they are told.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail the test")]

mod certificates;
mod tls;
mod turns;
mod twin;
