//! Clients of Kafka: which cluster, what whence owns of librdkafka's properties, and what brokers say in words.
//!
//! | module | role |
//! |---|---|
//! | [`cluster`] | where Kafka is, and the one place where a client's properties are put together |
//! | [`properties`] | which properties an operator may give, and whose the others are |
//! | [`trouble`] | what librdkafka and brokers say, as a sentence, and whether waiting may fix it |
//! | `certificate` | why a broker's certificate is not accepted |
//! | [`describe`] | a topic as its brokers see it: id, partitions, copies, what this user may do |
//! | [`attempt`] | tries on the brokers what a client will need |
//!
//! It must not know what whence sends: no topic's name, record or key appears here.

pub mod attempt;
mod certificate;
pub mod cluster;
pub mod describe;
pub mod properties;
pub mod trouble;

pub use cluster::Cluster;
pub use trouble::{Heard, Trouble};
