//! The edge's metrics. One enum of names, all described, every label from a fixed set.
//!
//! Cores count in their own memory and hand over once a second ([`Meters::hand_over`]): a counter that all
//! cores add to on every request is a cache line that travels between them on every request.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram};
use whence_runtime::http::Refusal;
use whence_schemas::event::Verdict;

use super::http2::Ended;

whence_metrics::declare! {
    /// Answered requests by outcome.
    counter EDGE_REQUESTS: "whence_edge_requests_total" { outcome };
    /// Clicks in the journal by verdict.
    counter EDGE_CLICKS: "whence_edge_clicks_total" { verdict };
    /// Parameters that were not passed on because they are too long or too many.
    counter EDGE_PASSTHROUGH_LEFT_OUT: "whence_edge_passthrough_left_out_total";
    /// Time from a request's head to its answer's head, of one request in 64.
    histogram EDGE_HANDLING_DURATION_SECONDS: "whence_edge_handling_duration_seconds";
    /// Requests that the HTTP parser refused, by reason.
    counter EDGE_HEADS_REFUSED: "whence_edge_heads_refused_total" { reason };
    /// Connections of HTTP/2 that were ended for what their client did, by reason.
    counter EDGE_HTTP2_ENDED: "whence_edge_http2_ended_total" { reason };
    /// TLS handshakes that came to nothing, by reason.
    counter EDGE_HANDSHAKES_FAILED: "whence_edge_handshakes_failed_total" { reason: ["too_slow", "failed"] };
    /// Open connections.
    gauge EDGE_CONNECTIONS: "whence_edge_connections";
    /// Connections answered 503 because the core had no place.
    counter EDGE_CONNECTIONS_REFUSED: "whence_edge_connections_refused_total";
    /// Idle connections closed so that a new one had a place.
    counter EDGE_CONNECTIONS_DISPLACED: "whence_edge_connections_displaced_total";
    /// Connections closed because no request came, or no answer was taken, in time.
    counter EDGE_CONNECTIONS_SILENT: "whence_edge_connections_silent_total";
    /// Failed accepts.
    counter EDGE_ACCEPT_ERRORS: "whence_edge_accept_errors_total";
}

/// How often a core hands its counts over; a scrape is late by at most this.
pub const HAND_OVER_EVERY: Duration = Duration::from_secs(1);
/// One request in so many is timed: two clock readings cost more than all the counting.
const TIMED_ONE_IN: u64 = 64;

/// How a request was answered; the label `outcome`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// To the link's destination.
    Redirected,
    /// To the program's fallback.
    Fallback,
    /// 410, an inactive link without a fallback.
    Gone,
    /// 404, no such link and no fallback.
    NotFound,
    /// `robots.txt`.
    Robots,
    /// 400, no host or an odd one.
    BadRequest,
    /// 405, neither GET nor HEAD.
    Method,
    /// A certificate authority's challenge.
    Challenge,
    /// 429, an unknown code beyond the share of its network.
    Limited,
    /// 404, what every host is asked for; no click.
    Probe,
}

const OUTCOMES: [(Outcome, &str); 10] = [
    (Outcome::Redirected, "redirected"),
    (Outcome::Fallback, "fallback"),
    (Outcome::Gone, "gone"),
    (Outcome::NotFound, "not_found"),
    (Outcome::Robots, "robots"),
    (Outcome::BadRequest, "bad_request"),
    (Outcome::Method, "method"),
    (Outcome::Challenge, "challenge"),
    (Outcome::Limited, "limited"),
    (Outcome::Probe, "probe"),
];

const VERDICTS: [Verdict; 7] = [
    Verdict::Unspecified,
    Verdict::Human,
    Verdict::Bot,
    Verdict::Preview,
    Verdict::Prefetch,
    Verdict::Head,
    Verdict::Inactive,
];

/// One core's counts.
pub struct Meters {
    requests: [Tally; OUTCOMES.len()],
    clicks: [Tally; VERDICTS.len()],
    passthrough_left_out: Tally,
    handling: Histogram,
    requests_to_timed: u64,
    /// Of all cores together.
    connections: Gauge,
    /// Of this core, as the gauge knows it.
    connections_shown: usize,
    heads_refused: [Counter; Refusal::ALL.len()],
    http2_ended: [Counter; Ended::ALL.len()],
    /// TLS handshakes that took too long.
    pub handshakes_slow: Counter,
    /// TLS handshakes that failed otherwise.
    pub handshakes_failed: Counter,
    /// Connections that found no place.
    pub connections_refused: Counter,
    /// Connections that were closed because no request came in time.
    pub connections_silent: Counter,
    /// Idle connections that were closed for newcomers.
    pub connections_displaced: Counter,
    /// Failed accepts.
    pub accept_errors: Counter,
}

struct Tally {
    count: u64,
    counter: Counter,
}

impl Tally {
    fn of(counter: Counter) -> Tally {
        Tally { count: 0, counter }
    }

    fn hand_over(&mut self) {
        if self.count > 0 {
            self.counter.increment(std::mem::take(&mut self.count));
        }
    }
}

impl Meters {
    /// Registers the edge's metrics with the recorder that is current.
    #[must_use]
    pub fn new() -> Meters {
        whence_metrics::begin("whence_edge");
        Meters {
            requests: OUTCOMES
                .map(|(_, word)| Tally::of(metrics::counter!(EDGE_REQUESTS, "outcome" => word))),
            clicks: VERDICTS
                .map(|verdict| Tally::of(metrics::counter!(EDGE_CLICKS, "verdict" => verdict.word()))),
            passthrough_left_out: Tally::of(metrics::counter!(EDGE_PASSTHROUGH_LEFT_OUT)),
            handling: metrics::histogram!(EDGE_HANDLING_DURATION_SECONDS),
            requests_to_timed: 0,
            connections: metrics::gauge!(EDGE_CONNECTIONS),
            connections_shown: 0,
            heads_refused: Refusal::ALL
                .map(|refusal| metrics::counter!(EDGE_HEADS_REFUSED, "reason" => refusal.word())),
            http2_ended: Ended::ALL
                .map(|ended| metrics::counter!(EDGE_HTTP2_ENDED, "reason" => ended.word())),
            handshakes_slow: handshakes("too_slow"),
            handshakes_failed: handshakes("failed"),
            connections_refused: metrics::counter!(EDGE_CONNECTIONS_REFUSED),
            connections_silent: metrics::counter!(EDGE_CONNECTIONS_SILENT),
            connections_displaced: metrics::counter!(EDGE_CONNECTIONS_DISPLACED),
            accept_errors: metrics::counter!(EDGE_ACCEPT_ERRORS),
        }
    }

    /// A request was answered.
    pub fn answered(&mut self, outcome: Outcome) {
        self.requests[outcome as usize].count += 1;
    }

    /// The parser refused a request.
    pub fn refused(&mut self, refusal: Refusal) {
        self.heads_refused[refusal as usize].increment(1);
    }

    /// A connection of HTTP/2 was ended for what its client did.
    pub fn http2_ended(&mut self, ended: Ended) {
        self.http2_ended[ended as usize].increment(1);
    }

    /// A click is in the journal.
    pub fn recorded(&mut self, verdict: Verdict) {
        self.clicks[verdict as usize].count += 1;
    }

    /// Parameters were not passed on although nothing reserves them.
    pub fn left_out(&mut self, parameters: u64) {
        self.passthrough_left_out.count += parameters;
    }

    /// Whether this request is one to be timed.
    pub fn is_timed(&mut self) -> bool {
        self.requests_to_timed = self.requests_to_timed.checked_sub(1).unwrap_or(TIMED_ONE_IN - 1);
        self.requests_to_timed == 0
    }

    /// A timed request took this long, from its head to its answer's head.
    pub fn took(&self, duration: Duration) {
        self.handling.record(duration.as_secs_f64());
    }

    /// So many connections of this core are open.
    pub fn show_connections(&mut self, open: usize) {
        let before = std::mem::replace(&mut self.connections_shown, open);
        if open > before {
            self.connections.increment((open - before) as f64);
        } else if open < before {
            self.connections.decrement((before - open) as f64);
        }
    }

    /// Adds what has been counted to the process's counters.
    pub fn hand_over(&mut self) {
        self.requests.iter_mut().chain(&mut self.clicks).for_each(Tally::hand_over);
        self.passthrough_left_out.hand_over();
    }
}

impl Default for Meters {
    fn default() -> Self {
        Meters::new()
    }
}

fn handshakes(reason: &'static str) -> Counter {
    metrics::counter!(EDGE_HANDSHAKES_FAILED, "reason" => reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_stand_at_the_place_of_their_value() {
        for (index, (outcome, _)) in OUTCOMES.iter().enumerate() {
            assert_eq!(*outcome as usize, index);
        }
        for (index, verdict) in VERDICTS.iter().enumerate() {
            assert_eq!(*verdict as usize, index);
        }
    }

    #[test]
    fn one_request_in_64_is_timed() {
        let mut meters = Meters::new();
        assert_eq!((0..640).filter(|_| meters.is_timed()).count(), 10);
    }
}
