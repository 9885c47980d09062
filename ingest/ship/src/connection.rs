//! Whether Kafka is there, as librdkafka sees it.
//!
//! One broker that is away is not "away": librdkafka says so itself, by an error of its own, once no
//! broker is left. An acknowledgement or a connected broker in the statistics says the contrary.

use std::sync::atomic::{AtomicU8, Ordering};

use whence_kafka::Heard;

whence_metrics::declare! {
    /// 1 if any broker answers.
    gauge SHIP_KAFKA_UP: "whence_ship_kafka_up";
}

/// How the shipper stands with Kafka.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// No broker has answered yet.
    Connecting,
    /// At least one broker answers.
    Up,
    /// No broker answers. Records stay in the journals.
    Away,
}

/// The connection as the client's callbacks last left it.
#[derive(Debug)]
pub(super) struct ConnectionState {
    state: AtomicU8,
    /// What stands in the way.
    pub(super) heard: Heard,
}

impl Default for ConnectionState {
    fn default() -> Self {
        metrics::gauge!(SHIP_KAFKA_UP).set(0.0);
        ConnectionState { state: AtomicU8::new(Connection::Connecting as u8), heard: Heard::default() }
    }
}

impl ConnectionState {
    pub(super) fn read(&self) -> Connection {
        match self.state.load(Ordering::Relaxed) {
            0 => Connection::Connecting,
            1 => Connection::Up,
            _ => Connection::Away,
        }
    }

    /// Logs changes only, so it may be called with every report.
    pub(super) fn set(&self, now: Connection) {
        let before = self.state.swap(now as u8, Ordering::Relaxed);
        if before == now as u8 {
            return;
        }
        metrics::gauge!(SHIP_KAFKA_UP).set(if now == Connection::Up { 1.0 } else { 0.0 });
        match now {
            Connection::Connecting => {}
            Connection::Up => tracing::info!("kafka is up, shipping"),
            Connection::Away => tracing::warn!("kafka is away, records stay in the journals"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_reads_as_it_was_set() {
        let state = ConnectionState::default();
        assert_eq!(state.read(), Connection::Connecting);
        for connection in [Connection::Up, Connection::Away, Connection::Up] {
            state.set(connection);
            assert_eq!(state.read(), connection);
        }
    }
}
