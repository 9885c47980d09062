//! The list of properties against the librdkafka that is linked.

#![allow(clippy::unwrap_used, reason = "helpers of tests are no tests to the lint")]

use std::collections::BTreeSet;
use std::ffi::CString;

use rdkafka::ClientConfig;
use whence_kafka::properties::{Class, class, free, mistakes};

/// Names of all properties as librdkafka prints them for people, aliases included.
fn listed() -> BTreeSet<String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("properties");
    let (name, mode) = (CString::new(path.to_str().unwrap()).unwrap(), CString::new("w").unwrap());
    // SAFETY: both texts end with a zero; the file is checked, used by librdkafka as C's own and closed once.
    unsafe {
        let file = libc::fopen(name.as_ptr(), mode.as_ptr());
        assert!(!file.is_null());
        rdkafka_sys::rd_kafka_conf_properties_show(file.cast());
        libc::fclose(file);
    }
    let text = std::fs::read_to_string(path).unwrap();
    let names = text.lines().filter_map(|line| line.split_once('|')).map(|(name, _)| name.trim().to_owned());
    names.filter(|name| !name.is_empty() && name != "Property" && !name.starts_with('-')).collect()
}

fn mistake(name: &str, value: &str) -> String {
    mistakes([(name, value)].into_iter()).join("; ")
}

#[test]
fn tls_sasl_and_every_compression_are_built_in() {
    let features = ClientConfig::new().create_native_config().unwrap().get("builtin.features").unwrap();
    let features: Vec<&str> = features.split(',').map(str::trim).collect();
    for feature in
        ["ssl", "sasl_plain", "sasl_scram", "sasl_oauthbearer", "oidc", "gzip", "snappy", "lz4", "zstd"]
    {
        assert!(features.contains(&feature), "{feature} is not among {features:?}");
    }
}

#[test]
fn every_property_that_librdkafka_knows_is_somebodys() {
    let listed = listed();
    assert!(listed.len() > 150 && listed.contains("acks") && listed.contains("sasl.mechanism"), "{listed:?}");
    let unknown: Vec<&String> = listed.iter().filter(|name| class(name).is_none()).collect();
    assert!(unknown.is_empty(), "nobody has thought about {unknown:?}");
}

#[test]
fn what_is_whences_own_is_refused_by_name_whatever_its_value() {
    for name in listed() {
        let said = mistake(&name, "1");
        match class(&name).unwrap() {
            Class::Owned(why) => {
                assert_eq!(said, format!("{name} is whence's own and can't be given: {why}"))
            }
            Class::Lacking(what) => assert_eq!(said, format!("{name} can't be used: {what}")),
            Class::Free | Class::AtLeast(_) | Class::AtMost(_) => {
                assert!(!said.contains("whence's own and"), "{said}")
            }
        }
    }
    // The ones by which clicks were lost in silence, and the ones that never consume.
    for (name, value) in [
        ("acks", "0"),
        ("request.required.acks", "1"),
        ("enable.idempotence", "false"),
        ("partitioner", "random"),
        ("enable.auto.commit", "true"),
        ("auto.offset.reset", "latest"),
        ("message.timeout.ms", "1000"),
        ("delivery.timeout.ms", "1000"),
        ("group.protocol", "consumer"),
        ("partition.assignment.strategy", "cooperative-sticky"),
        ("bootstrap.servers", "elsewhere:9092"),
        ("metadata.broker.list", "elsewhere:9092"),
        ("test.mock.num.brokers", "3"),
    ] {
        assert!(mistake(name, value).starts_with(&format!("{name} is whence's own")), "{name}");
    }
}

#[test]
fn what_is_wrong_is_told_by_name_and_never_by_value() {
    let secret = "hunter2-hunter2";
    for (name, value, said) in [
        ("no.such.property", secret, "no.such.property is not a property that librdkafka knows"),
        ("sasl.pasword", secret, "sasl.pasword is not a property that librdkafka knows"),
        ("ACKS", "all", "ACKS is not a property that librdkafka knows"),
        ("security.protocol", secret, "security.protocol does not take this value"),
        ("socket.timeout.ms", secret, "socket.timeout.ms does not take this value"),
        ("socket.timeout.ms", "60000", "socket.timeout.ms must be 10000 or less"),
        ("socket.timeout.ms", "1", "socket.timeout.ms: its value is outside allowed range 10..300000"),
        (
            "message.max.bytes",
            "5000",
            "message.max.bytes must be 1000000 or more: whence's own records would be refused",
        ),
        ("sasl.mechanism", "GSSAPI", "sasl.mechanism can't be GSSAPI: this build has no Kerberos"),
        ("ssl.truststore.location", secret, "ssl.truststore.location: Java TrustStores are not supported"),
        ("sasl.jaas.config", secret, "sasl.jaas.config: Java JAAS configuration is not supported"),
    ] {
        let found = mistake(name, value);
        assert!(found.starts_with(said), "{found}");
        assert!(!found.contains(secret), "{found}");
    }
    let twice = mistakes([("sasl.mechanism", "PLAIN"), ("sasl.mechanisms", "PLAIN")].into_iter());
    assert_eq!(twice, ["sasl.mechanism and sasl.mechanisms are one property: give one of them"]);
    assert_eq!(free().filter(|name| class(name).is_none()).count(), 0);
}
