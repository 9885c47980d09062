//! Readiness of the aggregator's partitions, each a component of its own while this process works it.

use std::collections::BTreeMap;
use std::time::Duration;

use metrics::{Gauge, gauge};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use whence_aggregator::partition_status;
use whence_aggregator::position::Partition;
use whence_runtime::health::{Component, Health};

whence_metrics::declare! {
    /// Time since all records of a partition were stored: how far it is behind.
    gauge PARTITION_BEHIND_SECONDS: "whence_partition_behind_seconds" { stream, partition };
}

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Shows each partition as a component `aggregator.clicks-3`, until `stop`.
pub async fn watch(health: Health, stop: CancellationToken) {
    let mut shown: BTreeMap<Partition, Component> = BTreeMap::new();
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let found = partition_status::partitions();
        let is_gone = |partition: &Partition| found.iter().all(|status| status.partition != *partition);
        for (partition, component) in shown.extract_if(.., |partition, _| is_gone(partition)) {
            // A gauge can't be taken back, and somebody else's partition is not behind here.
            behind(partition).set(0.0);
            component.remove();
        }
        for status in found {
            let Partition { stream, number } = status.partition;
            let component = shown
                .entry(status.partition)
                .or_insert_with(|| health.component(format!("aggregator.{}-{number}", stream.word())));
            match status.trouble {
                None => component.ready(),
                Some(reason) => component.not_ready(reason),
            }
            if let Some(time) = status.behind {
                behind(status.partition).set(time.as_secs_f64());
            }
        }
    }
}

fn behind(partition: Partition) -> Gauge {
    let Partition { stream, number } = partition;
    let labels = [("stream", stream.word().to_owned()), ("partition", number.to_string())];
    gauge!(PARTITION_BEHIND_SECONDS, &labels)
}
