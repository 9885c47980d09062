//! What librdkafka calls back: rebalances, statistics, errors.

use super::workers::{Assigned, Workers};
use rdkafka::{
    ClientContext, Offset, Statistics, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::KafkaError,
    types::RDKafkaRespErr,
};
use std::sync::Mutex;
use whence_kafka::Heard;
use whence_runtime::seldom;

whence_metrics::declare! {
    /// Records of the partitions of this member that it has not read.
    gauge KAFKA_LAG_RECORDS: "whence_kafka_lag_records";
    /// Brokers that the group's client is connected with.
    gauge KAFKA_BROKERS_UP: "whence_kafka_brokers_up";
    /// Partitions assigned or revoked, by kind.
    counter KAFKA_REBALANCES: "whence_kafka_rebalances_total" { kind: ["assign", "revoke"] };
}

/// What a member waits for that has joined no group, or has given its partitions back: it owns nothing.
pub(super) const UNASSIGNED: &str = "its group has not assigned partitions to this member";

/// The group member's side of a rebalance.
pub struct GroupContext {
    pub(super) workers: Workers,
    /// Partitions assigned and paused, for the polling thread to give a queue and a task.
    pub(super) assigned: Mutex<Vec<Assigned>>,
    /// What keeps the group from being joined, for others to see.
    pub(super) heard: Heard,
}

impl ClientContext for GroupContext {
    fn stats(&self, statistics: Statistics) {
        let mut lag = 0;
        for (name, topic) in &statistics.topics {
            let of_topic: i64 =
                topic.partitions.values().map(|partition| partition.consumer_lag.max(0)).sum();
            tracing::trace!(topic = name, lag = of_topic, "consumer lag");
            lag += of_topic;
        }
        metrics::gauge!(KAFKA_LAG_RECORDS).set(lag as f64);
        let up = self.heard.statistics(&statistics);
        metrics::gauge!(KAFKA_BROKERS_UP).set(up as f64);
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.heard.log(facility, message);
        tracing::debug!(?level, facility, "librdkafka: {message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.heard.error(&error, reason);
        seldom!(warn, %error, reason, "kafka client error");
    }
}

impl ConsumerContext for GroupContext {
    /// Overridden to assign paused: nothing may be fetched into the common queue before the partition
    /// has its own. Eager protocols only: every rebalance revokes all partitions and assigns them again.
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        event: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        match event {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.assign(consumer, partitions),
            _ => self.revoke(consumer),
        }
    }
}

impl GroupContext {
    fn assign(&self, consumer: &BaseConsumer<Self>, partitions: &mut TopicPartitionList) {
        let names: Vec<_> =
            partitions.elements().iter().map(|e| (e.topic().to_owned(), e.partition())).collect();
        for (topic, partition) in &names {
            // The worker seeks to its commit before it is resumed.
            let _ = partitions.set_partition_offset(topic, *partition, Offset::Beginning);
        }
        if let Err(error) = consumer.assign(partitions).and_then(|()| consumer.pause(partitions)) {
            tracing::error!(%error, "could not take the assigned partitions; the next rebalance tries again");
            return;
        }
        self.heard.forget();
        metrics::counter!(KAFKA_REBALANCES, "kind" => "assign").increment(1);
        tracing::info!(partitions = names.len(), "partitions assigned");
        let assigned = names.into_iter().map(|(topic, partition)| Assigned { topic, partition });
        self.assigned.lock().expect("nothing panics while it holds the list").extend(assigned);
    }

    /// The polling thread is to give this partition a queue and a task again.
    pub(super) fn take_up(&self, assigned: Assigned) {
        self.assigned.lock().expect("nothing panics while it holds the list").push(assigned);
    }

    fn revoke(&self, consumer: &BaseConsumer<Self>) {
        let ended = self.workers.end_all();
        self.heard.waits(UNASSIGNED);
        // After the last task, which might have asked to be taken up again.
        self.assigned.lock().expect("nothing panics while it holds the list").clear();
        metrics::counter!(KAFKA_REBALANCES, "kind" => "revoke").increment(1);
        tracing::info!(partitions = ended, is_lost = consumer.assignment_lost(), "partitions revoked");
        if let Err(error) = consumer.unassign() {
            tracing::error!(%error, "could not give up the revoked partitions");
        }
    }
}
