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
        for about in about.iter().filter(|about| self.found(&about.lead(), about.offset).is_none()) {
            wanted.entry((about.offset, about.lead())).or_insert(about.looked_by);
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

    /// Takes what stands of the block's looks.
    pub async fn read_back<S: Store>(&mut self, range: &BlockRange, store: &S) -> Result<(), StoreError> {
        if self.looked_at.is_empty() {
            return Ok(());
        }
        let leads: Vec<_> = self.looked_at.iter().cloned().collect();
        for row in store.click_evidence_of(range, &leads).await? {
            self.see(Some(row.offset), row);
        }
        Ok(())
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
            let Some(click) = self.found(&about.lead(), about.offset) else { continue };
            let asked = [
                (policy.shared_device, policy.shared_device_leads, Origin::Visitor),
                (policy.shared_prefix, policy.shared_prefix_leads, Origin::Prefix),
            ];
            for (_, leads, origin) in asked.into_iter().filter(|(weight, ..)| *weight > 0) {
                let Some(place) = place(click, origin) else { continue };
                places.insert(place);
                // One more than the bound, and the person's own.
                max = max.max(leads as usize + 1 + self.own(about, click).len());
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

    /// When other persons clicked last from the same place, known when the record had been taken.
    pub(super) fn others(&self, about: &About, click: &ClickEvidenceRow, origin: Origin) -> Vec<UnixMs> {
        let Some(place) = place(click, origin) else { return Vec::new() };
        let own = self.own(about, click);
        let mut last: BTreeMap<Uuid, UnixMs> = BTreeMap::new();
        let before =
            self.from.get(&place).into_iter().flatten().map(|click| (click.person, click.clicked_at));
        let rows = self.clicks.values().flatten().filter(|(at, row)| {
            at.is_some_and(|at| at <= about.offset)
                && row.live
                && self::place(row, origin).as_ref() == Some(&place)
        });
        for (person, at) in before.chain(rows.map(|(_, row)| (row.person, row.clicked_at))) {
            if !own.contains(&person) {
                let last = last.entry(person).or_insert(at);
                *last = at.max(*last);
            }
        }
        last.into_values().collect()
    }

    /// What the person of a click is known by.
    fn own(&self, about: &About, click: &ClickEvidenceRow) -> BTreeSet<Uuid> {
        let leads = self.leads(about).1.into_iter().map(|lead| lead.event_id.0);
        leads.chain([click.person, click.lead_id.0]).collect()
    }
}

/// Where a click came from, as far as that is known.
fn place(click: &ClickEvidenceRow, origin: Origin) -> Option<ClickedFrom> {
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
