//! Certificates from an authority: Pebble, Let's Encrypt's own server for tests, on loopback. It is a program in
//! Go; `deploy/dev/fetch-pebble` builds it once, and WHENCE_TEST_PEBBLE names its folder. Where the variable is not
//! set these tests say so and do nothing: there is no Go on every machine.

use crate::{harness::*, tls_support::*};
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::ring::default_provider,
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};
use tempfile::TempDir;
use whence_ingest::edge::{
    acme::{AcmeConfig, ChallengeKind, Keeper},
    tls::CertificateStore,
};
use whence_runtime::health::Health;
use whence_schemas::event::Program;

struct Pebble {
    directory: String,
    root: PathBuf,
    _dir: TempDir,
    children: Vec<Child>,
}

impl Drop for Pebble {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Starts of Pebble before its test fails.
const STARTS_MAX: usize = 5;

impl Pebble {
    /// An authority that looks for proofs at these ports of whatever host; `None` where there is no Pebble.
    ///
    /// Its ports are free when they are chosen, and another test may be faster: then it is started again.
    fn start(http: u16, tls: u16) -> Option<Pebble> {
        (0..STARTS_MAX).find_map(|_| Self::try_start(http, tls)?.ok()).or_else(|| {
            assert!(std::env::var_os("WHENCE_TEST_PEBBLE").is_none(), "Pebble does not listen");
            None
        })
    }

    /// `None` where there is no Pebble, an error if one of its programs has ended.
    fn try_start(http: u16, tls: u16) -> Option<Result<Pebble, ()>> {
        let Some(programs) = std::env::var_os("WHENCE_TEST_PEBBLE") else {
            eprintln!("WHENCE_TEST_PEBBLE is not set: nothing is tested here");
            return None;
        };
        let programs = PathBuf::from(programs);
        let dir = TempDir::new().unwrap();
        let [listen, management, dns, dns_management] = [(); 4].map(|()| free());
        let own = pair(&["localhost", "127.0.0.1"]);
        let (root, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
        fs::write(&root, &own.chain).unwrap();
        fs::write(&key, &own.key).unwrap();
        let config = serde_json::json!({"pebble": {
            "listenAddress": listen.to_string(), "managementListenAddress": management.to_string(),
            "certificate": root, "privateKey": key, "httpPort": http, "tlsPort": tls,
            "ocspResponderURL": "", "externalAccountBindingRequired": false,
            "retryAfter": {"authz": 1, "order": 1},
            "profiles": {"default": {"description": "of tests", "validityPeriod": 86400}},
        }});
        let config_path = dir.path().join("pebble.json");
        fs::write(&config_path, config.to_string()).unwrap();
        let names = Command::new(programs.join("pebble-challtestsrv"))
            .args(["-dnsserver", &dns.to_string(), "-management", &dns_management.to_string()])
            .args(["-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""])
            .args(["-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", ""])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let authority = Command::new(programs.join("pebble"))
            .args(["-config", config_path.to_str().unwrap(), "-dnsserver", &dns.to_string()])
            .envs([("PEBBLE_VA_NOSLEEP", "1"), ("PEBBLE_VA_ALWAYS_VALID", "0")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let children = vec![names, authority];
        let mut pebble = Pebble { directory: format!("https://{listen}/dir"), root, _dir: dir, children };
        let mut has_ended = false;
        eventually("Pebble listens or has ended", || {
            has_ended = pebble.children.iter_mut().any(|child| !matches!(child.try_wait(), Ok(None)));
            has_ended || TcpStream::connect(listen).is_ok() && TcpStream::connect(dns_management).is_ok()
        });
        Some(if has_ended { Err(()) } else { Ok(pebble) })
    }

    fn config(&self, dir: &Path, challenge: ChallengeKind) -> AcmeConfig {
        AcmeConfig {
            directory: self.directory.clone(),
            contact: vec!["mailto:ops@shop.example".into()],
            hosts: Vec::new(),
            challenge,
            root_path: Some(self.root.clone()),
            dir: dir.to_owned(),
        }
    }
}

/// Runs the keeper until `holds`.
fn keep(keeper: Keeper, what: &str, holds: impl Fn() -> bool) {
    block_on(async {
        let waiting = async {
            while !holds() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let deadline = tokio::time::sleep(3 * DEADLINE);
        tokio::select! {
            () = keeper.run() => unreachable!("it does not end"),
            () = waiting => {}
            () = deadline => panic!("{what}: not in time"),
        }
    });
}

/// Takes whatever certificate it is shown for the name.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let name = name.to_str();
        let is_for = end_entity.windows(name.len()).any(|part| part == name.as_bytes());
        assert!(is_for, "a certificate for {name}");
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}

fn trusting() -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let config = builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody));
    Arc::new(config.with_no_client_auth())
}

fn orders(outcome: &str) -> u64 {
    counted("whence_edge_acme_orders_total", &format!("outcome=\"{outcome}\""))
}

/// All files and folders below.
fn below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(below(&path));
        }
        found.push(path);
    }
    found
}

fn is_issued(challenge: ChallengeKind) {
    let store = Arc::new(CertificateStore::default());
    let edge = with_store(&store, |_| {});
    let Some(pebble) = Pebble::start(edge.address.port(), edge.secure.unwrap().port()) else { return };
    // Neither an address nor a name with a port is asked for.
    edge.put_program(Program {
        link_hosts: vec![
            "go.example".into(),
            "two.example".into(),
            "127.0.0.1".into(),
            "go.example:8080".into(),
        ],
        ..demo()
    });
    let (dir, health) = (TempDir::new().unwrap(), Health::new());
    let state = dir.path().join("acme");
    let component = Some(health.component("edge.acme"));
    let config = pebble.config(&state, challenge);
    let keeper = Keeper::new(config, Arc::clone(&store), Arc::clone(&edge.table), component).unwrap();
    assert!(edge.shake_hands(&trusting(), "go.example").is_err());
    let before = orders("issued");
    let has = |host| store.find(Some(host)).is_some();
    keep(keeper, "issued", || has("go.example") && has("two.example"));
    assert!(orders("issued") >= before + 2);
    for host in ["go.example", "two.example"] {
        edge.shake_hands(&trusting(), host).unwrap();
    }
    assert!(edge.shake_hands(&trusting(), "three.example").is_err());
    assert!(health.readiness().ready);
    let files = below(&state);
    assert_eq!(files.len(), 4, "{files:?}");
    for path in files.iter().chain([&state]) {
        let mode = fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, if path.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
    }
    // A challenge that is over is answered no more, nor is the edge's a reply to whoever asks.
    assert_eq!(edge.get("/.well-known/acme-challenge/abc", &[]).status(), 404);

    // What is kept is shown after a restart, although nobody is there to ask.
    store.put_ordered(Vec::new());
    let config = pebble.config(&state, challenge);
    drop(pebble);
    let component = Some(health.component("edge.acme"));
    let keeper = Keeper::new(config, Arc::clone(&store), Arc::clone(&edge.table), component).unwrap();
    keep(keeper, "kept", || has("go.example") && has("two.example"));
    assert_eq!(edge.clicks().len(), 0);
}

#[test]
fn a_certificate_is_issued_for_who_answers_at_the_plain_port() {
    is_issued(ChallengeKind::Http01);
}

#[test]
fn a_certificate_is_issued_for_who_shows_the_authoritys_certificate() {
    is_issued(ChallengeKind::TlsAlpn01);
}

#[test]
fn a_host_that_is_not_answered_here_gets_none_and_everybody_else_is_unharmed() {
    let store = Arc::new(CertificateStore::default());
    let edge = with_store(&store, |_| {});
    // Where the authority looks, nobody is.
    let Some(pebble) = Pebble::start(free().port(), free().port()) else { return };
    for challenge in [ChallengeKind::Http01, ChallengeKind::TlsAlpn01] {
        let (dir, health) = (TempDir::new().unwrap(), Health::new());
        let component = Some(health.component("edge.acme"));
        let keeper = Keeper::new(
            pebble.config(dir.path(), challenge),
            Arc::clone(&store),
            Arc::clone(&edge.table),
            component,
        );
        let before = orders("failed");
        keep(keeper.unwrap(), "refused", || !health.readiness().ready);
        let reason = health.readiness().components[0].reason.clone().unwrap();
        assert_eq!(reason, "no new certificate for go.example: see the log");
        assert!(orders("failed") > before);
        assert!(store.find(Some("go.example")).is_none());
        assert_eq!(edge.get("/abc", &[]).status(), 302);
    }
}
