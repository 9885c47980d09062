//! Whose each property of librdkafka is: the operator's, or whence's own.
//!
//! What keeps a promise of whence (a click is acknowledged by all in-sync replicas, of one key records stand in
//! order, nothing is committed before it is stored) can't be given: it is refused by name. The list says what may be
//! given, so that a property that a later librdkafka brings is refused until somebody has thought about it.
//!
//! Must not say a value: it may be a password, also where it was given by mistake.

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaConfRes;

/// Whose a property is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The operator's: whence has no opinion, or only a default.
    Free,
    /// The operator's, from this number up: below it records that whence makes would be refused.
    AtLeast(u64),
    /// The operator's, up to this number: the registry's transactions are over by then.
    AtMost(u64),
    /// Whence's own, and what to do instead or why.
    Owned(&'static str),
    /// Of a part of librdkafka that this build does not have, and what there is instead.
    Lacking(&'static str),
}

use Class::{AtLeast, AtMost, Free, Lacking, Owned};

const ACKNOWLEDGED: &str = "a record counts as sent when all in-sync replicas have it";
const IN_ORDER: &str = "records of one key stand in the topic in their order, and none is given up";
const COMMITTED: &str = "whence commits itself, after ClickHouse has the records";
const MEMBERS: &str = "whence works with the classic group protocol and whole reassignments";
const REGISTRY: &str = "the registry's writers share one transactional id";
const BROKERS: &str = "set kafka-brokers";
const LINGER: &str = "set ship-linger";
const QUEUE: &str = "set ship-records-max and ship-bytes-max";
const SESSION: &str = "set kafka-session-timeout";
const CODE: &str = "it takes a function or an object, not a text";
const VERSIONS: &str = "brokers tell their versions themselves";
const NO_KERBEROS: &str =
    "this build has no Kerberos; it has PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 and OAUTHBEARER";

/// Every property that librdkafka 2.12 knows, hidden ones that do harm included.
const CLASSES: &[(&str, Class)] = &[
    ("acks", Owned(ACKNOWLEDGED)),
    ("allow.auto.create.topics", Owned("topics are made by `whence topics`")),
    ("api.version.fallback.ms", Owned(VERSIONS)),
    ("api.version.request", Owned(VERSIONS)),
    ("api.version.request.timeout.ms", Free),
    ("auto.commit.enable", Owned(COMMITTED)),
    ("auto.commit.interval.ms", Owned(COMMITTED)),
    ("auto.offset.reset", Owned("records that are gone must be told, not passed over")),
    ("background_event_cb", Owned(CODE)),
    ("batch.num.messages", Owned("whence sends records singly to find one that brokers refuse")),
    ("batch.size", Free),
    ("bootstrap.servers", Owned(BROKERS)),
    ("broker.address.family", Free),
    ("broker.address.ttl", Free),
    ("broker.version.fallback", Owned(VERSIONS)),
    ("builtin.features", Owned("it says what this build has and can't be chosen")),
    ("check.crcs", Free),
    ("client.dns.lookup", Free),
    ("client.id", Free),
    ("client.rack", Free),
    ("client.software.name", Owned("it is for bindings of librdkafka")),
    ("client.software.version", Owned("it is for bindings of librdkafka")),
    ("closesocket_cb", Owned(CODE)),
    ("compression.codec", Free),
    ("compression.level", Free),
    ("compression.type", Free),
    ("connect_cb", Owned(CODE)),
    ("connections.max.idle.ms", Free),
    ("consume.callback.max.messages", Owned("nothing is consumed by callbacks")),
    ("consume_cb", Owned(CODE)),
    ("coordinator.query.interval.ms", Free),
    ("debug", Free),
    ("default_topic_conf", Owned(CODE)),
    ("delivery.report.only.error", Owned(ACKNOWLEDGED)),
    ("delivery.timeout.ms", Owned(IN_ORDER)),
    ("dr_cb", Owned(CODE)),
    ("dr_msg_cb", Owned(CODE)),
    ("enable.auto.commit", Owned(COMMITTED)),
    ("enable.auto.offset.store", Owned(COMMITTED)),
    ("enable.gapless.guarantee", Owned(IN_ORDER)),
    ("enable.idempotence", Owned(IN_ORDER)),
    ("enable.metrics.push", Free),
    ("enable.partition.eof", Owned("the registry and what edges say are read by it")),
    ("enable.random.seed", Free),
    (
        "enable.sasl.oauthbearer.unsecure.jwt",
        Owned("set sasl.oauthbearer.method=oidc: tokens are signed, and renewed"),
    ),
    ("enable.sparse.connections", Free),
    ("enable.ssl.certificate.verification", Free),
    ("enabled_events", Owned("whence takes the events that it needs")),
    ("error_cb", Owned(CODE)),
    ("fetch.error.backoff.ms", Free),
    ("fetch.max.bytes", Free),
    ("fetch.message.max.bytes", Free),
    ("fetch.min.bytes", Free),
    ("fetch.queue.backoff.ms", Free),
    ("fetch.wait.max.ms", Free),
    ("group.id", Owned("set kafka-group")),
    ("group.instance.id", Owned("set kafka-member")),
    ("group.protocol", Owned(MEMBERS)),
    ("group.protocol.type", Owned(MEMBERS)),
    ("group.remote.assignor", Owned(MEMBERS)),
    ("heartbeat.interval.ms", Owned(SESSION)),
    ("https.ca.location", Free),
    ("https.ca.pem", Free),
    ("interceptors", Owned(CODE)),
    ("internal.termination.signal", Owned("signals are the process's own")),
    ("isolation.level", Owned("what was never committed must not be read")),
    ("linger.ms", Owned(LINGER)),
    ("log.connection.close", Free),
    ("log.queue", Owned("set log")),
    ("log.thread.name", Free),
    ("log_cb", Owned(CODE)),
    ("log_level", Owned("set log")),
    ("max.in.flight", Free),
    ("max.in.flight.requests.per.connection", Free),
    ("max.partition.fetch.bytes", Free),
    ("max.poll.interval.ms", Owned("set kafka-revoke-timeout")),
    ("message.copy.max.bytes", Free),
    ("message.max.bytes", AtLeast(1_000_000)),
    ("message.send.max.retries", Owned(IN_ORDER)),
    ("message.timeout.ms", Owned(IN_ORDER)),
    ("metadata.broker.list", Owned(BROKERS)),
    ("metadata.max.age.ms", Free),
    ("metadata.recovery.rebootstrap.trigger.ms", Free),
    ("metadata.recovery.strategy", Free),
    ("metadata.request.timeout.ms", Owned("set socket.timeout.ms")),
    ("msg_order_cmp", Owned(CODE)),
    ("oauthbearer_token_refresh_cb", Owned(CODE)),
    ("offset.store.method", Owned(COMMITTED)),
    ("offset.store.path", Owned(COMMITTED)),
    ("offset.store.sync.interval.ms", Owned(COMMITTED)),
    ("offset_commit_cb", Owned(CODE)),
    ("opaque", Owned(CODE)),
    ("open_cb", Owned(CODE)),
    ("partition.assignment.strategy", Owned(MEMBERS)),
    ("partitioner", Owned("a key's partition is part of its meaning")),
    ("partitioner_cb", Owned(CODE)),
    ("plugin.library.paths", Owned("foreign code is not loaded")),
    ("produce.offset.report", Free),
    ("queue.buffering.backpressure.threshold", Free),
    ("queue.buffering.max.kbytes", Owned(QUEUE)),
    ("queue.buffering.max.messages", Owned(QUEUE)),
    ("queue.buffering.max.ms", Owned(LINGER)),
    ("queued.max.messages.kbytes", Free),
    ("queued.min.messages", Free),
    ("queuing.strategy", Owned(IN_ORDER)),
    ("rebalance_cb", Owned(CODE)),
    ("receive.message.max.bytes", Free),
    ("reconnect.backoff.jitter.ms", Free),
    ("reconnect.backoff.max.ms", Free),
    ("reconnect.backoff.ms", Free),
    ("request.required.acks", Owned(ACKNOWLEDGED)),
    ("request.timeout.ms", Free),
    ("resolve_cb", Owned(CODE)),
    ("retries", Owned(IN_ORDER)),
    ("retry.backoff.max.ms", Free),
    ("retry.backoff.ms", Free),
    ("sasl.kerberos.keytab", Lacking(NO_KERBEROS)),
    ("sasl.kerberos.kinit.cmd", Lacking(NO_KERBEROS)),
    ("sasl.kerberos.min.time.before.relogin", Lacking(NO_KERBEROS)),
    ("sasl.kerberos.principal", Lacking(NO_KERBEROS)),
    ("sasl.kerberos.service.name", Lacking(NO_KERBEROS)),
    ("sasl.mechanism", Free),
    ("sasl.mechanisms", Free),
    ("sasl.oauthbearer.assertion.algorithm", Free),
    ("sasl.oauthbearer.assertion.claim.aud", Free),
    ("sasl.oauthbearer.assertion.claim.exp.seconds", Free),
    ("sasl.oauthbearer.assertion.claim.iss", Free),
    ("sasl.oauthbearer.assertion.claim.jti.include", Free),
    ("sasl.oauthbearer.assertion.claim.nbf.seconds", Free),
    ("sasl.oauthbearer.assertion.claim.sub", Free),
    ("sasl.oauthbearer.assertion.file", Free),
    ("sasl.oauthbearer.assertion.jwt.template.file", Free),
    ("sasl.oauthbearer.assertion.private.key.file", Free),
    ("sasl.oauthbearer.assertion.private.key.passphrase", Free),
    ("sasl.oauthbearer.assertion.private.key.pem", Free),
    ("sasl.oauthbearer.client.credentials.client.id", Free),
    ("sasl.oauthbearer.client.credentials.client.secret", Free),
    ("sasl.oauthbearer.client.id", Free),
    ("sasl.oauthbearer.client.secret", Free),
    ("sasl.oauthbearer.config", Free),
    ("sasl.oauthbearer.extensions", Free),
    ("sasl.oauthbearer.grant.type", Free),
    ("sasl.oauthbearer.metadata.authentication.type", Free),
    ("sasl.oauthbearer.method", Free),
    ("sasl.oauthbearer.scope", Free),
    ("sasl.oauthbearer.token.endpoint.url", Free),
    ("sasl.password", Free),
    ("sasl.username", Free),
    ("security.protocol", Free),
    ("session.timeout.ms", Owned(SESSION)),
    ("socket.blocking.max.ms", Free),
    ("socket.connection.setup.timeout.ms", Free),
    ("socket.keepalive.enable", Free),
    ("socket.max.fails", Free),
    ("socket.nagle.disable", Free),
    ("socket.receive.buffer.bytes", Free),
    ("socket.send.buffer.bytes", Free),
    ("socket.timeout.ms", AtMost(10_000)),
    ("socket_cb", Owned(CODE)),
    ("ssl.ca.certificate.stores", Lacking("it is for Windows: set ssl.ca.location")),
    ("ssl.ca.location", Free),
    ("ssl.ca.pem", Free),
    ("ssl.certificate.location", Free),
    ("ssl.certificate.pem", Free),
    ("ssl.certificate.verify_cb", Owned(CODE)),
    ("ssl.cipher.suites", Free),
    ("ssl.crl.location", Free),
    ("ssl.curves.list", Free),
    ("ssl.endpoint.identification.algorithm", Free),
    ("ssl.engine.id", Owned("OpenSSL 3 has no engines any more: set ssl.providers")),
    ("ssl.engine.location", Owned("OpenSSL 3 has no engines any more: set ssl.providers")),
    ("ssl.key.location", Free),
    ("ssl.key.password", Free),
    ("ssl.key.pem", Free),
    ("ssl.keystore.location", Free),
    ("ssl.keystore.password", Free),
    ("ssl.providers", Free),
    ("ssl.sigalgs.list", Free),
    ("ssl_ca", Owned(CODE)),
    ("ssl_certificate", Owned(CODE)),
    ("ssl_engine_callback_data", Owned(CODE)),
    ("ssl_key", Owned(CODE)),
    ("statistics.interval.ms", Owned("readiness and metrics are made of it")),
    ("stats_cb", Owned(CODE)),
    ("sticky.partitioning.linger.ms", Free),
    ("test.mock.broker.rtt", Owned("a mock of brokers keeps nothing")),
    ("test.mock.num.brokers", Owned("a mock of brokers keeps nothing")),
    ("throttle_cb", Owned(CODE)),
    ("topic.blacklist", Owned("no topic of whence may be passed over")),
    ("topic.metadata.propagation.max.ms", Free),
    ("topic.metadata.refresh.fast.cnt", Free),
    ("topic.metadata.refresh.fast.interval.ms", Free),
    ("topic.metadata.refresh.interval.ms", Free),
    ("topic.metadata.refresh.sparse", Free),
    ("transaction.timeout.ms", Owned(REGISTRY)),
    ("transactional.id", Owned(REGISTRY)),
];

/// Names of one property, of which librdkafka would take the last one that it is given.
const ALIASES: &[[&str; 2]] = &[
    ["compression.codec", "compression.type"],
    ["fetch.message.max.bytes", "max.partition.fetch.bytes"],
    ["max.in.flight", "max.in.flight.requests.per.connection"],
    ["sasl.mechanism", "sasl.mechanisms"],
    ["sasl.oauthbearer.client.credentials.client.id", "sasl.oauthbearer.client.id"],
    ["sasl.oauthbearer.client.credentials.client.secret", "sasl.oauthbearer.client.secret"],
];

/// Whose this property is; `None`: nobody has thought about it.
#[must_use]
pub fn class(name: &str) -> Option<Class> {
    CLASSES.iter().find(|(known, _)| *known == name).map(|(_, class)| *class)
}

/// Names of all properties that an operator may give.
pub fn free() -> impl Iterator<Item = &'static str> {
    CLASSES.iter().filter(|(_, class)| matches!(class, Free | AtLeast(_) | AtMost(_))).map(|(name, _)| *name)
}

/// The properties of a text: one `name=value` a line; empty lines and those with a `#` first are left out.
///
/// # Errors
/// What is wrong with lines, one sentence each, without a value.
pub fn parse(text: &str) -> Result<Vec<(String, String)>, Vec<String>> {
    let mut properties: Vec<(String, String)> = Vec::new();
    let mut mistakes = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.split_once('=').map(|(name, value)| (name.trim(), value.trim())) {
            None | Some(("", _)) => mistakes.push(format!("line {} must be `name=value`", index + 1)),
            Some((name, _)) if properties.iter().any(|(given, _)| given == name) => {
                mistakes.push(format!("{name} is given twice"));
            }
            Some((name, value)) => properties.push((name.to_owned(), value.to_owned())),
        }
    }
    if mistakes.is_empty() { Ok(properties) } else { Err(mistakes) }
}

/// What is wrong with properties that an operator gives, one sentence each, by name and without a value.
#[must_use]
pub fn mistakes<'p>(properties: impl Iterator<Item = (&'p str, &'p str)>) -> Vec<String> {
    let mut names: Vec<&str> = Vec::new();
    let mut mistakes: Vec<String> = Vec::new();
    for (name, value) in properties {
        mistakes.extend(mistake(name, value));
        names.push(name);
    }
    let both = ALIASES.iter().filter(|pair| pair.iter().all(|name| names.contains(name)));
    mistakes.extend(both.map(|[one, other]| format!("{one} and {other} are one property: give one of them")));
    mistakes
}

fn mistake(name: &str, value: &str) -> Option<String> {
    match class(name) {
        Some(Owned(why)) => return Some(format!("{name} is whence's own and can't be given: {why}")),
        Some(Lacking(what)) => return Some(format!("{name} can't be used: {what}")),
        Some(AtLeast(least)) if value.parse().is_ok_and(|given: u64| given < least) => {
            return Some(format!("{name} must be {least} or more: whence's own records would be refused"));
        }
        Some(AtMost(most)) if value.parse().is_ok_and(|given: u64| given > most) => {
            return Some(format!(
                "{name} must be {most} or less: the registry's transactions are over by then"
            ));
        }
        Some(Free | AtLeast(_) | AtMost(_)) | None => {}
    }
    if is_mechanism(name) && value.eq_ignore_ascii_case("GSSAPI") {
        return Some(format!("{name} can't be GSSAPI: {NO_KERBEROS}"));
    }
    let taken = ClientConfig::new().set(name, value).create_native_config();
    match taken {
        Err(KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..)) => {
            Some(format!("{name} is not a property that librdkafka knows"))
        }
        Err(KafkaError::ClientConfig(_, said, ..)) => Some(refused(name, &said)),
        Err(_) => Some(refused(name, "")),
        Ok(_) if class(name).is_none() => Some(format!("{name} is not one that whence lets be given")),
        Ok(_) => None,
    }
}

fn is_mechanism(name: &str) -> bool {
    ["sasl.mechanism", "sasl.mechanisms"].contains(&name)
}

/// Why librdkafka does not take a value, from what it says, of which only parts have no value in them.
fn refused(name: &str, said: &str) -> String {
    const RANGE: &str = "is outside allowed range";
    if let Some(at) = said.find(RANGE) {
        return format!("{name}: its value {}", said[at..].trim_end());
    }
    // Of Java's properties it says what to use instead.
    if let Some(java) = said.strip_prefix("Java ") {
        return format!("{name}: Java {}", java.trim_end());
    }
    format!("{name} does not take this value")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_once_and_in_order() {
        assert!(CLASSES.is_sorted_by(|(one, _), (next, _)| one < next));
        assert!(ALIASES.iter().flatten().all(|name| class(name) == Some(Free)));
    }

    #[test]
    fn a_line_that_is_no_property_is_told_by_its_number_and_a_name_that_comes_twice() {
        assert_eq!(
            parse("\n# a\nacks = 1 \n x = a=b").unwrap(),
            [("acks", "1"), ("x", "a=b")].map(|(a, b)| (a.into(), b.into()))
        );
        let wrong = parse("a=1\nsecret\na=2\n=3").unwrap_err();
        assert_eq!(wrong, ["line 2 must be `name=value`", "a is given twice", "line 4 must be `name=value`"]);
    }
}
