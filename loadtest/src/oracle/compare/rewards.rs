//! Rewards: each lead that a referrer is credited with and that has bought something earns one. It shrinks as its purchase
//! does, rounded down, is gone where nothing is left, and there again where that was given again.

use super::{
    super::{difference::Kind, identity::event_id, names::Name, stored::RewardRow},
    Comparison,
    people::{KnownQualification, People},
};
use crate::{
    ledger::{Body, Id},
    world::REWARDED,
};
use std::collections::BTreeMap;

/// Program, referrer, lead.
type Key = (Name, Name, Id);
/// How many, what they are worth, and how many of them are approved.
type Sum = (i64, i64, i64);

impl Comparison<'_> {
    pub(super) fn compare_rewards(&mut self, people: &People<'_>) {
        let ledger = self.ledger;
        let programs = &ledger.header.world.programs;
        let mut known: BTreeMap<Key, Sum> = BTreeMap::new();
        for (id, known_qualification) in &people.qualifications {
            let KnownQualification { lead, credit, left_minor, .. } = known_qualification;
            let event = people.sent[id].event;
            let program = &programs[usize::from(event.program)];
            let Body::Qualification { name, value, .. } = &event.body else { continue };
            let Some(left_minor) = *left_minor else { continue };
            if name != REWARDED || *lead == Id::NIL || credit.referrer == Name::EMPTY {
                continue;
            }
            // A person of whom something is taken back has one purchase.
            let whole = program.reward_minor;
            let minor = match value.as_ref().map_or(0, |value| value.minor) {
                0 => whole,
                paid_minor => whole * left_minor / paid_minor,
            };
            if minor > 0 {
                self.totals.rewards_reduced += u64::from(minor < whole);
                known.insert((self.names.of(&program.id), credit.referrer, *lead), (1, minor, 0));
            }
        }
        self.totals.rewards = known.len() as u64;
        self.add_approvals(people, &mut known);
        let mut sums: BTreeMap<Key, Sum> = BTreeMap::new();
        for ((program, referrer, _), (count, minor, approved)) in &known {
            let sum = sums.entry((*program, *referrer, Id::NIL)).or_default();
            *sum = (sum.0 + count, sum.1 + minor, sum.2 + approved);
        }
        self.compare_reward_sums(Kind::Reward, &known, &self.stored.rewards);
        self.compare_reward_sums(Kind::RewardsDaily, &sums, &self.stored.reward_sums);
    }

    /// A reward is approved where a decision says that it was applied.
    fn add_approvals(&mut self, people: &People<'_>, known: &mut BTreeMap<Key, Sum>) {
        let ledger = self.ledger;
        let applied = self.names.of("applied");
        let outcomes: BTreeMap<Id, Name> =
            self.stored.plain.iter().map(|row| (row.id, row.outcome)).collect();
        for id in &people.plain {
            let event = people.sent[id].event;
            let Body::Approval { lead } = &event.body else { continue };
            if outcomes.get(id) != Some(&applied) {
                continue;
            }
            let program = &ledger.header.world.programs[usize::from(event.program)];
            let lead = event_id(&program.id, "lead", lead);
            let key = people
                .leads
                .get(&lead)
                .map(|lead_known| (self.names.of(&program.id), lead_known.credit.referrer, lead));
            match key.and_then(|key| known.get_mut(&key)) {
                Some((.., approved)) => {
                    *approved = 1;
                    self.totals.rewards_approved += 1;
                }
                None => self.differ(Kind::Outcome, id, "no reward to approve", "applied"),
            }
        }
    }

    fn compare_reward_sums(&mut self, kind: Kind, known: &BTreeMap<Key, Sum>, stored: &[RewardRow]) {
        let stored = stored.iter().map(|row| {
            let RewardRow { program, referrer, lead, rewards, amount_minor, approved } = *row;
            ((program, referrer, lead), (rewards, amount_minor, approved))
        });
        let mut stored: BTreeMap<Key, Sum> = stored.collect();
        for (key, known) in known {
            let found = stored.remove(key).unwrap_or_default();
            if found != *known {
                self.differ_in_reward(kind, *key, *known, found);
            }
        }
        for (key, found) in stored {
            self.differ_in_reward(kind, key, (0, 0, 0), found);
        }
    }

    fn differ_in_reward(&mut self, kind: Kind, (program, referrer, lead): Key, known: Sum, stored: Sum) {
        let words =
            |(count, minor, approved): Sum| format!("{count} rewards worth {minor}, {approved} approved");
        let about = format!("{} × {} × lead {lead}", self.names.text(program), self.names.text(referrer));
        self.differ(kind, about, words(known), words(stored));
    }
}
