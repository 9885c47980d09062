//! Decisions about rewards: what the ledger says of a reward, a decision sent as an event, and what came of it.
//! A decision's key is made of all that it says and of the reward's revision: made twice, it is the same event.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use clickhouse::{Client, Row};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use whence_console::ask::AskError;
use whence_runtime::telemetry::LogSettings;
use whence_schemas::ids::ProgramId;

use super::parameters;
use super::sending::Sender;
use crate::failure::Failure;
use crate::settings::{RewardLedgerSettings, load};

/// The source of these events: ids of events are counted per source.
const SOURCE: &str = "cli";
/// Rewards of one question, and decisions of one request.
const BATCH: usize = 500;
const POLL: Duration = Duration::from_millis(100);

/// A reward as the ledger has it.
#[derive(Clone, Debug, PartialEq, Eq, Row, Deserialize)]
pub struct LedgerReward {
    /// Its id.
    pub reward: String,
    /// A word of [`whence_schemas::rows::RewardState`].
    pub state: String,
    /// What is open of it, in minor units.
    pub open_minor: i64,
    /// ISO 4217.
    pub currency: String,
    /// Who referred the lead.
    pub referrer: String,
    /// What the payment is known by.
    pub reference: String,
    /// Who decided last.
    pub decided_by: String,
    /// Why.
    pub reason: String,
    /// Counts its changes.
    pub revision: u32,
}

/// What somebody decides about a reward.
#[derive(Clone, Debug)]
pub struct Decision<'a> {
    /// As it stands.
    pub about: &'a LedgerReward,
    /// `approve`, `reject`, `issue` or `claw_back`.
    pub decision: &'static str,
    /// Who decides.
    pub by: &'a str,
    /// Why; empty with `issue`.
    pub reason: &'a str,
    /// Of the payment; with `issue`.
    pub reference: &'a str,
    /// What was paid, in minor units; with `issue`.
    pub paid_minor: i64,
}

impl Decision<'_> {
    fn event(&self, program: &ProgramId) -> Value {
        let LedgerReward { reward, revision, .. } = self.about;
        // Two people who decide the same decide twice, and the ledger tells the second one what had been decided.
        let said = Sha256::digest(format!("{}\0{}\0{}", self.by, self.reason, self.paid_minor));
        let said = hex::encode(&said[..8]);
        let key = format!("{}/{reward}/{revision}/{}/{said}", self.decision, self.reference);
        let mut event = json!({
            "type": "reward_decision",
            "program": program.as_str(),
            "id": key,
            "source": SOURCE,
            "reward": reward,
            "decision": self.decision,
            "decided_by": self.by,
        });
        if self.decision == "issue" {
            event["reference"] = self.reference.into();
            event["paid_minor"] = self.paid_minor.into();
        } else {
            event["reason"] = self.reason.into();
        }
        event
    }
}

/// What came of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The ledger's word: `applied`, or why nothing changed.
    Ledger(String),
    /// The API refused it.
    Refused(String),
    /// The ledger does not have it yet.
    Waits,
}

/// Asks the ledger and sends decisions.
pub struct RewardLedger {
    program: ProgramId,
    client: Client,
    sender: Sender,
    timeout: Duration,
    log: LogSettings,
}

#[derive(Row, Deserialize)]
struct OutcomeRow {
    event: String,
    outcome: String,
}

impl RewardLedger {
    /// For a program, with the settings of this command line.
    ///
    /// # Errors
    /// Settings are wrong, or there is no API.
    pub fn open(flags: &clap::ArgMatches) -> Result<RewardLedger, Failure> {
        let settings = load::<RewardLedgerSettings>(flags)?.settings;
        let seconds = flags.try_get_one::<u64>("wait").ok().flatten().copied().unwrap_or_default();
        Ok(RewardLedger {
            program: parameters::program(flags.get_one::<String>("program").expect("required"))?,
            client: super::reader(&settings.clickhouse, &settings.account, &settings.answer, &settings.data)?,
            sender: Sender::new(&settings.call, &settings.data)?,
            timeout: Duration::from_secs(seconds),
            log: settings.log,
        })
    }

    /// Runs what is asked of it.
    ///
    /// # Errors
    /// The work's, or the program is not known.
    pub fn work<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        super::ask(&self.log, async {
            parameters::known(&self.client, self.program.as_str(), None).await?;
            work.await
        })
    }

    /// The rewards with these ids that the program has.
    ///
    /// # Errors
    /// ClickHouse does not answer.
    pub async fn stored(&self, rewards: &[String]) -> Result<HashMap<String, LedgerReward>, Failure> {
        let mut found = HashMap::new();
        for rewards in rewards.chunks(BATCH) {
            let query = self.client.query(
                "SELECT toString(reward_id) AS reward, toString(state) AS state, open_minor, toString(currency) AS currency, \
                 referrer, reference, decided_by, reason, revision FROM reward_states \
                 WHERE program = {program:String} AND reward_id IN {rewards:Array(UUID)}",
            );
            let query = query.param("program", self.program.as_str()).param("rewards", rewards);
            let rows = query.fetch_all::<LedgerReward>().await.map_err(AskError::from)?;
            found.extend(rows.into_iter().map(|row| (row.reward.clone(), row)));
        }
        Ok(found)
    }

    /// Sends the decisions and waits for what comes of them, in their order.
    ///
    /// # Errors
    /// The API or ClickHouse does not answer. What was sent until then is decided; the same again does no harm.
    pub async fn decide(&self, decisions: &[Decision<'_>]) -> Result<Vec<Outcome>, Failure> {
        let mut outcomes = Vec::with_capacity(decisions.len());
        for decisions in decisions.chunks(BATCH) {
            let events: Vec<Value> = decisions.iter().map(|decision| decision.event(&self.program)).collect();
            let mut results = vec![Outcome::Waits; events.len()];
            let mut ids = vec![String::new(); events.len()];
            let sent = self.sender.send(&events, |at, result| match result {
                Ok(id) => ids[at] = id.to_owned(),
                Err(why) => results[at] = Outcome::Refused(why),
            });
            if let Err(stopped) = sent.await {
                let reward = &decisions[stopped.first].about.reward;
                let text = format!("the API took no decision from that about {reward} on: {}", stopped.why);
                return Err(Failure::Failed(text));
            }
            outcomes.extend(self.settled(&ids, results).await?);
        }
        Ok(outcomes)
    }

    /// Polls the ledger until it has all of these events, or for so long.
    async fn settled(&self, ids: &[String], mut outcomes: Vec<Outcome>) -> Result<Vec<Outcome>, Failure> {
        let deadline = Instant::now() + self.timeout;
        loop {
            let waiting = ids.iter().zip(&outcomes).filter(|(_, outcome)| **outcome == Outcome::Waits);
            let waiting: Vec<String> = waiting.map(|(id, _)| id.clone()).collect();
            if waiting.is_empty() {
                return Ok(outcomes);
            }
            let query = self.client.query(
                "SELECT toString(id) AS event, toString(outcome) AS outcome FROM reward_events \
                 WHERE program = {program:String} AND id IN {events:Array(UUID)}",
            );
            let query = query.param("program", self.program.as_str()).param("events", &waiting);
            let rows = query.fetch_all::<OutcomeRow>().await.map_err(AskError::from)?;
            let found: HashMap<String, String> =
                rows.into_iter().map(|row| (row.event, row.outcome)).collect();
            for (id, outcome) in
                ids.iter().zip(&mut outcomes).filter(|(_, outcome)| **outcome == Outcome::Waits)
            {
                if let Some(word) = found.get(id) {
                    *outcome = Outcome::Ledger(word.clone());
                }
            }
            if Instant::now() >= deadline {
                return Ok(outcomes);
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

/// What an outcome of the ledger says to a person.
pub fn words(outcome: &str) -> &str {
    match outcome {
        "unknown_reward" => "the program has no such reward",
        "nothing_open" => "nothing of it is open",
        "approved_already" => "it is approved already",
        "issued_already" => "it was paid under another reference",
        "issued_so_already" => "it was paid under this reference already",
        "not_approved" => "it is not approved",
        "not_issued" => "it was not paid",
        "amount_changed" => "another amount of it is open than was paid",
        other => other,
    }
}
