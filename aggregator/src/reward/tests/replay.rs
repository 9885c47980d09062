//! Other credit over what the ledger has: nothing changes under the same, caps hold under any other.

use super::*;
use crate::reward::replay::{Booked, Credited, Earned, Replayed, replay};

/// What stands of each reward, as the view `reward_states` says it.
fn booked(lines: &[RewardRow]) -> HashMap<Uuid, Booked> {
    let mut newest: HashMap<Uuid, &RewardRow> = HashMap::new();
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
    };
    newest.into_iter().map(|(id, line)| (id, booked(line))).collect()
}

/// The qualifications that stand after a history, each since the record that made it so.
fn standing(ops: &[Op]) -> Vec<(UnixMs, QualificationRow)> {
    let mut rows = BTreeMap::new();
    for (at, op) in ops.iter().enumerate() {
        match *op {
            Op::Stands { qualification, lead, left } => {
                rows.insert(qualification, (START.plus_ms(at as i64), row(qualification, lead, left)));
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
        let found = replay(same.clone(), same, &booked);
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
        let found = replay(now, then, &booked);
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

#[test]
fn what_somebody_rejected_stays_so_and_what_rested_on_it_is_not_decided_anew() {
    let stands = |qualification, lead| Op::Stands { qualification, lead, left: 100 };
    let reject = Op::Decision { lead: 1, rule: 0, decision: "reject", reference: "" };
    let ops = [stands(1, 1), stands(4, 3), stands(7, 5), reject];
    let (booked, rows, (terms, _)) = (booked(&play(&ops, &[]).0), standing(&ops), terms());
    let reward = |lead| reward_id("p", id(lead), RULES[0]);
    let given = [1, 3, 5].map(|lead| booked[&reward(lead)].stands.open_minor);
    assert_eq!(given, [0, 900, 900]);

    let now = credited(&rows, &terms, |row| &row.referrer);
    let found = replay(now, credited(&rows, &terms, |_| "r2"), &booked);
    let then = [1, 3, 5].map(|lead| found.then.get(&reward(lead)).map(|one| one.open_minor));
    assert_eq!(then, [None, None, Some(500)], "the first that stands is of the first tier");
    let undecided: Vec<&Uuid> = found.undecided.keys().collect();
    assert_eq!(undecided, [&reward(3)], "the tier of the second was reached with what is rejected");
}
