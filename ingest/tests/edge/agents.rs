//! Judgements on corpora of user agents that others keep, against the labels that they give them.
//!
//! The list was tuned on three quarters of each corpus (by the agent's hash); goals hold for the fourth. Agents
//! that one corpus takes for people and another for programs are left out. The corpora here are under permissive
//! licences; device-detector's is not, and is read from the package that `deploy/dev/fetch-device-detector` prints the
//! folder of, where `WHENCE_TEST_DEVICE_DETECTOR` names it.

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    path::Path,
};
use whence_ingest::edge::agents::AgentList;
use whence_schemas::event::Verdict;

/// Of people, so many at most may be taken for programs.
const PEOPLE_MISSED_MAX: f64 = 0.000_5;
/// Of programs, so many at least must be recognised.
const PROGRAMS_FOUND_MIN: f64 = 0.97;

/// Agents of one source that are people's, or programs'.
struct Corpus {
    name: String,
    are_people: bool,
    agents: HashSet<String>,
}

impl Corpus {
    fn new(name: &str, are_people: bool, text: &str) -> Corpus {
        let agents = text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
        Corpus { name: name.into(), are_people, agents }
    }
}

/// How many agents of a part there are, and how many were judged otherwise.
#[derive(Clone, Copy, Default)]
struct Tally {
    all: usize,
    wrong: usize,
}

impl Tally {
    fn add(&mut self, is_wrong: bool) {
        self.all += 1;
        self.wrong += usize::from(is_wrong);
    }

    fn share(self) -> f64 {
        self.wrong as f64 / self.all.max(1) as f64
    }
}

/// FNV-1a: whether the agent is in the quarter that nobody tuned to.
fn is_held_out(agent: &str) -> bool {
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    agent.bytes().fold(0xcbf2_9ce4_8422_2325, mix) >> 32 & 3 == 3
}

/// The fixtures of device-detector: lists of maps, of which the agent and the client's type are read.
fn device_detector(folder: &Path) -> [Corpus; 2] {
    let (mut people, mut programs) = (HashSet::new(), HashSet::new());
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        // With client hints, agents are cut short.
        if !name.ends_with(".yml") || name.starts_with("clienthints") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for case in text.split("\n-\n").filter(|case| case.contains("user_agent: ")) {
            let field = |key: &str| case.lines().find_map(|line| line.strip_prefix(key));
            let Some(agent) = field("  user_agent: ").map(unquoted) else { continue };
            if name == "bots.yml" {
                programs.insert(agent);
            } else if case.contains("\n  client:\n    type: browser\n") {
                people.insert(agent);
            }
        }
    }
    [("device-detector, browsers", true, people), ("device-detector, bots", false, programs)]
        .map(|(name, are_people, agents)| Corpus { name: name.into(), are_people, agents })
}

/// A scalar of YAML that is plain or quoted on one line.
fn unquoted(scalar: &str) -> String {
    let inner = |quote| scalar.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    match (inner('\''), inner('"')) {
        (Some(inner), _) => inner.replace("''", "'"),
        (_, Some(inner)) => inner.replace("\\\"", "\"").replace("\\\\", "\\"),
        _ => scalar.to_owned(),
    }
}

#[test]
fn people_and_programs_of_public_corpora_are_told_apart() {
    let mut corpora = vec![
        Corpus::new("isbot, browsers", true, include_str!("agents/isbot_browsers.txt")),
        Corpus::new("isbot, crawlers", false, include_str!("agents/isbot_crawlers.txt")),
        Corpus::new("user-agents", true, include_str!("agents/user_agents.txt")),
        Corpus::new("uap-core, devices", true, include_str!("agents/uap_core.txt")),
        Corpus::new("crawler-user-agents", false, include_str!("agents/crawler_user_agents.txt")),
    ];
    match std::env::var_os("WHENCE_TEST_DEVICE_DETECTOR") {
        Some(folder) => corpora.extend(device_detector(Path::new(&folder))),
        None => println!("WHENCE_TEST_DEVICE_DETECTOR is not set: device-detector is left out"),
    }
    let of = |are_people: bool| -> HashSet<String> {
        let corpora = corpora.iter().filter(|corpus| corpus.are_people == are_people);
        corpora.flat_map(|corpus| corpus.agents.iter().cloned()).collect()
    };
    let both: HashSet<String> = of(true).intersection(&of(false)).cloned().collect();

    let list = AgentList::built_in();
    // By whether they are people, and whether they are held out. An agent of several corpora counts once.
    let mut tallies: BTreeMap<(bool, bool), Tally> = BTreeMap::new();
    let mut seen = HashSet::new();
    println!("{:<28}{:>8}{:>8}{:>10}{:>8}", "", "tuned", "wrong", "held out", "wrong");
    for Corpus { name, are_people, agents } in &corpora {
        let mut parts = [Tally::default(); 2];
        for agent in agents.difference(&both) {
            let is_wrong = (list.judge(agent.as_bytes()).0 == Verdict::Human) != *are_people;
            let is_held_out = is_held_out(agent);
            parts[usize::from(is_held_out)].add(is_wrong);
            if seen.insert(agent) {
                tallies.entry((*are_people, is_held_out)).or_default().add(is_wrong);
            }
        }
        let [tuned, held] = parts;
        println!("{name:<28}{:>8}{:>8}{:>10}{:>8}", tuned.all, tuned.wrong, held.all, held.wrong);
    }
    for ((are_people, is_held_out), tally) in &tallies {
        let who = if *are_people { "people judged otherwise" } else { "programs recognised" };
        let share = if *are_people { tally.share() } else { 1.0 - tally.share() };
        let part = if *is_held_out { "held out" } else { "tuned" };
        println!("{who}, {part}: {:.3}% of {}", share * 100.0, tally.all);
    }
    println!("left out, because the corpora contradict each other: {}", both.len());

    let (people, programs) = (tallies[&(true, true)], tallies[&(false, true)]);
    assert!(people.all > 2_000 && programs.all > 500, "the corpora are there");
    // Less than one agent of a small corpus is none: one or two may be mislabelled.
    assert!(
        people.wrong <= 2 || people.share() <= PEOPLE_MISSED_MAX,
        "{}% of people",
        people.share() * 100.0
    );
    assert!(1.0 - programs.share() >= PROGRAMS_FOUND_MIN, "{}% of programs", programs.share() * 100.0);
}
