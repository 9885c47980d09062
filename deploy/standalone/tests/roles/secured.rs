//! Roles and a secured broker: each way in, and what is said of each way that does not lead there.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::support::brokers::brokers;
use crate::support::secured::Secured;
use crate::support::{Role, run, until, write_private};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::json;

/// What `ingest` is started with, in a folder of its own.
struct Ingest {
    secrets: String,
    key: String,
    dir: tempfile::TempDir,
}

impl Ingest {
    fn new() -> Ingest {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let (secrets, key) = (path("secrets.toml"), path("admin"));
        assert!(run(&["secrets", "new", &secrets]).status.success());
        write_private(Path::new(&key), "an admin key that nobody can guess, 0123456789");
        Ingest { secrets, key, dir }
    }

    fn start(&self, brokers: &str, properties: &str) -> Role {
        let given = ["ingest", "--secrets-file", &self.secrets, "--api-admin-key-file", &self.key];
        let bus = ["--kafka-brokers", brokers, "--kafka-properties-file", properties];
        Role::start(
            &self.dir.path().join("ingest"),
            &[&given[..], &bus, &["--ship-drain-timeout", "0s"]].concat(),
        )
    }

    fn aggregate(&self, brokers: &str, properties: &str) -> Role {
        let given = ["aggregate", "--secrets-file", &self.secrets, "--clickhouse-url", "http://127.0.0.1:1"];
        let bus = ["--kafka-brokers", brokers, "--kafka-properties-file", properties];
        Role::start(&self.dir.path().join("aggregate"), &[&given[..], &bus].concat())
    }
}

/// The role ends by itself with this among its last words, and with no secret.
fn ends_saying(role: Role, said: &str, secret: &str) {
    let data = role.data().to_owned();
    let status = role.ended();
    let log = std::fs::read_to_string(data.join("stderr")).unwrap();
    let last = log.lines().last().unwrap_or_default();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(last.contains(said), "{said:?} is not in {last:?}");
    assert!(!log.contains(secret), "{log}");
    std::fs::remove_file(data.join("stderr")).unwrap();
}

/// A tool fails and says this.
fn tool_says(brokers: &str, properties: &str, said: &str) {
    command_says(&["topics"], brokers, properties, said);
}

/// So does whoever tries the connections before a start.
fn validate_says(ingest: &Ingest, brokers: &str, properties: &str, said: &str) {
    let given = ["--secrets-file", &ingest.secrets, "--api-admin-key-file", &ingest.key];
    let command = [&["validate", "ingest", "--connect"], &given[..]].concat();
    command_says(&command, brokers, properties, said);
}

fn command_says(command: &[&str], brokers: &str, properties: &str, said: &str) {
    let bus = ["--kafka-brokers", brokers, "--kafka-properties-file", properties];
    let output = run(&[command, &bus[..]].concat());
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert_eq!(output.status.code(), Some(1), "{command:?}: {text}");
    assert!(text.contains(said), "{command:?}: {said:?} is not in {text:?}");
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn each_mechanism_leads_to_brokers_and_each_wrong_way_is_told_in_words() {
    let secured = Secured::start();
    let (tls, secret) = (secured.brokers.as_str(), "no-password-of-theirs");
    let good = secured.properties_with("good", &[]);
    let (_, issuer) = authority(2);

    // Every way in.
    let tokens = token_endpoint();
    for (name, changes) in [
        ("scram-512", vec![]),
        ("scram-256", vec![("sasl.mechanism", Some("SCRAM-SHA-256"))]),
        ("plain", vec![("sasl.mechanism", Some("PLAIN"))]),
        (
            "oauthbearer",
            vec![
                ("sasl.mechanism", Some("OAUTHBEARER")),
                ("sasl.username", None),
                ("sasl.password", None),
                ("sasl.oauthbearer.method", Some("oidc")),
                ("sasl.oauthbearer.client.id", Some("whence")),
                ("sasl.oauthbearer.client.secret", Some("s3cr3t")),
                ("sasl.oauthbearer.token.endpoint.url", Some(tokens.as_str())),
            ],
        ),
    ] {
        let properties = secured.properties_with(name, &changes);
        let made = run(&["topics", "--kafka-brokers", tls, "--kafka-properties-file", &properties]);
        assert!(made.status.success(), "{name}: {made:?}");
    }

    // What waiting can't fix ends a start, and a tool.
    let other_ca = secured.path("other-ca.pem");
    std::fs::write(&other_ca, issuer.pem()).unwrap();
    let (other_ca, missing) = (other_ca.to_str().unwrap(), secured.path("missing.pem"));
    let (plain, _) = brokers("secured");
    let foreign = pretender("other.example", 2);
    let foreign_ca = secured.path("foreign-ca.pem");
    std::fs::write(&foreign_ca, &foreign.ca).unwrap();
    let untrusted = "is not signed by a trusted authority, check ssl.ca.location";
    let lasting = [
        ("password", tls, vec![("sasl.password", Some(secret))], "kafka refuses the user or the password"),
        ("user", tls, vec![("sasl.username", Some("nobody"))], "kafka refuses the user or the password"),
        ("ca", tls, vec![("ssl.ca.location", Some(other_ca))], untrusted),
        ("no-ca", tls, vec![("ssl.ca.location", None)], untrusted),
        ("file", tls, vec![("ssl.ca.location", missing.to_str())], "ssl.ca.location"),
        ("host", &foreign.address, vec![("ssl.ca.location", foreign_ca.to_str())], "is for another host"),
    ];

    // What may pass, or be fixed elsewhere, is waited for, and shown.
    let old = pretender("localhost", -1);
    let old_ca = secured.path("old-ca.pem");
    std::fs::write(&old_ca, &old.ca).unwrap();
    let other = "a kafka broker speaks another protocol there, check security.protocol and the port";
    let passing = [
        (
            "expired",
            &*old.address,
            ("ssl.ca.location", old_ca.to_str()),
            "certificate of a kafka broker has expired",
        ),
        ("plaintext", tls, ("security.protocol", Some("plaintext")), other),
        ("no-tls", tls, ("security.protocol", Some("sasl_plaintext")), other),
        (
            "tls",
            &*plain,
            ("client.id", Some("one")),
            "a kafka broker speaks no tls there, check security.protocol",
        ),
    ];
    // Each waits for most of its time: all at once, each with a folder of its own.
    std::thread::scope(|scope| {
        let secured = &secured;
        for (name, brokers, changes, said) in &lasting {
            scope.spawn(move || {
                let ingest = Ingest::new();
                let properties = secured.properties_with(name, changes);
                ends_saying(ingest.start(brokers, &properties), said, secret);
                tool_says(brokers, &properties, said);
                validate_says(&ingest, brokers, &properties, said);
            });
        }
        for (name, brokers, changes, said) in passing {
            scope.spawn(move || {
                let ingest = Ingest::new();
                let properties = secured.properties_with(name, &[changes]);
                tool_says(brokers, &properties, said);
                validate_says(&ingest, brokers, &properties, said);
                let waiting = ingest.start(brokers, &properties);
                until_reason(&waiting, said);
                assert!(waiting.stop().success());
            });
        }
    });
    let ingest = Ingest::new();
    let works = ingest.start(tls, &good);
    works.until_ready();
    let log = works.log();
    assert!(works.stop().success(), "{log}");
}

#[test]
fn each_permission_that_lacks_is_named_and_one_taken_from_a_running_edge_is_waited_for() {
    const TOPICS: [&str; 4] = ["--topic", "whence.", "--resource-pattern-type", "prefixed"];
    let secured = Secured::start();
    let ingest = Ingest::new();
    let properties = secured.properties_with("good", &[]);
    let brokers = secured.brokers.as_str();
    let without = |what: &[&str], look: &dyn Fn()| {
        secured.permit("--remove", what);
        look();
        secured.permit("--add", what);
    };
    let on_topics = |operation: &'static str| [&["--operation", operation][..], &TOPICS].concat();

    without(&on_topics("Create"), &|| {
        tool_says(
            brokers,
            &properties,
            "the user may not make the topic whence.clicks, an ACL is missing: Create on it",
        );
    });
    let made = run(&["topics", "--kafka-brokers", brokers, "--kafka-properties-file", &properties]);
    assert!(made.status.success(), "{made:?}");
    without(&on_topics("DescribeConfigs"), &|| {
        tool_says(
            brokers,
            &properties,
            "the settings of the topic whence.clicks, an ACL is missing: DescribeConfigs on it",
        );
    });
    without(&on_topics("Write"), &|| {
        let said = "the user may not use the topic whence.clicks, an ACL is missing: Write on it";
        validate_says(&ingest, brokers, &properties, said);
        ends_saying(ingest.start(brokers, &properties), said, "hunter2");
    });
    without(&on_topics("Read"), &|| {
        let said = "the user may not use the topic whence.clicks, an ACL is missing: Read on it";
        ends_saying(ingest.aggregate(brokers, &properties), said, "hunter2");
    });
    without(&["--operation", "Read", "--group", "whence-aggregator"], &|| {
        let said = "the user may not use the consumer group whence-aggregator, an ACL is missing: Read on it";
        ends_saying(ingest.aggregate(brokers, &properties), said, "hunter2");
    });
    without(&["--operation", "Write", "--transactional-id", "whence.registry"], &|| {
        let said =
            "the user may not use the transactional id whence.registry, an ACL is missing: Write on it";
        ends_saying(ingest.start(brokers, &properties), said, "hunter2");
    });
    let all = [
        "--operation",
        "Read",
        "--operation",
        "Write",
        "--operation",
        "Create",
        "--operation",
        "DescribeConfigs",
    ];
    without(&[&all[..], &TOPICS].concat(), &|| {
        // Not to be taken for a topic that is not there.
        let said = "the user may not see the topic whence.clicks, an ACL is missing: Describe on it";
        ends_saying(ingest.start(brokers, &properties), said, "hunter2");
    });

    let running = ingest.start(brokers, &properties);
    running.until_ready();
    let key = std::fs::read_to_string(&ingest.key).unwrap();
    running.set_up_world(&key);
    running.click("x");
    secured.permit("--remove", &on_topics("Write"));
    until("the loss of the permission shows", || {
        running.click("y");
        running.readiness().1.to_string().contains("an ACL is missing").then_some(())
    });
    running.click("z");
    secured.permit("--add", &on_topics("Write"));
    until("all arrives once it is given back", || {
        (!running.readiness().1.to_string().contains("ACL")).then_some(())
    });
    let log = running.log();
    assert!(running.stop().success(), "{log}");
}

/// Waits until readiness says this.
fn until_reason(role: &Role, said: &str) {
    until(&format!("readiness says {said:?}"), || {
        let (_, readiness) = role.noted_readiness()?;
        readiness.to_string().contains(said).then_some(())
    });
}

/// An authority whose certificates end in so many days.
fn authority(days: i64) -> (KeyPair, CertifiedIssuer<'static, KeyPair>) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, format!("an authority of {days} days"));
    let key = KeyPair::generate().unwrap();
    (KeyPair::generate().unwrap(), CertifiedIssuer::self_signed(params, key).unwrap())
}

/// Somebody who listens with a certificate of its own authority, and has nothing to say after the handshake.
struct Pretender {
    address: String,
    ca: String,
}

fn pretender(host: &str, days: i64) -> Pretender {
    let (key, issuer) = authority(days);
    let mut params = CertificateParams::new([host.to_owned()]).unwrap();
    if host == "localhost" {
        params.subject_alt_names.push(rcgen::SanType::IpAddress([127, 0, 0, 1].into()));
    }
    let now = SystemTime::now();
    let day = std::time::Duration::from_secs(86_400);
    params.not_before = (now - 10 * day).into();
    params.not_after = if days < 0 { (now - day).into() } else { (now + 10 * day).into() };
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let chain = vec![certificate.der().clone()];
    let private = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .unwrap();
    let (listener, config) = (TcpListener::bind("127.0.0.1:0").unwrap(), Arc::new(config));
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, config) = (stream.unwrap(), Arc::clone(&config));
            std::thread::spawn(move || {
                let mut connection = rustls::ServerConnection::new(config).unwrap();
                while connection.is_handshaking() && connection.complete_io(&mut stream).is_ok() {}
                let _ = stream.read(&mut [0; 64]);
            });
        }
    });
    Pretender { address, ca: issuer.pem() }
}

/// Gives out tokens of the user whence; its address.
fn token_endpoint() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            // The body is a line of fields, which comes with the head or right behind it.
            while !String::from_utf8_lossy(&request).contains("grant_type=client_credentials") {
                match stream.read(&mut buffer) {
                    Ok(0) | Err(_) => break,
                    Ok(read) => request.extend_from_slice(&buffer[..read]),
                }
            }
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
            let claims =
                json!({ "sub": "whence", "iat": now - 10, "exp": now + 600, "iss": "test", "aud": "kafka" });
            let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
            let token = format!("{}.{}.", part(&json!({ "alg": "none" })), part(&claims));
            let body =
                json!({ "access_token": token, "token_type": "Bearer", "expires_in": 600 }).to_string();
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
            let _ = write!(stream, "{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        }
    });
    format!("http://{address}/token")
}
