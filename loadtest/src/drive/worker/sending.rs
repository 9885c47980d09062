//! A worker's events: composed when due, sent alone or together, sent again until they are answered.

use super::{Worker, WorkerState};
use crate::{
    drive::{
        agenda::Task,
        lanes::Lane,
        letters::{self, EventToSend, Form, Parcel},
    },
    ledger::{Reply, SendEntry},
    plan::stories::{Flaw, Step},
};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Uri,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue},
};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};
use tokio::time::Instant;

/// Between two sendings of one event, where the second waits for the answer to the first.
const REPEAT_AFTER: Duration = Duration::from_millis(20);
/// Before an event that got no answer is sent again: doubled each time…
const RETRY_AFTER: Duration = Duration::from_millis(100);
/// … up to this.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(2);
/// Every so many events are collected and sent together.
const BATCHED_EVERY: u64 = 4;
const BATCH_MAX: usize = 8;
/// How long a batch waits for more.
const BATCH_WAIT: Duration = Duration::from_millis(300);

impl Worker {
    pub(super) fn start_events(&self, now: Duration) {
        while self.has_room_for_events() {
            let Some(task) = self.state.borrow_mut().agenda.pop_due(now) else { break };
            match task {
                Task::Compose(step) => self.compose(*step, now),
                Task::Send(parcel) => self.dispatch(vec![parcel]),
            }
        }
        let batch = {
            let mut state = self.state.borrow_mut();
            let is_due = state.batch.len() >= BATCH_MAX || state.batch_until <= now;
            if is_due { std::mem::take(&mut state.batch) } else { Vec::new() }
        };
        if !batch.is_empty() {
            self.dispatch(batch);
        }
    }

    /// Writes an event down and sends it, as often at once as the event says.
    fn compose(&self, step: Step, now: Duration) {
        let Step { event, sends, is_at_once, then, .. } = step;
        let mut state = self.state.borrow_mut();
        state.letters += 1;
        let number = (self.part << 40) + state.letters;
        state.book.event(letters::entry(number, &event));
        let letter = Rc::new(EventToSend {
            number,
            text: letters::write(&self.world, &event),
            flaw: event.flaw,
            sends_left: Cell::new(if is_at_once { 0 } else { sends.saturating_sub(1) }),
            is_accepted: Cell::new(false),
            then: RefCell::new(then),
        });
        let parcel = Parcel { letter, failures: 0 };
        let is_alone = is_at_once || event.flaw.is_some_and(Flaw::spoils_request);
        if number.is_multiple_of(BATCHED_EVERY) && !is_alone {
            if state.batch.is_empty() {
                state.batch_until = now + BATCH_WAIT;
            }
            state.batch.push(parcel);
            return;
        }
        drop(state);
        for _ in 0..if is_at_once { sends.max(1) } else { 1 } {
            self.dispatch(vec![parcel.clone()]);
        }
    }

    fn dispatch(&self, parcels: Vec<Parcel>) {
        self.open_requests.set(self.open_requests.get() + 1);
        self.parcels.add(parcels);
    }

    pub(super) async fn event_lane(self: Rc<Self>) {
        let mut lane = Lane::to(&self.targets.api);
        loop {
            let parcels = self.parcels.next().await;
            self.send(&mut lane, &parcels).await;
            self.open_requests.set(self.open_requests.get() - 1);
            self.freed.notify_one();
        }
    }

    async fn send(&self, lane: &mut Lane<'_>, parcels: &[Parcel]) {
        let form = self.form(parcels);
        let body = letters::pack(parcels, form);
        let has_wrong_key = parcels.iter().any(|parcel| parcel.letter.flaw == Some(Flaw::WrongKey));
        let bearer = if has_wrong_key {
            HeaderValue::from_static("Bearer whk_nobody")
        } else {
            self.targets.bearer.clone()
        };
        let request = || self.event_request(&bearer, form, body.clone());
        let sent = self.now();
        let deadline = Instant::now() + self.settings.timeout;
        // A server that refuses a key may close the connection without reading on.
        let answer = match has_wrong_key {
            true => lane.exchange_fresh(request(), deadline).await,
            false => lane.exchange(request, deadline).await,
        };
        {
            let measured = &mut self.state.borrow_mut().measured;
            measured.event_requests += 1;
            measured.events.record(self.now() - sent);
        }
        for (parcel, (status, reply)) in parcels.iter().zip(letters::replies(parcels.len(), form, &answer)) {
            self.settle(parcel, status, reply);
        }
    }

    fn form(&self, parcels: &[Parcel]) -> Form {
        let mut state = self.state.borrow_mut();
        state.requests += 1;
        match (parcels, state.requests % 3) {
            ([Parcel { letter, .. }], _) if letter.flaw.is_some_and(Flaw::spoils_request) => Form::Object,
            ([_], 0 | 1) => Form::Object,
            (_, 0) => Form::Array,
            _ => Form::Lines,
        }
    }

    fn event_request(&self, bearer: &HeaderValue, form: Form, body: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from_static("/v1/events");
        let headers = request.headers_mut();
        headers.insert(HOST, self.targets.api.host.clone());
        headers.insert(AUTHORIZATION, bearer.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(form.content_type()));
        request
    }

    /// Writes the reply down and goes on from there.
    fn settle(&self, parcel: &Parcel, status: u16, reply: Reply) {
        let Parcel { letter, failures } = parcel;
        let mut state = self.state.borrow_mut();
        let WorkerState { book, agenda, measured, .. } = &mut *state;
        book.send(SendEntry { number: letter.number, status, reply });
        let now = self.now();
        match reply {
            Reply::Accepted(_) => {
                self.progress.accepted();
                letter.is_accepted.set(true);
                for step in letter.then.take() {
                    let at = now + Duration::from_millis(step.after_ms.into());
                    measured.stories_dropped += u64::from(!agenda.add(at, Task::Compose(Box::new(step))));
                }
                if let Some(left) = letter.sends_left.get().checked_sub(1) {
                    letter.sends_left.set(left);
                    let again = Parcel { letter: Rc::clone(letter), failures: 0 };
                    agenda.add(now + REPEAT_AFTER, Task::Send(again));
                }
            }
            Reply::Unknown | Reply::NotSent if *failures < self.settings.retries_max => {
                let wait = (RETRY_AFTER * 2u32.saturating_pow(*failures)).min(RETRY_AFTER_MAX);
                let again = Parcel { letter: Rc::clone(letter), failures: failures + 1 };
                agenda.add(now + wait, Task::Send(again));
            }
            Reply::Refused | Reply::Unknown | Reply::NotSent => {}
        }
    }
}
