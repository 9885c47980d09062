//! What is known about the person behind a qualification: when the lead clicked, who clicked, who else the
//! person is, whether the referrer was there.
//!
//! Persons are found in `subject_keys` from the qualification's id to its keys, to the leads with one of them, to
//! the referrers who joined with a key of theirs; whoever is linked by a longer chain is not found. Personal
//! columns of facts are not read: an erasure blanks them.

mod clicks;
mod referrers;

use super::{Change, risk::Signals};
use crate::{
    position::Horizon,
    store::{ClickedFrom, EventName, LeadTimes, Origin, PersonClick, Rows, SeenReferrer, Store, StoreError},
};
use clicks::{Told, own_rows, place};
use std::collections::{BTreeSet, HashMap, HashSet};
use uuid::Uuid;
use whence_schemas::{
    event::RiskPolicy,
    ids::{ClickId, EventId},
    rows::{self, ClickEvidenceRow, RewardRow, SubjectKeyRow},
    subject::SubjectKey,
    time::UnixMs,
    token::CLOCK_SKEW_MS_MAX,
};

/// Words of `subject_keys.kind`, and of `click_evidence.looked_by`.
const QUALIFICATION: &str = "qualification";
const LEAD: &str = "lead";
const PARTICIPANT: &str = "participant";
const TIMER: &str = "timer";
/// Qualification, lead, referrer.
const LINKS: usize = 3;

/// A key within its program.
type Name = (String, SubjectKey);
/// A row, with the offset of its record where that is one of the block.
type Seen<R> = (Option<u64>, R);

/// A qualification that earns rewards, as a record of the block finds it.
#[derive(Clone, Debug)]
pub(super) struct About {
    pub program: String,
    pub qualification: EventId,
    pub lead: EventId,
    pub referrer: String,
    /// The click that its lead is credited by, where the qualification says so; nil: not said.
    pub click: Uuid,
    pub offset: u64,
    looked_by: &'static str,
}

impl About {
    /// What stands after this change, or stood for a moment, if it is credited to anybody.
    pub fn change(change: &Change<'_>) -> Option<About> {
        let now = change.earning().filter(|now| !now.lead_id.is_nil() && !now.referrer.is_empty())?;
        Some(About {
            program: change.program.to_owned(),
            qualification: change.id,
            lead: EventId(now.lead_id),
            referrer: now.referrer.clone(),
            click: now.click_id,
            offset: change.offset,
            looked_by: QUALIFICATION,
        })
    }

    /// What a reward whose day has come rests on.
    pub fn due(line: &RewardRow, offset: u64) -> About {
        About {
            program: line.program.0.clone(),
            qualification: line.qualification_id,
            lead: line.lead_id,
            referrer: line.referrer.clone(),
            click: Uuid::nil(),
            offset,
            looked_by: TIMER,
        }
    }

    fn lead(&self) -> EventName {
        (self.program.clone(), self.lead)
    }
}

/// What was stored before the block, and what its records add.
#[derive(Default)]
pub(super) struct Evidence {
    times: HashMap<EventName, LeadTimes>,
    named: HashMap<Name, Vec<Seen<SubjectKeyRow>>>,
    clicks: HashMap<EventName, Vec<Seen<ClickEvidenceRow>>>,
    /// Who clicked from where, as the block's records tell it, in their order.
    told: HashMap<ClickedFrom, Vec<Told>>,
    /// Leads whose clicks the block looks at.
    looked_at: BTreeSet<EventName>,
    /// Who clicked from where, before the block.
    from: HashMap<ClickedFrom, Vec<PersonClick>>,
    /// Who joined or shared from where before the block, of those asked for.
    seen: HashSet<SeenReferrer>,
    /// Who did so in the block, and with which record first.
    met: HashMap<SeenReferrer, u64>,
}

impl Evidence {
    /// About the leads and persons of these qualifications.
    pub async fn load<S: Store>(
        before: &Horizon,
        about: &[About],
        made: &[Rows],
        store: &S,
    ) -> Result<Evidence, StoreError> {
        let mut evidence = Evidence::default();
        own_rows(made).for_each(|row| evidence.know(LeadTimes::of(row)));
        evidence.meet(made);
        for rows in made {
            if let Rows::SubjectKeys(rows) = rows {
                rows.iter().for_each(|row| evidence.name(Some(row.offset), row.clone()));
            }
        }
        if about.is_empty() {
            return Ok(evidence);
        }
        evidence.load_persons(before, about, store).await?;
        let leads: BTreeSet<EventName> =
            about.iter().flat_map(|about| [about.lead(), evidence.touched(about)]).collect();
        let leads: Vec<_> = leads.into_iter().filter(|lead| !evidence.times.contains_key(lead)).collect();
        if !leads.is_empty() {
            store.lead_times(before, &leads).await?.into_iter().for_each(|times| evidence.know(times));
        }
        let clicked: Vec<_> = leads.into_iter().filter(|lead| evidence.click_of(lead).is_some()).collect();
        if !clicked.is_empty() {
            for row in store.click_evidence(before, &clicked).await? {
                evidence.see(None, row);
            }
        }
        Ok(evidence)
    }

    async fn load_persons<S: Store>(
        &mut self,
        before: &Horizon,
        about: &[About],
        store: &S,
    ) -> Result<(), StoreError> {
        let asked = about.iter().map(|about| (about.program.clone(), id_key(about.qualification)));
        let mut asked: BTreeSet<Name> = asked.collect();
        let mut next: Vec<Name> = asked.iter().cloned().collect();
        for _ in 0..LINKS {
            if next.is_empty() {
                break;
            }
            for row in store.subjects(before, &next).await? {
                self.name(None, row);
            }
            let found = next.iter().flat_map(|name| {
                let linking = self.of(name, QUALIFICATION).chain(self.of(name, LEAD));
                linking.flat_map(|(_, row)| row.keys.iter().map(|key| (row.program.0.clone(), *key)))
            });
            let found: Vec<_> = found.collect();
            next = found.into_iter().filter(|name| asked.insert(name.clone())).collect();
        }
        Ok(())
    }

    fn know(&mut self, times: LeadTimes) {
        self.times.insert((times.program.clone(), times.id), times);
    }

    fn see(&mut self, offset: Option<u64>, row: ClickEvidenceRow) {
        if let Some(offset) = offset.filter(|_| row.live) {
            for from in [Origin::Visitor, Origin::Prefix].into_iter().filter_map(|origin| place(&row, origin))
            {
                let told = Told { offset, person: row.person, clicked_at: row.clicked_at };
                self.told.entry(from).or_default().push(told);
            }
        }
        self.clicks.entry((row.program.0.clone(), row.lead_id)).or_default().push((offset, row));
    }

    fn name(&mut self, offset: Option<u64>, row: SubjectKeyRow) {
        if row.live && [QUALIFICATION, LEAD, PARTICIPANT].contains(&row.kind.0.as_str()) {
            self.named.entry((row.program.0.clone(), row.key)).or_default().push((offset, row));
        }
    }

    fn of(&self, name: &Name, kind: &'static str) -> impl Iterator<Item = &Seen<SubjectKeyRow>> {
        self.named.get(name).into_iter().flatten().filter(move |(_, row)| row.kind.0 == kind)
    }

    fn known(&self, about: &About, key: &SubjectKey, kind: &'static str) -> Vec<&SubjectKeyRow> {
        let name = (about.program.clone(), *key);
        let rows = self.of(&name, kind);
        let is_past = |at: &Option<u64>| at.is_none_or(|at| at <= about.offset);
        rows.filter(|(at, _)| is_past(at)).map(|(_, row)| row).collect()
    }

    /// The qualification's keys, and the leads with one of them.
    fn leads(&self, about: &About) -> (BTreeSet<SubjectKey>, Vec<&SubjectKeyRow>) {
        let linked = self.known(about, &id_key(about.qualification), QUALIFICATION);
        let own: BTreeSet<SubjectKey> = linked.into_iter().flat_map(|row| row.keys.clone()).collect();
        let leads = own.iter().flat_map(|key| self.known(about, key, LEAD)).collect();
        (own, leads)
    }

    /// The lead event whose own touch its lead is credited by, as far as that is known when its record has been taken:
    /// the lead itself, or of those about the same record of their source the one with the click that the qualification
    /// is credited by. Where only a reward says what it is about, the newest that was made before the record was known.
    pub(super) fn touched(&self, about: &About) -> EventName {
        let leads = self.leads(about).1;
        let lead = leads.iter().find(|row| row.event_id == about.lead);
        let Some(lead) = lead.filter(|lead| !lead.record.is_nil()) else { return about.lead() };
        let told = || leads.iter().filter(|row| row.record == lead.record);
        let known_at = told().map(|row| row.received_at).min().unwrap_or(lead.received_at);
        let is_credited = |row: &&&SubjectKeyRow| match about.click {
            click if click.is_nil() => ClickId(row.click_id).at().ms_since(known_at) <= CLOCK_SKEW_MS_MAX,
            click => row.click_id == click,
        };
        let clicked = told().filter(|row| !row.click_id.is_nil()).filter(is_credited);
        let credited = clicked.max_by_key(|row| (row.click_id, row.event_id));
        (about.program.clone(), credited.map_or(about.lead, |row| row.event_id))
    }

    /// What is known about this qualification when its record has been taken, as far as the policy asks for it.
    pub fn signals(&self, about: &About, policy: &RiskPolicy) -> Signals {
        let (own, leads) = self.leads(about);
        let keys = leads.iter().flat_map(|lead| lead.keys.clone()).chain(own);
        let keys: BTreeSet<SubjectKey> = keys.collect();
        let mut joined = keys.iter().flat_map(|key| self.known(about, key, PARTICIPANT));
        // Without a touch it is what another system says of a lead: a CRM of its new contact.
        let referred = leads.iter().filter(|lead| lead.evidence != rows::Evidence::None);
        let of_record = |lead: &&SubjectKeyRow| match lead.record {
            record if record.is_nil() => lead.event_id.0,
            record => record,
        };
        let ids: BTreeSet<Uuid> = referred.map(of_record).collect();
        let linked = self.known(about, &id_key(about.qualification), QUALIFICATION);
        let is_disposable = leads.iter().chain(&linked).any(|row| row.email_disposable);
        let touched = self.touched(about);
        let clicked = self.times.get(&touched).filter(|times| times.clicked_at != UnixMs(0));
        let told = self.times.get(&about.lead()).map_or(UnixMs(i64::MAX), |times| times.occurred_at);
        let click = self.found(&touched, about.offset);
        let others = |origin| click.map_or(0, |click| self.others(about, click, origin, policy));
        Signals {
            click_to_lead_ms: clicked.map(|times| times.occurred_at.min(told).ms_since(times.clicked_at)),
            is_self: joined.any(|joined| joined.referrer == about.referrer),
            near: self.near(about),
            leads: ids.len(),
            clicked_by: click.map(|click| (click.verdict, click.reason.0.clone())),
            on_device: others(Origin::Visitor),
            is_disposable,
            on_prefix: others(Origin::Prefix),
        }
    }
}

/// The key that finds a qualification by its event id.
fn id_key(id: EventId) -> SubjectKey {
    SubjectKey(id.0.into_bytes())
}
