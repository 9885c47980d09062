//! One thread of the load: keeps the schedule, hands clicks and events to lanes, and writes down what came
//! of them.
//!
//! Everything here runs on one thread, so what it shares is in cells; no cell is borrowed across a wait.

mod clicking;
mod sending;

use super::{
    Targets,
    agenda::Agenda,
    book::Book,
    lanes::Queue,
    letters::Parcel,
    measure::{Measured, Progress},
    settings::DriveSettings,
    timer::Timer,
};
use crate::{
    ledger::Entry,
    plan::{
        arrivals::Arrivals,
        clicks::{ClickPlanner, PlannedClick},
        random,
        stories::StoryTeller,
        visitors::Visitors,
    },
    world::World,
};
use hyper::header::HeaderValue;
use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
    sync::{Arc, mpsc::SyncSender},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{sync::Notify, task::LocalSet, time::Instant};
use tokio_util::sync::CancellationToken;

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
    state: RefCell<WorkerState>,
}

struct WorkerState {
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
        let state = WorkerState {
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
        let mut is_held_back = false;
        loop {
            if self.stop.is_cancelled() {
                next = None;
                let mut state = self.state.borrow_mut();
                state.agenda.clear();
                state.batch.clear();
            }
            let now = self.now();
            // From the moment there was no room until the schedule is caught up, what is late is so for
            // want of room.
            while let Some(due) = next.filter(|due| *due <= now) {
                if self.open_clicks.get() >= self.settings.connections {
                    is_held_back = true;
                    break;
                }
                self.start_click(due, now, is_held_back);
                next = self.state.borrow_mut().arrivals.next();
            }
            let is_full = self.open_clicks.get() >= self.settings.connections;
            is_held_back &= next.is_some_and(|due| due <= now);
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
            let until = [next.filter(|_| !is_full), later].into_iter().flatten().min();
            let until = until.unwrap_or(now + Duration::from_millis(100));
            tokio::select! {
                slept = timer.sleep(until.saturating_sub(self.now())) => slept?,
                () = self.freed.notified(), if is_full || next.is_none() => {}
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
}

fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
