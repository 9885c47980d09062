//! What is stored of a file's events already, and what becomes of those that were sent: so that the same import again sends
//! nothing, and what is refused after it was accepted is told with its line.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use clickhouse::{Client, Row};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;
use whence_aggregator::store::EVENT_TABLES;
use whence_console::ask::AskError;
use whence_schemas::ids::{EventId, ProgramId};

/// Ids of one question: they are a part of its address.
const IDS_MAX: usize = 400;
/// Events on their way, at most: with more, the import waits for the first of them.
pub const PENDING_MAX: usize = 10_000;
/// Refused events that are remembered, at most: of more, the rest is sent again, and refused again.
const REFUSED_MAX: u32 = 1_000_000;
const POLL: Duration = Duration::from_millis(100);

/// What is known of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// Nothing.
    New,
    /// It is stored, or on its way.
    Unchanged,
    /// Another of its id is on its way: once that is stored, they can be compared.
    Later,
    /// An event of its id is stored: what the API makes of this one tells whether it is the same. Its digest; 0: not known.
    Stored(u64),
    /// It became no fact, for this reason.
    Refused(String),
}

/// What ClickHouse has of a program's events.
pub struct Stored {
    client: Client,
    program: ProgramId,
    /// Refused before this import.
    refused: HashMap<Uuid, String>,
    /// Sent and not seen yet, each with its line.
    pending: HashMap<Uuid, Sent>,
    /// How long the oldest of them may take.
    timeout: Duration,
}

#[derive(Row, Deserialize)]
struct RefusedRow {
    #[serde(with = "clickhouse::serde::uuid")]
    event_id: Uuid,
    reason: String,
}

#[derive(Row, Deserialize)]
struct FactRow {
    #[serde(with = "clickhouse::serde::uuid")]
    id: Uuid,
    digest: u64,
}

/// An event on its way.
struct Sent {
    line: u64,
    /// Hash of what it says.
    said: u64,
}

fn said(event: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    event.to_string().hash(&mut hasher);
    hasher.finish()
}

impl Stored {
    /// Asks for what was refused.
    ///
    /// # Errors
    /// ClickHouse does not answer.
    pub async fn open(client: Client, program: ProgramId, timeout: Duration) -> Result<Stored, AskError> {
        let (refused, pending) = (HashMap::new(), HashMap::new());
        let mut stored = Stored { client, program, refused, pending, timeout };
        stored.refused = stored.refusals("LIMIT {max:UInt32}", &[]).await?;
        Ok(stored)
    }

    /// The id that the API gives this event; `None` where the API refuses it.
    fn id(&self, event: &Value) -> Option<Uuid> {
        let text = |name: &str| event[name].as_str();
        let is_test = event["test"].as_bool().unwrap_or(false);
        let id = EventId::of_kind(&self.program, text("source")?, is_test, text("type")?, text("id")?);
        Some(id.0)
    }

    /// What is known of each of these events.
    ///
    /// # Errors
    /// ClickHouse does not answer.
    pub async fn known(&self, events: &[&Value]) -> Result<Vec<Known>, AskError> {
        let ids: Vec<Option<Uuid>> = events.iter().map(|event| self.id(event)).collect();
        let facts = self.facts(&ids.iter().flatten().copied().collect::<Vec<_>>()).await?;
        let mut here: HashMap<Uuid, &&Value> = HashMap::new();
        let mut known = Vec::with_capacity(ids.len());
        for (id, event) in ids.into_iter().zip(events) {
            let Some(id) = id else {
                known.push(Known::New);
                continue;
            };
            known.push(match (facts.get(&id), self.pending.get(&id), here.get(&id)) {
                (Some(digest), ..) => Known::Stored(*digest),
                (None, Some(sent), _) if sent.said == said(event) => Known::Unchanged,
                (None, Some(_), _) => Known::Later,
                (None, None, Some(first)) if *first == event => Known::Unchanged,
                // Of those of one request the API tells.
                (None, None, Some(_)) => Known::New,
                (None, None, None) => {
                    here.insert(id, event);
                    self.refused.get(&id).map_or(Known::New, |why| Known::Refused(why.clone()))
                }
            });
        }
        Ok(known)
    }

    /// An event was accepted.
    pub fn sent(&mut self, line: u64, event: &Value) {
        if let Some(id) = self.id(event) {
            self.pending.entry(id).or_insert_with(|| Sent { line, said: said(event) });
        }
    }

    /// Waits until no more than so many events are on their way, and returns the lines of those that became no fact, with why.
    /// What is not seen in time is not waited for any more: how many these are, `lost` says.
    ///
    /// # Errors
    /// ClickHouse does not answer.
    pub async fn settle(&mut self, left: usize) -> Result<Settled, AskError> {
        let mut settled = Settled::default();
        let mut deadline = Instant::now() + self.timeout;
        while self.pending.len() > left {
            let before = self.pending.len();
            let ids: Vec<Uuid> = self.pending.keys().copied().collect();
            for fact in self.facts(&ids).await?.into_keys() {
                self.pending.remove(&fact);
            }
            let ids: Vec<Uuid> = self.pending.keys().copied().collect();
            for ids in ids.chunks(IDS_MAX) {
                let of_these = "AND event_id IN {ids:Array(UUID)} LIMIT {max:UInt32}";
                for (id, why) in self.refusals(of_these, ids).await? {
                    settled.refused.extend(self.pending.remove(&id).map(|sent| (sent.line, why)));
                }
            }
            if self.pending.len() < before {
                deadline = Instant::now() + self.timeout;
            } else if Instant::now() >= deadline {
                settled.lost = self.pending.len();
                self.pending.clear();
                // Nobody stores anything: nothing more is waited for.
                self.timeout = Duration::ZERO;
            } else {
                tokio::time::sleep(POLL).await;
            }
        }
        Ok(settled)
    }

    /// Those of these events that are stored, with their digests.
    async fn facts(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, u64>, AskError> {
        let of = |table: &&str| {
            format!(
                "SELECT id, digest FROM {table} \
                 WHERE program = {{program:String}} AND id IN {{ids:Array(UUID)}} AND revision = 0"
            )
        };
        let sql = EVENT_TABLES.iter().map(of).collect::<Vec<_>>().join(" UNION ALL ");
        let mut found = HashMap::new();
        for ids in ids.chunks(IDS_MAX) {
            let query =
                self.client.query(&sql).param("program", self.program.as_str()).param("ids", texts(ids));
            found.extend(query.fetch_all::<FactRow>().await?.into_iter().map(|row| (row.id, row.digest)));
        }
        Ok(found)
    }

    /// Events that became no fact. Those that were sent twice have one.
    async fn refusals(&self, rest: &str, ids: &[Uuid]) -> Result<HashMap<Uuid, String>, AskError> {
        let sql = format!(
            "SELECT event_id, toString(reason) AS reason FROM rejects WHERE program = {{program:String}} \
             AND stream = 'conversions' AND reason NOT IN ('duplicate', 'conflicting_body') {rest}"
        );
        let query = self.client.query(&sql).param("program", self.program.as_str()).param("max", REFUSED_MAX);
        let query = if ids.is_empty() { query } else { query.param("ids", texts(ids)) };
        let rows = query.fetch_all::<RefusedRow>().await?;
        Ok(rows.into_iter().map(|row| (row.event_id, row.reason)).collect())
    }

    /// How many are on their way.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }
}

/// What became of events.
#[derive(Default)]
pub struct Settled {
    /// Lines of those that became no fact, and why.
    pub refused: Vec<(u64, String)>,
    /// Those that were not seen in time.
    pub lost: usize,
}

fn texts(ids: &[Uuid]) -> Vec<String> {
    ids.iter().map(|id| id.hyphenated().to_string()).collect()
}
