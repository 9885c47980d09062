//! For tests only: embedded engines as the replicas of a real ClickHouse cluster.
//!
//! The library honours a configuration with Keeper, macros and clusters, and lacks three things that a server has: an
//! address under which its parts are fetched, somebody who gives them, and the worker of statements `ON CLUSTER`. They
//! are here, so that Replicated tables, quorums, mutations and their errors are ClickHouse's own.
//!
//! | module | what it is |
//! |---|---|
//! | [`patch`] | tells the library the address |
//! | `parts`, `hash` | gives parts to the other replicas |
//! | `front`, `rewrite` | statements on a cluster |
//! | [`replica`] | one replica: all of that in a process |
//! | [`keeper`] | Debian's ZooKeeper as a child |
//! | [`proxy`] | loses a replica's transactions on their way to Keeper |
//! | [`cluster`] | a cluster of processes for a test, which it kills, freezes and starts again |
//!
//! Nothing of whence depends on this, and it is in no release: these engines are not confined, and their list of
//! statements is longer.

mod asking;
pub mod cluster;
mod front;
mod hash;
pub mod keeper;
mod parts;
pub mod patch;
pub mod proxy;
pub mod replica;
mod rewrite;
pub mod tie;
