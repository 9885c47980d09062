//! `whence up` alone, with few file descriptors, while strangers connect and say nothing: the others' clicks
//! are answered and stored, and every listener answers.
//!
//! Strangers are processes of this program (`hold`), each with source addresses of its own in 127.0.0.0/8. They
//! connect again when they are closed, so many a second.

use super::{
    FaultError, Ground,
    load::store,
    roles::{DEADLINE, Roles, Until},
};
use crate::{
    drive::measure::{Latency, Percentiles},
    oracle::store::Store,
    setup::set_up,
    wire::{Connection, Target},
    world::{LinkState, World, WorldSize},
};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Request, StatusCode,
    header::{AUTHORIZATION, HOST, HeaderValue},
};
use std::{
    cell::{Cell, RefCell},
    fmt,
    path::Path,
    process::Stdio,
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::{Instant, MissedTickBehavior, interval, sleep},
};

const NAME: &str = "up";
/// Connections of one process: it has a limit of descriptors, too.
const OF_PROCESS: usize = 10_500;
const FRESH_ONE_IN: u64 = 4;
const TIMEOUT: Duration = Duration::from_secs(10);
const PROBE_EVERY: Duration = Duration::from_millis(200);
/// What is promised.
const READY_MAX: Duration = Duration::from_secs(1);
const SLOWER_MAX: f64 = 3.0;

/// How bad it is to be.
#[derive(Clone, Copy, Debug)]
pub struct Flood {
    /// The limit of descriptors of the process, soft and hard.
    pub descriptors: u64,
    /// Idle connections.
    pub connections: usize,
    /// Networks (/24) that they come from.
    pub networks: usize,
    /// Other clients, each with a connection that it keeps and, every fourth time, one of its own.
    pub clients: usize,
    /// How long clicks are measured before, and again while they are there.
    pub phase: Duration,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Came {
    /// How bad it was.
    pub flood: Flood,
    /// Connections that the strangers had at a time, at most.
    pub held: usize,
    /// Clicks of others without strangers.
    pub before: Percentiles,
    /// And with them.
    pub during: Percentiles,
    /// Clicks that were answered with a redirect.
    pub answered: u64,
    /// Clicks that were not: connections that were closed, or time that ran out.
    pub unanswered: u64,
    /// `whence_clicks_lost_total`.
    pub lost: u64,
    /// Clicks in ClickHouse.
    pub stored: u64,
    /// The slowest answer of `/readyz` while strangers were there.
    pub readyz_max: Duration,
    /// Answers of the other listeners that were none.
    pub failed: u64,
}

impl Came {
    /// Whether nobody lost anything.
    #[must_use]
    pub fn is_unharmed(&self) -> bool {
        self.lost == 0 && self.stored >= self.answered && self.failed == 0
    }

    /// Whether what depends on the machine's speed is as promised, too.
    #[must_use]
    pub fn is_right(&self) -> bool {
        self.is_unharmed() && self.slower() <= SLOWER_MAX && self.readyz_max < READY_MAX
    }

    fn slower(&self) -> f64 {
        self.during.p99_us as f64 / self.before.p99_us.max(1) as f64
    }
}

impl fmt::Display for Came {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Flood { descriptors, connections, networks, .. } = self.flood;
        writeln!(
            f,
            "{connections} idle connections from {networks} network(s), {descriptors} descriptors \
             ({} held at most)",
            self.held
        )?;
        writeln!(
            f,
            "  clicks: {} answered, {} unanswered, {} lost, {} stored",
            self.answered, self.unanswered, self.lost, self.stored
        )?;
        writeln!(
            f,
            "  others' p50/p99: {}/{} us of {} before, {}/{} us of {} during: p99 x {:.2}",
            self.before.p50_us,
            self.before.p99_us,
            self.before.count,
            self.during.p50_us,
            self.during.p99_us,
            self.during.count,
            self.slower()
        )?;
        let is_right = if self.is_right() { "as promised" } else { "NOT as promised" };
        let readyz_ms = self.readyz_max.as_secs_f64() * 1000.0;
        writeln!(f, "  /readyz at most {readyz_ms:.1} ms, {} failed calls: {is_right}", self.failed)
    }
}

/// Plays one. `holder` is the program `whence-loadtest`, which holds the strangers' connections.
///
/// # Errors
/// If it cannot be played to its end; harm is an outcome.
pub async fn run(
    ground: &Ground,
    holder: &Path,
    flood: Flood,
    arguments: &[&str],
) -> Result<Came, FaultError> {
    let mut roles = Roles::new(&ground.whence, &ground.dir)?;
    let listen = ["--edge-listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0"];
    let unused = ["--clickhouse-listen", "127.0.0.1:0", "--console-listen", "127.0.0.1:0"];
    roles.add_limited(NAME, "up", flood.descriptors, &[&listen[..], &unused, arguments].concat())?;
    let noted = roles.wait(NAME, Until::Ready).await?;
    let edge = Target::resolve(&noted.edge.unwrap_or_default()).await?;
    let api = Target::resolve(&noted.api.unwrap_or_default()).await?;
    let admin = Target::resolve(&noted.admin.unwrap_or_default()).await?;
    let key = roles.data(NAME).join("admin-key");
    let key = std::fs::read_to_string(&key).map_err(|source| FaultError::File { path: key, source })?;
    let bearer = HeaderValue::from_str(&format!("Bearer {}", key.trim()))?;
    let size = WorldSize { programs: 1, referrers: 1, links: 8, channels: 1 };
    let world = World::generate(ground.seed, "idle", &edge.authority, size);
    set_up(&world, &api, &edge, &bearer).await?;
    let link = world.links_in(LinkState::Active).next().expect("the world has links");
    let clicks = Clicks {
        target: edge.clone(),
        code: format!("/{}", world.links[link as usize].code),
        ..Clicks::new(&edge)
    };

    let before = clicks.measured(ground.rate, flood).await;
    let strangers = Strangers::start(holder, &edge, flood).await?;
    let probes = Probes::default();
    let during = tokio::select! {
        during = clicks.measured(ground.rate, flood) => during,
        () = probes.ask(&admin, &api, &bearer) => unreachable!("it asks until it is dropped"),
    };
    let lost = roles.counter(NAME, "whence_clicks_lost_total").await?;
    let held = strangers.end().await;
    let answered = clicks.answered.get();
    let programs = world.programs.iter().map(|program| program.id.clone()).collect();
    let address = store(&noted.clickhouse.unwrap_or_default(), &roles.data(NAME))?;
    let stored = stored(&Store::new(&address, programs), answered).await?;
    Ok(Came {
        flood,
        held,
        before,
        during,
        answered,
        unanswered: clicks.unanswered.get(),
        lost,
        stored,
        readyz_max: probes.readyz_max.get(),
        failed: probes.failed.get(),
    })
}

/// Waits until as many clicks are stored as were answered; fewer are an outcome.
async fn stored(store: &Store, answered: u64) -> Result<u64, FaultError> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let stored = u64::try_from(store.counts().await?.clicks).unwrap_or_default();
        if stored >= answered || Instant::now() >= deadline {
            return Ok(stored);
        }
        sleep(PROBE_EVERY).await;
    }
}

/// Those who follow a link.
struct Clicks {
    target: Target,
    code: String,
    answered: Cell<u64>,
    unanswered: Cell<u64>,
}

impl Clicks {
    fn new(target: &Target) -> Clicks {
        Clicks {
            target: target.clone(),
            code: String::new(),
            answered: Cell::new(0),
            unanswered: Cell::new(0),
        }
    }

    /// Follows the link so often a second, whatever answers take, and measures from the moment of being due.
    async fn measured(&self, rate: f64, Flood { phase, clients, .. }: Flood) -> Percentiles {
        let latency = RefCell::new(Latency::default());
        let until = Instant::now() + phase;
        let every = Duration::from_secs_f64(clients as f64 / rate);
        let client = async |n: usize| {
            let mut ticks = interval(every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            ticks.reset_after(every.mul_f64(n as f64 / clients as f64));
            let mut kept = None;
            for number in 0.. {
                let due = ticks.tick().await;
                if due >= until {
                    break;
                }
                let is_fresh = number % FRESH_ONE_IN == 0;
                let connection = if is_fresh { &mut None } else { &mut kept };
                if self.click(connection).await {
                    self.answered.set(self.answered.get() + 1);
                    latency.borrow_mut().record(due.elapsed());
                } else {
                    self.unanswered.set(self.unanswered.get() + 1);
                }
            }
        };
        let clients: Vec<_> = (0..clients).map(|n| Box::pin(client(n))).collect();
        all(clients).await;
        latency.take().percentiles()
    }

    async fn click(&self, connection: &mut Option<Connection>) -> bool {
        let deadline = Instant::now() + TIMEOUT;
        let request = get(&self.target, &self.code, None);
        if !connection.as_ref().is_some_and(Connection::is_usable) {
            *connection = Connection::open(&self.target, deadline).await.ok();
        }
        let Some(open) = connection else { return false };
        match open.exchange(request, deadline).await {
            Ok(answer) => answer.status.is_redirection(),
            Err(_) => {
                *connection = None;
                false
            }
        }
    }
}

/// Runs all of them to their end on this task.
async fn all<F: Future<Output = ()> + Unpin>(mut futures: Vec<F>) {
    std::future::poll_fn(|context| {
        futures.retain_mut(|future| std::pin::Pin::new(future).poll(context).is_pending());
        if futures.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

fn get(target: &Target, path: &str, bearer: Option<&HeaderValue>) -> Request<Full<Bytes>> {
    let mut request = Request::builder().uri(path).header(HOST, &target.host);
    request = request
        .header("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0");
    if let Some(bearer) = bearer {
        request = request.header(AUTHORIZATION, bearer);
    }
    request.body(Full::new(Bytes::new())).expect("the path is a path")
}

/// Whoever asks the other listeners.
#[derive(Default)]
struct Probes {
    readyz_max: Cell<Duration>,
    failed: Cell<u64>,
}

impl Probes {
    async fn ask(&self, admin: &Target, api: &Target, bearer: &HeaderValue) {
        loop {
            let started = Instant::now();
            self.note(is_well(admin, "/readyz", None).await);
            self.readyz_max.set(self.readyz_max.get().max(started.elapsed()));
            self.note(is_well(admin, "/livez", None).await);
            self.note(is_well(api, "/v1/programs", Some(bearer)).await);
            sleep(PROBE_EVERY).await;
        }
    }

    fn note(&self, is_well: bool) {
        self.failed.set(self.failed.get() + u64::from(!is_well));
    }
}

async fn is_well(target: &Target, path: &str, bearer: Option<&HeaderValue>) -> bool {
    let deadline = Instant::now() + TIMEOUT;
    let Ok(mut connection) = Connection::open(target, deadline).await else { return false };
    let answer = connection.exchange(get(target, path, bearer), deadline).await;
    answer.is_ok_and(|answer| answer.status == StatusCode::OK)
}

/// Processes with idle connections.
struct Strangers(Vec<(Child, usize)>);

impl Strangers {
    /// Starts them, and waits until each has connected as often as it is to.
    async fn start(holder: &Path, edge: &Target, flood: Flood) -> Result<Strangers, FaultError> {
        let failed = |source| FaultError::File { path: holder.to_owned(), source };
        let processes = flood.connections.div_ceil(OF_PROCESS);
        let mut strangers = Vec::new();
        for n in 0..processes {
            let connections = flood.connections / processes + usize::from(n < flood.connections % processes);
            // One network is one for all of them.
            let networks = (flood.networks / processes).max(1);
            let first = if flood.networks == 1 { 0 } else { n * networks };
            let mut command = Command::new(holder);
            command.args(["hold", &edge.address.to_string()]);
            command.args([connections, first, networks].map(|number| number.to_string()));
            let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn();
            strangers.push((started.map_err(failed)?, connections));
        }
        let mut connected = Vec::new();
        for (mut child, _) in strangers {
            let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
            let held = lines.next_line().await.map_err(failed)?.and_then(|line| line.parse().ok());
            connected.push((child, held.unwrap_or_default()));
            // What it writes after is nothing.
            drop(lines);
        }
        Ok(Strangers(connected))
    }

    /// Ends them; returns how many connections they had at a time, at most.
    async fn end(self) -> usize {
        let held = self.0.iter().map(|(_, held)| held).sum();
        for (mut child, _) in self.0 {
            // It has nothing to lose.
            let _ = child.kill().await;
        }
        held
    }
}
