//! Where Kafka is, and how the properties of a client of it are put together.

use std::collections::BTreeMap;
use std::fmt;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;

use crate::properties::{Class, class};

/// A value that librdkafka might quote is left out of its words from this length on; what is shorter is not a secret.
const QUOTED_MIN: usize = 3;

/// Which Kafka, and how whence's topics are named in it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Cluster {
    /// `host:port`, several separated by commas.
    pub brokers: String,
    /// Put before every topic name, transactional id and group, so that several whences can share a cluster.
    /// Empty as a rule.
    pub prefix: String,
    /// Further librdkafka properties, such as `security.protocol`. What is whence's own they do not change.
    pub properties: BTreeMap<String, String>,
}

impl Cluster {
    /// These brokers, all else as usual.
    #[must_use]
    pub fn at(brokers: impl Into<String>) -> Cluster {
        Cluster { brokers: brokers.into(), ..Cluster::default() }
    }

    /// The topic of this name in this cluster.
    #[must_use]
    pub fn topic(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Properties for a client of this cluster: `defaults`, which the operator's change, and what is `own`, which
    /// they do not, whatever they are.
    #[must_use]
    pub fn client(&self, defaults: &[(&str, &str)], own: &[(&str, &str)]) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("client.id", "whence");
        // Of some connections that are cut off only the log says what for. Clients of whence log at `debug`.
        client.set_log_level(RDKafkaLogLevel::Info);
        // A broker that comes back is noticed within seconds, not after the default's ten.
        client.set("reconnect.backoff.ms", "100").set("reconnect.backoff.max.ms", "2000");
        // Else, while the broker that is to describe a topic is down, librdkafka 2.12 begins each attempt to connect to it
        // right after the last: half a core. The first request would wait 50 ms, too, and opening a transaction 500.
        client.set("enable.sparse.connections", "false");
        for (name, value) in defaults {
            debug_assert_eq!(
                class(name),
                Some(Class::Free),
                "{name}: what an operator can't change is whence's own"
            );
            client.set(*name, *value);
        }
        for (name, value) in &self.properties {
            client.set(name, value);
        }
        for (name, value) in own {
            debug_assert!(
                matches!(class(name), Some(Class::Owned(_))),
                "{name}: what an operator may give must count"
            );
            // By another name of it, as `acks` has one, the operator's is refused before it comes here.
            client.set(*name, *value);
        }
        client.set("bootstrap.servers", &self.brokers);
        client
    }

    /// Why a client could not be built, in librdkafka's words except for the operator's values, which may be secrets.
    #[must_use]
    pub fn said(&self, error: &KafkaError) -> String {
        let said = match error {
            KafkaError::ClientConfig(_, _, name, _) => format!("{name} does not take this value"),
            KafkaError::ClientCreation(said) => said.clone(),
            other => other.to_string(),
        };
        let quoted =
            self.properties.iter().filter(|(name, value)| value.len() >= QUOTED_MIN && is_secret(name));
        quoted.fold(said.trim_end().to_owned(), |said, (_, value)| said.replace(value.as_str(), "…"))
    }
}

/// Whether a property's value is one that only its owner may know.
fn is_secret(name: &str) -> bool {
    ["password", "secret", "passphrase", ".pem", "sasl.oauthbearer.config"]
        .iter()
        .any(|part| name.contains(part))
}

/// Values may be secrets: only the properties' names are shown.
impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("brokers", &self.brokers)
            .field("prefix", &self.prefix)
            .field("properties", &self.properties.keys().collect::<Vec<_>>())
            .finish()
    }
}
