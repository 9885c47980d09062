//! What clicks and what was found of them is looked up by, in SQL.

use super::{
    ClickHouseStore,
    lookup::{IDS_MAX, before_sql, programs, rows, uuids},
    reward::fetch,
};
use crate::{
    position::{BlockRange, Horizon},
    store::{EventName, EvidenceStore, FoundClick, StoreError},
};
use clickhouse::{
    Client, Row,
    error::{Error, Result},
};
use serde::Deserialize;
use uuid::Uuid;
use whence_schemas::{event::Verdict, ids::ClickId, rows::ClickEvidenceRow};

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

impl EvidenceStore for ClickHouseStore {
    async fn clicks(&self, asked: &[(String, ClickId)]) -> std::result::Result<Vec<FoundClick>, StoreError> {
        self.in_time(clicks(&self.lookups, asked)).await
    }

    async fn click_evidence(
        &self,
        before: &Horizon,
        leads: &[EventName],
    ) -> std::result::Result<Vec<ClickEvidenceRow>, StoreError> {
        self.in_time(of_leads(&self.lookups, leads, &before_sql(before))).await
    }

    async fn click_evidence_of(
        &self,
        range: &BlockRange,
        leads: &[EventName],
    ) -> std::result::Result<Vec<ClickEvidenceRow>, StoreError> {
        self.in_time(of_leads(&self.lookups, leads, &within_sql(range))).await
    }
}
