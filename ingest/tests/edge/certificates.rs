//! Which certificate a client is shown, and what becomes of certificates whose files change.

use crate::{harness::*, secure::counted_plain, tls_support::*};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tempfile::TempDir;
use whence_ingest::edge::tls::{CertificateFolder, CertificateStore, FolderError};
use whence_runtime::health::Health;

fn put(dir: &Path, chain: &str, key: &str, pair: &Pair) {
    let (chain, key) = (dir.join(chain), dir.join(key));
    fs::create_dir_all(chain.parent().unwrap()).unwrap();
    fs::write(&chain, &pair.chain).unwrap();
    fs::write(&key, &pair.key).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
}

fn open(dir: &Path) -> Result<(CertificateFolder, Arc<CertificateStore>, Health), FolderError> {
    let (store, health) = (Arc::new(CertificateStore::default()), Health::new());
    let component = Some(health.component("edge.certificates"));
    let folder = CertificateFolder::open(dir.to_owned(), Arc::clone(&store), component)?;
    Ok((folder, store, health))
}

/// Whether a client that trusts this one only is shown it for the name.
fn is_shown(edge: &Edge, name: &str, pair: &Pair) -> bool {
    edge.shake_hands(&client(&[pair], &[]), name).is_ok()
}

#[test]
fn each_name_is_shown_its_certificate() {
    let dir = TempDir::new().unwrap();
    let (own, wide) = (pair(&["go.example", "GO2.example"]), pair(&["*.wide.example", "wide.example"]));
    let (certbot, kubernetes) = (pair(&["certbot.example"]), pair(&["k8s.example"]));
    let default = pair(&["other.example", "default.example"]);
    put(dir.path(), "own.crt", "own.key", &own);
    put(dir.path(), "wide.pem", "wide.key", &wide);
    put(dir.path(), "live/fullchain.pem", "live/privkey.pem", &certbot);
    put(dir.path(), "k8s/tls.crt", "k8s/tls.key", &kubernetes);
    put(dir.path(), "default.crt", "default.key", &default);
    fs::write(dir.path().join("README"), "not a certificate").unwrap();
    fs::write(dir.path().join("ca.pem"), "a chain without a key is not looked at").unwrap();
    let (_folder, store, health) = open(dir.path()).unwrap();
    let edge = with_store(&store, |_| {});
    for (name, shown) in [
        ("go.example", &own),
        ("go2.example", &own),
        ("wide.example", &wide),
        ("a.wide.example", &wide),
        ("certbot.example", &certbot),
        ("k8s.example", &kubernetes),
        ("other.example", &default),
    ] {
        assert!(is_shown(&edge, name, shown), "{name}");
    }
    assert!(!is_shown(&edge, "a.b.wide.example", &wide), "a star is one label");
    assert!(health.readiness().ready);
    let left = store.left_seconds(SystemTime::now()).unwrap();
    assert!((86_000.0..86_400.0).contains(&left), "{left}");
}

#[test]
fn a_name_without_a_certificate_is_refused_and_counted_where_none_is_the_default() {
    let store = Arc::new(CertificateStore::default());
    let pairs = [pair(&["a.example"]), pair(&["b.example"])];
    store.put_given(pairs.iter().map(certificate).collect(), None);
    let edge = with_store(&store, |_| {});
    let before = counted_plain("whence_edge_certificates_missing_total");
    for name in ["c.example", "x.a.example", "example", "127.0.0.1"] {
        assert!(edge.shake_hands(&client(&[&pairs[0], &pairs[1]], &[]), name).is_err(), "{name}");
    }
    assert!(counted_plain("whence_edge_certificates_missing_total") >= before + 4);
}

#[test]
fn files_that_change_are_shown_without_a_restart_and_broken_ones_are_not() {
    let dir = TempDir::new().unwrap();
    let (first, second, other) = (pair(&["go.example"]), pair(&["go.example"]), pair(&["other.example"]));
    put(dir.path(), "go.crt", "go.key", &first);
    let (mut folder, store, health) = open(dir.path()).unwrap();
    let edge = with_store(&store, |_| {});
    let kept = edge.shake_hands(&client(&[&first], &[]), "go.example").unwrap();
    assert!(is_shown(&edge, "go.example", &first));

    let broken = counted_plain("whence_edge_certificates_broken_total");
    let reason = |health: &Health| health.readiness().components[0].reason.clone();
    // A chain without its key, half a file, an empty one, nonsense.
    for (chain, key) in [
        (second.chain.clone(), first.key.clone()),
        (second.chain[..second.chain.len() / 2].to_owned(), second.key.clone()),
        (String::new(), second.key.clone()),
        (second.chain.clone(), String::new()),
        (second.chain.clone(), "nonsense".to_owned()),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned(), second.key.clone()),
    ] {
        put(dir.path(), "go.crt", "go.key", &Pair { chain, key });
        folder.look();
        assert!(is_shown(&edge, "go.example", &first));
        assert!(reason(&health).is_some_and(|reason| reason.contains("go.crt")), "{:?}", reason(&health));
    }
    assert!(counted_plain("whence_edge_certificates_broken_total") >= broken + 6);

    put(dir.path(), "go.crt", "go.key", &second);
    put(dir.path(), "other.crt", "other.key", &other);
    folder.look();
    assert!(is_shown(&edge, "go.example", &second) && is_shown(&edge, "other.example", &other));
    assert!(!is_shown(&edge, "go.example", &first));
    assert_eq!(reason(&health), None);

    fs::remove_file(dir.path().join("other.key")).unwrap();
    folder.look();
    assert!(!is_shown(&edge, "other.example", &other), "taken away");
    // All at once are not taken away: somebody is replacing the folder.
    fs::rename(dir.path().join("go.key"), dir.path().join("gone")).unwrap();
    folder.look();
    assert!(is_shown(&edge, "go.example", &second));
    drop(kept);
}

#[test]
fn a_certificate_that_has_ended_is_said_to_have() {
    let dir = TempDir::new().unwrap();
    let ended = pair_until(&["go.example"], SystemTime::now() - Duration::from_secs(60));
    put(dir.path(), "go.crt", "go.key", &ended);
    let (_folder, store, health) = open(dir.path()).unwrap();
    let reason = health.readiness().components[0].reason.clone();
    assert_eq!(reason.as_deref(), Some("the certificate go has expired"));
    assert!(store.left_seconds(SystemTime::now()).unwrap() < 0.0);
}

#[test]
fn what_keeps_certificates_from_being_had_is_said_at_the_start() {
    let dir = TempDir::new().unwrap();
    let error = |dir: &Path| open(dir).unwrap_err().to_string();
    assert!(error(&dir.path().join("none")).starts_with("cannot read "));
    assert!(error(dir.path()).starts_with("no certificate in "));
    put(dir.path(), "go.crt", "go.key", &pair(&["go.example"]));
    fs::set_permissions(dir.path().join("go.key"), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(error(dir.path()).ends_with("go.key is open to others (mode 644): chmod 600 it"));
    put(dir.path(), "go.crt", "go.key", &Pair { chain: "x".into(), ..pair(&["go.example"]) });
    assert!(error(dir.path()).ends_with("go.crt is not usable"));
}
