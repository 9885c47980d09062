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
    program: String,
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
    fn named(self, histories: &mut HashMap<Uuid, Vec<(UnixMs, i64)>>) -> (Uuid, Booked) {
        let BookedRow { reward_id, rule, referrer, party, currency, open_minor, decided_by, reason, .. } =
            self;
        let earned_at = UnixMs(self.earned_ms);
        let stands = Earned { rule, referrer, party, currency, open_minor, earned_at };
        let history = histories.remove(&reward_id).unwrap_or_default();
        (reward_id, Booked { stands, decided_by, reason, history })
    }
}

/// What one change of a reward left open of it, and when.
type ChangeRow = (u32, i64, i64, u8);

/// All changes of a reward: revision, milliseconds since the epoch, minor units, and whether it was accrued then.
#[derive(Row, Deserialize)]
struct HistoryRow {
    #[serde(with = "clickhouse::serde::uuid")]
    reward_id: Uuid,
    changes: Vec<ChangeRow>,
}

impl HistoryRow {
    /// Since it was accrued last.
    fn named(self) -> (Uuid, Vec<(UnixMs, i64)>) {
        let accrued = self.changes.iter().rposition(|(.., is_accrual)| *is_accrual == 1).unwrap_or(0);
        let changes = self.changes.into_iter().skip(accrued);
        (self.reward_id, changes.map(|(_, at, open_minor, _)| (UnixMs(at), open_minor)).collect())
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
    // A change takes the open line out; what only puts one in is an accrual.
    let histories = format!(
        "SELECT reward_id, arraySort(groupArray((revision, at_ms, open, accrual))) AS changes FROM \
         (SELECT reward_id, revision, toUnixTimestamp64Milli(any(received_at)) AS at_ms, \
         sumIf(amount_minor, sign = 1 AND state NOT IN ('rejected', 'clawed_back')) AS open, \
         countIf(sign = -1) = 0 AS accrual FROM rewards WHERE program = {{program:String}} \
         GROUP BY reward_id, revision) GROUP BY reward_id LIMIT {}",
        EVENTS_MAX + 1
    );
    let query = |sql: &str| client.query(sql).param("program", program);
    let terms = query(&terms).fetch_all::<TermsRow>().await.map_err(AskError::from)?;
    let brought = query(&brought).fetch_all::<BroughtRow>().await.map_err(AskError::from)?;
    let booked = query(&booked).fetch_all::<BookedRow>().await.map_err(AskError::from)?;
    let histories = query(&histories).fetch_all::<HistoryRow>().await.map_err(AskError::from)?;
    if terms.len() > TERMS_MAX || brought.len() > EVENTS_MAX || booked.len() > EVENTS_MAX {
        return Err(ReplayError::TooMany);
    }
    let mut histories = histories.into_iter().map(HistoryRow::named).collect();
    let read = |row: TermsRow| {
        let bytes = STANDARD.decode(&row.text).map_err(|_| ReplayError::Rows("reward_terms"))?;
        Ok((row.hash, event::decode(&bytes).map_err(|_| ReplayError::Rows("reward_terms"))?))
    };
    Ok(Ledger {
        program: program.to_owned(),
        terms: terms.into_iter().map(read).collect::<Result<_, ReplayError>>()?,
        brought: brought.into_iter().map(|row| (EventId(row.qualification_id), row.hash)).collect(),
        booked: booked.into_iter().map(|row| row.named(&mut histories)).collect(),
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
    let (now, then) = (ledger.credited(past, &HashMap::new()), ledger.credited(past, &others));
    let found = replay(&ledger.program, &now, &then, &ledger.booked);
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
