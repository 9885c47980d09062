//! What is refused, and what a batch of changes comes to.

use super::records::{NOW, demo, key, link, program, referrer, written};
use proptest::{collection::vec, prelude::*};
use std::sync::Arc;
use whence_ingest::registry::{
    Change, ChangeError, Effect, EntryKey, Expected, Kind, Order, RegistryState, Versions, check,
    state::{ApplyError, is_listed, place},
};
use whence_schemas::{
    event::{
        ApiKey, HostClaim, Link, Program, Referrer, RegistryEntry, RewardRule, RewardTerms,
        registry_entry::Entry,
    },
    ids::LinkNumber,
    time::UnixMs,
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
        (Change::PutKey(key("k9")), "key"),
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

#[test]
fn what_is_taken_conflicts() {
    let mut state = demo();
    written(&mut state, &[Change::CreateReferrer(referrer("demo", "eve"))]);
    let other_host = Program { link_hosts: vec!["demo.go.example".into()], ..program("third") };
    let conflicts = [
        (Change::PutLink(link("other", "go.example", "abc", "bob")), "code"),
        (Change::PutLink(link("demo", "go.example", "abc", "eve")), "referrer"),
        (Change::CreateLink(link("other", "go.example", "abc", "bob")), "code"),
        (Change::CreateLink(link("demo", "other.example", "abc", "eve")), "code"),
        (Change::CreateKey(key("k1")), "id"),
        (Change::PutProgram(other_host), "link_hosts[0]"),
    ];
    for (change, at) in conflicts {
        match state.check(&change).unwrap_err() {
            ChangeError::Conflict { field, .. } => assert_eq!(field, at, "{change:?}"),
            other => panic!("{change:?}: {other}"),
        }
    }
    let others = [
        Change::CreateLink(Link { test: true, ..link("demo", "go.example", "abc", "ann") }),
        Change::CreateLink(link("demo", "go.example", "abc", "eve")),
        Change::CreateReferrer(Referrer { name: "Anna".into(), ..referrer("demo", "ann") }),
    ];
    for change in others {
        let refused = state.check(&change).unwrap_err();
        assert!(matches!(&refused, ChangeError::Exists { .. }), "{change:?}: {refused}");
    }
    // The same code on another host for the same referrer, or in another program, is not a conflict.
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
            Change::PutLink(Link { test: true, ..new.clone() }),
        ],
        NOW,
    );
    let outcome = |outcome: &Result<whence_ingest::registry::Written, _>| {
        outcome.as_ref().map(|written| (written.entry.version - before, written.effect)).ok()
    };
    let outcomes: Vec<_> = staged.outcomes.iter().map(outcome).collect();
    let expected = [
        None,
        Some((1, Effect::Created)),
        Some((2, Effect::Created)),
        Some((2, Effect::Unchanged)),
        None,
        Some((3, Effect::Changed)),
    ];
    assert_eq!(outcomes, expected);
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
    let written = staged.outcomes[0].as_ref().unwrap();
    assert_eq!((&written.entry, written.effect), (state.entry(&key).unwrap(), Effect::Unchanged));
}

#[test]
fn a_changed_link_is_checked_like_a_new_one_and_keeps_its_referrer() {
    let state = demo();
    let present = link("demo", "go.example", "abc", "ann");
    let evil = Link { destination: "https://evil.example/".into(), ..present.clone() };
    let refused = state.check(&Change::PutLink(evil)).unwrap_err();
    assert!(matches!(refused, ChangeError::Invalid { field, .. } if field == "destination"));
    let other = Link { destination: "https://a.apps.example/".into(), expires_at_ms: 5, ..present };
    assert_eq!(state.check(&Change::PutLink(other.clone())).unwrap(), Entry::Link(other));
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
    let entry = |version, entry| Arc::new(RegistryEntry { version, entry, ..RegistryEntry::default() });
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
    let page = |kind, program: &str, order: Order, after: &str, limit| -> Vec<String> {
        let found = state.scan(kind, program, order, after).unwrap();
        let listed = found.filter(|entry| is_listed(entry, kind, program));
        listed.take(limit).map(|entry| place(entry, order)).collect()
    };
    let by_name = Order::default();
    let reverse = Order { is_reverse: true, ..by_name };
    assert_eq!(page(Kind::Program, "", by_name, "a", 5), ["b"]);
    assert_eq!(page(Kind::Program, "", reverse, "", 5), ["b", "a"]);
    assert_eq!(page(Kind::Referrer, "a", by_name, "r1", 1), ["r2"]);
    assert_eq!(page(Kind::Referrer, "a", reverse, "r3", 5), ["r2", "r1"]);
    assert_eq!(page(Kind::Referrer, "b", by_name, "", 9), [""; 0]);
    assert_eq!(page(Kind::Referrer, "b", reverse, "", 9), [""; 0]);
    assert_eq!(page(Kind::Link, "a", by_name, "", 2), ["c1/h.example", "c2/g.example"]);
    assert_eq!(page(Kind::Link, "a", by_name, "c2/g.example", 2), ["c2/h.example", "c3/h.example"]);
    assert_eq!(page(Kind::Link, "a", by_name, "c3/h.example", 2), [""; 0]);
    assert_eq!(page(Kind::Link, "a", reverse, "c2/g.example", 2), ["c1/h.example"]);
    let by_change = Order { by_change: true, is_reverse: false };
    assert_eq!(page(Kind::Link, "a", by_change, "", 9), ["6", "7", "8", "9"]);
    assert_eq!(page(Kind::Link, "a", by_change, "7", 9), ["8", "9"]);
    assert_eq!(page(Kind::Link, "a", Order { is_reverse: true, ..by_change }, "8", 9), ["7", "6"]);
    assert!(state.scan(Kind::Link, "a", by_name, "c2").is_none(), "no place");
    assert!(state.scan(Kind::Link, "a", by_change, "c2").is_none(), "no place");
}

#[test]
fn a_change_is_made_only_where_the_record_is_as_expected() {
    let state = demo();
    let key = EntryKey::Referrer { program: "demo".into(), id: "ann".into() };
    let free = EntryKey::Referrer { program: "demo".into(), id: "eve".into() };
    let version = state.entry(&key).unwrap().version;
    let put = |key: &EntryKey, expected: Expected| {
        let change = Change::PutReferrer(referrer("demo", &key.name())).when(key.clone(), expected);
        match state.check(&change) {
            Ok(_) => true,
            Err(ChangeError::Unexpected { version }) => {
                assert_eq!(version, state.entry(key).map(|entry| entry.version));
                false
            }
            Err(other) => panic!("{other}"),
        }
    };
    let is = |versions| Expected { is: Some(versions), ..Expected::default() };
    let is_not = |versions| Expected { is_not: Some(versions), ..Expected::default() };
    let exactly = |version| Expected { exactly: Some(version), ..Expected::default() };
    assert!(put(&key, is(Versions::Any)) && !put(&free, is(Versions::Any)));
    assert!(put(&key, is(Versions::Of(vec![99, version]))) && !put(&key, is(Versions::Of(vec![99]))));
    assert!(!put(&key, is_not(Versions::Any)) && put(&free, is_not(Versions::Any)));
    assert!(!put(&key, is_not(Versions::Of(vec![version]))) && put(&key, is_not(Versions::Of(vec![99]))));
    assert!(put(&key, exactly(Some(version))) && !put(&key, exactly(None)) && put(&free, exactly(None)));
    let link = EntryKey::Link { program: "other".into(), host: "go.example".into(), code: "abc".into() };
    let of_another = Change::SetDisabled { key: link.clone(), disabled: true }.when(link, is(Versions::Any));
    let refused = state.check(&of_another).unwrap_err();
    assert_eq!(refused, ChangeError::Unexpected { version: None }, "another program's record is not seen");
}

#[test]
fn a_record_says_when_it_was_made_and_when_it_was_changed() {
    let mut state = demo();
    let key = EntryKey::Referrer { program: "demo".into(), id: "ann".into() };
    let later = UnixMs(NOW.0 + 1);
    let change = Change::SetDisabled { key, disabled: true };
    let staged = check::stage(&state, &[change, Change::PutReferrer(referrer("demo", "eve"))], later);
    let times: Vec<_> =
        staged.entries.iter().map(|entry| (entry.created_at_ms, entry.changed_at_ms)).collect();
    assert_eq!(times, [(NOW.0, later.0), (later.0, later.0)]);
    // An entry of a version that did not say it, changed by this one.
    let before =
        RegistryEntry { version: 50, entry: Some(Entry::Program(program("old"))), ..Default::default() };
    state.apply(Arc::new(before)).unwrap();
    let old = Change::SetDisabled { key: EntryKey::Program { id: "old".into() }, disabled: true };
    let staged = check::stage(&state, &[old], later);
    assert_eq!((staged.entries[0].created_at_ms, staged.entries[0].changed_at_ms), (0, later.0));
}

#[test]
fn a_key_keeps_what_is_not_for_callers_to_change() {
    let mut state = demo();
    written(&mut state, &[Change::KeyUsed { id: "k1".into(), day: 7 }]);
    let asked = ApiKey { name: "new".into(), hash: vec![1; 32].into(), ..key("k1") };
    let Entry::ApiKey(put) = state.check(&Change::PutKey(asked)).unwrap() else { panic!("a key") };
    assert_eq!((put.name.as_str(), &put.hash, put.last_used_day), ("new", &key("k1").hash, 7));
    let field =
        |state: &RegistryState, change: ApiKey| match state.check(&Change::PutKey(change)).unwrap_err() {
            ChangeError::Conflict { field, .. } => field,
            other => panic!("{other}"),
        };
    assert_eq!(field(&state, ApiKey { program: "demo".into(), ..key("k1") }), "program");
    written(&mut state, &[disable(EntryKey::ApiKey { id: "k1".into() })]);
    assert_eq!(field(&state, key("k1")), "disabled", "whoever had it may still have it");
}

/// The reason of a conflict about the code.
fn taken(state: &RegistryState, link: Link) -> String {
    match state.check(&Change::CreateLink(link)).unwrap_err() {
        ChangeError::Conflict { field, reason } if field == "code" => reason,
        other => panic!("{other}"),
    }
}

#[test]
fn no_code_is_made_that_is_a_form_of_another_and_links_of_before_stay() {
    let mut state = demo();
    for code in ["abc.qr", "new.QR", ".qr", "Robots.TXT", "ROBOTS.txt", "Favicon.ico"] {
        let created = state.check(&Change::CreateLink(link("demo", "go.example", code, "ann"))).unwrap_err();
        let put = state.check(&Change::PutLink(link("demo", "go.example", code, "ann"))).unwrap_err();
        for refusal in [created, put] {
            assert!(
                matches!(&refusal, ChangeError::Invalid { field, .. } if field == "code"),
                "{code}: {refusal}"
            );
        }
    }
    for code in ["qr", "abcqr", "a.qrs", "qr.code"] {
        state.check(&Change::CreateLink(link("demo", "go.example", code, "ann"))).unwrap();
    }
    let old = Entry::Link(link("demo", "go.example", "old.qr", "ann"));
    let entry = RegistryEntry { version: 100, entry: Some(old), ..RegistryEntry::default() };
    state.apply(Arc::new(entry)).unwrap();
    let changed = Link { channel: "whatsapp".into(), ..link("demo", "go.example", "old.qr", "ann") };
    assert!(state.check(&Change::PutLink(changed)).is_ok(), "it can still be changed");
}

#[test]
fn on_a_host_where_case_makes_no_difference_a_code_is_taken_in_every_case() {
    let mut state = demo();
    written(&mut state, &[Change::CreateLink(link("demo", "go.example", "HeLLo", "ann"))]);
    for (code, stored) in [("ABC", "abc"), ("Abc", "abc"), ("hello", "HeLLo"), ("HELLO", "HeLLo")] {
        for change in [Change::CreateLink, Change::PutLink] {
            let refusal = state.check(&change(link("demo", "go.example", code, "ann"))).unwrap_err();
            assert!(refusal.to_string().contains(&format!("{stored:?}")), "{code}: {refusal}");
        }
        let of_another = taken(&state, link("other", "go.example", code, "bob"));
        assert!(of_another.contains("taken") && !of_another.contains(stored), "{of_another}");
        assert_eq!(state.stored_code("go.example", code), Some(stored));
        assert_eq!(state.link_by_code("demo", code).map(|link| &*link.code), Some(stored));
    }
    // Two in one batch are no different from two in a row.
    let twice = ["New", "nEW"].map(|code| Change::CreateLink(link("demo", "go.example", code, "ann")));
    let staged = check::stage(&state, &twice, NOW);
    assert!(staged.outcomes[0].is_ok() && staged.outcomes[1].is_err());
    // The same code on another host: one referrer's, in whatever case.
    written(&mut state, &[Change::CreateReferrer(referrer("demo", "cleo"))]);
    let reason = taken(&state, link("demo", "b.example", "hello", "cleo"));
    assert!(reason.contains("another referrer") && reason.contains("HeLLo"), "{reason}");
    state.check(&Change::CreateLink(link("demo", "b.example", "hello", "ann"))).unwrap();
}

#[test]
fn links_of_before_that_differ_in_case_alone_make_their_host_case_sensitive() {
    let mut state = demo();
    written(&mut state, &[Change::CreateReferrer(referrer("demo", "cleo"))]);
    let old = Entry::Link(link("demo", "go.example", "ABC", "cleo"));
    let entry = RegistryEntry { version: 100, entry: Some(old), ..RegistryEntry::default() };
    state.apply(Arc::new(entry)).unwrap();
    assert!(state.is_case_sensitive("go.example") && !state.is_case_sensitive("demo.go.example"));
    let by_code = |code: &str| state.link_by_code("demo", code).map(|link| link.referrer.clone());
    assert_eq!(by_code("abc").as_deref(), Some("ann"));
    assert_eq!(by_code("ABC").as_deref(), Some("cleo"));
    assert_eq!(by_code("Abc"), None, "either could be meant");
    assert_eq!(state.stored_code("go.example", "Abc"), None);
    state.check(&Change::CreateLink(link("demo", "go.example", "Abc", "ann"))).unwrap();
    let claim = |case_sensitive| {
        Change::ClaimHost(HostClaim {
            host: "go.example".into(),
            program: "demo".into(),
            proof: "admin".into(),
            released: false,
            case_sensitive,
        })
    };
    assert!(state.check(&claim(true)).is_ok() && state.check(&claim(false)).is_err());
}

#[test]
fn links_are_listed_in_the_order_of_their_letters_and_a_page_goes_on_after_any() {
    let mut state = demo();
    let sensitive = HostClaim {
        host: "s.example".into(),
        program: "demo".into(),
        proof: "admin".into(),
        released: false,
        case_sensitive: true,
    };
    written(&mut state, &[Change::ClaimHost(sensitive)]);
    for code in ["b", "B", "a", "A", "Ab", "aB"] {
        written(&mut state, &[Change::CreateLink(link("demo", "s.example", code, "ann"))]);
    }
    let order = Order::default();
    let codes = |after: &str| -> Vec<String> {
        let links = state
            .scan(Kind::Link, "demo", order, after)
            .unwrap()
            .filter(|e| is_listed(e, Kind::Link, "demo"));
        links.map(|entry| place(entry, order)).collect()
    };
    let all = codes("");
    let expected = ["A", "a", "Ab", "aB", "abc", "B", "b"];
    assert_eq!(all.iter().map(|place| place.split('/').next().unwrap()).collect::<Vec<_>>(), expected);
    for (at, place) in all.iter().enumerate() {
        assert_eq!(codes(place), all[at + 1..], "after {place}");
    }
}

proptest! {
    #[test]
    fn a_code_is_found_in_every_case_and_none_is_made_twice(codes in vec("[aAbB]{1,3}", 1..12), asked in "[aAbB]{1,3}") {
        let mut state = demo();
        let mut made: Vec<String> = Vec::new();
        for code in codes {
            let is_taken = made.iter().any(|other| other.eq_ignore_ascii_case(&code));
            let change = Change::CreateLink(link("demo", "go.example", &code, "ann"));
            if is_taken && !made.contains(&code) {
                prop_assert!(state.check(&change).is_err());
            } else {
                written(&mut state, &[change]);
                made.push(code);
            }
        }
        prop_assert!(!state.is_case_sensitive("go.example"));
        let expected = made.iter().find(|code| code.eq_ignore_ascii_case(&asked)).map(String::as_str);
        prop_assert_eq!(state.link_by_code("demo", &asked).map(|link| &*link.code), expected);
        prop_assert_eq!(state.links_in_any_case("go.example", &asked).map(|link| &*link.code).collect::<Vec<_>>(),
            expected.into_iter().collect::<Vec<_>>());
    }
}
