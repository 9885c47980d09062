//! Rewards: each lead that a referrer is credited with and that has qualified earns one, whatever was corrected since.

use super::{
    super::{difference::Kind, names::Name, stored::RewardRow},
    Comparison,
    people::{KnownQualification, People},
};
use crate::ledger::Id;
use std::collections::BTreeMap;

/// Program, referrer, lead.
type Key = (Name, Name, Id);
/// How many, and what they are worth.
type Sum = (i64, i64);

impl Comparison<'_> {
    pub(super) fn compare_rewards(&mut self, people: &People<'_>) {
        let programs = &self.ledger.header.world.programs;
        let mut known: BTreeMap<Key, Sum> = BTreeMap::new();
        for (id, KnownQualification { lead, credit, .. }) in &people.qualifications {
            let program = &programs[usize::from(people.sent[id].event.program)];
            if program.reward_minor != 0 && *lead != Id::NIL && credit.referrer != Name::EMPTY {
                let key = (self.names.of(&program.id), credit.referrer, *lead);
                known.insert(key, (1, program.reward_minor));
            }
        }
        self.totals.rewards = known.len() as u64;
        let mut sums: BTreeMap<Key, Sum> = BTreeMap::new();
        for ((program, referrer, _), (count, minor)) in &known {
            let sum = sums.entry((*program, *referrer, Id::NIL)).or_default();
            *sum = (sum.0 + count, sum.1 + minor);
        }
        self.compare_reward_sums(Kind::Reward, &known, &self.stored.rewards);
        self.compare_reward_sums(Kind::RewardsDaily, &sums, &self.stored.reward_sums);
    }

    fn compare_reward_sums(&mut self, kind: Kind, known: &BTreeMap<Key, Sum>, stored: &[RewardRow]) {
        let stored = stored.iter().map(|row| {
            let RewardRow { program, referrer, lead, rewards, amount_minor } = *row;
            ((program, referrer, lead), (rewards, amount_minor))
        });
        let mut stored: BTreeMap<Key, Sum> = stored.collect();
        for (key, known) in known {
            let found = stored.remove(key).unwrap_or_default();
            if found != *known {
                self.differ_in_reward(kind, *key, *known, found);
            }
        }
        for (key, found) in stored {
            self.differ_in_reward(kind, key, (0, 0), found);
        }
    }

    fn differ_in_reward(&mut self, kind: Kind, (program, referrer, lead): Key, known: Sum, stored: Sum) {
        let words = |(count, minor): Sum| format!("{count} rewards worth {minor}");
        let about = format!("{} × {} × lead {lead}", self.names.text(program), self.names.text(referrer));
        self.differ(kind, about, words(known), words(stored));
    }
}
