//! What clicks and what was found of them is looked up by, in SQL.

use super::{
    ClickHouseStore,
    lookup::{IDS_MAX, before_sql, programs, rows, uuids},
    reward::fetch,
};
use crate::{
    position::{BlockRange, Horizon},
    store::{
        ClickedFrom, EventName, EvidenceStore, FoundClick, Origin, PersonClick, SeenReferrer, StoreError,
    },
};
use clickhouse::{
    Client, Row,
    error::{Error, Result},
};
use metrics::counter;
use serde::Deserialize;
use std::collections::HashSet;
use uuid::Uuid;
use whence_schemas::{
    event::Verdict,
    ids::ClickId,
    rows::{ClickEvidenceRow, ParticipantRow, Row as _, ShareRow},
    time::UnixMs,
};

whence_metrics::declare! {
    /// Clicks behind leads, by where they were found: hot (in memory), stored (in ClickHouse), nowhere.
    counter LEAD_CLICKS: "whence_lead_clicks_total" { found: ["hot", "stored", "nowhere"] };
}

#[derive(Row, Deserialize)]
struct FoundRow {
    program: String,
    #[serde(with = "clickhouse::serde::uuid")]
    id: Uuid,
    verdict: i8,
    reason: String,
    visitor: u64,
    address: u64,
    prefix: u64,
}

/// By primary key: the millisecond within the id is the click's time. Nothing but the id is checked further.
async fn clicks(client: &Client, clicks: &[(String, ClickId)]) -> Result<Vec<FoundClick>> {
    let mut found = Vec::with_capacity(clicks.len());
    for clicks in clicks.chunks(IDS_MAX) {
        let times = clicks.iter().map(|(_, id)| id.at().0.to_string()).collect::<Vec<_>>().join(",");
        let sql = format!(
            "SELECT program, id, toInt8(c.verdict) AS verdict, reason, visitor, address, prefix FROM clicks AS c \
             WHERE program IN {} \
             AND ts IN (SELECT fromUnixTimestamp64Milli(arrayJoin([{times}]::Array(Int64)), 'UTC')) AND id IN {}",
            programs(clicks.iter().map(|(program, _)| program.as_str())),
            uuids(clicks.iter().map(|(_, id)| id.0)),
        );
        for row in fetch::<FoundRow>(client, &sql).await? {
            let verdict = Verdict::try_from(i32::from(row.verdict));
            found.push(FoundClick {
                program: row.program,
                id: ClickId(row.id),
                verdict: verdict.map_err(|_| Error::Custom("clicks has other verdicts".into()))?,
                reason: row.reason,
                visitor: row.visitor,
                address: row.address,
                prefix: row.prefix,
            });
        }
    }
    Ok(found)
}

async fn of_leads(client: &Client, leads: &[EventName], place: &str) -> Result<Vec<ClickEvidenceRow>> {
    let mut found = Vec::new();
    for leads in leads.chunks(IDS_MAX) {
        let condition = format!(
            "program IN {} AND lead_id IN {} AND {place}",
            programs(leads.iter().map(|(program, _)| program.as_str())),
            uuids(leads.iter().map(|(_, id)| id.0)),
        );
        found.extend(rows(client, &condition).await?);
    }
    Ok(found)
}

fn within_sql(range: &BlockRange) -> String {
    format!(
        "incarnation = toUUID('{}') AND partition = {} AND offset >= {} AND offset < {}",
        range.incarnation.0.hyphenated(),
        range.partition.number,
        range.first,
        range.end
    )
}

#[derive(Row, Deserialize)]
struct PersonRow {
    program: String,
    hash: u64,
    #[serde(with = "clickhouse::serde::uuid")]
    person: Uuid,
    clicked: i64,
}

/// By the projection that is ordered by program and hash.
async fn persons(
    client: &Client,
    before: &Horizon,
    origin: Origin,
    places: &[&ClickedFrom],
    max: usize,
) -> Result<Vec<PersonClick>> {
    let column = match origin {
        Origin::Visitor => "visitor",
        Origin::Prefix => "prefix",
    };
    let mut found = Vec::new();
    for places in places.chunks(IDS_MAX) {
        let hashes: Vec<_> = places.iter().map(|place| place.hash.to_string()).collect();
        let sql = format!(
            "SELECT program, {column} AS hash, person, toUnixTimestamp64Milli(max(clicked_at)) AS clicked \
             FROM click_evidence WHERE program IN {} AND {column} IN ({}) AND live AND {} \
             GROUP BY program, hash, person ORDER BY clicked DESC, person LIMIT {max} BY program, hash",
            programs(places.iter().map(|place| place.program.as_str())),
            hashes.join(","),
            before_sql(before)
        );
        let rows: Vec<PersonRow> = fetch(client, &sql).await?;
        found.extend(rows.into_iter().map(|row| PersonClick {
            from: ClickedFrom { program: row.program, origin, hash: row.hash },
            person: row.person,
            clicked_at: UnixMs(row.clicked),
        }));
    }
    Ok(found)
}

#[derive(Row, Deserialize)]
struct SeenRow {
    program: String,
    referrer: String,
    prefix: u64,
}

/// By the projections that are ordered by program, prefix and referrer.
async fn referrers(
    client: &Client,
    before: &Horizon,
    asked: &[SeenReferrer],
) -> Result<HashSet<SeenReferrer>> {
    let mut found = HashSet::new();
    for asked in asked.chunks(IDS_MAX) {
        let prefixes: HashSet<_> = asked.iter().map(|seen| seen.prefix.to_string()).collect();
        let prefixes: Vec<_> = prefixes.into_iter().collect();
        let condition = format!(
            "program IN {} AND prefix IN ({}) AND referrer IN {} AND live AND {}",
            programs(asked.iter().map(|seen| seen.program.as_str())),
            prefixes.join(","),
            programs(asked.iter().map(|seen| seen.referrer.as_str())),
            before_sql(before)
        );
        for table in [ParticipantRow::TABLE, ShareRow::TABLE] {
            let sql = format!("SELECT DISTINCT program, referrer, prefix FROM {table} WHERE {condition}");
            let rows: Vec<SeenRow> = fetch(client, &sql).await?;
            found.extend(rows.into_iter().map(|row| SeenReferrer {
                program: row.program,
                referrer: row.referrer,
                prefix: row.prefix,
            }));
        }
    }
    let asked: HashSet<_> = asked.iter().collect();
    found.retain(|seen| asked.contains(seen));
    Ok(found)
}

impl EvidenceStore for ClickHouseStore {
    async fn clicks(&self, asked: &[(String, ClickId)]) -> std::result::Result<Vec<FoundClick>, StoreError> {
        let (mut found, asked) = match &self.hot {
            Some(hot) => hot.find(asked),
            None => (Vec::new(), asked.to_vec()),
        };
        let hot = found.len();
        if !asked.is_empty() {
            let asked = &asked[..];
            found.extend(self.look_up(|client| async move { clicks(&client, asked).await }).await?);
        }
        let stored = found.len() - hot;
        for (place, count) in [("hot", hot), ("stored", stored), ("nowhere", asked.len() - stored)] {
            counter!(LEAD_CLICKS, "found" => place).increment(count as u64);
        }
        Ok(found)
    }

    async fn click_evidence(
        &self,
        before: &Horizon,
        leads: &[EventName],
    ) -> std::result::Result<Vec<ClickEvidenceRow>, StoreError> {
        let place = &before_sql(before);
        self.look_up(|client| async move { of_leads(&client, leads, place).await }).await
    }

    async fn click_evidence_of(
        &self,
        range: &BlockRange,
        leads: &[EventName],
    ) -> std::result::Result<Vec<ClickEvidenceRow>, StoreError> {
        let place = &within_sql(range);
        self.look_up(|client| async move { of_leads(&client, leads, place).await }).await
    }

    async fn clicked_from(
        &self,
        before: &Horizon,
        places: &[ClickedFrom],
        max: usize,
    ) -> std::result::Result<Vec<PersonClick>, StoreError> {
        let mut found = Vec::new();
        for origin in [Origin::Visitor, Origin::Prefix] {
            let places: Vec<_> = places.iter().filter(|place| place.origin == origin).collect();
            if !places.is_empty() {
                let places = &places[..];
                let ask = |client| async move { persons(&client, before, origin, places, max).await };
                found.extend(self.look_up(ask).await?);
            }
        }
        Ok(found)
    }

    async fn seen_referrers(
        &self,
        before: &Horizon,
        asked: &[SeenReferrer],
    ) -> std::result::Result<HashSet<SeenReferrer>, StoreError> {
        self.look_up(|client| async move { referrers(&client, before, asked).await }).await
    }
}
