//! The first words with ClickHouse: whether it can be used as the settings have it, and if not, whether waiting helps.
//!
//! What waiting can't fix (a password, a right, a certificate that is not trusted, a cluster that can't be used) ends
//! a start. What may pass (nobody listens yet, tables that are still made) is waited for.

use std::time::Duration;

use clickhouse::error::Error;
use clickhouse::{Client, Row};
use serde::Deserialize;
use tokio::time::timeout;
use whence_aggregator::clickhouse::migrate::views_that_differ;
use whence_aggregator::clickhouse::replicas::warning;
use whence_aggregator::servers::{ServerUrl, Servers, Trouble, trouble};
use whence_clickhouse_embedded::rights::quoted;
use whence_runtime::seldom;
use whence_schemas::sql::{MIGRATIONS, Topology};

/// How long one question may take.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// What somebody is about to do with ClickHouse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Make and change tables.
    Migrate,
    /// Read and write what is in them.
    Write,
    /// Read.
    Read,
}

impl Need {
    /// What the user must be allowed to do with all tables of the database.
    fn rights(self) -> &'static [&'static str] {
        match self {
            Self::Migrate => &[
                "SELECT",
                "INSERT",
                "CREATE TABLE",
                "CREATE VIEW",
                "DROP VIEW",
                "ALTER UPDATE",
                "ALTER COLUMN",
                "ALTER INDEX",
                "ALTER PROJECTION",
            ],
            Self::Write => &["SELECT", "INSERT", "ALTER UPDATE", "ALTER DELETE"],
            Self::Read => &["SELECT"],
        }
    }
}

/// Something that was looked at.
#[derive(Debug)]
pub struct Finding {
    /// What.
    pub what: String,
    /// What was seen, or what is wrong with it.
    pub outcome: Result<String, Trouble>,
}

/// All that was looked at, in order. Of several servers those that answer suffice.
#[derive(Debug, Default)]
pub struct Findings(pub Vec<Finding>);

impl Findings {
    fn add(&mut self, what: impl Into<String>, outcome: Result<String, Trouble>) {
        self.0.push(Finding { what: what.into(), outcome });
    }

    /// What is in the way, the lasting before the passing.
    pub fn obstacle(&self, servers: &Servers) -> Option<Trouble> {
        let count = servers.urls().len();
        let (reached, rest) = self.0.split_at(count.min(self.0.len()));
        let troubles = |findings: &[Finding]| -> Vec<(String, Trouble)> {
            let wrong = findings
                .iter()
                .filter_map(|finding| Some((finding.what.clone(), finding.outcome.as_ref().err()?.clone())));
            wrong.collect()
        };
        let away = troubles(reached);
        if away.len() == count {
            let is_final = away.iter().all(|(_, trouble)| trouble.is_final);
            let texts: Vec<String> =
                away.iter().map(|(what, trouble)| format!("{what}: {trouble}")).collect();
            return Some(Trouble { text: texts.join("; "), is_final });
        }
        let mut rest = troubles(rest);
        rest.sort_by_key(|(_, trouble)| !trouble.is_final);
        rest.into_iter().next().map(|(_, trouble)| trouble)
    }
}

/// Looks at everything that `need` needs: each server, the cluster, the tables, the rights. Changes nothing.
pub async fn contact(servers: &Servers, topology: &Topology, need: Need) -> Findings {
    let mut findings = Findings::default();
    let mut reached = Vec::new();
    for (index, url) in servers.urls().iter().enumerate() {
        // Whence's own database may not be there yet.
        let client = servers.one(index).with_database("default");
        let version =
            one::<String>(&client, "SELECT version()").await.map(|version| format!("ClickHouse {version}"));
        if version.is_ok() {
            reached.push((url, client));
        }
        findings.add(url.to_string(), version);
    }
    let Some((_, client)) = reached.first() else { return findings };
    match topology {
        Topology::Cluster { name } => {
            findings.add(format!("cluster {name}"), cluster(client, name).await);
            if reached.len() > 1 {
                findings.add("replicas", same_tables(&reached, &servers.login().database).await);
            }
        }
        Topology::Single if reached.len() > 1 => {
            findings.add("addresses", same_server(&reached, &servers.login().database).await)
        }
        Topology::Single => {}
    }
    let database = &servers.login().database;
    let sql = format!("SELECT count() FROM system.databases WHERE name = '{database}'");
    let is_there = one::<u64>(client, &sql).await.map(|count| count > 0);
    match (need, is_there) {
        (_, Err(trouble)) => findings.add(format!("database {database}"), Err(trouble)),
        (Need::Migrate, Ok(_)) => {}
        (_, Ok(false)) => findings.add(
            format!("database {database}"),
            Err(Trouble {
                text: format!("the database {database} does not exist: run `whence migrate`"),
                is_final: false,
            }),
        ),
        (_, Ok(true)) => {
            let client = client.clone().with_database(database);
            let found = tables(&client).await;
            // Looked at once, not every time that somebody asks whether the tables are there.
            let found = match found {
                Ok(text) => Ok(text + &views(&client).await),
                Err(trouble) => Err(trouble),
            };
            findings.add(format!("tables of {database}"), found);
        }
    }
    let missing = missing_rights(client, database, need).await;
    findings.add(format!("rights of {}", servers.login().user), missing);
    findings
}

/// Which views are not this version's. Only reports and the console read them, so that nothing else waits for it.
async fn views(client: &Client) -> String {
    match timeout(ANSWER_MAX, views_that_differ(client)).await {
        Ok(Ok(views)) if views.is_empty() => String::new(),
        Ok(Ok(views)) => {
            let names: Vec<&str> = views.iter().map(|view| view.name).collect();
            let text = format!(
                ", but views of another version: {} (`whence migrate` replaces them)",
                names.join(", ")
            );
            seldom!(warn, "the database has its tables{text}");
            text
        }
        _ => String::new(),
    }
}

/// Whether the newest migration that ran is the newest this version knows.
pub async fn tables(client: &Client) -> Result<String, Trouble> {
    let known = MIGRATIONS.last().map_or(0, |migration| migration.number);
    let query = client.query("SELECT max(number) FROM whence_migrations");
    let newest = match timeout(ANSWER_MAX, query.fetch_one::<u32>()).await {
        Ok(Err(Error::BadResponse(text))) if is_missing(&text) => 0,
        answered => said(answered)?,
    };
    match newest.cmp(&known) {
        std::cmp::Ordering::Equal => Ok(format!("as migration {known} made them")),
        std::cmp::Ordering::Less => Err(Trouble {
            text: format!("the database has migration {newest} of {known}: run `whence migrate`"),
            is_final: false,
        }),
        std::cmp::Ordering::Greater => Err(Trouble {
            text: format!(
                "the database has migration {newest}, this version knows {known}: use the newer whence"
            ),
            is_final: true,
        }),
    }
}

/// Unknown database (81) or table (60).
fn is_missing(text: &str) -> bool {
    ["Code: 81.", "Code: 60."].iter().any(|code| text.contains(code))
}

/// A cluster has one shard: programs have no place of their own among several, and every server would have a part of
/// what it counts.
async fn cluster(client: &Client, name: &str) -> Result<String, Trouble> {
    #[derive(Row, Deserialize)]
    struct Size {
        shards: u64,
        replicas: u64,
    }
    let sql = "SELECT uniqExact(shard_num) AS shards, count() AS replicas FROM system.clusters \
               WHERE cluster = {name:String}";
    let query = client.query(sql).param("name", name);
    let Size { shards, replicas } = said(timeout(ANSWER_MAX, query.fetch_one::<Size>()).await)?;
    let text = match shards {
        1 => {
            let promised = warning(replicas).map_or(String::new(), |warning| format!(": {warning}"));
            return Ok(format!("1 shard, {replicas} replicas{promised}"));
        }
        0 => {
            let known =
                client.query("SELECT DISTINCT cluster FROM system.clusters ORDER BY cluster LIMIT 20");
            let known = said(timeout(ANSWER_MAX, known.fetch_all::<String>()).await)?;
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            format!("clickhouse-cluster: the server knows no cluster of the name {name} (it knows: {known})")
        }
        _ => format!(
            "clickhouse-cluster: {name} has {shards} shards, and every count would be of one shard's part: name a \
             cluster of one shard, with as many replicas as you like"
        ),
    };
    Err(Trouble { text, is_final: true })
}

/// A table or view is the same on every replica: what is inserted through a view is known by the view's identity, and one
/// that was made apart would take a block for a new one that another replica has.
async fn same_tables(reached: &[(&ServerUrl, Client)], database: &str) -> Result<String, Trouble> {
    let sql = format!(
        "SELECT concat(name, ' ', toString(uuid)) FROM system.tables WHERE database = '{database}' \
         AND (engine = 'MaterializedView' OR startsWith(engine, 'Replicated')) ORDER BY name"
    );
    let mut first = None;
    for (url, client) in reached {
        let tables = said(timeout(ANSWER_MAX, client.query(&sql).fetch_all::<String>()).await)?;
        let Some((other, known)) = &first else {
            first = Some((url, tables));
            continue;
        };
        // One that has fewer is still being made.
        if let Some(table) = tables.iter().find(|table| tables.len() == known.len() && !known.contains(table))
        {
            let name = table.split(' ').next().unwrap_or_default();
            let text = format!(
                "clickhouse-url: {name} has another UUID on {url} than on {other}, so that blocks would be counted \
                 twice: make a replica's tables and views with the UUIDs that the others have, as ON CLUSTER does"
            );
            return Err(Trouble { text, is_final: true });
        }
    }
    Ok("the same tables".to_owned())
}

/// Several addresses without a cluster lead to one server: nothing copies between two, whose tables have identities of
/// their own.
async fn same_server(reached: &[(&ServerUrl, Client)], database: &str) -> Result<String, Trouble> {
    let sql = format!(
        "SELECT toString(uuid) FROM system.tables WHERE database = '{database}' AND name = 'whence_migrations'"
    );
    let mut first = None;
    for (url, client) in reached {
        let id = said(timeout(ANSWER_MAX, client.query(&sql).fetch_optional::<String>()).await)?;
        match &first {
            None => first = Some((url, id)),
            Some((_, known)) if *known == id => {}
            Some((other, _)) => {
                let text = format!(
                    "clickhouse-url: {other} and {url} are different servers, and without clickhouse-cluster nothing \
                     is copied between them"
                );
                return Err(Trouble { text, is_final: true });
            }
        }
    }
    Ok("one server".to_owned())
}

async fn missing_rights(client: &Client, database: &str, need: Need) -> Result<String, Trouble> {
    let mut missing = Vec::new();
    for right in need.rights() {
        let sql = format!("CHECK GRANT {right} ON {}.*", quoted(database));
        match timeout(ANSWER_MAX, client.query(&sql).fetch_one::<u8>()).await {
            Ok(Err(Error::BadResponse(text))) if text.contains("Code: 62.") => {
                return Ok("not checked: this ClickHouse has no CHECK GRANT".to_owned());
            }
            answered => {
                if said(answered)? == 0 {
                    missing.push(*right);
                }
            }
        }
    }
    if missing.is_empty() {
        return Ok(need.rights().join(", "));
    }
    let text = format!(
        "the user lacks {} on {database}: an administrator grants what `whence migrate --grants` prints",
        missing.join(", ")
    );
    Err(Trouble { text, is_final: true })
}

async fn one<T>(client: &Client, sql: &str) -> Result<T, Trouble>
where
    T: clickhouse::RowOwned + clickhouse::RowRead,
{
    said(timeout(ANSWER_MAX, client.query(sql).fetch_one::<T>()).await)
}

fn said<T>(answered: Result<Result<T, Error>, tokio::time::error::Elapsed>) -> Result<T, Trouble> {
    match answered {
        Ok(answered) => answered.map_err(|error| trouble(&error)),
        Err(_) => Err(Trouble {
            text: format!("it does not answer within {} s", ANSWER_MAX.as_secs()),
            is_final: false,
        }),
    }
}
