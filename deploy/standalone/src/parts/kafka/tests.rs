//! That every client can be built with everything that may be given.

use super::*;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, IsCa, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, SerialNumber,
};
use rdkafka::ClientConfig;
use std::path::Path;
use std::process::Command;
use whence_kafka::properties::free;

fn settings(properties: &str) -> KafkaSettings {
    KafkaSettings {
        kafka_brokers: vec!["127.0.0.1:1".to_owned()],
        kafka_prefix: None,
        kafka_properties: Some(properties.to_owned().into()),
        kafka_group: None,
        kafka_member: Some("one".to_owned()),
        kafka_session_timeout: Duration::from_secs(10),
        kafka_revoke_timeout: Duration::from_secs(5),
    }
}

/// Files for TLS in this folder: `ca.pem`, `client.pem`, `client.key`, `client.p12`, `ca.crl`.
fn write_certificates(dir: &Path) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca_key = KeyPair::generate().unwrap();
    let ca = params.self_signed(&ca_key).unwrap();
    let issuer = Issuer::from_params(&params, &ca_key);
    let key = KeyPair::generate().unwrap();
    let client = CertificateParams::new(["client".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let now = std::time::SystemTime::now();
    let crl = CertificateRevocationListParams {
        this_update: now.into(),
        next_update: (now + Duration::from_secs(86_400)).into(),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let crl = crl.signed_by(&issuer).unwrap().pem().unwrap();
    for (name, text) in [
        ("ca.pem", ca.pem()),
        ("client.pem", client.pem()),
        ("client.key", key.serialize_pem()),
        ("ca.crl", crl),
    ] {
        std::fs::write(dir.join(name), text).unwrap();
    }
    let export = [
        "pkcs12",
        "-export",
        "-in",
        "client.pem",
        "-inkey",
        "client.key",
        "-out",
        "client.p12",
        "-passout",
        "pass:p12",
    ];
    assert!(Command::new("openssl").args(export).current_dir(dir).status().unwrap().success());
    for name in ["client.key", "client.p12"] {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(dir.join(name), mode).unwrap();
    }
}

/// A value for a property, with what else it needs to be looked at.
fn sample(name: &str, dir: &Path) -> String {
    let file = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let tls = |lines: &[(&str, String)]| {
        let lines = lines.iter().map(|(name, value)| format!("{name}={value}\n"));
        format!("security.protocol=ssl\n{}", lines.collect::<String>())
    };
    let own = |value: String| format!("{name}={value}\n");
    match name {
        "ssl.ca.location" => tls(&[(name, file("ca.pem"))]),
        "ssl.crl.location" => tls(&[("ssl.ca.location", file("ca.pem")), (name, file("ca.crl"))]),
        "ssl.certificate.location" | "ssl.key.location" => {
            tls(&[("ssl.certificate.location", file("client.pem")), ("ssl.key.location", file("client.key"))])
        }
        "ssl.key.password" => tls(&[(name, "secret".to_owned())]),
        "ssl.keystore.location" | "ssl.keystore.password" => {
            tls(&[("ssl.keystore.location", file("client.p12")), ("ssl.keystore.password", "p12".to_owned())])
        }
        "ssl.cipher.suites" => tls(&[(name, "DEFAULT".to_owned())]),
        "ssl.curves.list" => tls(&[(name, "P-256".to_owned())]),
        "ssl.sigalgs.list" => tls(&[(name, "ECDSA+SHA256".to_owned())]),
        "ssl.providers" => tls(&[(name, "default".to_owned())]),
        // The default is more than idempotence allows, which matters only where it is given.
        "max.in.flight" | "max.in.flight.requests.per.connection" => own("5".to_owned()),
        "sasl.mechanism" | "sasl.mechanisms" => {
            format!("security.protocol=sasl_ssl\n{name}=SCRAM-SHA-512\nsasl.username=u\nsasl.password=p\n")
        }
        "sasl.username" | "sasl.password" => {
            "security.protocol=sasl_plaintext\nsasl.mechanism=PLAIN\nsasl.username=u\nsasl.password=p\n"
                .to_owned()
        }
        "debug" => own("generic".to_owned()),
        "https.ca.location" => own(file("ca.pem")),
        "socket.timeout.ms" => own("10000".to_owned()),
        "compression.level" => own("3".to_owned()),
        "request.timeout.ms" => own("30000".to_owned()),
        "produce.offset.report" => own("true".to_owned()),
        "sasl.oauthbearer.assertion.private.key.file" => own(file("client.key")),
        _ => {
            let known = ClientConfig::new().create_native_config().unwrap().get(name).ok();
            own(known.filter(|value| !value.is_empty()).unwrap_or_else(|| "some".to_owned()))
        }
    }
}

#[test]
fn every_property_that_may_be_given_builds_every_client() {
    let dir = tempfile::tempdir().unwrap();
    write_certificates(dir.path());
    let clients: Vec<Client> = UP.iter().copied().chain([Client::Follower]).collect();
    let mut wrong: Vec<String> = Vec::new();
    for name in free() {
        let settings = settings(&sample(name, dir.path()));
        let told = settings.mistakes().into_iter().chain(build(&settings, &clients));
        wrong.extend(told.map(|told| format!("{name}: {told}")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_can_not_be_built_is_told_without_a_secret() {
    for (properties, said) in [
        ("security.protocol=ssl\nssl.ca.location=/nowhere/ca.pem", "ssl.ca.location"),
        ("security.protocol=ssl\nssl.key.pem=hunter2-is-no-key", "ssl.key.pem"),
        (
            "security.protocol=sasl_ssl\nsasl.mechanism=SCRAM-SHA-999\nsasl.username=u\nsasl.password=hunter2-is",
            "SCRAM-SHA-999",
        ),
        ("max.in.flight=100", "max.in.flight"),
    ] {
        let settings = settings(properties);
        assert_eq!(settings.mistakes(), Vec::<String>::new());
        let told = build(&settings, UP).join("; ");
        assert!(told.contains(said) && !told.contains("hunter2"), "{told}");
    }
}

#[test]
fn a_group_without_a_name_of_its_own_has_the_prefix() {
    let named = |prefix: Option<&str>, group: Option<&str>| {
        let own = KafkaSettings {
            kafka_prefix: prefix.map(str::to_owned),
            kafka_group: group.map(str::to_owned),
            ..settings("")
        };
        own.group_name()
    };
    assert_eq!(named(None, None), "whence-aggregator");
    assert_eq!(named(Some("eu."), None), "eu.whence-aggregator");
    assert_eq!(named(Some("eu."), Some("mine")), "mine");
}

#[test]
fn a_value_that_is_whences_own_is_a_mistake_of_the_settings() {
    let told = settings("acks=0\nsasl.password=hunter2\nno.such=hunter2").mistakes().join("; ");
    assert!(told.contains("kafka-properties: acks is whence's own"), "{told}");
    assert!(told.contains("no.such is not a property") && !told.contains("hunter2"), "{told}");
}
