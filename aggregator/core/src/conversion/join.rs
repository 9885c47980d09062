//! Takes a block's events one after the other and makes their rows: each event's own, and the corrections that
//! it brings about for earlier events of its person.

use super::{
    credit::{self, Credit},
    decode::{Conversion, Kind},
    people::{Name, PARTICIPANTS_MAX, PERSON_EVENTS_MAX, People, kind, linking_keys},
    person::{Decision, Person},
    rows::{self, Cause, NewestRow},
};
use crate::store::{EventName, Rows};
use std::collections::BTreeSet;
use whence_schemas::{
    ids::EventId,
    reject::RejectReason,
    rows::{
        DisqualificationRow, ErasureRow, IdentifyRow, LeadRow, ParticipantRow, QualificationRow,
        ReinstatementRow, ShareRow, SubjectKeyRow,
    },
    subject::SubjectKey,
    token::KeyRing,
};

/// What a block's conversions become. Rows of a table stand in the order of the records that caused them
/// (`offset`): a row with `sign` 1 says what stands from there on, one with -1 what does not any more. So a
/// qualification that is completed or credited otherwise is taken back and written again, one that is refunded
/// whole is taken back, one that is refunded in part is taken back and written again with the value that is left.
/// One with 0 stands and does not count.
#[derive(Debug, Default)]
pub struct Joined {
    /// `leads`
    pub leads: Vec<LeadRow>,
    /// `qualifications`
    pub qualifications: Vec<QualificationRow>,
    /// `disqualifications`
    pub disqualifications: Vec<DisqualificationRow>,
    /// `reinstatements`
    pub reinstatements: Vec<ReinstatementRow>,
    /// `identifies`
    pub identifies: Vec<IdentifyRow>,
    /// `participants`
    pub participants: Vec<ParticipantRow>,
    /// `shares`
    pub shares: Vec<ShareRow>,
    /// `erasures`
    pub erasures: Vec<ErasureRow>,
    /// `subject_keys`
    pub subject_keys: Vec<SubjectKeyRow>,
    /// Events whose personal columns are to be blank once the rows are stored.
    pub erased: BTreeSet<EventName>,
    /// The keys of whoever was forgotten, each with its program.
    pub forgotten: BTreeSet<(String, SubjectKey)>,
}

impl Joined {
    /// The rows in the order in which their tables are inserted: what comes later is found again by what came
    /// earlier.
    #[must_use]
    pub fn into_tables(self) -> Vec<Rows> {
        vec![
            Rows::Leads(self.leads),
            Rows::Qualifications(self.qualifications),
            Rows::Disqualifications(self.disqualifications),
            Rows::Reinstatements(self.reinstatements),
            Rows::Identifies(self.identifies),
            Rows::Participants(self.participants),
            Rows::Shares(self.shares),
            Rows::Erasures(self.erasures),
            Rows::SubjectKeys(self.subject_keys),
        ]
    }
}

/// The join of one block.
pub(super) struct Join<'a> {
    pub people: People,
    pub keys: &'a KeyRing,
    pub made: Joined,
}

impl Join<'_> {
    /// Takes a new event, the block's next.
    ///
    /// # Errors
    /// The reason why it becomes no fact.
    pub fn take(&mut self, cause: Cause, event: &Conversion) -> Result<(), RejectReason> {
        match &event.kind {
            // About no person: taken elsewhere.
            Kind::Reward { .. } => {}
            Kind::Share { referrer, link, channel } => {
                self.made.shares.push(rows::share_row(event, [referrer, link, channel], cause));
            }
            Kind::Participant { .. } if self.joins_too_often(event) => {
                return Err(RejectReason::PersonTooLarge);
            }
            Kind::Participant { referrer } => self.take_participant(cause, event, referrer),
            Kind::Erasure { requested_by } => self.take_erasure(cause, event, requested_by),
            Kind::Lead { .. } | Kind::Qualification { .. } | Kind::Identify if self.is_suppressed(event) => {
                return Err(RejectReason::Suppressed);
            }
            // Of a person who was forgotten only a payment that is named is found.
            Kind::Disqualification { qualification: None, .. }
                if event.payments.is_empty() && self.is_suppressed(event) =>
            {
                return Err(RejectReason::Suppressed);
            }
            _ if self.is_beyond_bound(event) => return Err(RejectReason::PersonTooLarge),
            Kind::Lead { .. } => self.take_lead(cause, event),
            Kind::Qualification { .. } => self.take_qualification(cause, event),
            Kind::Disqualification { .. } => self.take_disqualification(cause, event),
            Kind::Reinstatement { .. } => self.take_reinstatement(cause, event),
            Kind::Identify => self.take_identify(cause, event),
        }
        Ok(())
    }

    fn is_suppressed(&self, event: &Conversion) -> bool {
        event.keys.iter().any(|key| self.people.erased.contains(&name(event, *key)))
    }

    fn is_beyond_bound(&self, event: &Conversion) -> bool {
        let names = names(event);
        self.people.found(&names).map(Person::len).sum::<usize>() >= PERSON_EVENTS_MAX
            || self.people.is_cut_off(&names)
    }

    fn joins_too_often(&self, event: &Conversion) -> bool {
        let joined = |key| self.people.participants.get(&name(event, key)).map_or(0, BTreeSet::len);
        let own = event.keys.iter().filter(|key| !self.people.erased.contains(&name(event, **key)));
        own.into_iter().any(|key| joined(*key) >= PARTICIPANTS_MAX)
    }

    fn take_lead(&mut self, cause: Cause, event: &Conversion) {
        let (touches, proved) = credit::proved(event, self.keys);
        let row = rows::lead_row(event, touches, &proved, cause);
        let person = self.people.person_of(names(event).into_iter());
        person.add_lead(rows::lead_of(&row));
        let decision = person.decision();
        let row = rows::with_lead_state(&row, decision.leads[&event.id].clone());
        self.made.leads.push(row.clone());
        self.people.leads.insert(event.id, NewestRow::new(row));
        self.index(cause, event, kind::LEAD, &proved);
        self.settle(cause, decision);
    }

    fn take_qualification(&mut self, cause: Cause, event: &Conversion) {
        let Some(row) = rows::qualification_row(event, cause) else { return };
        let person = self.people.person_of(names(event).into_iter());
        person.add_qualification(rows::qualification_of(&row));
        let decision = person.decision();
        // Its own row says what was paid; what was taken back of it before it came follows as a correction.
        let mut state = decision.qualifications[&event.id].clone();
        state.left_minor = Some(row.paid_minor);
        let row = rows::with_qualification_state(&row, state).unwrap_or(row);
        self.made.qualifications.push(row.clone());
        self.people.qualifications.insert(event.id, NewestRow::new(row));
        self.index(cause, event, kind::QUALIFICATION, &Credit::default());
        self.settle(cause, decision);
    }

    fn take_disqualification(&mut self, cause: Cause, event: &Conversion) {
        let Some(mut row) = rows::disqualification_row(event, cause) else { return };
        if self.is_suppressed(event) {
            // Money is taken back also from a person of whom nothing may be kept.
            row.lead.clear();
            row.keys.clear();
        }
        let person = self.people.person_of(names(event).into_iter());
        person.add_disqualification(rows::disqualification_of(&row));
        let decision = person.decision();
        let row = rows::with_disqualification_state(&row, decision.disqualifications[&event.id].clone());
        self.made.disqualifications.push(row.clone());
        self.people.disqualifications.insert(event.id, NewestRow::new(row));
        self.index(cause, event, kind::DISQUALIFICATION, &Credit::default());
        self.settle(cause, decision);
    }

    fn take_reinstatement(&mut self, cause: Cause, event: &Conversion) {
        let Some(mut row) = rows::reinstatement_row(event, cause) else { return };
        if self.is_suppressed(event) {
            // Of a person who was forgotten nothing is kept, as with what takes back.
            row.lead.clear();
            row.keys.clear();
        }
        let person = self.people.person_of(names(event).into_iter());
        person.add_reinstatement(rows::reinstatement_of(&row));
        let decision = person.decision();
        let row = rows::with_reinstatement_state(&row, decision.reinstatements[&event.id].clone());
        self.made.reinstatements.push(row.clone());
        self.people.reinstatements.insert(event.id, NewestRow::new(row));
        self.index(cause, event, kind::REINSTATEMENT, &Credit::default());
        self.settle(cause, decision);
    }

    fn take_identify(&mut self, cause: Cause, event: &Conversion) {
        let person = self.people.person_of(names(event).into_iter());
        person.add_name(event.id, event.payments.clone());
        let decision = person.decision();
        self.made.identifies.push(rows::identify_row(event, cause));
        self.index(cause, event, kind::IDENTIFY, &Credit::default());
        self.settle(cause, decision);
    }

    fn take_participant(&mut self, cause: Cause, event: &Conversion, referrer: &str) {
        let mut event = event.clone();
        event.keys.retain(|key| !self.people.erased.contains(&(event.program.clone(), event.live, *key)));
        for key in &event.keys {
            self.people.participants.entry(name(&event, *key)).or_default().insert(event.id);
        }
        self.made.participants.push(rows::participant_row(&event, referrer, cause));
        let joined = Credit { referrer: referrer.to_owned(), ..Credit::default() };
        self.made.subject_keys.extend(rows::subject_keys(
            &event,
            kind::PARTICIPANT,
            event.live,
            &event.keys,
            &joined,
            cause,
        ));
    }

    /// Forgets a person, in both modes: a test of the person is the person's all the same. A key that was suppressed
    /// before leads to nobody, whether its rows stand still or not ([`super::unlink`]).
    fn take_erasure(&mut self, cause: Cause, event: &Conversion, requested_by: &str) {
        let [mut events, mut suppressed] = [0, 0];
        for live in [true, false] {
            let named: Vec<Name> = event.keys.iter().map(|key| (event.program.clone(), live, *key)).collect();
            let leading: Vec<Name> =
                named.iter().filter(|name| !self.people.erased.contains(*name)).cloned().collect();
            let mut ids: BTreeSet<EventId> = self.people.found(&leading).flat_map(Person::ids).collect();
            let mut names = self.people.all_names(&leading);
            // The names of events and payments are nobody's.
            let of_events: BTreeSet<_> =
                self.people.found(&leading).flat_map(Person::names_of_events).collect();
            names.retain(|(_, _, key)| !of_events.contains(key));
            names.extend(named);
            let joined = names.iter().filter(|name| !self.people.erased.contains(*name));
            ids.extend(joined.filter_map(|name| self.people.participants.get(name)).flatten());
            let keys: Vec<_> = names.iter().map(|(_, _, key)| *key).collect();
            for key in &keys {
                let nobody = Credit::default();
                let row = rows::subject_keys(event, kind::ERASED, live, &[*key], &nobody, cause);
                self.made.subject_keys.extend(row);
            }
            events += ids.len() as u64;
            suppressed += keys.len() as u64;
            self.made.forgotten.extend(keys.into_iter().map(|key| (event.program.clone(), key)));
            self.people.erased.extend(names);
            self.made.erased.extend(ids.into_iter().map(|id| (event.program.clone(), id)));
        }
        self.made.erasures.push(rows::erasure_row(event, requested_by, [events, suppressed], cause));
    }

    fn index(&mut self, cause: Cause, event: &Conversion, kind: &str, credit: &Credit) {
        let keys = linking_keys(event);
        self.made.subject_keys.extend(rows::subject_keys(event, kind, event.live, &keys, credit, cause));
    }

    /// Corrects every row of the person that says other than the decision.
    fn settle(&mut self, cause: Cause, decision: Decision) {
        for (id, state) in decision.leads {
            if let Some(standing) = self.people.leads.get_mut(&id) {
                let wanted = rows::with_lead_state(standing.row(), state);
                standing.change_to(Some(wanted), cause, &mut self.made.leads);
            }
        }
        for (id, state) in decision.qualifications {
            if let Some(standing) = self.people.qualifications.get_mut(&id) {
                let wanted = rows::with_qualification_state(standing.row(), state);
                standing.change_to(wanted, cause, &mut self.made.qualifications);
            }
        }
        for (id, state) in decision.disqualifications {
            if let Some(standing) = self.people.disqualifications.get_mut(&id) {
                let wanted = rows::with_disqualification_state(standing.row(), state);
                standing.change_to(Some(wanted), cause, &mut self.made.disqualifications);
            }
        }
        for (id, state) in decision.reinstatements {
            if let Some(standing) = self.people.reinstatements.get_mut(&id) {
                let wanted = rows::with_reinstatement_state(standing.row(), state);
                standing.change_to(Some(wanted), cause, &mut self.made.reinstatements);
            }
        }
    }
}

fn name(event: &Conversion, key: SubjectKey) -> Name {
    (event.program.clone(), event.live, key)
}

fn names(event: &Conversion) -> Vec<Name> {
    linking_keys(event).into_iter().map(|key| name(event, key)).collect()
}
