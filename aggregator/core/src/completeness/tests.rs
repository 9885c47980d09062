//! Edges that take, ship, are away, are killed and come back, and an aggregator that commits: nothing that is stored later
//! has a time before what the clock said.

use super::*;
use proptest::prelude::*;
use whence_schemas::topics::Stream;

const SECOND: i64 = 1000;

fn partition(number: u32) -> Partition {
    Partition { stream: Stream::Clicks, number }
}

fn said(through: i64, at: i64) -> Said {
    Said {
        through: UnixMs(through * SECOND),
        at: UnixMs(at * SECOND),
        has_ended: false,
        clicks_shipped: 0,
        events_shipped: 0,
    }
}

/// One of clicks and two of conversions.
fn mixed(of: &[u64; 3]) -> BTreeMap<Partition, u64> {
    let conversions = |number| Partition { stream: Stream::Conversions, number };
    [partition(0), conversions(0), conversions(1)].into_iter().zip(*of).collect()
}

fn ends(of: &[u64]) -> BTreeMap<Partition, u64> {
    (0..).zip(of).map(|(number, end)| (partition(number), *end)).collect()
}

fn seconds(clock: &Clock) -> i64 {
    clock.through(Scope::Everything).0 / SECOND
}

#[test]
fn it_goes_on_when_what_was_there_at_the_least_of_all_times_is_committed() {
    let mut clock = Clock::default();
    assert_eq!(clock.held_by(Scope::Everything, &ends(&[]), UnixMs(0)), Some(HeldBy::Nobody));
    assert!(!clock.wants_ends());
    clock.say("a", said(100, 101));
    clock.say("b", said(90, 101));
    assert!(clock.wants_ends());
    clock.end(clock.shipped().unwrap(), &ends(&[10, 20]));
    clock.commit(&ends(&[10, 19]));
    assert_eq!(seconds(&clock), 0);
    let held = clock.held_by(Scope::Everything, &ends(&[10, 19]), UnixMs(102 * SECOND));
    assert!(matches!(held, Some(HeldBy::Partition { partition: at, .. }) if at == partition(1)), "{held:?}");
    clock.commit(&ends(&[12, 20]));
    assert_eq!(seconds(&clock), 90);
    assert_eq!(clock.held_by(Scope::Everything, &ends(&[12, 20]), UnixMs(102 * SECOND)), None);
}

#[test]
fn an_edge_that_is_away_holds_it_and_is_named_until_it_is_back_or_retired() {
    let mut clock = Clock::from(&[(Scope::Everything, UnixMs(100 * SECOND))].into());
    clock.say("a", said(100, 101));
    clock.say("b", said(400, 401));
    let now = UnixMs(402 * SECOND);
    let held = clock.held_by(Scope::Everything, &ends(&[]), now).unwrap();
    assert_eq!(held, HeldBy::EdgeAway { edge: "a".into(), since: UnixMs(101 * SECOND), has_ended: false });
    assert!(held.to_string().contains("whence edges retire a"), "{held}");
    assert!(!clock.wants_ends(), "it can't go on");
    // Back, and shipping what it took: it is behind, not away.
    clock.say("a", said(101, 402));
    assert!(
        matches!(clock.held_by(Scope::Everything, &ends(&[]), now), Some(HeldBy::EdgeBehind { edge, .. }) if edge == "a")
    );
    let mut retired = clock.clone();
    clock.say("a", said(401, 402));
    clock.end(clock.shipped().unwrap(), &ends(&[]));
    clock.commit(&ends(&[]));
    assert_eq!(seconds(&clock), 400);
    retired.retire("a");
    retired.end(retired.shipped().unwrap(), &ends(&[]));
    retired.commit(&ends(&[]));
    assert_eq!(seconds(&retired), 400);
}

#[test]
fn what_was_said_later_counts_in_any_order() {
    let mut clock = Clock::default();
    clock.say("a", said(100, 200));
    clock.say("a", said(150, 190));
    assert_eq!(clock.shipped(), Some(UnixMs(100 * SECOND)), "a restarted edge says what its journal holds");
    for number in 0..EDGES_MAX {
        clock.say(&number.to_string(), said(1, 1));
    }
    assert_eq!(clock.edges().len(), EDGES_MAX);
    assert!(!clock.say("one more", said(1, 1)));
}

#[test]
fn a_partition_of_conversions_that_stands_holds_its_programs_alone() {
    let mut clock = Clock::default();
    clock.say("a", said(100, 101));
    clock.end(clock.shipped().unwrap(), &mixed(&[5, 5, 5]));
    clock.commit(&mixed(&[5, 5, 4]));
    clock.say("a", said(200, 201));
    assert!(clock.wants_ends(), "of what goes on");
    clock.end(clock.shipped().unwrap(), &mixed(&[9, 9, 9]));
    clock.commit(&mixed(&[9, 9, 4]));
    let through = |clock: &Clock| {
        [Scope::Everything, Scope::Conversions(0), Scope::Conversions(1)]
            .map(|scope| clock.through(scope).0 / SECOND)
    };
    assert_eq!(through(&clock), [0, 200, 0]);
    let now = UnixMs(202 * SECOND);
    let held = |scope| clock.held_by(scope, &mixed(&[9, 9, 4]), now);
    assert_eq!(held(Scope::Conversions(0)), None);
    let named = Some("conversions-1".to_owned());
    for scope in [Scope::Everything, Scope::Conversions(1)] {
        let partition = held(scope).map(|held| match held {
            HeldBy::Partition { partition, .. } => partition.to_string(),
            other => format!("{other:?}"),
        });
        assert_eq!(partition, named);
    }
    // Clicks hold all of them.
    clock.say("a", said(300, 301));
    clock.commit(&mixed(&[9, 9, 5]));
    assert_eq!(through(&clock), [100, 200, 100]);
    clock.end(clock.shipped().unwrap(), &mixed(&[12, 12, 12]));
    clock.commit(&mixed(&[11, 12, 12]));
    assert_eq!(through(&clock), [100, 200, 100]);
    clock.commit(&mixed(&[12, 12, 12]));
    assert_eq!(through(&clock), [300, 300, 300]);
    let known: BTreeMap<_, _> = clock.scopes().map(|scope| (scope, clock.through(scope))).collect();
    assert_eq!(through(&Clock::from(&known)), [300, 300, 300]);
    // Of another Kafka with fewer partitions.
    let mut clock = Clock::from(&known);
    clock.say("a", said(400, 401));
    let fewer = mixed(&[1, 1, 1]).into_iter().filter(|(partition, _)| partition.number == 0).collect();
    clock.end(clock.shipped().unwrap(), &fewer);
    clock.commit(&fewer);
    assert_eq!(clock.scopes().collect::<Vec<_>>(), [Scope::Everything, Scope::Conversions(0)]);
    assert!(!clock.wants_ends());
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// An edge takes a record.
    Take(usize),
    /// Kafka takes the next record of an edge, in some partition.
    Ship(usize, u32),
    /// An edge sends its next record again, as after a kill.
    Again(usize, u32),
    /// An edge says what it has.
    Say(usize),
    /// The partitions' ends are looked at.
    Look,
    /// Records of a partition are committed.
    Commit(u32),
    /// The aggregator is killed, and knows what it had told.
    Kill,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..3usize).prop_map(Step::Take),
        3 => (0..3usize, 0..3u32).prop_map(|(edge, to)| Step::Ship(edge, to)),
        1 => (0..3usize, 0..3u32).prop_map(|(edge, to)| Step::Again(edge, to)),
        3 => (0..3usize).prop_map(Step::Say),
        3 => Just(Step::Look),
        3 => (0..3u32).prop_map(Step::Commit),
        1 => Just(Step::Kill),
    ]
}

proptest! {
    #[test]
    fn nothing_that_is_stored_later_is_from_before_it(steps in proptest::collection::vec(step(), 0..200)) {
        let mut clock = Clock::default();
        let mut now = 0;
        // Records by time: what each edge has taken, and how much of it Kafka has.
        let mut taken: [Vec<i64>; 3] = Default::default();
        let mut shipped = [0; 3];
        let mut kafka: [Vec<i64>; 3] = Default::default();
        let mut committed = [0u64; 3];
        let mut last_said: BTreeMap<String, Said> = BTreeMap::new();
        for step in steps {
            now += SECOND;
            let ends_of = |kafka: &[Vec<i64>; 3]| mixed(&[0, 1, 2].map(|of: usize| kafka[of].len() as u64));
            match step {
                Step::Take(edge) => taken[edge].push(now),
                Step::Ship(edge, to) => if let Some(record) = taken[edge].get(shipped[edge]) {
                    kafka[to as usize].push(*record);
                    shipped[edge] += 1;
                },
                Step::Again(edge, to) => if let Some(record) = taken[edge].get(shipped[edge]) {
                    kafka[to as usize].push(*record);
                },
                Step::Say(edge) => {
                    let through = UnixMs(taken[edge].get(shipped[edge]).copied().unwrap_or(now));
                    let said = Said { through, at: UnixMs(now), has_ended: false, clicks_shipped: 0, events_shipped: 0 };
                    last_said.insert(edge.to_string(), said);
                    // All of them have been there once: one that never was is not known.
                    if last_said.len() == 3 || clock.edges().len() == 3 {
                        last_said.iter().for_each(|(edge, said)| _ = clock.say(edge, *said));
                    }
                }
                Step::Look => if clock.wants_ends() {
                    clock.end(clock.shipped().unwrap(), &ends_of(&kafka));
                },
                Step::Commit(number) => {
                    // What is stored now was not from before what was said to be in.
                    if let Some(record) = kafka[number as usize].get(committed[number as usize] as usize) {
                        let is_first = kafka.iter().zip(committed).all(|(partition, done)| !partition[..done as usize].contains(record));
                        let of = if number == 0 { vec![1, 2] } else { vec![number] };
                        let scopes = of.into_iter().map(|number| Scope::Conversions(number - 1));
                        for scope in scopes.chain([Scope::Everything]) {
                            prop_assert!(!is_first || *record >= clock.through(scope).0, "{record} {scope:?} {clock:?}");
                        }
                        committed[number as usize] += 1;
                    }
                    clock.commit(&mixed(&committed));
                }
                Step::Kill => {
                    let known = clock.scopes().map(|scope| (scope, clock.through(scope))).collect();
                    clock = Clock::from(&known);
                    last_said.iter().filter(|_| last_said.len() == 3).for_each(|(edge, said)| _ = clock.say(edge, *said));
                }
            }
        }
    }
}
