//! How a role's clients stand to Kafka while the process runs, in readiness.

use rdkafka::error::KafkaError;
use std::time::{Duration, Instant};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use whence_kafka::attempt::Listener;
use whence_kafka::{Cluster, Heard, Trouble};
use whence_runtime::health::Component;
use whence_schemas::topics::Stream;

use super::ANSWER_MAX;
use crate::failure::Failure;
use crate::process::{Ending, Process};

/// Between looks whether it is all there.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// One broker of several may be the only one with a wrong certificate: so long the others have to answer.
const GRACE: Duration = Duration::from_secs(3);

/// Shows a client's trouble, and ends the process where waiting can't fix it and nothing has worked yet:
/// what has worked before is shown and waited for, since redirects go on without it.
pub struct Shown {
    component: Component,
    ending: Ending,
    has_worked: bool,
    lasting_since: Option<Instant>,
}

impl Shown {
    /// Shows it there.
    pub fn new(component: Component, process: &Process) -> Shown {
        Shown { component, ending: process.ending.clone(), has_worked: false, lasting_since: None }
    }

    /// The client works.
    pub fn works(&mut self) {
        (self.has_worked, self.lasting_since) = (true, None);
        self.component.ready();
    }

    /// The client does not work, for this reason; `otherwise` if there is none.
    pub fn waits(&mut self, trouble: Option<Trouble>, otherwise: &str) {
        let Some(trouble) = trouble else { return self.component.not_ready(otherwise) };
        if trouble.may_heal {
            self.lasting_since = None;
        } else if self.lasting_since.get_or_insert_with(Instant::now).elapsed() >= GRACE && !self.has_worked {
            // Once is enough.
            self.has_worked = true;
            self.ending.fail(Failure::Brokers(trouble.text.clone()));
        }
        self.component.not_ready(trouble.text);
    }
}

/// Keeps `shown` true to whether brokers answer, have both streams' topics and let the group work, until `stop`.
///
/// # Errors
/// librdkafka does not accept its properties.
pub fn watch(
    cluster: &Cluster,
    group: Heard,
    mut shown: Shown,
    stop: CancellationToken,
) -> Result<impl Future<Output = ()> + Send + use<>, KafkaError> {
    let topics = Stream::ALL.map(|stream| cluster.topic(stream.topic()));
    let mut client = Listener::new(cluster)?;
    Ok(async move {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            let topics = topics.clone();
            let asked = tokio::task::spawn_blocking(move || {
                let found = topics.iter().try_for_each(|topic| client.describe(topic, ANSWER_MAX).map(drop));
                (client, found.map_err(|error| error.trouble()))
            });
            let Ok((returned, found)) = asked.await else { return };
            client = returned;
            match found.err().or_else(|| group.last()) {
                None if group.has_begun() => shown.works(),
                // It may be one member more than there are partitions.
                None => shown.component.ready(),
                trouble => shown.waits(trouble, ""),
            }
        }
    })
}
