//! What librdkafka and brokers say, as a sentence that says what to do, and whether waiting may fix it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::statistics::Statistics;

/// Something that stands between a client and what it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What it is and what to do, without a full stop.
    pub text: String,
    /// Whether it may be over by itself: a broker that is away comes back, a password does not become right.
    pub may_heal: bool,
    /// Whether it says why, and not only that nobody answers.
    pub is_cause: bool,
}

impl Trouble {
    /// What somebody has to fix.
    pub fn lasting(text: impl Into<String>) -> Trouble {
        Trouble { text: text.into(), may_heal: false, is_cause: true }
    }

    /// What may be over after a while.
    pub fn passing(text: impl Into<String>) -> Trouble {
        Trouble { text: text.into(), may_heal: true, is_cause: false }
    }

    /// What may be over once somebody else has fixed it.
    pub fn elsewhere(text: impl Into<String>) -> Trouble {
        Trouble { text: text.into(), may_heal: true, is_cause: true }
    }

    /// By whether it may be over by itself.
    pub fn new(text: impl Into<String>, may_heal: bool) -> Trouble {
        if may_heal { Trouble::passing(text) } else { Trouble::lasting(text) }
    }

    /// Of an error of a client's connections, with librdkafka's words on it.
    #[must_use]
    pub fn of(error: &KafkaError, reason: &str) -> Option<Trouble> {
        error.rdkafka_error_code().map(|code| Trouble::of_code(code, reason))
    }

    /// The same by its code.
    #[must_use]
    pub fn of_code(code: Code, reason: &str) -> Trouble {
        let reason = tidy(reason);
        let has = |words: &str| reason.to_ascii_lowercase().contains(words);
        match code {
            Code::Authentication | Code::SaslAuthenticationFailed | Code::UnsupportedSASLMechanism => {
                if has("mechanism")
                    && (has("unsupported") || has("not enabled") || has("supported mechanisms"))
                {
                    return Trouble::lasting(format!("kafka does not know this sasl.mechanism: {reason}"));
                }
                // A broker that restarts, or has not read its users yet, cuts the handshake off.
                if has("disconnected") || has("timed out") {
                    return Trouble::passing(format!("the handshake with kafka was cut off: {reason}"));
                }
                Trouble::lasting(format!("kafka refuses the user or the password: {reason}"))
            }
            // Why, the certificate itself says: see `certificate`.
            Code::SSL if has(UNVERIFIED) => Trouble::elsewhere(format!(
                "the certificate of a kafka broker is not accepted: it is not signed by a trusted authority, for another host, or \
                 over: {reason}"
            )),
            Code::SSL | Code::BrokerTransportFailure
                if has("plaintext broker")
                    || has("wrong version number")
                    || has("packet length too long") =>
            {
                Trouble::elsewhere(format!(
                    "a kafka broker speaks no tls there, check security.protocol and the port: {reason}"
                ))
            }
            Code::SSL if has("certificate required") || has("bad certificate") || has("unknown ca") => {
                Trouble::lasting(format!("kafka refuses the certificate of this client: {reason}"))
            }
            Code::SSL => Trouble::passing(format!("the tls handshake with kafka fails: {reason}")),
            // One that is overloaded or stopped takes connections for a while.
            Code::BrokerTransportFailure if has(FIRST_ANSWER) && has("timed out") => {
                Trouble::passing(format!(
                    "a kafka broker accepts connections and does not answer (check that the port is a broker's): {reason}"
                ))
            }
            // A broker that ends in this moment looks the same.
            Code::BrokerTransportFailure if has("security.protocol") || has(FIRST_ANSWER) => {
                Trouble::elsewhere(format!(
                    "a kafka broker speaks another protocol there, check security.protocol and the port: {reason}"
                ))
            }
            Code::Resolve => Trouble::passing(format!("the name of a kafka broker is not known: {reason}")),
            Code::TopicAuthorizationFailed => denied("a topic", &reason),
            Code::GroupAuthorizationFailed => denied("the consumer group", &reason),
            Code::ClusterAuthorizationFailed => denied("the cluster", &reason),
            Code::TransactionalIdAuthorizationFailed => denied("the transactional id", &reason),
            Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition => {
                Trouble::passing("a topic does not exist: run `whence topics`")
            }
            _ if reason.is_empty() => Trouble::passing(code.to_string()),
            _ => Trouble::passing(reason),
        }
    }
}

fn denied(what: &str, reason: &str) -> Trouble {
    Trouble::lasting(format!("the user may not use {what}, an ACL is missing: {reason}"))
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A broker's certificate is not accepted, for whatever reason.
pub(crate) const UNVERIFIED: &str = "could not be verified";

/// A connection that ends before its first answer: brokers do not know a request that is not in their protocol.
const FIRST_ANSWER: &str = "in state apiversion_query";

/// librdkafka's words in one line, without how long an attempt took: that changes each time.
fn tidy(reason: &str) -> String {
    let words: Vec<&str> = reason.split_whitespace().collect();
    let mut said = words.join(" ");
    let is_first = said.to_ascii_lowercase().contains(FIRST_ANSWER);
    if let Some(at) = said.rfind(" (after ") {
        said.truncate(at);
    }
    if is_first {
        said.push_str(" (in state apiversion_query)");
    }
    if let Some(at) = said.rfind(" (install ca-certificates package)") {
        said.truncate(at);
    }
    said
}

/// What stands between a client and its brokers, as its callbacks last told it, for others to see.
#[derive(Clone, Debug, Default)]
pub struct Heard(Arc<Mutex<Told>>);

#[derive(Debug, Default)]
struct Told {
    /// Of its connections: over once a broker answers.
    connections: Option<Trouble>,
    /// Of what it asks for: over once it is given.
    work: Option<Trouble>,
    has_begun: bool,
}

impl Heard {
    fn lock(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a client's `error` callback was given.
    pub fn error(&self, error: &KafkaError, reason: &str) {
        if let Some(code) = error.rdkafka_error_code() {
            self.code(code, reason);
        }
    }

    /// The same by its code.
    pub fn code(&self, code: Code, reason: &str) {
        let trouble = Trouble::of_code(code, reason);
        if is_of_work(code) {
            self.lock().work = Some(trouble);
            return;
        }
        let last = &mut self.lock().connections;
        // That all brokers are down is a sum: what it is made of says more.
        let is_sum = code == Code::AllBrokersDown && last.is_some();
        // A connection that could not be made says nothing of what has been said before about a password.
        let is_weaker = trouble.may_heal && last.as_ref().is_some_and(|last| !last.may_heal);
        let is_less = is_cut(&trouble) && last.as_ref().is_some_and(|last| last.is_cause);
        if !is_sum && !is_weaker && !is_less {
            *last = Some(trouble);
        }
    }

    /// What a client's `log` callback was given: of some connections that are cut off only the log says when.
    pub fn log(&self, facility: &str, message: &str) {
        let is_first = message.to_ascii_lowercase().contains(FIRST_ANSWER);
        if facility == "FAIL" && (is_first || message.contains("security.protocol")) {
            self.code(Code::BrokerTransportFailure, message);
        }
    }

    /// What a client's `stats` callback was given: how many brokers answer.
    pub fn statistics(&self, statistics: &Statistics) -> usize {
        let up = brokers_up(statistics);
        if up > 0 {
            self.connected();
        }
        up
    }

    /// A request was refused with this code, for this topic or group. What is of a connection tells `error` better.
    pub fn refused(&self, code: Code, what: &str) {
        if is_of_work(code) {
            self.code(code, what);
        }
    }

    /// A broker answers.
    pub fn connected(&self) {
        self.lock().connections = None;
    }

    /// What was asked for is not given.
    pub fn stuck(&self, trouble: Trouble) {
        self.lock().work = Some(trouble);
    }

    /// It waits for this, and for what stands in its way where something does.
    pub fn waits(&self, text: &str) {
        self.lock().work.get_or_insert_with(|| Trouble::passing(text));
    }

    /// What was asked for was given.
    pub fn worked(&self) {
        *self.lock() = Told { has_begun: true, ..Told::default() };
    }

    /// A fresh start: a trouble that persists is reported again.
    pub fn forget(&self) {
        let mut told = self.lock();
        (told.connections, told.work) = (None, None);
    }

    /// Some of it works, whatever else has been told.
    pub fn begun(&self) {
        self.lock().has_begun = true;
    }

    /// Whether any of it has ever worked.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.lock().has_begun
    }

    /// The trouble now, if there is one: that of the connections first.
    #[must_use]
    pub fn last(&self) -> Option<Trouble> {
        let told = self.lock();
        told.connections.clone().or_else(|| told.work.clone())
    }

    /// The trouble of what is asked for.
    #[must_use]
    pub fn work(&self) -> Option<Trouble> {
        self.lock().work.clone()
    }
}

/// That a connection ended, and not why.
fn is_cut(trouble: &Trouble) -> bool {
    !trouble.is_cause && trouble.text.contains("Disconnected")
}

fn is_of_work(code: Code) -> bool {
    use Code::{
        ClusterAuthorizationFailed, GroupAuthorizationFailed, TopicAuthorizationFailed,
        TransactionalIdAuthorizationFailed, UnknownPartition, UnknownTopic, UnknownTopicOrPartition,
    };
    matches!(
        code,
        TopicAuthorizationFailed
            | GroupAuthorizationFailed
            | ClusterAuthorizationFailed
            | TransactionalIdAuthorizationFailed
            | UnknownTopic
            | UnknownTopicOrPartition
            | UnknownPartition
    )
}

/// Brokers that this client is connected with. Those that it was told to begin with and the coordinator of its group
/// have entries of their own, without a node's number, and are not further brokers.
#[must_use]
pub fn brokers_up(statistics: &Statistics) -> usize {
    let brokers = statistics.brokers.values();
    brokers.filter(|broker| is_up(broker.nodeid, &broker.source, &broker.state)).count()
}

fn is_up(node: i32, source: &str, state: &str) -> bool {
    node >= 0 && source != "logical" && state == "UP"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coordinator_and_an_address_to_begin_with_are_no_brokers_more() {
        assert!(is_up(1, "learned", "UP") && is_up(1, "configured", "UP"));
        // As librdkafka names the coordinator of a group, and an address that it has not yet met the broker of.
        assert!(
            !is_up(1, "logical", "UP") && !is_up(-1, "configured", "UP") && !is_up(2, "learned", "CONNECT")
        );
    }

    #[test]
    fn what_somebody_must_mend_is_not_hidden_by_what_follows_from_it() {
        let heard = Heard::default();
        heard.code(Code::BrokerTransportFailure, "connection refused (after 0ms in state CONNECT)");
        assert_eq!(heard.last(), Some(Trouble::passing("connection refused")));
        heard.code(
            Code::Authentication,
            "SASL SCRAM-SHA-512 mechanism handshake failed: invalid credentials (after 3ms in state X)",
        );
        heard.code(Code::AllBrokersDown, "3/3 brokers are down");
        heard.code(Code::BrokerTransportFailure, "connection refused");
        let told = heard.last().unwrap();
        assert!(!told.may_heal && told.text.starts_with("kafka refuses the user or the password"), "{told}");
        // That records are refused is another matter than that brokers are there.
        heard.code(Code::TopicAuthorizationFailed, "whence.clicks");
        heard.connected();
        assert!(heard.last().unwrap().text.contains("an ACL is missing: whence.clicks"));
        heard.worked();
        assert_eq!(heard.last(), None);
    }

    #[test]
    fn why_a_connection_is_cut_off_stands_until_something_else_is_in_the_way() {
        let heard = Heard::default();
        let cut = || {
            heard.code(
                Code::BrokerTransportFailure,
                "b:1/1: Disconnected: connection closed by peer (after 1ms)",
            )
        };
        cut();
        heard.log(
            "FAIL",
            "[thrd:b]: b:1/1: Disconnected: receive 0 after POLLIN (after 0ms in state APIVERSION_QUERY)",
        );
        cut();
        let told = heard.last().unwrap();
        assert!(
            told.may_heal && told.text.starts_with("a kafka broker speaks another protocol there"),
            "{told}"
        );
        heard.code(
            Code::BrokerTransportFailure,
            "b:1/1: Connect to ipv4#1.2.3.4:1 failed: Connection refused (after 1ms)",
        );
        assert!(heard.last().unwrap().text.ends_with("Connection refused"));
    }
}
