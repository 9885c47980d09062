//! What leaves whence: messages about leads and rewards, as signed webhooks (Standard Webhooks) to the endpoints
//! of their programs, and as Protobuf records on the topic `whence.facts`.
//!
//! | module | what it does | I/O |
//! |---|---|---|
//! | [`message`] | a message, as JSON body and as Protobuf record | none |
//! | [`sign`] | signatures by the Standard Webhooks specification | none |
//! | [`retry`] | when to try again, and when to give up | none |
//! | [`queue`] | the messages of one endpoint: one of a lead at a time, in order | none |
//! | [`client`] | one request, bounded in every way | HTTP |
//! | [`tables`] | messages, the delivery log, checkpoints | ClickHouse |
//! | [`reader`] | from the table into a queue, from a checkpoint on | through [`tables`] |
//! | [`delivery`] | the loop that delivers what a partition announces | through the above |
//! | [`status`] | what keeps messages from leaving, told | none |
//! | [`once`] | messages that somebody sends now, and waits for | through the above |
//! | [`topic`] | the loop that writes it to the topic | Kafka |
//!
//! All of it runs beside the loop of a partition, where that is owned ([`Outbound::companion`]), and reads only what
//! that has stored for good. At least once: a receiver tells a message that comes twice by its id.
//!
//! Architecture invariant: nothing here decides what a message says; it reads what is stored, and writes nothing but
//! its own log.

pub mod client;
pub mod delivery;
mod directory;
pub mod message;
pub mod metrics;
pub mod once;
pub mod queue;
pub mod reader;
pub mod retry;
mod settings;
pub mod sign;
pub mod status;
pub mod tables;
pub mod topic;

pub use directory::Directory;
pub use settings::{DeliverySettings, ReachSettings};

use client::Caller;
use status::OutboundStatus;
use std::sync::Arc;
use tables::Tables;
use topic::FactsTopic;
use whence_aggregator::work::{Companion, Owned};
use whence_schemas::{outgoing::Reach, time::UnixMs};

/// Tells the time. Nothing is waited for longer than a second without asking it again.
pub type Now = Arc<dyn Fn() -> UnixMs + Send + Sync>;

/// Everything that is needed to send.
pub struct Outbound {
    /// Bounds and times.
    pub settings: DeliverySettings,
    /// Which addresses are called.
    pub reach: Reach,
    /// Where messages and the log are.
    pub tables: Tables,
    /// Endpoints and secrets.
    pub directory: Arc<dyn Directory>,
    /// The topic of facts; none without Kafka.
    pub topic: Option<FactsTopic>,
    /// When messages are due and given up: [`machine_time`].
    pub now: Now,
    /// Where it is told what keeps messages from leaving.
    pub status: OutboundStatus,
}

impl Outbound {
    /// What runs beside each partition of conversions.
    #[must_use]
    pub fn companion(self) -> Companion {
        let caller = Arc::new(Caller::new(self.settings.call_limits(self.reach)));
        let outbound = Arc::new(self);
        Arc::new(move |owned: Owned| {
            let (outbound, caller) = (Arc::clone(&outbound), Arc::clone(&caller));
            Box::pin(async move {
                let Owned { partition, stored, stop } = owned;
                let delivery = delivery::run(&outbound, caller, partition, stored.clone(), stop.clone());
                let publish = async {
                    if let Some(topic) = &outbound.topic {
                        topic::run(&outbound, topic, partition, stored, stop).await;
                    }
                };
                tokio::join!(delivery, publish);
            })
        })
    }
}

/// The machine's time.
#[must_use]
pub fn machine_time() -> UnixMs {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    UnixMs(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
