//! `whence up` with TLS: clicks over it end where all clicks do, and new certificates are shown without a restart.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::support::{BROWSER, Role, ask, run, until};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::json;
use tempfile::tempdir;

/// Writes a new certificate for go.example and its key; returns the certificate.
fn renew(dir: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["go.example".to_owned()]).unwrap();
    fs::create_dir_all(dir).unwrap();
    fs::write(dir.join("go.key"), made.signing_key.serialize_pem()).unwrap();
    fs::set_permissions(dir.join("go.key"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(dir.join("go.crt"), made.cert.pem()).unwrap();
    made.cert.der().clone()
}

/// The answer to a request over TLS by who trusts this certificate only.
fn get(whence: &Role, trusted: &CertificateDer<'static>, target: &str) -> std::io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let connection = ClientConnection::new(Arc::new(config), "go.example".try_into().unwrap()).unwrap();
    let address: SocketAddr = whence.address("edge_tls").strip_prefix("https://").unwrap().parse().unwrap();
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(120)))?;
    let mut stream = StreamOwned::new(connection, stream);
    write!(
        stream,
        "GET {target} HTTP/1.1\r\nHost: go.example\r\nUser-Agent: {BROWSER}\r\nConnection: close\r\n\r\n"
    )?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

#[test]
fn clicks_over_tls_are_counted_and_certificates_change_while_it_runs() {
    let dir = tempdir().unwrap();
    let certificates = dir.path().join("certificates");
    let first = renew(&certificates);
    let data = dir.path().join("data");
    let tls = ["up", "--edge-tls-listen", "127.0.0.1:0", "--tls-certificates"];
    let whence = Role::start(&data, &[&tls[..], &[certificates.to_str().unwrap()]].concat());
    whence.until_ready();
    until("it says where", || whence.printed().contains("links, TLS").then_some(()));
    whence.call(
        "PUT",
        "/v1/programs/p",
        &json!({"destination_hosts": ["shop.example"], "link_hosts": ["go.example"], "channels": ["email"]}),
    );
    whence.call("PUT", "/v1/programs/p/referrers/ann", &json!({}));
    whence.call(
        "POST",
        "/v1/programs/p/links",
        &json!({"host": "go.example", "code": "x", "referrer": "ann", "channel": "email",
            "destination": "https://shop.example/"}),
    );
    until("the link is known", || {
        get(&whence, &first, "/x?q=<\">").unwrap().starts_with("HTTP/1.1 302 ").then_some(())
    });
    until("the click is stored", || {
        whence.count("SELECT count() FROM clicks WHERE link = 'go.example/x'").filter(|count| *count > 0)
    });

    let second = renew(&certificates);
    crate::support::kill(whence.pid(), libc::SIGHUP);
    until("the new certificate is shown", || get(&whence, &second, "/x").ok());
    assert!(get(&whence, &first, "/x").is_err());

    fs::write(certificates.join("go.crt"), "broken").unwrap();
    crate::support::kill(whence.pid(), libc::SIGHUP);
    until("readiness says so", || {
        whence.readiness().1.to_string().contains("go.crt is not usable").then_some(())
    });
    assert!(get(&whence, &second, "/x").unwrap().starts_with("HTTP/1.1 302 "));
    let metrics = ask(&whence.address("admin"), "GET", "/metrics", &[], "").body;
    assert!(metrics.contains("whence_edge_certificates_broken_total "), "{metrics}");
    assert!(metrics.contains("whence_edge_certificates_expire_in_seconds "), "{metrics}");
    assert!(whence.stop().success());
}

#[test]
fn a_certificate_that_cannot_be_used_keeps_it_from_starting() {
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    let ended = run(&[
        "up",
        "--data",
        data.to_str().unwrap(),
        "--edge-listen=127.0.0.1:0",
        "--admin-listen=127.0.0.1:0",
        "--edge-tls-listen=127.0.0.1:0",
        "--tls-certificates",
        dir.path().to_str().unwrap(),
    ]);
    assert!(!ended.status.success());
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(said.contains("cannot use the certificates: no certificate in "), "{said}");
}
