//! Reads back what ClickHouse holds. Rows are streamed and their texts interned, so that millions of them
//! are a few hundred megabytes.

mod offsets;
mod roots;
mod rows;

pub use roots::Roots;
pub use rows::{Counts, OFFSETS};

use super::{
    names::Names,
    stored::{
        self, ClickRow, Credit, FunnelRow, LeadRow, PartitionRow, PlainRow, QualificationRow, RejectRow,
        ReversalRow, ReversalState, RewardRow, RollupRow, StoredFacts, UnmatchedRow,
    },
};
use crate::ledger::Id;
use clickhouse::{Client, Row, RowRead};
use offsets::Offsets;
use uuid::Uuid;

/// Where ClickHouse is.
#[derive(Clone, Debug)]
pub struct StoreAddress {
    /// Its HTTP interface.
    pub url: String,
    /// The database with whence's tables.
    pub database: String,
    /// The user.
    pub user: String,
    /// Its password.
    pub password: String,
    /// The certificates to trust where the address has `https://`.
    pub roots: Roots,
}

/// ClickHouse, for reading.
#[derive(Clone)]
pub struct Store {
    client: Client,
    programs: Vec<String>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("programs", &self.programs).finish_non_exhaustive()
    }
}

/// What a row of a rollup or of `funnel` has added up.
macro_rules! counted {
    ($row:ident) => {
        stored::Counts {
            clicks: $row.clicks_sum,
            other_clicks: $row.other_sum,
            leads: $row.leads_sum,
            leads_by_click: $row.by_click_sum,
            leads_by_code: $row.by_code_sum,
            qualified: $row.qualified_sum,
            lead_events: $row.lead_events_sum,
            qualification_events: $row.qualifications_sum,
            value_minor: $row.value_sum,
        }
    };
}

fn id(uuid: Uuid) -> Id {
    Id(uuid.as_u128())
}

impl Store {
    /// Reads these programs' rows.
    #[must_use]
    pub fn new(address: &StoreAddress, programs: Vec<String>) -> Store {
        let client = address
            .roots
            .client()
            .with_url(&address.url)
            .with_database(&address.database)
            .with_user(&address.user)
            .with_password(&address.password);
        Store { client, programs }
    }

    /// How much there is of everything: what is polled while the pipeline is still at work.
    ///
    /// # Errors
    /// Of the client.
    pub async fn counts(&self) -> clickhouse::error::Result<Counts> {
        let one = |sql: &str| self.client.query(sql).bind(&self.programs).fetch_one::<i64>();
        Ok(Counts {
            clicks: one("SELECT toInt64(sum(sign)) FROM clicks WHERE program IN ?").await?,
            leads: one("SELECT toInt64(count()) FROM leads WHERE revision = 0 AND program IN ?").await?,
            qualifications: one("SELECT toInt64(count()) FROM qualifications WHERE revision = 0 AND program IN ?").await?,
            other_events: self.count_other_events().await?,
            duplicates: one(
                "SELECT toInt64(count()) FROM rejects WHERE program IN ? AND reason = 'duplicate' AND stream = 'conversions' \
                 AND kind != 'timer'",
            )
            .await?,
        })
    }

    async fn count_other_events(&self) -> clickhouse::error::Result<i64> {
        let mut events = 0;
        for (table, _) in rows::PLAIN {
            // Of `reward_events` decisions alone: there are no timers in other tables.
            let which = if table == "reward_events" { "kind != 'timer'" } else { "true" };
            let sql = format!("SELECT toInt64(count()) FROM {table} WHERE {which} AND program IN ?");
            events += self.client.query(&sql).bind(&self.programs).fetch_one::<i64>().await?;
        }
        for table in ["disqualifications", "reinstatements"] {
            let sql = format!("SELECT toInt64(count()) FROM {table} WHERE revision = 0 AND program IN ?");
            events += self.client.query(&sql).bind(&self.programs).fetch_one::<i64>().await?;
        }
        Ok(events)
    }

    /// Everything that the comparison looks at.
    ///
    /// # Errors
    /// Of the client.
    pub async fn read(&self) -> clickhouse::error::Result<StoredFacts> {
        let mut facts = StoredFacts::default();
        self.read_clicks(&mut facts).await?;
        self.read_conversions(&mut facts).await?;
        self.read_reversals(&mut facts, "disqualifications", rows::DISQUALIFICATIONS).await?;
        self.read_reversals(&mut facts, "reinstatements", rows::REINSTATEMENTS).await?;
        for (table, sql) in rows::PLAIN {
            self.read_plain(&mut facts, table, sql).await?;
        }
        let StoredFacts { names, rewards, reward_sums, .. } = &mut facts;
        *rewards = self.read_rewards(rows::REWARDS, names).await?;
        *reward_sums = self.read_rewards(rows::REWARDS_DAILY, names).await?;
        self.read_rejects(&mut facts).await?;
        facts.quarter_hourly = self.read_rollup(rows::QUARTER_HOURLY, &mut facts.names).await?;
        facts.daily = self.read_rollup(rows::DAILY, &mut facts.names).await?;
        self.read_views(&mut facts).await?;
        facts.counted = self.count_offsets(&mut facts.names).await?;
        Ok(facts)
    }

    async fn each<R, F>(&self, sql: &str, mut take: F) -> clickhouse::error::Result<()>
    where
        R: Row + RowRead,
        F: for<'a> FnMut(R::Value<'a>),
    {
        let mut query = self.client.query(sql);
        if sql.contains('?') {
            query = query.bind(&self.programs);
        }
        let mut cursor = query.fetch::<R>()?;
        while let Some(row) = cursor.next().await? {
            take(row);
        }
        Ok(())
    }

    async fn read_clicks(&self, facts: &mut StoredFacts) -> clickhouse::error::Result<()> {
        let StoredFacts { names, clicks, .. } = facts;
        self.each::<rows::Click<'_>, _>(rows::CLICKS, |row| {
            clicks.push(ClickRow {
                id: id(row.id),
                at_ms: row.at_ms,
                program: names.of(row.program),
                referrer: names.of(row.referrer),
                link: names.of(row.link),
                channel: names.of(row.channel),
                verdict: names.of(row.verdict_word),
                live: row.live,
                sign: row.sign,
            });
        })
        .await
    }

    async fn read_conversions(&self, facts: &mut StoredFacts) -> clickhouse::error::Result<()> {
        let StoredFacts { names, leads, qualifications, .. } = facts;
        self.each::<rows::Lead<'_>, _>(rows::LEADS, |row| {
            leads.push(LeadRow {
                id: id(row.id),
                program: names.of(row.program),
                occurred_at_ms: row.occurred_at_ms,
                credit: Credit {
                    evidence: names.of(row.evidence_word),
                    referrer: names.of(row.referrer),
                    link: names.of(row.link),
                    channel: names.of(row.channel),
                    click: id(row.click_id),
                },
                live: row.live,
                person: row.person,
                sign: row.sign,
            });
        })
        .await?;
        self.each::<rows::Qualification<'_>, _>(rows::QUALIFICATIONS, |row| {
            qualifications.push(QualificationRow {
                id: id(row.id),
                program: names.of(row.program),
                occurred_at_ms: row.occurred_at_ms,
                name: names.of(row.name),
                lead: id(row.lead_id),
                credit: Credit {
                    evidence: names.of(row.evidence_word),
                    referrer: names.of(row.referrer),
                    link: names.of(row.link),
                    channel: names.of(row.channel),
                    click: id(row.click_id),
                },
                value_minor: row.value_minor,
                paid_minor: row.paid_minor,
                currency: names.of(row.currency),
                live: row.live,
                person: row.person,
                sign: row.sign,
            });
        })
        .await
    }

    async fn read_reversals(
        &self,
        facts: &mut StoredFacts,
        table: &str,
        sql: &str,
    ) -> clickhouse::error::Result<()> {
        let StoredFacts { names, reversals, .. } = facts;
        let table = names.of(table);
        self.each::<rows::Reversal<'_>, _>(sql, |row| {
            reversals.push(ReversalRow {
                table,
                id: id(row.id),
                program: names.of(row.program),
                occurred_at_ms: row.occurred_at_ms,
                names: id(row.names),
                asked_minor: row.value_minor,
                asked_currency: names.of(row.currency),
                came: ReversalState {
                    outcome: names.of(row.outcome),
                    qualifications: row.payments_count,
                    moved_minor: row.moved_minor,
                    moved_currency: names.of(row.moved_currency),
                    excess_minor: row.excess_minor,
                },
                live: row.live,
                sign: row.sign,
            });
        })
        .await
    }

    async fn read_plain(
        &self,
        facts: &mut StoredFacts,
        table: &str,
        sql: &str,
    ) -> clickhouse::error::Result<()> {
        let StoredFacts { names, plain, .. } = facts;
        let table = names.of(table);
        self.each::<rows::Plain<'_>, _>(sql, |row| {
            plain.push(PlainRow {
                table,
                id: id(row.id),
                program: names.of(row.program),
                occurred_at_ms: row.occurred_at_ms,
                referrer: names.of(row.referrer_name),
                link: names.of(row.link_name),
                channel: names.of(row.channel_name),
                reward: id(row.reward_named),
                decision: names.of(row.decision_word),
                outcome: names.of(row.outcome_word),
                live: row.live,
            });
        })
        .await
    }

    async fn read_rejects(&self, facts: &mut StoredFacts) -> clickhouse::error::Result<()> {
        let StoredFacts { names, rejects, .. } = facts;
        self.each::<rows::Reject<'_>, _>(rows::REJECTS, |row| {
            let (stream, reason) = (names.of(row.stream), names.of(row.reason));
            rejects.push(RejectRow { stream, id: id(row.event_id), reason });
        })
        .await
    }

    async fn read_rewards(&self, sql: &str, names: &mut Names) -> clickhouse::error::Result<Vec<RewardRow>> {
        let mut rewards = Vec::new();
        self.each::<rows::Reward<'_>, _>(sql, |row| {
            rewards.push(RewardRow {
                lead: id(row.lead),
                program: names.of(row.program),
                referrer: names.of(row.referrer),
                rewards: row.rewards_sum,
                amount_minor: row.amount_sum,
                approved: row.approved_sum,
            });
        })
        .await?;
        Ok(rewards)
    }

    async fn read_rollup(&self, sql: &str, names: &mut Names) -> clickhouse::error::Result<Vec<RollupRow>> {
        let mut rollup = Vec::new();
        self.each::<rows::Rollup<'_>, _>(sql, |row| {
            rollup.push(RollupRow {
                program: names.of(row.program),
                referrer: names.of(row.referrer),
                channel: names.of(row.channel),
                period: row.period,
                verdict: names.of(row.verdict),
                currency: names.of(row.currency),
                counts: counted!(row),
            });
        })
        .await?;
        Ok(rollup)
    }

    async fn read_views(&self, facts: &mut StoredFacts) -> clickhouse::error::Result<()> {
        let StoredFacts { names, funnel, unmatched, reconciliation, .. } = facts;
        self.each::<rows::Funnel<'_>, _>(rows::FUNNEL, |row| {
            funnel.push(FunnelRow {
                program: names.of(row.program),
                referrer: names.of(row.referrer),
                channel: names.of(row.channel),
                counts: counted!(row),
            });
        })
        .await?;
        self.each::<rows::Unmatched<'_>, _>(rows::UNMATCHED, |row| {
            unmatched.push(UnmatchedRow { kind: names.of(row.kind), id: id(row.id) });
        })
        .await?;
        self.each::<rows::Reconciled<'_>, _>(rows::RECONCILIATION, |row| {
            reconciliation.push(PartitionRow {
                stream: names.of(row.stream_word),
                incarnation: id(row.incarnation),
                partition: row.partition,
                first_offset: row.first,
                next_offset: row.next,
                records: row.records_count,
                offsets: row.offsets_count,
                missing: row.missing_count,
                extra: row.extra_count,
            });
        })
        .await
    }

    /// Counts every offset's outcomes, of all programs: the view is not taken at its word.
    async fn count_offsets(&self, names: &mut Names) -> clickhouse::error::Result<Vec<PartitionRow>> {
        let mut offsets = Offsets::default();
        for sql in OFFSETS {
            self.each::<rows::Offset<'_>, _>(sql, |row| {
                offsets.add((names.of(row.stream_word), id(row.incarnation), row.partition), row.offset);
            })
            .await?;
        }
        Ok(offsets.into_rows())
    }
}
