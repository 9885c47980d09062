//! Who would have been paid under other rules: the stored terms, the aggregator's own amounts and caps
//! ([`whence_aggregator::reward::replay`]), and the difference to the ledger.

use std::collections::{BTreeMap, HashMap};

use base64::{Engine, engine::general_purpose::STANDARD};
use clickhouse::{Client, Row};
use serde::Deserialize;
use uuid::Uuid;
use whence_aggregator::{
    conversion::replay::{Outcome, Past},
    reward::replay::{Booked, Credited, Earned, replay},
};
use whence_schemas::{
    event::{self, RewardTerms},
    ids::EventId,
    time::UnixMs,
};

use super::{Change, EVENTS_MAX, ReplayError};
use crate::ask::AskError;

/// Different terms of one program, at most.
const TERMS_MAX: usize = 10_000;

/// What is stored about a program's rewards.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    terms: HashMap<u64, RewardTerms>,
    brought: HashMap<EventId, u64>,
    booked: HashMap<Uuid, Booked>,
}

/// A reward as it stands.
#[derive(Row, Deserialize)]
struct BookedRow {
    #[serde(with = "clickhouse::serde::uuid")]
    reward_id: Uuid,
    rule: String,
    referrer: String,
    party: String,
    currency: String,
    open_minor: i64,
    decided_by: String,
    reason: String,
    earned_ms: i64,
}

impl BookedRow {
    fn named(self) -> (Uuid, Booked) {
        let BookedRow { reward_id, rule, referrer, party, currency, open_minor, decided_by, reason, .. } =
            self;
        let earned_at = UnixMs(self.earned_ms);
        let stands = Earned { rule, referrer, party, currency, open_minor, earned_at };
        (reward_id, Booked { stands, decided_by, reason })
    }
}

#[derive(Row, Deserialize)]
struct TermsRow {
    hash: u64,
    text: String,
}

#[derive(Row, Deserialize)]
struct BroughtRow {
    #[serde(with = "clickhouse::serde::uuid")]
    qualification_id: Uuid,
    hash: u64,
}

/// Loads terms and rewards of a program.
///
/// # Errors
/// See [`ReplayError`].
pub async fn ledger(client: &Client, program: &str) -> Result<Ledger, ReplayError> {
    let terms = format!(
        "SELECT cityHash64(terms) AS hash, any(base64Encode(t.terms)) AS text FROM reward_terms AS t \
         WHERE program = {{program:String}} GROUP BY hash LIMIT {}",
        TERMS_MAX + 1
    );
    let brought = format!(
        "SELECT qualification_id, cityHash64(terms) AS hash FROM reward_terms WHERE program = {{program:String}} LIMIT {}",
        EVENTS_MAX + 1
    );
    let booked = format!(
        "SELECT reward_id, toString(rule) AS rule, referrer, toString(party) AS party, toString(currency) AS currency, open_minor, decided_by, \
         reason, toUnixTimestamp64Milli(earned_at) AS earned_ms FROM reward_states WHERE program = {{program:String}} \
         LIMIT {}",
        EVENTS_MAX + 1
    );
    let query = |sql: &str| client.query(sql).param("program", program);
    let terms = query(&terms).fetch_all::<TermsRow>().await.map_err(AskError::from)?;
    let brought = query(&brought).fetch_all::<BroughtRow>().await.map_err(AskError::from)?;
    let booked = query(&booked).fetch_all::<BookedRow>().await.map_err(AskError::from)?;
    if terms.len() > TERMS_MAX || brought.len() > EVENTS_MAX || booked.len() > EVENTS_MAX {
        return Err(ReplayError::TooMany);
    }
    let read = |row: TermsRow| {
        let bytes = STANDARD.decode(&row.text).map_err(|_| ReplayError::Rows("reward_terms"))?;
        Ok((row.hash, event::decode(&bytes).map_err(|_| ReplayError::Rows("reward_terms"))?))
    };
    Ok(Ledger {
        terms: terms.into_iter().map(read).collect::<Result<_, ReplayError>>()?,
        brought: brought.into_iter().map(|row| (EventId(row.qualification_id), row.hash)).collect(),
        booked: booked.into_iter().map(BookedRow::named).collect(),
    })
}

/// Adds to the changes of each referrer what stands of rewards now, and what would, of what happened from `from` on
/// and before `until`. A reward that the stored events do not give as the ledger has it stays as it is, and is counted
/// as undecided.
pub fn pay(
    past: &Past,
    ledger: &Ledger,
    outcomes: &[Outcome],
    (from, until): (Option<UnixMs>, Option<UnixMs>),
    changes: &mut BTreeMap<String, Change>,
) {
    let others = outcomes.iter().filter(|one| !one.is_lead).map(|one| (one.id, one)).collect();
    let found =
        replay(ledger.credited(past, &HashMap::new()), ledger.credited(past, &others), &ledger.booked);
    let is_of_span = |one: &&Earned| {
        from.is_none_or(|from| one.earned_at >= from) && until.is_none_or(|until| one.earned_at < until)
    };
    let mut add = |one: &Earned, place: usize| {
        if one.open_minor > 0 {
            let rewards = &mut changes.entry(one.referrer.clone()).or_default().rewards;
            rewards.entry((one.party.clone(), one.currency.clone())).or_default()[place] += one.open_minor;
        }
    };
    ledger.booked.values().map(|booked| &booked.stands).filter(is_of_span).for_each(|one| add(one, 0));
    found.then.values().chain(found.undecided.values()).filter(is_of_span).for_each(|one| add(one, 1));
    for one in found.undecided.values().filter(is_of_span) {
        changes.entry(one.referrer.clone()).or_default().rewards_undecided += 1;
    }
}

impl Ledger {
    /// The standing qualifications that are credited and brought terms: as it is stored, or as the outcomes say where
    /// they are decided.
    fn credited<'a>(&'a self, past: &'a Past, others: &HashMap<EventId, &'a Outcome>) -> Vec<Credited<'a>> {
        let came: HashMap<EventId, UnixMs> =
            past.leads.iter().map(|lead| (lead.id, lead.received_at)).collect();
        let standing = past.qualifications.iter().filter(|row| row.sign > 0);
        let credited = standing.filter_map(|row| {
            let other = others.get(&row.id).and_then(|one| Some((one.after.as_deref().ok()?, one.lead)));
            let (referrer, lead) = other.unwrap_or((&row.referrer, Some(EventId(row.lead_id))));
            let lead = lead.filter(|lead| !lead.0.is_nil() && !referrer.is_empty())?;
            let terms = self.terms.get(self.brought.get(&row.id)?)?;
            let since = came.get(&lead).map_or(row.received_at, |came| row.received_at.max(*came));
            Some(Credited { row, lead, referrer, since, terms })
        });
        credited.collect()
    }
}
