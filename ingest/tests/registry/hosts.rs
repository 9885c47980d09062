//! Whose a host is, as changes of the registry ask for it.

use super::records::{NOW, demo, link, program, written};
use std::sync::Arc;
use whence_ingest::registry::{
    Change, ChangeError, EntryKey, Registry, RegistryState, check, embedded::EmbeddedRegistry, snapshot,
};
use whence_schemas::event::{HostClaim, Program, WebhookEndpoint};

fn claim(program: &str, host: &str, proof: &str) -> Change {
    Change::ClaimHost(HostClaim {
        host: host.into(),
        program: program.into(),
        proof: proof.into(),
        released: false,
        case_sensitive: false,
    })
}

fn release(program: &str, host: &str) -> Change {
    Change::ReleaseHost { program: program.into(), host: host.into() }
}

fn own(change: Change) -> Change {
    Change::OfOneProgram(change.into())
}

/// What is refused, in a word and by its field.
fn refused(state: &RegistryState, change: &Change) -> (&'static str, String) {
    match state.check(change).unwrap_err() {
        ref error @ (ChangeError::Conflict { ref field, .. } | ChangeError::Invalid { ref field, .. }) => {
            (error.tag(), field.clone())
        }
        other => (other.tag(), String::new()),
    }
}

/// `demo` has `go.example` by its links and `demo.go.example` by its list; `other` has nothing.
fn two() -> RegistryState {
    let mut state = demo();
    written(&mut state, &[Change::PutProgram(Program { link_hosts: Vec::new(), ..program("rival") })]);
    state
}

#[test]
fn of_two_claims_in_one_batch_the_first_has_the_host() {
    let state = two();
    let changes = [claim("demo", "new.example", "dns"), claim("rival", "new.example", "dns")];
    let staged = check::stage(&state, &changes, NOW);
    assert!(staged.outcomes[0].is_ok());
    let second = staged.outcomes[1].as_ref().unwrap_err();
    assert!(matches!(second, ChangeError::Conflict { field, .. } if field == "host"), "{second}");
    assert_eq!(staged.entries.len(), 1);
}

#[test]
fn a_host_without_a_record_is_of_who_lists_it_or_else_of_who_has_links_there() {
    let mut state = two();
    let host = link("demo", "go.example", "a", "ann").host;
    for (program, host, has) in [
        ("demo", host.as_str(), true),
        ("demo", "demo.go.example", true),
        ("demo", "new.example", false),
        ("rival", host.as_str(), false),
        ("rival", "demo.go.example", false),
    ] {
        assert_eq!(state.has_host(program, host), has, "{program} {host}");
    }
    for taken in [host.as_str(), "demo.go.example"] {
        assert_eq!(refused(&state, &claim("rival", taken, "dns")), ("conflict", "host".into()), "{taken}");
    }
    assert_eq!(
        refused(&state, &claim("rival", "demo.go.example", "admin")).0,
        "conflict",
        "a list is a claim"
    );
    // What only its links say, a key of all programs settles.
    written(&mut state, &[claim("rival", &host, "admin")]);
    assert!(state.has_host("rival", &host) && !state.has_host("demo", &host));
    let create = own(Change::CreateLink(link("demo", &host, "fresh", "ann")));
    assert_eq!(refused(&state, &create), ("conflict", "host".into()));
    let listing = Change::PutProgram(Program { link_hosts: vec![host], ..program("demo") });
    assert_eq!(
        refused(&state, &listing),
        ("conflict", "link_hosts[0]".into()),
        "not even a key of all programs"
    );
}

#[test]
fn a_released_host_is_nobodys_until_it_is_claimed_again() {
    let mut state = two();
    written(
        &mut state,
        &[claim("demo", "new.example", "dns"), Change::CreateLink(link("demo", "new.example", "n", "ann"))],
    );
    assert_eq!(refused(&state, &release("demo", "new.example")), ("conflict", "host".into()));
    assert_eq!(refused(&state, &release("rival", "new.example")).0, "not_found");
    let key = EntryKey::Link { program: "demo".into(), host: "new.example".into(), code: "n".into() };
    written(&mut state, &[Change::SetDisabled { key: key.clone(), disabled: true }]);
    written(&mut state, &[release("demo", "new.example")]);
    assert!(!state.has_host("demo", "new.example"), "links that are left there say nothing any more");
    let enable = own(Change::SetDisabled { key: key.clone(), disabled: false });
    assert_eq!(refused(&state, &enable), ("conflict", "host".into()));
    assert!(
        state.check(&own(Change::SetDisabled { key, disabled: true })).is_ok(),
        "to disable is always possible"
    );
    written(&mut state, &[claim("rival", "new.example", "dns")]);
    assert!(state.has_host("rival", "new.example"));
    assert_eq!(
        refused(&state, &release("demo", "demo.go.example")),
        ("conflict", "host".into()),
        "it is listed"
    );
}

#[test]
fn a_host_is_named_in_the_form_of_requests() {
    let state = two();
    for host in [
        "",
        "New.example",
        "new.example.",
        "new.example:80",
        "new.example:443",
        "new.example/a",
        "b\u{fc}cher.example",
        ".new.example",
        "new..example",
        "new.example.:8080",
        "new.example:",
        "new.example:0",
        "new.example:08080",
        "new.example:65536",
        "new.example:80:80",
        "[::1",
        "[::1]8080",
        "[0::1]",
        "[::1%eth0]",
    ] {
        assert_eq!(refused(&state, &claim("demo", host, "admin")), ("invalid", "host".into()), "{host}");
    }
    for host in
        ["new.example", "new.example:8080", "[::1]", "[2001:db8::1]:8443", "192.0.2.1:8080", "localhost"]
    {
        let claimed = state.check(&claim("demo", host, "admin"));
        assert!(claimed.is_ok(), "{host}: {claimed:?}");
    }
    assert_eq!(refused(&state, &claim("nobody", "new.example", "admin")).0, "not_found");
}

#[tokio::test]
async fn claims_and_days_of_use_are_kept_in_the_file_and_in_the_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let open = || EmbeddedRegistry::open(&dir.path().join("registry.redb"), Arc::new(|| NOW)).unwrap();
    let registry = open();
    let key = whence_schemas::event::ApiKey {
        name: "shop".into(),
        expires_at_ms: NOW.0,
        ..super::records::key("k")
    };
    let changes = vec![
        Change::PutProgram(program("demo")),
        claim("demo", "new.example", "dns"),
        Change::CreateKey(key),
        Change::KeyUsed { id: "k".into(), day: 20_000 },
        Change::KeyUsed { id: "k".into(), day: 19_999 },
    ];
    let outcomes = registry.write(changes).await.unwrap();
    assert_eq!(
        outcomes[3].as_ref().unwrap().entry.version,
        outcomes[4].as_ref().unwrap().entry.version,
        "an earlier day is no news"
    );
    drop(registry);
    let registry = open();
    let path = dir.path().join("registry.snapshot");
    snapshot::write(&path, snapshot::entries(registry.shared())).unwrap();
    for state in [registry.shared().read().clone(), snapshot::read(&path).unwrap().unwrap()] {
        assert!(state.has_host("demo", "new.example"));
        let key = state.key("k").unwrap();
        assert_eq!((key.name.as_str(), key.expires_at_ms, key.last_used_day), ("shop", NOW.0, 20_000));
    }
}

#[test]
fn one_program_leaves_room_for_the_others() {
    let mut state = two();
    let claims = |names: std::ops::Range<usize>| -> Vec<Change> {
        names.map(|name| own(claim("demo", &format!("h{name}.example"), "dns"))).collect()
    };
    written(&mut state, &claims(0..1000));
    assert_eq!(refused(&state, &claims(1000..1001)[0]).0, "registry_full");
    assert!(state.check(&claims(7..8)[0]).is_ok(), "what it has it may ask for again");
    assert!(state.check(&own(claim("rival", "new.example", "dns"))).is_ok());
    // Claimed and released they stay records, and so they count.
    written(&mut state, &[release("demo", "h7.example")]);
    assert_eq!(refused(&state, &claims(1000..1001)[0]).0, "registry_full");
    written(&mut state, &[own(claim("rival", "h7.example", "dns"))]);
    assert!(state.check(&claims(1000..1001)[0]).is_ok());
    let endpoint = |program: &str, id: usize| WebhookEndpoint {
        program: program.into(),
        id: id.to_string(),
        url: "https://shop.example/".into(),
        secrets: vec!["s".into()],
        ..WebhookEndpoint::default()
    };
    let put = |program: &str, id: usize| own(Change::PutEndpoint(endpoint(program, id)));
    written(&mut state, &(0..100).map(|id| put("demo", id)).collect::<Vec<_>>());
    assert_eq!(refused(&state, &put("demo", 100)).0, "registry_full");
    assert!(state.check(&put("demo", 99)).is_ok() && state.check(&put("rival", 0)).is_ok());
    assert!(state.check(&Change::PutEndpoint(endpoint("demo", 100))).is_ok(), "a key of all programs may");
}

#[test]
fn whether_case_makes_a_difference_is_fixed_with_the_first_link() {
    let mut state = two();
    let with = |program: &str, host: &str, case_sensitive| match claim(program, host, "admin") {
        Change::ClaimHost(claim) => Change::ClaimHost(HostClaim { case_sensitive, ..claim }),
        other => panic!("{other:?}"),
    };
    for case_sensitive in [true, false, true] {
        written(&mut state, &[with("demo", "new.example", case_sensitive)]);
        assert_eq!(state.is_case_sensitive("new.example"), case_sensitive, "nothing is on it yet");
    }
    written(
        &mut state,
        &["hi", "Hi"].map(|code| Change::CreateLink(link("demo", "new.example", code, "ann"))),
    );
    assert_eq!(refused(&state, &with("demo", "new.example", false)), ("conflict", "case_sensitive".into()));
    assert_eq!(refused(&state, &with("demo", "go.example", true)), ("conflict", "case_sensitive".into()));
    // It outlives who has the host.
    for code in ["hi", "Hi"] {
        let key = EntryKey::Link { program: "demo".into(), host: "new.example".into(), code: code.into() };
        written(&mut state, &[Change::SetDisabled { key, disabled: true }]);
    }
    written(&mut state, &[release("demo", "new.example")]);
    assert!(state.is_case_sensitive("new.example"));
    assert_eq!(refused(&state, &with("rival", "new.example", false)), ("conflict", "case_sensitive".into()));
    written(&mut state, &[with("rival", "new.example", true)]);
    // In one batch with the first link as well.
    let batch = [Change::CreateLink(link("demo", "b.example", "hi", "ann")), with("demo", "b.example", true)];
    let staged = check::stage(&state, &batch, NOW);
    assert!(staged.outcomes[0].is_ok() && staged.outcomes[1].is_err());
}
