//! The shipper while Kafka misbehaves: a real broker that freezes, is killed and comes back, and a mock
//! cluster that answers with errors.

use std::time::Duration;

use crate::ship_support::*;
use rdkafka::mocking::MockCluster;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use whence_ingest::ship::{Connection, ShipConfig};
use whence_kafka::Cluster;
use whence_schemas::topics::Stream;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kafka {
    Real,
    Mock,
}

/// Appends a hundred clicks and a hundred events at a time, numbered through.
struct Traffic {
    clicks: Source,
    conversions: Source,
    next: u64,
}

impl Traffic {
    fn into(root: &tempfile::TempDir, name: &str) -> Traffic {
        Traffic {
            clicks: Source::open(root, &format!("{name}-clicks"), Stream::Clicks),
            conversions: Source::open(root, &format!("{name}-conversions"), Stream::Conversions),
            next: 0,
        }
    }

    fn flow(&mut self) {
        for number in self.next..self.next + 100 {
            self.clicks.append(&click(number));
            self.conversions.append(&conversion(["alpha", "beta"][number as usize % 2], number));
        }
        self.next += 100;
    }

    /// Nothing is lost, and the checkpoint is the end. Of a real broker also: first occurrences of a
    /// program's events are in order, and nothing is repeated but what the shipper says it sent again. The
    /// mock does not look at sequence numbers, so the client's own retries are stored twice there.
    fn assert_arrived(&self, cluster: &Cluster, kafka: Kafka) {
        let clicks = arrived(cluster, Stream::Clicks);
        let mut numbers = first_numbers(&clicks, click_number).concat();
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(0..self.next), "every click is there");
        let events = arrived(cluster, Stream::Conversions);
        let partitions = first_numbers(&events, event_number);
        assert_eq!(partitions.concat().len() as u64, self.next, "every event is there");
        for (arrived, source) in [(&clicks, &self.clicks), (&events, &self.conversions)] {
            assert_eq!(source.checkpoint().unwrap().position.offset, self.next, "the checkpoint is the end");
            if kafka == Kafka::Mock {
                continue;
            }
            let repeated = arrived.len() as f64 - self.next as f64;
            let resent = metric("whence_ship_resent_records_total", source);
            assert!(repeated <= resent, "{repeated} repetitions, {resent} counted");
        }
        if kafka == Kafka::Real {
            assert!(partitions.iter().all(|events| events.is_sorted()), "events are in the journal's order");
        }
    }
}

#[tokio::test]
async fn a_broker_that_freezes_and_one_that_is_killed_cost_no_record_and_no_order() {
    let broker = Broker::start();
    let cluster = cluster_at(&broker.address);
    make_topics(&cluster, 2, &[]).await;
    let root = tempfile::tempdir().unwrap();
    let mut traffic = Traffic::into(&root, "outage");
    let patient = ShipConfig { drain_max: DEADLINE, ..config(&cluster) };
    // The freeze outlasts the client's patience with a request, so that what is on its way is sent again.
    let mut impatient = patient.clone();
    impatient.cluster.properties.insert("socket.timeout.ms".into(), "1000".into());
    impatient.stall_max = Duration::from_secs(2);
    let shipping = Shipping::start(impatient, &[&traffic.clicks, &traffic.conversions]);
    traffic.flow();
    let is_idle = |traffic: &Traffic| {
        metric("whence_ship_acknowledged_records_total", &traffic.clicks) >= traffic.next as f64
            && metric("whence_ship_acknowledged_records_total", &traffic.conversions) >= traffic.next as f64
    };
    eventually("the first records arrive", || is_idle(&traffic)).await;

    broker.pause();
    let before = replacements("stalled");
    eventually("the client is replaced", || {
        traffic.flow();
        replacements("stalled") > before
    })
    .await;
    // The next one sends nothing before it has seen the topics.
    eventually("the freeze shows", || shipping.handle().status().connection != Connection::Up).await;
    broker.resume();
    eventually("what was held up arrives", || is_idle(&traffic)).await;

    traffic.flow();
    broker.kill();
    for _ in 0..10 {
        traffic.flow();
    }
    eventually("the outage shows", || shipping.handle().status().connection == Connection::Away).await;
    let open = shipping.handle().status().in_flight_records;
    assert!(open <= 200_000, "what waits in memory is bounded");
    broker.start_again();
    eventually("what waited arrives", || is_idle(&traffic)).await;
    assert_eq!(shipping.handle().status().connection, Connection::Up);

    traffic.flow();
    assert!(shipping.stop().await.is_drained);
    traffic.assert_arrived(&cluster, Kafka::Real);
}

/// How often the client was replaced for this reason, in this process.
fn replacements(reason: &str) -> f64 {
    let name = format!("whence_ship_client_replacements_total{{reason=\"{reason}\"}} ");
    let text = metrics().render();
    text.lines().find_map(|line| line.strip_prefix(&name)).map_or(0.0, |value| value.parse().unwrap())
}

fn mocked(cluster: &Cluster) -> ShipConfig {
    ShipConfig { confirms_topics: false, ..config(cluster) }
}

fn mock() -> (MockCluster<'static, rdkafka::producer::DefaultProducerContext>, Cluster) {
    let mock = MockCluster::new(1).unwrap();
    let cluster = cluster_at(&mock.bootstrap_servers());
    for stream in Stream::ALL {
        mock.create_topic(&cluster.topic(stream.topic()), 2, 1).unwrap();
    }
    (mock, cluster)
}

#[tokio::test]
async fn errors_that_pass_are_retried_by_the_client_itself() {
    let (mock, cluster) = mock();
    let root = tempfile::tempdir().unwrap();
    let mut traffic = Traffic::into(&root, "passing");
    let shipping = Shipping::start(mocked(&cluster), &[&traffic.clicks, &traffic.conversions]);
    for error in [
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR__TRANSPORT,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
    ] {
        mock.request_errors(RDKafkaApiKey::Produce, &[error]);
        traffic.flow();
        let expected = traffic.next as f64;
        eventually("the records arrive", || {
            metric("whence_ship_acknowledged_records_total", &traffic.clicks) >= expected
                && metric("whence_ship_acknowledged_records_total", &traffic.conversions) >= expected
        })
        .await;
    }
    assert!(shipping.stop().await.is_drained);
    assert_eq!(metric("whence_ship_resent_records_total", &traffic.clicks), 0.0);
    traffic.assert_arrived(&cluster, Kafka::Mock);
}

/// Errors after which librdkafka gives records or itself up.
#[tokio::test]
async fn errors_that_do_not_pass_replace_the_client_and_cost_no_record() {
    let (mock, cluster) = mock();
    let root = tempfile::tempdir().unwrap();
    let mut traffic = Traffic::into(&root, "lasting");
    let shipping = Shipping::start(mocked(&cluster), &[&traffic.clicks, &traffic.conversions]);
    for error in [
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_REQUIRED_ACKS,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
    ] {
        mock.request_errors(RDKafkaApiKey::Produce, &[error]);
        traffic.flow();
        let expected = traffic.next as f64;
        eventually("the records arrive", || {
            metric("whence_ship_acknowledged_records_total", &traffic.clicks) >= expected
                && metric("whence_ship_acknowledged_records_total", &traffic.conversions) >= expected
        })
        .await;
    }
    assert!(replacements("failed_records") >= 1.0);
    assert!(replacements("rejected_batch") >= 1.0);
    assert!(shipping.stop().await.is_drained);
    traffic.assert_arrived(&cluster, Kafka::Mock);
}

#[tokio::test]
async fn a_cluster_that_is_down_at_the_start_gets_everything_once_it_is_up() {
    // A real one: the mock aborts the process if its port was taken while it was down.
    let broker = Broker::start();
    let cluster = cluster_at(&broker.address);
    make_topics(&cluster, 2, &[]).await;
    broker.kill();
    let root = tempfile::tempdir().unwrap();
    let mut traffic = Traffic::into(&root, "down");
    let shipping = Shipping::start(config(&cluster), &[&traffic.clicks, &traffic.conversions]);
    traffic.flow();
    eventually("the outage shows", || shipping.handle().status().connection == Connection::Away).await;
    broker.start_again();
    assert!(shipping.stop().await.is_drained);
    traffic.assert_arrived(&cluster, Kafka::Real);
}
