//! One thread of the load: keeps the schedule, hands clicks and events to lanes, and writes down what came
//! of them.
//!
//! Everything here runs on one thread, so what it shares is in cells; no cell is borrowed across a wait.

use super::{
    Targets,
    agenda::{Agenda, Task},
    book::Book,
    clicks,
    lanes::{Lane, Queue},
    letters::{self, Form, Letter, Parcel},
    measure::{Measured, Progress},
    settings::DriveSettings,
    timer::Timer,
};
use crate::{
    ledger::{ClickEntry, ClickOutcome, Entry, Reply, SendEntry},
    plan::{
        arrivals::Arrivals,
        clicks::{ClickPlanner, PlannedClick},
        random,
        stories::{Flaw, Step, StoryTeller},
        visitors::{Held, Visitors},
    },
    wire::{Answer, Failure},
    world::World,
};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Uri,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue},
};
use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
    sync::{Arc, mpsc::SyncSender},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{sync::Notify, task::LocalSet, time::Instant};
use tokio_util::sync::CancellationToken;

/// A click that starts later than this although there was room is a late start.
const LATE: Duration = Duration::from_millis(5);
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

/// What a worker is to do.
pub(super) struct Order {
    pub part: u64,
    pub seed: u64,
    pub world: Arc<World>,
    pub settings: DriveSettings,
    pub targets: Targets,
    pub file: Option<SyncSender<Vec<Entry>>>,
    pub progress: Arc<Progress>,
    pub stop: CancellationToken,
}

/// Runs a worker to its end on this thread.
pub(super) fn run(order: Order) -> io::Result<(Book, Measured)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    let worker = Rc::new(Worker::new(order));
    let paced = local.block_on(&runtime, Rc::clone(&worker).work());
    // Lanes hold the worker: they go first.
    drop(local);
    drop(runtime);
    paced?;
    let state = Rc::into_inner(worker).expect("the lanes are gone").state.into_inner();
    Ok((state.book, state.measured))
}

struct DueClick {
    due: Duration,
    is_held_back: bool,
    click: PlannedClick,
}

struct Worker {
    part: u64,
    world: Arc<World>,
    settings: DriveSettings,
    targets: Targets,
    /// The `host` header of each link.
    hosts: Vec<HeaderValue>,
    progress: Arc<Progress>,
    stop: CancellationToken,
    started: Instant,
    clicks: Queue<DueClick>,
    parcels: Queue<Vec<Parcel>>,
    open_clicks: Cell<usize>,
    open_requests: Cell<usize>,
    /// Something was answered.
    freed: Notify,
    state: RefCell<State>,
}

struct State {
    arrivals: Arrivals,
    planner: ClickPlanner,
    teller: StoryTeller,
    visitors: Visitors,
    agenda: Agenda,
    batch: Vec<Parcel>,
    batch_until: Duration,
    letters: u64,
    requests: u64,
    book: Book,
    measured: Measured,
}

impl Worker {
    fn new(order: Order) -> Worker {
        let Order { part, seed, world, settings, targets, file, progress, stop } = order;
        let workers = settings.workers as u64;
        let count = settings.clicks / workers + u64::from(part < settings.clicks % workers);
        let rate = settings.rate / settings.workers as f64;
        // Workers take turns rather than all send at once.
        let offset_s = part as f64 / settings.rate;
        let state = State {
            arrivals: Arrivals::new(settings.rhythm, rate, count, offset_s, random(seed, part + 1000)),
            planner: ClickPlanner::new(Arc::clone(&world), settings.click_mix, seed, part),
            teller: StoryTeller::new(Arc::clone(&world), settings.story_mix, seed, part),
            visitors: Visitors::with_room_for(settings.visitors),
            agenda: Agenda::default(),
            batch: Vec::new(),
            batch_until: Duration::ZERO,
            letters: 0,
            requests: 0,
            book: Book::new(file),
            measured: Measured::default(),
        };
        let host =
            |link: &crate::world::Link| HeaderValue::from_str(&link.host).expect("hosts are visible ASCII");
        Worker {
            part,
            hosts: world.links.iter().map(host).collect(),
            world,
            settings,
            targets,
            progress,
            stop,
            started: Instant::now(),
            clicks: Queue::default(),
            parcels: Queue::default(),
            open_clicks: Cell::new(0),
            open_requests: Cell::new(0),
            freed: Notify::new(),
            state: RefCell::new(state),
        }
    }

    async fn work(self: Rc<Self>) -> io::Result<()> {
        for _ in 0..self.settings.connections {
            tokio::task::spawn_local(Rc::clone(&self).click_lane());
        }
        for _ in 0..self.settings.api_connections {
            tokio::task::spawn_local(Rc::clone(&self).event_lane());
        }
        let paced = self.pace().await;
        self.state.borrow_mut().book.flush();
        paced
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Starts what is due when it is due, until all is done.
    async fn pace(&self) -> io::Result<()> {
        let timer = Timer::new()?;
        let mut next = self.state.borrow_mut().arrivals.next();
        let mut flushed_at = Duration::ZERO;
        loop {
            if self.stop.is_cancelled() {
                next = None;
                let mut state = self.state.borrow_mut();
                state.agenda.clear();
                state.batch.clear();
            }
            let now = self.now();
            let mut is_held_back = false;
            while let Some(due) = next.filter(|due| *due <= now) {
                if self.open_clicks.get() >= self.settings.connections {
                    is_held_back = true;
                    break;
                }
                self.start_click(due, now);
                next = self.state.borrow_mut().arrivals.next();
            }
            self.start_events(now);
            if now.saturating_sub(flushed_at) > Duration::from_millis(200) {
                flushed_at = now;
                self.state.borrow_mut().book.flush();
            }
            let open = self.open_clicks.get() + self.open_requests.get();
            let later = self.next_event_at();
            if next.is_none() && later.is_none() && open == 0 {
                return Ok(());
            }
            let until = [next.filter(|_| !is_held_back), later].into_iter().flatten().min();
            let until = until.unwrap_or(now + Duration::from_millis(100));
            tokio::select! {
                slept = timer.sleep(until.saturating_sub(self.now())) => slept?,
                () = self.freed.notified(), if is_held_back || next.is_none() => {}
            }
        }
    }

    fn next_event_at(&self) -> Option<Duration> {
        let state = self.state.borrow();
        let batch = (!state.batch.is_empty()).then_some(state.batch_until);
        // A full house waits for an answer, not for a time.
        let next = state.agenda.next_at().map(|at| match self.has_room_for_events() {
            true => at,
            false => self.now() + Duration::from_millis(1),
        });
        next.into_iter().chain(batch).min()
    }

    fn has_room_for_events(&self) -> bool {
        self.open_requests.get() < self.settings.api_connections
    }

    fn start_click(&self, due: Duration, now: Duration) {
        let mut state = self.state.borrow_mut();
        let State { planner, visitors, measured, .. } = &mut *state;
        let is_held_back = now - due > LATE && self.open_clicks.get() + 1 >= self.settings.connections;
        measured.held_back += u64::from(is_held_back);
        self.open_clicks.set(self.open_clicks.get() + 1);
        self.clicks.add(DueClick { due, is_held_back, click: planner.next(visitors) });
    }

    async fn click_lane(self: Rc<Self>) {
        let mut lane = Lane::to(&self.targets.edge);
        loop {
            let due = self.clicks.next().await;
            self.click(&mut lane, due).await;
            self.open_clicks.set(self.open_clicks.get() - 1);
            self.freed.notify_one();
        }
    }

    async fn click(&self, lane: &mut Lane<'_>, DueClick { due, is_held_back, click }: DueClick) {
        let cookie = click.visitor.and_then(|visitor| self.state.borrow().visitors.cookie(visitor));
        let host = &self.hosts[click.link as usize];
        let sent = self.now();
        let sent_at_ms = unix_ms();
        let deadline = Instant::now() + self.settings.timeout;
        let request = || clicks::request(&click, host, cookie.as_deref());
        let answer = match click.is_fresh {
            true => lane.exchange_fresh(request(), deadline).await,
            false => lane.exchange(request, deadline).await,
        };
        let answered = self.now();
        {
            let mut state = self.state.borrow_mut();
            let measured = &mut state.measured;
            measured.clicks += 1;
            measured.took = measured.took.max(answered);
            measured.unanswered += u64::from(answer.is_err());
            measured.late_starts += u64::from(sent - due > LATE && !is_held_back);
            let latency = if click.is_fresh { &mut measured.fresh } else { &mut measured.kept };
            latency.record(answered - due);
        }
        self.progress.clicked(answer.is_ok());
        self.clicked(&click, sent_at_ms, answered - sent, &answer);
    }

    fn clicked(
        &self,
        click: &PlannedClick,
        sent_at_ms: i64,
        took: Duration,
        answer: &Result<Answer, Failure>,
    ) {
        let link = &self.world.links[click.link as usize];
        let outcome = clicks::outcome(link, click.class, answer);
        let mut state = self.state.borrow_mut();
        let State { teller, visitors, agenda, book, measured, .. } = &mut *state;
        book.click(ClickEntry {
            link: click.link,
            channel: click.channel,
            class: click.class,
            sent_at_ms,
            took_ms: u32::try_from(took.as_millis()).unwrap_or(u32::MAX),
            status: outcome.status,
            outcome: outcome.outcome,
        });
        let Some(visitor) = click.visitor else { return };
        if let Some(cookie) = answer.as_ref().ok().and_then(|answer| clicks::cookie(&answer.headers)) {
            visitors.keep_cookie(visitor, cookie);
        }
        let (ClickOutcome::Redirected(id), Some(token)) = (outcome.outcome, outcome.token) else { return };
        // A test click's token is as good as any, but its lead would be a live one.
        if link.test {
            return;
        }
        let held = Held { text: token.as_ref().into(), click: id, link: click.link, channel: click.channel };
        visitors.keep_token(visitor, held);
        if let Some(step) = teller.tell(link.program, unix_ms(), visitors.tokens(visitor)) {
            let at = self.now() + Duration::from_millis(step.after_ms.into());
            let is_added = agenda.add(at, Task::Compose(Box::new(step)));
            measured.stories_dropped += u64::from(!is_added);
        }
    }

    fn start_events(&self, now: Duration) {
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

    /// Writes an event down and sends it, as often at once as it wants to be sent.
    fn compose(&self, step: Step, now: Duration) {
        let Step { event, sends, is_at_once, then, .. } = step;
        let mut state = self.state.borrow_mut();
        state.letters += 1;
        let number = (self.part << 40) + state.letters;
        state.book.event(letters::entry(number, &event));
        let letter = Rc::new(Letter {
            number,
            text: letters::write(&self.world, &event),
            flaw: event.flaw,
            sends_left: Cell::new(if is_at_once { 0 } else { sends.saturating_sub(1) }),
            is_accepted: Cell::new(false),
            then: RefCell::new(then),
        });
        let parcel = Parcel { letter, failures: 0 };
        let is_alone = is_at_once || event.flaw.is_some_and(Flaw::spoils_request);
        if number % BATCHED_EVERY == 0 && !is_alone {
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

    async fn event_lane(self: Rc<Self>) {
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
        let State { book, agenda, measured, .. } = &mut *state;
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

fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
