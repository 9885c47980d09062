//! What is refused, and what a batch of changes comes to.

use super::records::{NOW, demo, key, link, program, referrer, written};
use std::sync::Arc;
use whence_ingest::registry::{
    Change, ChangeError, EntryKey, LinkPatch, RegistryState, check, state::ApplyError,
};
use whence_schemas::{
    event::{ApiKey, Link, Program, Referrer, RegistryEntry, RewardRule, RewardTerms, registry_entry::Entry},
    ids::LinkNumber,
};

fn refusal(change: &Change) -> (String, String) {
    match demo().check(change).unwrap_err() {
        ChangeError::Invalid { field, reason } => (field, reason),
        other => panic!("{other}"),
    }
}

fn broken_program(break_it: impl FnOnce(&mut Program)) -> (String, String) {
    let mut program = program("new");
    break_it(&mut program);
    refusal(&Change::PutProgram(program))
}

fn broken_link(break_it: impl FnOnce(&mut Link)) -> (String, String) {
    let mut link = link("demo", "go.example", "new", "ann");
    break_it(&mut link);
    refusal(&Change::CreateLink(link))
}

#[test]
fn a_program_is_refused_by_the_field_that_is_wrong() {
    type Break = fn(&mut Program);
    let cases: [(&str, Break); 20] = [
        ("id", |p| p.id = "New".into()),
        ("name", |p| p.name = "x".repeat(201)),
        ("name", |p| p.name = "a\nb".into()),
        ("destination_hosts", |p| p.destination_hosts.clear()),
        ("destination_hosts[1]", |p| p.destination_hosts[1] = "*.com".into()),
        ("destination_hosts[1]", |p| p.destination_hosts[1] = p.destination_hosts[0].clone()),
        ("destination_hosts", |p| p.destination_hosts = vec!["a.example".into(); 257]),
        ("fallback", |p| p.fallback = "https://evil.example/".into()),
        ("fallback", |p| p.fallback = "shop.example".into()),
        ("link_hosts[0]", |p| p.link_hosts = vec!["GO.example".into()]),
        ("link_hosts[0]", |p| p.link_hosts = vec!["new.example:443".into()]),
        ("link_hosts[0]", |p| p.link_hosts = vec!["new.example.".into()]),
        ("channels[1]", |p| p.channels[1] = "E-Mail".into()),
        ("channels[1]", |p| p.channels[1] = "email".into()),
        ("model", |p| p.rule.as_mut().unwrap().model = 0),
        ("model", |p| p.rule = None),
        ("window_ms", |p| p.rule.as_mut().unwrap().window_ms = 0),
        ("window_ms", |p| p.rule.as_mut().unwrap().window_ms = 401 * 86_400_000),
        ("consent", |p| p.consent = 0),
        ("rewards[0].id", |p| {
            p.rewards = Some(RewardTerms { rules: vec![RewardRule::default()], risk: None });
        }),
    ];
    for (field, break_it) in cases {
        let (found, reason) = broken_program(break_it);
        assert_eq!(found, field, "{reason}");
    }
}

#[test]
fn a_link_is_refused_by_the_field_that_is_wrong() {
    type Break = fn(&mut Link);
    let cases: [(&str, Break); 16] = [
        ("host", |l| l.host = "Go.example".into()),
        ("host", |l| l.host = String::new()),
        ("host", |l| l.host = "go.example:80".into()),
        ("host", |l| l.host = "[::1]:443".into()),
        ("host", |l| l.host = "go.example.".into()),
        ("code", |l| l.code = "a/b".into()),
        ("code", |l| l.code = "..".into()),
        ("code", |l| l.code = "whence.js".into()),
        ("referrer", |l| l.referrer = "nobody".into()),
        ("referrer", |l| l.referrer = "ann@shop.example".into()),
        ("referrer", |l| l.referrer = "bob".into()),
        ("channel", |l| l.channel = "sms".into()),
        ("destination", |l| l.destination = "https://evil.example/".into()),
        ("destination", |l| l.destination = "https://u:p@shop.example/".into()),
        ("expires_at", |l| l.expires_at_ms = -1),
        ("http_status", |l| l.status = 200),
    ];
    for (field, break_it) in cases {
        let (found, reason) = broken_link(break_it);
        assert_eq!(found, field, "{reason}");
    }
    assert_eq!(broken_link(|l| l.channel = String::from("sms")).1, "is not one of the program's channels");
}

#[test]
fn referrers_and_keys_are_refused_by_the_field_that_is_wrong() {
    assert_eq!(refusal(&Change::PutReferrer(referrer("demo", ""))).0, "id");
    let long = Referrer { name: "x".repeat(201), ..referrer("demo", "eve") };
    assert_eq!(refusal(&Change::CreateReferrer(long)).0, "name");
    type Break = fn(&mut ApiKey);
    let cases: [(&str, Break); 5] = [
        ("id", |k| k.id = "a_b".into()),
        ("hash", |k| k.hash = vec![7; 31].into()),
        ("scopes", |k| k.scopes.clear()),
        ("scopes[0]", |k| k.scopes[0] = "root".into()),
        ("scopes[1]", |k| k.scopes.push(k.scopes[0].clone())),
    ];
    for (field, break_it) in cases {
        let mut key = key("k2");
        break_it(&mut key);
        assert_eq!(refusal(&Change::CreateKey(key)).0, field);
    }
}

#[test]
fn what_is_not_there_is_not_found() {
    let missing = [
        (Change::PutReferrer(referrer("none", "ann")), "program"),
        (Change::CreateLink(link("none", "go.example", "x", "ann")), "program"),
        (Change::CreateKey(ApiKey { program: "none".into(), ..key("k2") }), "program"),
        (disable(EntryKey::Program { id: "none".into() }), "program"),
        (disable(EntryKey::Referrer { program: "demo".into(), id: "bob".into() }), "referrer"),
        (disable(link_key("demo", "abcd")), "link"),
        (disable(link_key("other", "abc")), "link"),
        (change_link("other", "abc", LinkPatch::default()), "link"),
        (disable(EntryKey::ApiKey { id: "k9".into() }), "key"),
    ];
    for (change, missing) in missing {
        match demo().check(&change).unwrap_err() {
            ChangeError::NotFound { what, .. } => assert_eq!(what, missing, "{change:?}"),
            other => panic!("{change:?}: {other}"),
        }
    }
}

fn link_key(program: &str, code: &str) -> EntryKey {
    EntryKey::Link { program: program.into(), host: "go.example".into(), code: code.into() }
}

fn disable(key: EntryKey) -> Change {
    Change::SetDisabled { key, disabled: true }
}

fn change_link(program: &str, code: &str, patch: LinkPatch) -> Change {
    Change::ChangeLink { program: program.into(), host: "go.example".into(), code: code.into(), patch }
}

#[test]
fn what_is_taken_conflicts() {
    let mut state = demo();
    written(&mut state, &[Change::CreateReferrer(referrer("demo", "eve"))]);
    let other_host = Program { link_hosts: vec!["demo.go.example".into()], ..program("third") };
    let conflicts = [
        (Change::CreateLink(link("demo", "go.example", "abc", "ann")), "code"),
        (Change::CreateLink(link("other", "go.example", "abc", "bob")), "code"),
        (Change::CreateLink(link("demo", "other.example", "abc", "eve")), "code"),
        (Change::CreateReferrer(referrer("demo", "ann")), "id"),
        (Change::CreateKey(key("k1")), "id"),
        (Change::PutProgram(other_host), "link_hosts[0]"),
    ];
    for (change, at) in conflicts {
        match state.check(&change).unwrap_err() {
            ChangeError::Conflict { field, .. } => assert_eq!(field, at, "{change:?}"),
            other => panic!("{change:?}: {other}"),
        }
    }
    // The same code on another host for the same referrer, or in another program, is no conflict.
    state.check(&Change::CreateLink(link("demo", "other.example", "abc", "ann"))).unwrap();
    state.check(&Change::CreateLink(link("other", "other.example", "abc", "bob"))).unwrap();
}

#[test]
fn a_batch_sees_its_own_changes_and_refusals_take_no_version() {
    let state = demo();
    let before = state.version();
    let new = link("demo", "go.example", "new", "eve");
    let staged = check::stage(
        &state,
        &[
            Change::CreateLink(new.clone()),
            Change::CreateReferrer(referrer("demo", "eve")),
            Change::CreateLink(new.clone()),
            Change::CreateLink(new.clone()),
            Change::CreateLink(link("demo", "b.example", "new", "ann")),
            change_link("demo", "new", LinkPatch { test: Some(true), ..LinkPatch::default() }),
        ],
        NOW,
    );
    let versions: Vec<_> =
        staged.outcomes.iter().map(|outcome| outcome.as_ref().map(|entry| entry.version).ok()).collect();
    assert_eq!(versions, [None, Some(before + 1), Some(before + 2), None, None, Some(before + 3)]);
    assert_eq!(staged.entries.len(), 3);
    assert_eq!(staged.entries[2].entry, Some(Entry::Link(Link { test: true, ..new })));
    assert_eq!(staged.entries[2].changed_at_ms, NOW.0);
}

#[test]
fn a_change_that_changes_nothing_writes_nothing() {
    let state = demo();
    let key = EntryKey::Program { id: "demo".into() };
    let staged = check::stage(&state, &[Change::PutProgram(program("demo"))], NOW);
    assert!(staged.entries.is_empty());
    assert_eq!(staged.outcomes[0].as_ref().unwrap(), state.entry(&key).unwrap());
}

#[test]
fn a_changed_link_is_checked_like_a_new_one_and_keeps_its_referrer() {
    let state = demo();
    let patch = LinkPatch { destination: Some("https://evil.example/".into()), ..LinkPatch::default() };
    let refused = state.check(&change_link("demo", "abc", patch)).unwrap_err();
    assert!(matches!(refused, ChangeError::Invalid { field, .. } if field == "destination"));
    let patch = LinkPatch {
        destination: Some("https://a.apps.example/".into()),
        expires_at_ms: Some(5),
        ..LinkPatch::default()
    };
    let changed = state.check(&change_link("demo", "abc", patch)).unwrap();
    let expected = Link {
        destination: "https://a.apps.example/".into(),
        expires_at_ms: 5,
        ..link("demo", "go.example", "abc", "ann")
    };
    assert_eq!(changed, Entry::Link(expected));
}

#[test]
fn look_ups_find_links_by_address_number_and_code() {
    let mut state = demo();
    written(&mut state, &[Change::CreateLink(link("demo", "b.example", "abc", "ann"))]);
    assert_eq!(state.link("go.example", "abc").unwrap().referrer, "ann");
    assert!(state.link("go.example", "abd").is_none());
    assert_eq!(state.link_by_number(LinkNumber::of("go.example/abc")).unwrap().code, "abc");
    assert_eq!(state.link_by_code("demo", "abc").unwrap().host, "b.example", "the first by alphabet");
    assert!(state.link_by_code("other", "abc").is_none());
    assert!(state.link_by_code("demo", "ab").is_none());
}

#[test]
fn entries_of_somebody_else_are_passed_over_but_known() {
    let mut state = demo();
    let version = state.version();
    let entry = |version, entry| Arc::new(RegistryEntry { version, changed_at_ms: 0, entry });
    let known = Err(ApplyError::Known { version, newest: version });
    assert_eq!(state.apply(entry(version, Some(Entry::Program(program("x"))))), known);
    assert!(state.program("x").is_none());
    assert_eq!(state.apply(entry(version + 5, None)), Err(ApplyError::Unknown));
    assert_eq!(state.version(), version + 5, "the next one is not taken for a replay");
    let stolen = link("other", "go.example", "abc", "bob");
    state.apply(entry(version + 6, Some(Entry::Link(stolen)))).unwrap();
    assert!(state.link_by_code("demo", "abc").is_none(), "no index says what the record does not");
    assert_eq!(state.link_by_code("other", "abc").unwrap().referrer, "bob");
}

#[test]
fn lists_come_in_pages() {
    let mut state = RegistryState::default();
    written(&mut state, &[Change::PutProgram(program("a")), Change::PutProgram(program("b"))]);
    let referrers = ["r1", "r2", "r3"].map(|id| Change::CreateReferrer(referrer("a", id)));
    written(&mut state, &referrers);
    let links = ["c1", "c2", "c3"].map(|code| Change::CreateLink(link("a", "h.example", code, "r1")));
    written(&mut state, &links);
    written(&mut state, &[Change::CreateLink(link("a", "g.example", "c2", "r1"))]);
    let ids: Vec<_> = state.programs_after("a", 5).map(|p| p.id.as_str()).collect();
    assert_eq!(ids, ["b"]);
    let ids: Vec<_> = state.referrers_after("a", "r1", 1).map(|r| r.id.as_str()).collect();
    assert_eq!(ids, ["r2"]);
    assert_eq!(state.referrers_after("b", "", 9).count(), 0);
    let page = |after| -> Vec<_> {
        state.links_after("a", after, 2).map(|l| (l.code.as_str(), l.host.as_str())).collect()
    };
    assert_eq!(page(("", "")), [("c1", "h.example"), ("c2", "g.example")]);
    assert_eq!(page(("c2", "g.example")), [("c2", "h.example"), ("c3", "h.example")]);
    assert_eq!(page(("c3", "h.example")), []);
}
