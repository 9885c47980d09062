//! The clicks behind a block's leads: what is found of them, and who else clicked from there.
//!
//! A click is looked at when its lead comes and, until it is found, by whatever else makes a qualification of the
//! lead count and before each approval.

use super::{About, Evidence};
use crate::{
    position::{BlockRange, Horizon},
    reward::Records,
    store::{ClickedFrom, EventName, FoundClick, Origin, Rows, Store, StoreError},
};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use uuid::Uuid;
use whence_schemas::{
    event::{RiskPolicy, Verdict},
    ids::{ClickId, Incarnation},
    rows::{ClickEvidenceRow, Lc, LeadRow},
    time::UnixMs,
};

/// A word of `click_evidence.looked_by`; see [`About`] for the others.
const LEAD: &str = "lead";
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Whose click a record of the block has found.
pub(super) struct Told {
    pub offset: u64,
    pub person: Uuid,
    pub clicked_at: UnixMs,
}

impl Evidence {
    /// The click that a lead's own touch proves.
    pub(super) fn click_of(&self, lead: &EventName) -> Option<ClickId> {
        let times = self.times.get(lead)?;
        (!times.click_id.is_nil()).then_some(ClickId(times.click_id))
    }

    /// What was found of a lead's click when the record at `offset` had been taken.
    pub(super) fn found(&self, lead: &EventName, offset: u64) -> Option<&ClickEvidenceRow> {
        let seen = self.clicks.get(lead).into_iter().flatten();
        seen.filter(|(at, _)| at.is_none_or(|at| at <= offset)).map(|(_, row)| row).find(|row| row.found)
    }

    /// Looks at the clicks of the block's leads, and again at those that were not found before: what is there at
    /// this moment, as rows to be stored.
    pub async fn look<S: Store>(
        &mut self,
        range: &BlockRange,
        about: &[About],
        made: &[Rows],
        records: &Records,
        store: &S,
    ) -> Result<Vec<ClickEvidenceRow>, StoreError> {
        let mut wanted: BTreeMap<(u64, EventName), &'static str> = BTreeMap::new();
        for row in own_rows(made) {
            wanted.insert((row.offset, (row.program.0.clone(), row.id)), LEAD);
        }
        for (about, touched) in about.iter().map(|about| (about, self.touched(about))) {
            if self.found(&touched, about.offset).is_none() {
                wanted.entry((about.offset, touched)).or_insert(about.looked_by);
            }
        }
        wanted.retain(|(_, lead), _| self.click_of(lead).is_some());
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let clicks = wanted.keys().filter_map(|(_, lead)| Some((lead.0.clone(), self.click_of(lead)?)));
        let clicks: Vec<_> = clicks.collect::<BTreeSet<_>>().into_iter().collect();
        let stored = store.clicks(&clicks).await?.into_iter();
        let stored: HashMap<_, _> = stored.map(|click| ((click.program.clone(), click.id), click)).collect();
        let mut rows = Vec::with_capacity(wanted.len());
        let mut found = HashSet::new();
        for ((offset, lead), looked_by) in wanted {
            let Some(click) = self.click_of(&lead).filter(|_| !found.contains(&lead)) else { continue };
            let stored = stored.get(&(lead.0.clone(), click));
            if stored.is_some() {
                found.insert(lead.clone());
            }
            let (cause, received_at) = records[&offset];
            let row = self.row(&lead, click, stored);
            rows.push(ClickEvidenceRow {
                looked_by: Lc(looked_by.into()),
                cause,
                received_at,
                incarnation: range.incarnation,
                partition: range.partition.number,
                offset,
                ..row
            });
            self.looked_at.insert(lead);
        }
        Ok(rows)
    }

    fn row(&self, lead: &EventName, click: ClickId, stored: Option<&FoundClick>) -> ClickEvidenceRow {
        let times = self.times.get(lead);
        let first_lead = times.map_or(Uuid::nil(), |times| times.first_lead);
        ClickEvidenceRow {
            program: Lc(lead.0.clone()),
            lead_id: lead.1,
            click_id: click,
            clicked_at: click.at(),
            person: if first_lead.is_nil() { lead.1.0 } else { first_lead },
            looked_by: Lc::default(),
            found: stored.is_some(),
            verdict: stored.map_or(Verdict::Unspecified, |click| click.verdict),
            reason: Lc(stored.map_or_else(String::new, |click| click.reason.clone())),
            visitor: stored.map_or(0, |click| click.visitor),
            address: stored.map_or(0, |click| click.address),
            prefix: stored.map_or(0, |click| click.prefix),
            live: times.is_some_and(|times| times.live),
            cause: lead.1,
            received_at: UnixMs(0),
            incarnation: Incarnation(Uuid::nil()),
            partition: 0,
            offset: 0,
        }
    }

    /// Takes what stands of the block's looks, and returns it.
    pub async fn read_back<S: Store>(
        &mut self,
        range: &BlockRange,
        store: &S,
    ) -> Result<Vec<ClickEvidenceRow>, StoreError> {
        if self.looked_at.is_empty() {
            return Ok(Vec::new());
        }
        let leads: Vec<_> = self.looked_at.iter().cloned().collect();
        let stands = store.click_evidence_of(range, &leads).await?;
        for row in &stands {
            self.see(Some(row.offset), row.clone());
        }
        self.in_order();
        Ok(stands)
    }

    fn in_order(&mut self) {
        self.told.values_mut().for_each(|told| told.sort_by_key(|told| told.offset));
    }

    /// Who else clicked from where these leads' clicks came from, as far as that is asked for.
    pub async fn load_shared<'a, S: Store>(
        &mut self,
        before: &Horizon,
        about: impl Iterator<Item = (&'a About, RiskPolicy)>,
        store: &S,
    ) -> Result<(), StoreError> {
        let (mut places, mut max) = (BTreeSet::new(), 0);
        for (about, policy) in about {
            let Some(click) = self.found(&self.touched(about), about.offset) else { continue };
            for origin in [Origin::Visitor, Origin::Prefix] {
                let (Some(enough), Some(place)) = (enough(&policy, origin), place(click, origin)) else {
                    continue;
                };
                places.insert(place);
                max = max.max(enough + self.own(about, click).len());
            }
        }
        if places.is_empty() {
            return Ok(());
        }
        let places: Vec<_> = places.into_iter().collect();
        for click in store.clicked_from(before, &places, max).await? {
            self.from.entry(click.from.clone()).or_default().push(click);
        }
        Ok(())
    }

    /// How many other persons clicked from the same place (with a browser: within the policy's days before, or
    /// after), known when the record had been taken. It is counted until that decides: of a place that a
    /// whole block comes from, the last few.
    pub(super) fn others(
        &self,
        about: &About,
        click: &ClickEvidenceRow,
        origin: Origin,
        policy: &RiskPolicy,
    ) -> usize {
        let (Some(enough), Some(place)) = (enough(policy, origin), place(click, origin)) else { return 0 };
        let since = match origin {
            Origin::Visitor => click.clicked_at.plus_ms(-i64::from(policy.shared_device_days) * DAY_MS),
            // Its salt is the day's.
            Origin::Prefix => UnixMs(i64::MIN),
        };
        let told = self.told.get(&place).map_or(&[][..], Vec::as_slice);
        let told = &told[..told.partition_point(|told| told.offset <= about.offset)];
        let told = told.iter().rev().map(|told| (told.person, told.clicked_at));
        let before = self.from.get(&place).into_iter().flatten();
        let clicked = before.map(|click| (click.person, click.clicked_at)).chain(told);
        let (own, mut others) = (self.own(about, click), HashSet::new());
        for (person, _) in clicked.filter(|(_, at)| *at >= since) {
            if !own.contains(&person) && others.insert(person) && others.len() == enough {
                break;
            }
        }
        others.len()
    }

    /// What the person of a click is known by.
    fn own(&self, about: &About, click: &ClickEvidenceRow) -> BTreeSet<Uuid> {
        let leads = self.leads(about).1.into_iter().map(|lead| lead.event_id.0);
        leads.chain([click.person, click.lead_id.0]).collect()
    }
}

/// As many other persons as decide: one more than the policy's bound. None: it does not ask.
fn enough(policy: &RiskPolicy, origin: Origin) -> Option<usize> {
    let (weight, leads) = match origin {
        Origin::Visitor => (policy.shared_device, policy.shared_device_leads),
        Origin::Prefix => (policy.shared_prefix, policy.shared_prefix_leads),
    };
    (weight > 0).then_some(leads as usize + 1)
}

/// Where a click came from, as far as that is known.
pub(super) fn place(click: &ClickEvidenceRow, origin: Origin) -> Option<ClickedFrom> {
    let hash = match origin {
        Origin::Visitor => click.visitor,
        Origin::Prefix => click.prefix,
    };
    (hash != 0).then(|| ClickedFrom { program: click.program.0.clone(), origin, hash })
}

/// The own rows of the block's leads.
pub(super) fn own_rows(made: &[Rows]) -> impl Iterator<Item = &LeadRow> {
    let rows = made.iter().flat_map(|rows| match rows {
        Rows::Leads(rows) => rows.as_slice(),
        _ => &[],
    });
    rows.filter(|row| row.revision == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use whence_schemas::ids::EventId;

    const NOW: UnixMs = UnixMs(1_770_000_000_000);

    /// What the record at `offset` found of the click of the person of this number, of so many days before.
    fn found(offset: u64, person: u128, days: i64) -> ClickEvidenceRow {
        let lead = (String::from("demo"), EventId(Uuid::from_u128(person)));
        let click = ClickId::mint(NOW.plus_ms(-days * DAY_MS), &[0; 10], true);
        let row = Evidence::default().row(&lead, click, None);
        ClickEvidenceRow { found: true, visitor: 7, prefix: 9, live: true, offset, ..row }
    }

    fn evidence(rows: &[ClickEvidenceRow]) -> Evidence {
        let mut evidence = Evidence::default();
        rows.iter().for_each(|row| evidence.see(Some(row.offset), row.clone()));
        evidence.in_order();
        evidence
    }

    fn others(evidence: &Evidence, offset: u64, click: &ClickEvidenceRow, policy: &RiskPolicy) -> [usize; 2] {
        let about = About {
            program: "demo".into(),
            qualification: click.lead_id,
            lead: click.lead_id,
            referrer: "r1".into(),
            click: Uuid::nil(),
            offset,
            looked_by: LEAD,
        };
        [Origin::Visitor, Origin::Prefix].map(|origin| evidence.others(&about, click, origin, policy))
    }

    const POLICY: RiskPolicy = RiskPolicy {
        shared_device: 1,
        shared_device_leads: 2,
        shared_device_days: 30,
        shared_prefix: 1,
        shared_prefix_leads: 4,
        threshold: 0,
        self_referral: 0,
        velocity: 0,
        velocity_rewards: 0,
        too_fast: 0,
        too_fast_ms: 0,
        duplicate_identity: 0,
        bot_click: 0,
        disposable_email: 0,
        self_referral_prefix: 0,
    };

    #[test]
    fn other_persons_count_once_within_the_days_and_up_to_what_decides() {
        let own = found(3, 1, 0);
        let elsewhere = ClickEvidenceRow { visitor: 8, prefix: 8, ..found(1, 9, 0) };
        let test = ClickEvidenceRow { live: false, ..found(1, 8, 0) };
        let mut rows = vec![own.clone(), elsewhere, test, found(1, 2, 30), found(2, 2, 40), found(0, 3, 31)];
        assert_eq!(others(&evidence(&rows), 3, &own, &POLICY), [1, 2]);
        rows.push(found(4, 4, -1));
        assert_eq!(others(&evidence(&rows), 3, &own, &POLICY), [1, 2], "its record is yet to come");
        assert_eq!(others(&evidence(&rows), 4, &own, &POLICY), [2, 3]);
        rows.extend((5..100).map(|person| found(5, person, 0)));
        assert_eq!(others(&evidence(&rows), 5, &own, &POLICY), [3, 5], "one more than the bounds");
        let unasked = RiskPolicy { shared_device: 0, shared_prefix: 0, ..POLICY };
        assert_eq!(others(&evidence(&rows), 5, &own, &unasked), [0, 0]);
    }
}
