//! Kafka as the [`Source`](crate::source::Source): a consumer group whose members work their partitions
//! one by one.
//!
//! One thread polls the group and serves rebalances. A partition that is assigned gets a queue and a
//! task of its own; a partition that is revoked has its task ended before the revocation returns, so that
//! nobody commits for what is somebody else's. A process that was frozen meanwhile is fenced by the
//! coordinator at its first commit.
//!
//! A topic's incarnation is its topic id, which the broker generates with each creation.

mod commits;
mod context;
pub mod edges;
mod group;
mod outbox;
mod settings;
mod source;
mod workers;

pub use commits::{CommitsError, commits};
pub use group::{run, try_clients};
pub use settings::GroupSettings;
pub use source::read_commit;
