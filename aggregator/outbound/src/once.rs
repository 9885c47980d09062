//! Sends given messages to one endpoint now, for somebody who waits for it: what was given up, or what a person
//! starts. Signed and logged as all deliveries are; of each lead in the given order.

use crate::{
    Now,
    client::Caller,
    message::webhook_id,
    queue::Verdict,
    retry::RetryPolicy,
    sign::SigningKey,
    tables::{DeliveryRow, Tables, outcome},
};
use bytes::Bytes;
use clickhouse::error::Error;
use futures_util::{StreamExt, stream};
use std::{
    collections::{BTreeMap, HashMap},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};
use tokio::time::Instant;
use uuid::Uuid;

/// Messages that are sent before what came of them is logged: so many may come twice after a crash.
const CHUNK: usize = 100;
/// Messages in a row that are not taken, after which the endpoint is asked no further.
const FAILURES_MAX: u32 = 3;
/// When one is given up here: somebody waits.
pub const INTERACTIVE_RETRY: RetryPolicy = RetryPolicy {
    first: Duration::from_secs(1),
    max: Duration::from_secs(10),
    give_up_after: Duration::from_secs(20),
};

/// A message that is to be sent.
#[derive(Clone, Debug)]
pub struct OutboundMessage {
    /// Its id: the same whenever it is sent.
    pub message_id: Uuid,
    /// What it says; also in the body.
    pub r#type: String,
    /// The lead that it is about.
    pub lead_id: Uuid,
    /// JSON: the same whenever it is sent.
    pub body: Bytes,
}

/// What came of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The endpoint has it now.
    Delivered,
    /// It had it before, as the log says: nothing was sent.
    DeliveredBefore,
    /// It was not taken: the status of the last answer (0 without one) and why, as a fixed word.
    Failed(u16, &'static str),
    /// It was not sent, since those before were not taken.
    NotTried,
}

/// Who sends, and where to.
pub struct EndpointSender {
    /// The log.
    pub tables: Tables,
    /// Makes the requests.
    pub caller: Caller,
    /// The endpoint's program.
    pub program: String,
    /// The endpoint.
    pub endpoint: String,
    /// Its address.
    pub url: String,
    /// What signs.
    pub keys: Vec<SigningKey>,
    /// When to try again and to give up.
    pub retry: RetryPolicy,
    /// Requests at a time.
    pub flying_max: usize,
    /// The time.
    pub now: Now,
}

impl EndpointSender {
    /// Sends what the endpoint has not taken yet; says what came of each, in their order.
    ///
    /// # Errors
    /// The log can't be read or written. What was sent until then may be sent again, under the same ids.
    pub async fn send(&self, messages: &[OutboundMessage]) -> Result<Vec<Sent>, Error> {
        let failures = AtomicU32::new(0);
        let mut came = Vec::with_capacity(messages.len());
        for messages in messages.chunks(CHUNK) {
            let ids = messages.iter().map(|message| message.message_id);
            let tried = self.tables.tried(&self.program, &self.endpoint, ids).await?;
            let mut leads: BTreeMap<Uuid, Vec<usize>> = BTreeMap::new();
            for (at, message) in messages.iter().enumerate() {
                leads.entry(message.lead_id).or_default().push(at);
            }
            let of_lead = |places: Vec<usize>| self.of_lead(messages, places, &tried, &failures);
            let sent: Vec<_> = stream::iter(leads.into_values())
                .map(of_lead)
                .buffer_unordered(self.flying_max)
                .collect()
                .await;
            let mut here = vec![Sent::NotTried; messages.len()];
            let mut rows = Vec::new();
            for (of_lead, its_rows) in sent {
                of_lead.into_iter().for_each(|(at, what)| here[at] = what);
                rows.extend(its_rows);
            }
            if !rows.is_empty() {
                self.log(&rows).await?;
            }
            came.extend(here);
        }
        Ok(came)
    }

    /// The messages of one lead, in order; none after one that was not taken.
    async fn of_lead(
        &self,
        messages: &[OutboundMessage],
        places: Vec<usize>,
        tried: &HashMap<Uuid, (u32, bool)>,
        failures: &AtomicU32,
    ) -> (Vec<(usize, Sent)>, Vec<DeliveryRow>) {
        let (mut sent, mut rows) = (Vec::new(), Vec::new());
        for at in places {
            let (tries, is_delivered) = tried.get(&messages[at].message_id).copied().unwrap_or_default();
            if is_delivered {
                sent.push((at, Sent::DeliveredBefore));
                continue;
            }
            if failures.load(Ordering::Relaxed) >= FAILURES_MAX {
                break;
            }
            let what = self.deliver(&messages[at], tries, &mut rows).await;
            sent.push((at, what));
            match what {
                Sent::Failed(_, why) => {
                    let more = if why == "gone" { FAILURES_MAX } else { 1 };
                    failures.fetch_add(more, Ordering::Relaxed);
                    break;
                }
                _ => failures.store(0, Ordering::Relaxed),
            }
        }
        (sent, rows)
    }

    /// Tries until it is taken or given up.
    async fn deliver(&self, message: &OutboundMessage, tried: u32, rows: &mut Vec<DeliveryRow>) -> Sent {
        let id = webhook_id(message.message_id);
        let first_at = (self.now)();
        for tries in 1.. {
            let (started_at, started) = ((self.now)(), Instant::now());
            let reply = self.caller.post(&self.url, &self.keys, &id, started_at, message.body.clone()).await;
            let now = (self.now)();
            let again = self.retry.again_at(tries, first_at, now, rand::random(), reply.asked);
            let verdict = match again {
                _ if reply.is_taken() => Verdict::Delivered,
                Some(at) if !reply.is_final() => Verdict::Retry(at),
                _ => Verdict::Dead,
            };
            rows.push(DeliveryRow {
                program: self.program.clone(),
                endpoint: self.endpoint.clone(),
                message_id: message.message_id,
                attempt: tried + tries,
                r#type: message.r#type.clone(),
                lead_id: message.lead_id,
                started_at: started_at.0,
                duration_ms: u32::try_from(started.elapsed().as_millis()).unwrap_or(u32::MAX),
                status: reply.status,
                outcome: outcome(verdict),
                error: reply.why().to_owned(),
                next_at: if let Verdict::Retry(at) = verdict { at.0 } else { 0 },
            });
            match verdict {
                Verdict::Delivered => return Sent::Delivered,
                Verdict::Dead => return Sent::Failed(reply.status, reply.why()),
                Verdict::Retry(at) => {
                    let wait = u64::try_from(at.ms_since(now)).unwrap_or_default();
                    tokio::time::sleep(Duration::from_millis(wait)).await;
                }
            }
        }
        Sent::NotTried
    }

    /// A line that is lost would have its message sent again: a second try is cheap.
    async fn log(&self, rows: &[DeliveryRow]) -> Result<(), Error> {
        let token = Uuid::from_u128(rand::random());
        match self.tables.log(token, rows).await {
            Ok(()) => Ok(()),
            Err(_) => self.tables.log(token, rows).await,
        }
    }
}
