//! Rollups and views as ClickHouse makes them, of rows in memory.

use std::collections::BTreeMap;
use whence_loadtest::{
    ledger::Id,
    oracle::{
        cells::QUARTER_MS,
        names::Name,
        stored::{
            Counts, FunnelRow, PartitionRow, QualificationRow, RewardRow, RollupRow, StoredFacts,
            UnmatchedRow,
        },
    },
};

/// Replaces rollups and views by those of the rows there are.
pub fn roll_up(it: &mut StoredFacts) {
    let none = it.names.of("");
    let human = it.names.of("human");
    let group = |program, credit: (_, _), period, verdict, currency| RollupRow {
        program,
        referrer: credit.0,
        channel: credit.1,
        period,
        verdict,
        currency,
        counts: Counts::default(),
    };
    let (token, code) = (it.names.of("token"), it.names.of("code"));
    it.quarter_hourly.clear();
    for row in it.clicks.iter().filter(|row| row.live) {
        let of = (row.referrer, row.channel);
        let cell = group(row.program, of, row.at_ms / QUARTER_MS, row.verdict, none);
        it.quarter_hourly
            .push(RollupRow { counts: Counts::click(row.verdict == human).times(row.sign.into()), ..cell });
    }
    for row in &it.leads {
        let of = (row.credit.referrer, row.credit.channel);
        let cell = group(row.program, of, row.occurred_at_ms / QUARTER_MS, none, none);
        let is_of_click = row.credit.evidence == token && row.credit.click.0 & 0xff != 0;
        let counts = Counts {
            leads: row.person.into(),
            leads_by_click: if is_of_click { row.person.into() } else { 0 },
            leads_by_code: if row.credit.evidence == code { row.person.into() } else { 0 },
            lead_events: row.sign.into(),
            ..Counts::default()
        };
        it.quarter_hourly.push(RollupRow { counts, ..cell });
    }
    for row in &it.qualifications {
        let of = (row.credit.referrer, row.credit.channel);
        let cell = group(row.program, of, row.occurred_at_ms / QUARTER_MS, none, row.currency);
        let sign = i64::from(row.sign);
        let counts = Counts {
            qualified: row.person.into(),
            qualification_events: sign,
            value_minor: sign * row.value_minor,
            ..Counts::default()
        };
        it.quarter_hourly.push(RollupRow { counts, ..cell });
    }
    it.daily = it.quarter_hourly.iter().map(|row| RollupRow { period: row.period / 96, ..*row }).collect();
    let mut funnel: BTreeMap<_, FunnelRow> = BTreeMap::new();
    for row in &it.quarter_hourly {
        let RollupRow { program, referrer, channel, .. } = *row;
        let sum = funnel.entry((program, referrer, channel)).or_insert(FunnelRow {
            program,
            referrer,
            channel,
            counts: Counts::default(),
        });
        sum.counts += row.counts;
    }
    it.funnel = funnel.into_values().collect();
    reward(it);
    view_unmatched(it);
    number_offsets(it);
}

/// One for each lead that is credited and has bought something: 5.00 in a world's first program, 5.01 in its second, …, as
/// much of it as is left of the purchase.
fn reward(it: &mut StoredFacts) {
    let purchase = it.names.of("purchase");
    let mut bought: BTreeMap<_, (i64, i64)> = BTreeMap::new();
    let is_earning = |row: &&QualificationRow| {
        row.lead != Id::NIL && row.credit.referrer != Name::EMPTY && row.name == purchase
    };
    for row in it.qualifications.iter().filter(is_earning) {
        let sum = bought.entry((row.program, row.credit.referrer, row.lead)).or_default();
        *sum = (sum.0 + i64::from(row.sign) * row.value_minor, sum.1 + i64::from(row.sign) * row.paid_minor);
    }
    it.rewards.clear();
    let counts = |key: &(Name, Name, Id)| {
        let of_lead =
            |row: &&QualificationRow| is_earning(row) && (row.program, row.credit.referrer, row.lead) == *key;
        it.qualifications.iter().filter(of_lead).map(|row| i64::from(row.sign)).sum::<i64>() > 0
    };
    let mut sums: BTreeMap<_, (i64, i64)> = BTreeMap::new();
    let standing: Vec<_> = bought.into_iter().filter(|(key, _)| counts(key)).collect();
    for ((program, referrer, lead), (left, paid)) in standing {
        let number = it.names.text(program).rsplit('-').next().and_then(|number| number.parse::<i64>().ok());
        let whole = 500 + number.expect("a program's id ends with its number");
        let amount_minor = if paid == 0 { whole } else { whole * left / paid };
        if amount_minor == 0 {
            continue;
        }
        it.rewards.push(RewardRow { lead, program, referrer, rewards: 1, amount_minor, approved: 0 });
        let sum = sums.entry((program, referrer)).or_default();
        *sum = (sum.0 + 1, sum.1 + amount_minor);
    }
    let sums = sums.into_iter().map(|((program, referrer), (rewards, amount_minor))| RewardRow {
        lead: Id::NIL,
        program,
        referrer,
        rewards,
        amount_minor,
        approved: 0,
    });
    it.reward_sums = sums.collect();
}

fn view_unmatched(it: &mut StoredFacts) {
    let (lead, qualification, none) =
        (it.names.of("lead"), it.names.of("qualification"), it.names.of("none"));
    let leads = it.leads.iter().filter(|row| row.credit.evidence == none);
    it.unmatched = leads.map(|row| UnmatchedRow { kind: lead, id: row.id }).collect();
    let mut waiting: BTreeMap<Id, i64> = BTreeMap::new();
    for row in it.qualifications.iter().filter(|row| row.lead == Id::NIL) {
        *waiting.entry(row.id).or_default() += i64::from(row.sign);
    }
    let waiting = waiting.into_iter().filter(|(_, sum)| *sum > 0);
    it.unmatched.extend(waiting.map(|(id, _)| UnmatchedRow { kind: qualification, id }));
    let waits = it.names.of("waiting");
    for row in it.reversals.iter().filter(|row| row.came.outcome == waits) {
        let kind = it.names.text(row.table).trim_end_matches('s').to_owned();
        it.unmatched.push(UnmatchedRow { kind: it.names.of(&kind), id: row.id });
    }
}

fn number_offsets(it: &mut StoredFacts) {
    let clicks = it.clicks.len() as u64;
    let stream = it.names.of("clicks");
    it.counted = vec![PartitionRow {
        stream,
        incarnation: Id(5),
        partition: 0,
        first_offset: 0,
        next_offset: clicks,
        records: clicks,
        offsets: clicks,
        missing: 0,
        extra: 0,
    }];
    it.reconciliation = it.counted.clone();
}
