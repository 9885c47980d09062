use super::*;
use crate::verdict::Reason;
use whence_schemas::{event::ConsentMode, ids::ChannelNumber, time::UnixMs};

const NOW: UnixMs = UnixMs(1_700_000_000_000);

fn table() -> LinkTable {
    LinkTable::new(TableLimits { programs_max: 3, referrers_max: 3, links_max: 3 })
}

fn program(id: &str) -> Program {
    Program {
        id: id.into(),
        destination_hosts: vec!["shop.example".into()],
        fallback: format!("https://shop.example/{id}"),
        link_hosts: vec![format!("{id}.example")],
        channels: vec!["email".into(), "qr".into()],
        consent: ConsentMode::Cookie.into(),
        ..Program::default()
    }
}

fn link(code: &str) -> Link {
    Link {
        host: "go.example".into(),
        code: code.into(),
        program: "demo".into(),
        referrer: "ann".into(),
        channel: "email".into(),
        destination: "https://shop.example/a".into(),
        ..Link::default()
    }
}

fn apply(table: &LinkTable, version: u64, entry: Entry) {
    table.apply(&RegistryEntry { version, entry: Some(entry), ..RegistryEntry::default() });
}

fn filled() -> LinkTable {
    let table = table();
    apply(&table, 1, Entry::Program(program("demo")));
    apply(&table, 2, Entry::Link(link("abc")));
    table
}

fn inactive(table: &LinkTable) -> Option<Reason> {
    let link = table.link("go.example/abc").expect("the link is in the table");
    link.inactive(&link.program(), NOW)
}

fn location(destination: &str, passed: &str) -> String {
    let table = filled();
    apply(&table, 3, Entry::Link(Link { destination: destination.into(), ..link("abc") }));
    let link = table.link("go.example/abc").unwrap();
    String::from_utf8(link.location(passed.as_bytes(), "T")).unwrap()
}

#[test]
fn an_older_record_changes_nothing() {
    let table = filled();
    apply(&table, 4, Entry::Link(Link { disabled: true, ..link("abc") }));
    apply(&table, 3, Entry::Link(link("abc")));
    assert_eq!(inactive(&table), Some(Reason::LinkDisabled));

    let table = filled();
    apply(&table, 4, Entry::Program(Program { disabled: true, ..program("demo") }));
    apply(&table, 3, Entry::Program(program("demo")));
    assert_eq!(inactive(&table), Some(Reason::ProgramDisabled));

    let table = filled();
    let ann = Referrer { program: "demo".into(), id: "ann".into(), ..Referrer::default() };
    apply(&table, 4, Entry::Referrer(Referrer { disabled: true, ..ann.clone() }));
    apply(&table, 3, Entry::Referrer(ann.clone()));
    assert_eq!(inactive(&table), Some(Reason::ReferrerDisabled));
    apply(&table, 5, Entry::Referrer(ann));
    assert_eq!(inactive(&table), None);
}

#[test]
fn a_referrers_state_follows_its_links_and_only_those() {
    let table = filled();
    let set = |version, id: &str, disabled| {
        let referrer = Referrer { program: "demo".into(), id: id.into(), disabled, ..Referrer::default() };
        apply(&table, version, Entry::Referrer(referrer));
    };
    set(3, "ann", true);
    apply(&table, 4, Entry::Link(Link { referrer: "bob".into(), ..link("abc") }));
    assert_eq!(inactive(&table), None, "the link is another's now");
    set(5, "ann", false);
    set(6, "bob", true);
    assert_eq!(inactive(&table), Some(Reason::ReferrerDisabled));
    set(7, "ann", true);
    set(8, "bob", false);
    assert_eq!(inactive(&table), None);
    apply(&table, 9, Entry::Link(link("abc")));
    assert_eq!(inactive(&table), Some(Reason::ReferrerDisabled), "a link that comes later");
    apply(&table, 10, Entry::Link(Link { referrer: String::new(), ..link("abc") }));
    assert_eq!(inactive(&table), None, "a link of nobody's");
}

#[test]
fn a_link_may_come_before_its_program() {
    let table = table();
    apply(&table, 5, Entry::Link(link("abc")));
    assert_eq!(inactive(&table), Some(Reason::ProgramUnknown));
    apply(&table, 4, Entry::Program(program("demo")));
    assert_eq!(inactive(&table), None);
}

#[test]
fn a_link_ends_with_the_first_millisecond_of_its_expiry() {
    let table = filled();
    apply(&table, 3, Entry::Link(Link { expires_at_ms: NOW.0 + 1, ..link("abc") }));
    assert_eq!(inactive(&table), None);
    apply(&table, 4, Entry::Link(Link { expires_at_ms: NOW.0, ..link("abc") }));
    assert_eq!(inactive(&table), Some(Reason::LinkExpired));
}

#[test]
fn a_destination_outside_the_programs_hosts_is_not_used() {
    let table = filled();
    apply(&table, 3, Entry::Link(Link { destination: "https://evil.example/".into(), ..link("abc") }));
    assert_eq!(inactive(&table), Some(Reason::DestinationRefused));
    let hosts = vec!["evil.example".into()];
    apply(&table, 4, Entry::Program(Program { destination_hosts: hosts, ..program("demo") }));
    assert_eq!(inactive(&table), None, "the program took the host in");
    apply(&table, 5, Entry::Program(program("demo")));
    assert_eq!(inactive(&table), Some(Reason::DestinationRefused), "and out again");
}

#[test]
fn a_full_table_refuses_what_is_new_and_keeps_what_it_has() {
    let table = filled();
    for (version, code) in [(3, "b"), (4, "c"), (5, "d")] {
        apply(&table, version, Entry::Link(link(code)));
    }
    assert_eq!(table.len(), 3);
    assert!(table.link("go.example/d").is_none());
    apply(&table, 6, Entry::Link(Link { disabled: true, ..link("abc") }));
    assert_eq!(inactive(&table), Some(Reason::LinkDisabled), "an edit is not new");
    for (version, id) in [(7, "p2"), (8, "p3"), (9, "p4")] {
        apply(&table, version, Entry::Program(program(id)));
    }
    assert!(table.program_of_host("p3.example").is_some() && table.program_of_host("p4.example").is_none());
}

#[test]
fn records_with_names_that_are_none_are_refused() {
    let table = table();
    for wrong in [
        Link { code: "a/b".into(), ..link("abc") },
        Link { code: String::new(), ..link("abc") },
        Link { host: "Go.Example".into(), ..link("abc") },
        Link { program: "De mo".into(), ..link("abc") },
        Link { referrer: "a@b".into(), ..link("abc") },
        Link { channel: "A".into(), ..link("abc") },
        Link { destination: "x".repeat(5000), ..link("abc") },
    ] {
        apply(&table, 1, Entry::Link(wrong));
    }
    assert!(table.is_empty());
}

#[test]
fn a_host_moves_from_one_program_to_another_in_any_order() {
    let owner =
        |table: &LinkTable| table.program_of_host("demo.example").map(|place| place.rules().id.clone());
    let without = Program { link_hosts: Vec::new(), ..program("demo") };
    let taker = Program { link_hosts: vec!["demo.example".into()], ..program("other") };

    let table = filled();
    apply(&table, 3, Entry::Program(without.clone()));
    assert_eq!(owner(&table), None);
    apply(&table, 4, Entry::Program(taker.clone()));
    assert_eq!(owner(&table).as_deref(), Some("other"));

    let table = filled();
    apply(&table, 4, Entry::Program(taker));
    assert_eq!(owner(&table).as_deref(), Some("other"));
    apply(&table, 3, Entry::Program(without));
    assert_eq!(owner(&table).as_deref(), Some("other"));
}

#[test]
fn a_host_with_a_record_or_with_links_is_known_although_nobody_lists_it() {
    let owner = |table: &LinkTable, host: &str| {
        table.program_of_host(host).map(|place| place.rules().id.to_string()).unwrap_or_default()
    };
    let claim = |program: &str, released| {
        let (host, program) = ("own.example".to_owned(), program.to_owned());
        Entry::HostClaim(HostClaim { host, program, released, ..HostClaim::default() })
    };
    let lists = Program { link_hosts: vec!["own.example".into()], ..program("other") };
    let there = |program: &str| {
        Entry::Link(Link {
            host: "own.example".into(),
            code: program.into(),
            program: program.into(),
            ..link("")
        })
    };
    // By the links of one program; of two nobody can tell whose what is unknown would be.
    for programs in [["demo", "other"], ["other", "demo"]] {
        let table = table();
        for (version, program) in (1..).zip(programs) {
            assert_eq!(owner(&table, "own.example"), if version == 1 { "" } else { programs[0] });
            apply(&table, version, there(program));
        }
        assert_eq!(owner(&table, "own.example"), "");
        assert_eq!(table.listed_hosts(), Vec::<String>::new());
        // A list goes before links, and the host's own record before both; in whatever order they come.
        apply(&table, 3, Entry::Program(lists.clone()));
        assert_eq!(owner(&table, "own.example"), "other");
        assert_eq!(table.listed_hosts(), ["own.example"]);
        apply(&table, 5, claim("third", false));
        apply(&table, 4, claim("demo", false));
        assert_eq!(owner(&table, "own.example"), "third");
        apply(&table, 6, claim("third", true));
        assert_eq!(owner(&table, "own.example"), "other");
        apply(&table, 7, Entry::Program(Program { link_hosts: Vec::new(), ..program("other") }));
        assert_eq!(owner(&table, "own.example"), "");
    }
}

#[test]
fn a_host_that_was_released_is_nobodys_although_links_are_there() {
    let table = filled();
    let owner =
        |table: &LinkTable| table.program_of_host("go.example").map(|place| place.rules().id.to_string());
    assert_eq!(owner(&table).as_deref(), Some("demo"));
    let claim = |released| {
        let (host, program) = ("go.example".to_owned(), "demo".to_owned());
        Entry::HostClaim(HostClaim { host, program, released, ..HostClaim::default() })
    };
    apply(&table, 10, claim(true));
    assert_eq!(owner(&table), None);
    apply(&table, 11, claim(false));
    assert_eq!(owner(&table).as_deref(), Some("demo"));
}

#[test]
fn a_fallback_that_no_link_could_point_at_is_none() {
    for wrong in
        ["", "javascript:alert(1)", "//evil.example", r"https://shop.example/\b", "https://evil.example/"]
    {
        let table = table();
        apply(&table, 1, Entry::Program(Program { fallback: wrong.into(), ..program("demo") }));
        assert_eq!(table.program_of_host("demo.example").unwrap().rules().fallback, None, "{wrong}");
    }
}

#[test]
fn the_token_is_the_last_parameter_and_the_fragment_stays_at_the_end() {
    for (destination, passed, expected) in [
        ("https://shop.example", "", "https://shop.example/?wclid=T"),
        ("https://shop.example#top", "", "https://shop.example/?wclid=T#top"),
        ("https://shop.example/", "", "https://shop.example/?wclid=T"),
        ("https://shop.example/a", "x=1&", "https://shop.example/a?x=1&wclid=T"),
        ("https://shop.example/a?b=1#c?d", "", "https://shop.example/a?b=1&wclid=T#c?d"),
        ("https://shop.example/a?b=1&", "x=1&", "https://shop.example/a?b=1&x=1&wclid=T"),
        ("https://shop.example/a?", "", "https://shop.example/a?wclid=T"),
        ("https://shop.example?b", "", "https://shop.example?b&wclid=T"),
    ] {
        assert_eq!(location(destination, passed), expected);
    }
}

#[test]
fn a_link_shares_one_text_with_its_records() {
    let table = filled();
    apply(
        &table,
        3,
        Entry::Link(Link { destination: "https://shop.example/a?b=1&c#d".into(), ..link("abc") }),
    );
    let link = table.link("go.example/abc").unwrap();
    assert_eq!((link.own_query(), link.channel()), ("b=1&c", "email"));
    assert_eq!(link.channel_number, ChannelNumber::of("email"));
    assert_eq!(link.program().channel("qr"), Some(("qr", ChannelNumber::of("qr"))));
    assert_eq!(link.program().channel("sms"), None);
    assert_eq!(link.key(), b"go.example/abc");
}

#[test]
fn links_of_every_length_are_held_whole() {
    for length in 24..=2048 {
        let destination = format!("{:a<length$}", "https://shop.example/");
        assert_eq!(location(&destination, ""), format!("{destination}?wclid=T"));
    }
    let longest = Link {
        host: "h".repeat(253),
        code: "c".repeat(64),
        referrer: "r".repeat(64),
        channel: "x".repeat(32),
        destination: format!("{:a<2048}", "https://shop.example/"),
        ..link("abc")
    };
    let table = filled();
    apply(&table, 3, Entry::Link(longest.clone()));
    let found = table.link(&format!("{}/{}", longest.host, longest.code)).unwrap();
    assert_eq!(found.channel(), longest.channel);
}
