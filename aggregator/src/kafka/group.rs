//! The group's thread and the tasks of its partitions.

use super::{
    context::{GroupContext, UNASSIGNED},
    outbox::KafkaOutbox,
    settings::GroupSettings,
    source::PartitionSource,
    workers::{Assigned, Workers},
};
use crate::{
    partition::LoopSettings,
    position::Partition,
    store::Store,
    work::{Companion, Stop, work, work_and_sweep},
};
use futures_util::FutureExt as _;
use rdkafka::{
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
};
use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::{runtime::Handle, sync::Notify};
use uuid::Uuid;
use whence_kafka::Trouble;
use whence_runtime::seldom;
use whence_schemas::{ids::Incarnation, token::KeyRing, topics::Stream};

whence_metrics::declare! {
    /// Times another process has taken the place of this member.
    counter KAFKA_FENCED: "whence_kafka_fenced_total";
}

/// A partition whose task panicked is taken up again after this.
const AGAIN: Duration = Duration::from_secs(1);

/// A member that was fenced joins again after this; doubles while it does not last.
const REJOIN_FIRST: Duration = Duration::from_secs(1);
const REJOIN_MAX: Duration = Duration::from_secs(30);

/// Why the group could not be joined, or was left.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    /// librdkafka refused the settings or the subscription.
    #[error("can't join the consumer group")]
    Kafka(#[from] KafkaError),
    /// Another process has joined under this member's name, which counts from then on.
    #[error(
        "another process has taken the place of the member {0}: each aggregator needs a kafka-member of its own"
    )]
    Fenced(String),
    /// The client can't go on.
    #[error("the consumer group's client ended: {0}")]
    Fatal(String),
    /// No thread could be had.
    #[error("can't start the polling thread")]
    Thread(#[from] std::io::Error),
}

/// Builds the clients that [`run`] would, and gives them up: whether librdkafka accepts their properties.
///
/// # Errors
/// librdkafka does not accept one of the properties.
pub fn try_clients(settings: &GroupSettings) -> Result<(), KafkaError> {
    settings.config().create::<BaseConsumer>()?;
    let conversions = settings.topics.iter().find(|(stream, _)| *stream == Stream::Conversions);
    conversions.map_or(Ok(()), |(_, topic)| KafkaOutbox::new(settings, topic).map(drop))
}

/// Joins the group and works what it is assigned until `stop`; returns when every block in flight is
/// finished or left; `companion` runs beside each partition of conversions. Must be called within a
/// multi-threaded runtime.
///
/// A member whose name another process has taken joins again: during a restart both are there for a while. Two that
/// keep the same name take it from each other ever more seldom.
pub async fn run<S: Store + Clone + 'static>(
    settings: GroupSettings,
    store: S,
    companion: Option<Companion>,
    loop_settings: LoopSettings,
    keys: Arc<KeyRing>,
    stop: Stop,
) -> Result<(), GroupError> {
    let mut pause = REJOIN_FIRST;
    loop {
        let begun = Instant::now();
        let joined = join(&settings, &store, companion.as_ref(), loop_settings, &keys, &stop).await;
        let Err(error @ GroupError::Fenced(_)) = joined else { return joined };
        metrics::counter!(KAFKA_FENCED).increment(1);
        if begun.elapsed() > REJOIN_MAX {
            pause = REJOIN_FIRST;
        }
        tracing::warn!(?pause, "{error}; joining again");
        settings.heard.stuck(Trouble::passing(error.to_string()));
        if stop.after_block.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return Ok(());
        }
        pause = (pause * 2).min(REJOIN_MAX);
    }
}

/// One membership.
async fn join<S: Store + Clone + 'static>(
    settings: &GroupSettings,
    store: &S,
    companion: Option<&Companion>,
    loop_settings: LoopSettings,
    keys: &Arc<KeyRing>,
    stop: &Stop,
) -> Result<(), GroupError> {
    let workers = Workers {
        runtime: Handle::current(),
        revoke_timeout: settings.revoke_timeout,
        owned: Arc::default(),
    };
    let heard = settings.heard.clone();
    heard.waits(UNASSIGNED);
    let context = GroupContext { workers: workers.clone(), assigned: Mutex::default(), heard };
    let consumer: Arc<BaseConsumer<GroupContext>> = Arc::new(settings.config().create_with_context(context)?);
    let topics: Vec<&str> = settings.topics.iter().map(|(_, topic)| topic.as_str()).collect();
    consumer.subscribe(&topics)?;
    let conversions = settings.topics.iter().find(|(stream, _)| *stream == Stream::Conversions);
    let outbox = conversions.map(|(_, topic)| KafkaOutbox::new(settings, topic)).transpose()?.map(Arc::new);
    let member = Member {
        outbox,
        companion: companion.cloned(),
        settings: settings.clone(),
        consumer,
        workers,
        store: store.clone(),
        loop_settings,
        keys: keys.clone(),
        stop: stop.clone(),
    };
    let (ended, end) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().name("whence-group".into()).spawn(move || {
        let _ = ended.send(member.poll_until_stopped());
    })?;
    end.await.unwrap_or_else(|_| Err(GroupError::Fatal("its thread panicked".into())))
}

struct Member<S> {
    settings: GroupSettings,
    consumer: Arc<BaseConsumer<GroupContext>>,
    workers: Workers,
    store: S,
    loop_settings: LoopSettings,
    keys: Arc<KeyRing>,
    stop: Stop,
    /// Where timers go; none without a topic of conversions.
    outbox: Option<Arc<KafkaOutbox>>,
    companion: Option<Companion>,
}

impl<S: Store + Clone + 'static> Member<S> {
    fn poll_until_stopped(self) -> Result<(), GroupError> {
        const POLL: Duration = Duration::from_millis(100);
        let mut ended = Ok(());
        while !self.stop.after_block.is_cancelled() && ended.is_ok() {
            match self.consumer.poll(POLL) {
                None => {}
                Some(Err(error)) => {
                    seldom!(warn, %error, "polling the consumer group failed");
                    if let Some((code, reason)) = self.consumer.client().fatal_error() {
                        ended = Err(match code {
                            RDKafkaErrorCode::FencedInstanceId => {
                                GroupError::Fenced(self.settings.member.clone())
                            }
                            _ => GroupError::Fatal(reason),
                        });
                    } else if let Some(code) = error.rdkafka_error_code() {
                        self.settings.heard.refused(code, &self.settings.group);
                    }
                }
                // Paused until it has a queue of its own, no partition gives records here.
                Some(Ok(_)) => {
                    tracing::error!("a record came before its partition had a queue; it will come again")
                }
            }
            let assigned = {
                let mut list =
                    self.consumer.context().assigned.lock().expect("nothing panics while it holds the list");
                std::mem::take(&mut *list)
            };
            assigned.into_iter().for_each(|assigned| self.employ(assigned));
        }
        self.workers.end_all();
        self.consumer.unsubscribe();
        ended
    }

    /// Gives an assigned partition its queue and its task.
    fn employ(&self, assigned: Assigned) {
        let again = assigned.clone();
        let Assigned { topic, partition } = assigned;
        let Some((stream, _)) = self.settings.topics.iter().find(|(_, name)| *name == topic) else { return };
        let number = u32::try_from(partition).expect("Kafka assigns partitions from 0");
        let Some(mut queue) = self.consumer.split_partition_queue(&topic, partition) else {
            tracing::error!(topic, partition, "the assigned partition has no queue");
            return;
        };
        let filled = Arc::new(Notify::new());
        let notify = filled.clone();
        queue.set_nonempty_callback(move || notify.notify_one());
        let (stream, stop) = (*stream, self.stop.child());
        let source = PartitionSource {
            consumer: self.consumer.clone(),
            queue,
            filled,
            topic,
            partition: Partition { stream, number },
            incarnation: Incarnation(Uuid::nil()),
            partitions: 0,
            heard: self.settings.heard.clone(),
            has_told: false.into(),
            next: 0,
            is_paused: true,
        };
        let (store, settings, keys, stops) =
            (self.store.clone(), self.loop_settings, self.keys.clone(), stop.clone());
        let outbox = self.outbox.clone().filter(|_| stream == Stream::Conversions);
        let (consumer, companion) = (self.consumer.clone(), self.companion.clone());
        let task = self.workers.runtime.spawn(async move {
            let released = stops.after_block.clone();
            let worked = AssertUnwindSafe(async {
                match outbox {
                    Some(outbox) => {
                        let companion = companion.as_ref();
                        work_and_sweep(source, &store, &*outbox, companion, settings, keys, stops).await;
                    }
                    None => work(source, &store, settings, keys, stops).await,
                }
            });
            if worked.catch_unwind().await.is_ok() {
                return;
            }
            // A defect, and no reason to leave the partition to nobody: it gets a new queue and a new task.
            metrics::counter!(crate::work::PARTITION_RESTARTS, "stream" => stream.word(), "kind" => "panic")
                .increment(1);
            tracing::error!(topic = again.topic, partition = again.partition, "a partition's task panicked");
            if released.run_until_cancelled(tokio::time::sleep(AGAIN)).await.is_some() {
                consumer.context().take_up(again);
            }
        });
        self.workers.add(stop, task);
    }
}
