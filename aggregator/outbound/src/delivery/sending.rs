//! Sends what is due, and settles what comes of it.

use super::{Delivery, Sent, target::Name};
use crate::{
    client::Reply,
    message::Message,
    metrics::bound_met,
    queue::{Answer, Flight, Verdict},
    status::Part,
    tables::{DeliveryRow, outcome},
};
use clickhouse::error::Error;
use std::{collections::BTreeSet, sync::Arc};
use tokio::{
    task::{Id, JoinError},
    time::Instant,
};
use whence_schemas::time::UnixMs;

whence_metrics::declare! {
    /// Tries to send a message to an endpoint, by what became of it: delivered, retry or dead.
    counter DELIVERIES: "whence_deliveries_total" { outcome: ["delivered", "retry", "dead"] };
    /// Tries that an endpoint did not take, by why: status, timeout, connect, connection, tls, address_refused, ….
    counter DELIVERY_FAILURES: "whence_delivery_failures_total" { error };
}

impl Delivery<'_> {
    /// Sends what is due and may be sent.
    pub(super) async fn start(&mut self) -> Result<(), Error> {
        let now = (self.outbound.now)();
        let flights = self.choose(now);
        if flights.is_empty() {
            return Ok(());
        }
        let leads: BTreeSet<_> = flights.iter().map(|((program, _), f)| (program.clone(), f.lead)).collect();
        match self.outbound.tables.leads(&leads).await {
            Ok(leads) => {
                for (name, flight) in flights {
                    let lead = leads.get(&flight.lead).map_or("", String::as_str);
                    self.send(name, flight, lead);
                }
                Ok(())
            }
            Err(error) => {
                for (name, flight) in flights {
                    if let Some(target) = self.targets.get_mut(&name) {
                        target.queue.put_back(flight.lead, now);
                    }
                }
                Err(error)
            }
        }
    }

    /// What is due, of each endpoint in turn, as far as the bounds allow.
    fn choose(&mut self, now: UnixMs) -> Vec<(Name, Flight<Arc<Message>>)> {
        let mut flights = Vec::new();
        self.turn = self.turn.wrapping_add(1);
        let count = self.targets.len();
        let first = self.turn % count.max(1);
        let (requests, requests_max) = (self.requests.len(), self.outbound.settings.deliveries_max);
        let mut held_by = None;
        for (skipped, taken) in [(first, count), (0, first)] {
            let targets = self.targets.iter_mut().skip(skipped).take(taken);
            for (name, target) in targets.filter(|(_, target)| !target.endpoint.disabled) {
                while target.queue.may_take(now) {
                    let flying = flights.len() + requests;
                    if flying >= requests_max || !self.log.has_room(flying) {
                        held_by = Some(if flying >= requests_max { "requests" } else { "log_lines" });
                        break;
                    }
                    let Some(flight) = target.queue.take(now) else { break };
                    flights.push((name.clone(), flight));
                }
            }
        }
        if let Some(bound) = held_by.filter(|_| self.held_by != held_by) {
            bound_met(bound);
        }
        self.held_by = held_by;
        flights
    }

    /// Sends one message.
    fn send(&mut self, target: Name, flight: Flight<Arc<Message>>, lead: &str) {
        let Flight { lead: lead_id, message, attempt } = flight;
        let Some(of) = self.targets.get(&target) else { return };
        let (url, keys) = (of.endpoint.url.clone(), Arc::clone(&of.keys));
        let started_at = (self.outbound.now)();
        let body = message.body(lead);
        let id = message.webhook_id();
        let sent = Sent { target, lead: lead_id, message, attempt, started_at, started: Instant::now() };
        if keys.is_empty() {
            self.settle(&sent, Reply { status: 0, error: "no_secret", asked: None });
            return;
        }
        let caller = Arc::clone(&self.caller);
        let post = async move { caller.post(&url, &keys, &id, started_at, body).await };
        let task = self.requests.spawn(post);
        self.sent.insert(task.id(), sent);
    }

    /// Takes in what has become of a request.
    pub(super) fn landed(&mut self, landed: Result<(Id, Reply), JoinError>) {
        let (id, reply) = landed.unwrap_or_else(|error| {
            tracing::error!(%error, "a request handler failed");
            (error.id(), Reply { status: 0, error: "defect", asked: None })
        });
        if let Some(sent) = self.sent.remove(&id) {
            self.settle(&sent, reply);
        }
    }

    fn settle(&mut self, sent: &Sent, reply: Reply) {
        let Some(target) = self.targets.get_mut(&sent.target) else { return };
        let answer = match reply {
            _ if reply.is_taken() => Answer::Taken,
            _ if reply.is_gone() => Answer::Gone,
            _ => Answer::Failed(reply.asked),
        };
        let now = (self.outbound.now)();
        let verdict = target.queue.settle(sent.lead, sent.started_at, now, answer, rand::random());
        let failures = target.queue.failing();
        let (word, next_at) = match verdict {
            Verdict::Delivered => ("delivered", UnixMs(0)),
            Verdict::Retry(at) => ("retry", at),
            Verdict::Dead => ("dead", UnixMs(0)),
        };
        metrics::counter!(DELIVERIES, "outcome" => word).increment(1);
        let error = reply.why();
        if !reply.is_taken() {
            metrics::counter!(DELIVERY_FAILURES, "error" => error).increment(1);
        }
        let (program, endpoint) = sent.target.clone();
        let part = Part::Endpoint(program.clone(), endpoint.clone());
        match failures {
            None => self.seat.works(part),
            Some(failures) => {
                let last =
                    if reply.status > 0 { format!("status {}", reply.status) } else { error.to_owned() };
                self.seat.fails(part, format!("{failures} tries in a row failed, the last one with {last}"));
            }
        }
        if verdict == Verdict::Dead {
            let id = sent.message.webhook_id();
            tracing::warn!(program, endpoint, id, error, status = reply.status, "giving up on a message");
        }
        self.log.add(DeliveryRow {
            program,
            endpoint,
            message_id: sent.message.message_id,
            attempt: sent.attempt,
            r#type: sent.message.r#type.clone(),
            lead_id: sent.lead,
            started_at: sent.started_at.0,
            duration_ms: u32::try_from(sent.started.elapsed().as_millis()).unwrap_or(u32::MAX),
            status: reply.status,
            outcome: outcome(verdict),
            error: error.to_owned(),
            next_at: next_at.0,
        });
    }
}
