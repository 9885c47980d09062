//! Time for lingering and backing off. Nothing that is stored depends on it.

use std::{future::Future, time::Duration};

/// A clock that can be waited on.
pub trait Clock: Send + Sync {
    /// Time since some fixed moment; never goes back.
    fn elapsed(&self) -> Duration;

    /// Returns after this time.
    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send;
}
