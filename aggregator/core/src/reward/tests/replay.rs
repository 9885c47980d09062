//! Other credit over what the ledger has: nothing changes under the same, caps hold under any other.

use super::*;
use crate::reward::replay::{Booked, Credited, Earned, Replayed, replay};

/// What stands of each reward, as the view `reward_states` says it.
fn booked(lines: &[RewardRow]) -> HashMap<Uuid, Booked> {
    let mut newest: HashMap<Uuid, &RewardRow> = HashMap::new();
    let mut histories: HashMap<Uuid, BTreeMap<u32, (UnixMs, i64)>> = HashMap::new();
    for line in lines {
        let history = histories.entry(line.reward_id).or_default();
        if line.sign == 1 && !lines.iter().any(|other| other.sign == -1 && is_of_change(other, line)) {
            history.clear();
        }
        let open = &mut history.entry(line.revision).or_insert((line.received_at, 0)).1;
        *open += if line.sign == 1 && line.state.is_open() { line.amount_minor } else { 0 };
    }
    for line in lines.iter().filter(|line| line.sign == 1) {
        let place = |line: &RewardRow| (line.revision, line.state.is_open());
        let known = newest.entry(line.reward_id).or_insert(line);
        if place(line) > place(known) {
            *known = line;
        }
    }
    let booked = |line: &RewardRow| Booked {
        stands: Earned {
            rule: line.rule.0.clone(),
            referrer: line.referrer.clone(),
            party: line.party.0.clone(),
            currency: line.currency.0.clone(),
            open_minor: if line.state.is_open() { line.amount_minor } else { 0 },
            earned_at: line.earned_at,
        },
        decided_by: line.decided_by.clone(),
        reason: line.reason.clone(),
        history: histories[&line.reward_id].values().copied().collect(),
    };
    newest.into_iter().map(|(id, line)| (id, booked(line))).collect()
}

fn is_of_change(line: &RewardRow, other: &RewardRow) -> bool {
    (line.reward_id, line.revision) == (other.reward_id, other.revision)
}

/// The qualifications that stand after a history, each since it came to count for its lead.
fn standing(ops: &[Op]) -> Vec<(UnixMs, QualificationRow)> {
    let mut rows: BTreeMap<u8, (UnixMs, QualificationRow)> = BTreeMap::new();
    for (at, op) in ops.iter().enumerate() {
        match *op {
            Op::Stands { qualification, lead, left } => {
                let known = rows.get(&qualification).filter(|(_, row)| row.lead_id == id(lead).0);
                let since = known.map_or(START.plus_ms(at as i64), |(since, _)| *since);
                rows.insert(qualification, (since, row(qualification, lead, left)));
            }
            Op::Gone { qualification } => _ = rows.remove(&qualification),
            Op::Decision { .. } | Op::Due { .. } => {}
        }
    }
    rows.into_values().collect()
}

fn credited<'a>(
    rows: &'a [(UnixMs, QualificationRow)],
    terms: &'a RewardTerms,
    referrer: impl Fn(&'a QualificationRow) -> &'a str,
) -> Vec<Credited<'a>> {
    let credited = |(since, row): &'a (UnixMs, QualificationRow)| Credited {
        row,
        lead: EventId(row.lead_id),
        referrer: referrer(row),
        since: *since,
        terms,
    };
    rows.iter().map(credited).collect()
}

/// What stands open of these.
fn open<'a>(
    rewards: impl Iterator<Item = (&'a Uuid, &'a Earned)>,
) -> BTreeMap<Uuid, (&'a str, &'a str, UnixMs, i64)> {
    let open = rewards.filter(|(_, one)| one.open_minor > 0);
    open.map(|(id, one)| (*id, (&*one.rule, &*one.referrer, one.earned_at, one.open_minor))).collect()
}

fn all(found: &Replayed) -> impl Iterator<Item = (&Uuid, &Earned)> {
    found.then.iter().chain(&found.undecided)
}

/// Each qualification once, in any order, and nothing taken back.
fn calm() -> impl Strategy<Value = Vec<Op>> {
    let numbers = Just((0u8..8).collect::<Vec<_>>()).prop_shuffle();
    (numbers, prop::collection::vec(1u8..6, 8)).prop_map(|(numbers, leads)| {
        let stands = |(qualification, lead)| Op::Stands { qualification, lead, left: 100 };
        numbers.into_iter().zip(leads).map(stands).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_same_credit_is_the_ledger_whatever_happened(ops in ops()) {
        let (booked, rows, (terms, _)) = (booked(&play(&ops, &[]).0), standing(&ops), terms());
        let same = credited(&rows, &terms, |row| &row.referrer);
        let found = replay("p", &same, &same, &booked);
        let ledger = booked.iter().map(|(id, booked)| (id, &booked.stands));
        prop_assert_eq!(open(all(&found)), open(ledger));
    }

    #[test]
    fn other_credit_decides_all_anew_and_keeps_to_the_caps(
        ops in calm(), others in prop::collection::vec(prop::sample::select(vec!["r0", "r1", "r2"]), 8),
    ) {
        let (booked, rows, (terms, _)) = (booked(&play(&ops, &[]).0), standing(&ops), terms());
        let now = credited(&rows, &terms, |row| &row.referrer);
        let number = |row: &QualificationRow| row.id.0.as_u128() as usize - 100;
        let then = credited(&rows, &terms, |row| others[number(row)]);
        let found = replay("p", &now, &then, &booked);
        prop_assert_eq!(&found.undecided, &BTreeMap::new());
        let sum = |rule: &str, referrer: Option<&str>| {
            let mine = found.then.values().filter(|one| one.rule == rule && one.open_minor > 0);
            let mine = mine.filter(|one| referrer.is_none_or(|referrer| one.referrer == referrer));
            mine.fold((0, 0), |(count, sum), one| (count + 1, sum + one.open_minor))
        };
        prop_assert!(sum(RULES[1], None).1 <= 3000);
        for referrer in ["r0", "r1", "r2"] {
            let (count, amount) = sum(RULES[0], Some(referrer));
            prop_assert!(count <= 3 && amount <= 2500, "{}: {}, {}", referrer, count, amount);
        }
        for (id, one) in &found.then {
            let row = rows.iter().find(|(_, row)| row.occurred_at == one.earned_at).map(|(_, row)| row);
            let row = row.expect("its qualification");
            prop_assert_eq!(&one.referrer, others[number(row)]);
            prop_assert_eq!(*id, reward_id("p", EventId(row.lead_id), &one.rule));
        }
    }
}

/// Under the credit as it was, and where `r2` is credited with everything.
fn replayed(ops: &[Op]) -> (HashMap<Uuid, Booked>, Replayed) {
    let (booked, rows, (terms, _)) = (booked(&play(ops, &[]).0), standing(ops), terms());
    let (now, then) = (credited(&rows, &terms, |row| &row.referrer), credited(&rows, &terms, |_| "r2"));
    let found = replay("p", &now, &then, &booked);
    (booked, found)
}

fn capped(lead: u8) -> Uuid {
    reward_id("p", id(lead), RULES[0])
}

#[test]
fn what_somebody_rejected_stays_so_and_counted_until_then() {
    let stands = |qualification, lead| Op::Stands { qualification, lead, left: 100 };
    let reject = Op::Decision { lead: 1, rule: 0, decision: "reject", reference: "" };
    let (booked, found) = replayed(&[stands(1, 1), stands(4, 3), reject, stands(7, 5)]);
    let given = [1, 3, 5].map(|lead| booked[&capped(lead)].stands.open_minor);
    assert_eq!(given, [0, 900, 900], "the second tier from the second on");
    let then = [1, 3, 5].map(|lead| found.then.get(&capped(lead)).map(|one| one.open_minor));
    assert_eq!(then, [None, Some(500), Some(900)]);
    assert_eq!(found.undecided, BTreeMap::new());
}

#[test]
fn what_a_full_budget_refused_is_refused_whoever_is_credited_and_refunds_make_room_when_they_come() {
    let stands = |qualification, lead, left| Op::Stands { qualification, lead, left };
    let budgeted = |found: &Replayed| {
        let mine = found.then.values().filter(|one| one.rule == RULES[1]);
        let mut mine: Vec<i64> = mine.map(|one| one.open_minor).collect();
        mine.sort_unstable();
        mine
    };
    // 12.3456% of 70.77, 60.77, 50.77, 40.77 and 30.77: 8.73, 7.50, 6.26, 5.03 and 3.79 of a budget of 30.00.
    let full = [(7, 1), (6, 2), (5, 3), (4, 4), (3, 5)].map(|(number, lead)| stands(number, lead, 100));
    let (_, found) = replayed(&full);
    assert_eq!((budgeted(&found), &found.undecided), (vec![0, 503, 626, 750, 873], &BTreeMap::new()));
    // Half of the first is refunded before the last comes, or after it.
    let half = stands(7, 1, 50);
    let (_, found) = replayed(&[&full[..4], &[half], &full[4..]].concat());
    assert_eq!((budgeted(&found), &found.undecided), (vec![379, 436, 503, 626, 750], &BTreeMap::new()));
    let (_, found) = replayed(&[&full[..], &[half]].concat());
    assert_eq!((budgeted(&found), &found.undecided), (vec![0, 436, 503, 626, 750], &BTreeMap::new()));
}

#[test]
fn what_the_stored_qualifications_do_not_give_stays_as_it_is() {
    let ops = [Op::Stands { qualification: 1, lead: 1, left: 100 }];
    let (mut booked, rows, (terms, _)) = (booked(&play(&ops, &[]).0), standing(&ops), terms());
    let odd = booked.get_mut(&capped(1)).unwrap();
    odd.stands.open_minor = 501;
    odd.history[0].1 = 501;
    let (now, then) = (credited(&rows, &terms, |row| &row.referrer), credited(&rows, &terms, |_| "r2"));
    let found = replay("p", &now, &then, &booked);
    assert_eq!(found.undecided, BTreeMap::from([(capped(1), booked[&capped(1)].stands.clone())]));
    assert_eq!(found.then.len(), 2, "the other rules are decided");
}
