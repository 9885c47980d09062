//! The load under a scenario: sent for as long as the scenario acts, then compared with what is stored.

use super::{
    FaultError, Ground,
    outcome::{Requests, Verdict},
    roles::DEADLINE,
};
use crate::{
    drive::{DriveSettings, Progress, Targets, drive},
    ledger::{ClickOutcome, FORMAT, Header, Ledger, Reply},
    oracle::{
        Strictness, compare,
        store::{Roots, Store, StoreAddress},
        wait::{WaitLimits, expected, wait},
    },
    plan::stories::StoryMix,
    setup::set_up,
    wire::Target,
    world::{LinkState, World, WorldSize},
};
use hyper::header::HeaderValue;
use std::{
    collections::HashSet,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

const POLL: Duration = Duration::from_millis(20);
/// Programs enough that conversions reach every partition.
const WORLD: WorldSize = WorldSize { programs: 16, referrers: 20, links: 300, channels: 4 };
/// Longer than any stall of a loaded machine: a request that is given up is a request in flight.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The answer to a request that would be right a little later.
const COME_AGAIN: u16 = 503;
const DIFFERENCES_KEPT: u64 = 5;

/// A load that is ready to be sent.
pub(super) struct Load {
    header: Header,
    settings: DriveSettings,
    targets: Targets,
    clicks: u64,
}

impl Load {
    /// Sets up the world.
    pub async fn prepare(ground: &Ground, edge: &str, api: &str, key: &Path) -> Result<Load, FaultError> {
        let key_text = std::fs::read_to_string(key)
            .map_err(|source| FaultError::File { path: key.to_owned(), source })?;
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", key_text.trim()))?;
        bearer.set_sensitive(true);
        let (edge, api) = (Target::resolve(edge).await?, Target::resolve(api).await?);
        let world = World::generate(ground.seed, "faults", &edge.authority, WORLD);
        set_up(&world, &api, &edge, &bearer).await?;
        let story_mix = StoryMix { leads: 8.0, delay_ms_min: 50, delay_ms_max: 1_000, ..StoryMix::default() };
        let settings = DriveSettings {
            // It is stopped, not counted down: how many requests an outage costs is not known before.
            clicks: u64::MAX,
            rate: ground.rate,
            timeout: TIMEOUT,
            story_mix,
            ..DriveSettings::default()
        };
        let header = Header { format: FORMAT, seed: ground.seed, started_at_ms: now_ms(), world };
        Ok(Load { header, settings, targets: Targets { edge, api, bearer }, clicks: ground.clicks })
    }

    /// Sends until `act` is done and the clicks wanted are answered.
    pub async fn during<T>(
        self,
        act: impl AsyncFnOnce(&Progress) -> Result<T, FaultError>,
    ) -> Result<(Ledger, T), FaultError> {
        let (progress, stop) = (Arc::new(Progress::default()), CancellationToken::new());
        let driving = drive(self.header, &self.settings, &self.targets, None, &progress, &stop);
        let acting = async {
            let acted = act(&progress).await;
            let sent = until_answered(&progress, if acted.is_ok() { self.clicks } else { 0 }).await;
            stop.cancel();
            acted.and_then(|acted| sent.map(|()| acted))
        };
        let (driven, acted) = tokio::join!(driving, acting);
        let (ledger, _) = driven?;
        Ok((ledger, acted?))
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Clicks that got an answer.
pub(super) fn answered(progress: &Progress) -> u64 {
    // Read in this order, for an unanswered click is counted as a click first.
    let unanswered = progress.unanswered();
    progress.clicks().saturating_sub(unanswered)
}

/// Waits until so many clicks are answered.
pub(super) async fn until_answered(progress: &Progress, wanted: u64) -> Result<(), FaultError> {
    let (mut last, mut moved_at) = (0, Instant::now());
    loop {
        let now = answered(progress);
        if now >= wanted {
            return Ok(());
        }
        if now > last {
            (last, moved_at) = (now, Instant::now());
        }
        if moved_at.elapsed() > DEADLINE {
            let what = format!("click {now} of {wanted} is answered");
            return Err(FaultError::Late { what, within: DEADLINE });
        }
        sleep(POLL).await;
    }
}

/// The embedded ClickHouse at `url` of a process with this data folder.
///
/// # Errors
/// The folder has no password.
pub(super) fn store(url: &str, data: &Path) -> Result<StoreAddress, FaultError> {
    let path = data.join("clickhouse-password");
    let password = std::fs::read_to_string(&path).map_err(|source| FaultError::File { path, source })?;
    Ok(StoreAddress {
        url: url.to_owned(),
        database: "whence".into(),
        user: "default".into(),
        password: password.trim_end().to_owned(),
        roots: Roots::machine(),
    })
}

/// Waits until everything is stored, and compares.
pub(super) async fn judge(
    ledger: &Ledger,
    address: &StoreAddress,
    is_lossy: bool,
) -> Result<Verdict, FaultError> {
    let programs = ledger.header.world.programs.iter().map(|program| program.id.clone()).collect();
    let store = Store::new(address, programs);
    let limits = WaitLimits {
        deadline: Duration::from_secs(600),
        standstill: Duration::from_secs(180),
        settle: Duration::from_secs(3),
    };
    let waited = wait(&store, expected(ledger), limits, |_, _| {}).await?;
    let stored = store.read().await?;
    let findings = compare(ledger, &stored, Strictness { is_lossy, kept_max: DIFFERENCES_KEPT });
    Ok(Verdict {
        is_complete: waited.is_complete,
        stored_after: waited.took,
        requests: requests(ledger, findings.totals.clicks_stored_without_id),
        totals: findings.totals,
        differences: findings.differences,
    })
}

fn requests(ledger: &Ledger, stored_without_id: u64) -> Requests {
    let mut requests = Requests::default();
    let mut certain = 0;
    for click in &ledger.clicks {
        match click.outcome {
            ClickOutcome::Redirected(_) => requests.redirected += 1,
            ClickOutcome::Answered => {
                let is_known = ledger.header.world.links[click.link as usize].state != LinkState::Missing;
                certain += u64::from(is_known);
                requests.others += 1;
            }
            ClickOutcome::Wrong => requests.others += 1,
            ClickOutcome::Unanswered => requests.in_flight += 1,
            ClickOutcome::NotSent => requests.refused += 1,
        }
    }
    requests.in_flight_stored = stored_without_id.saturating_sub(certain);
    let refusable: HashSet<u64> =
        ledger.events.iter().filter(|event| event.refusal.is_some()).map(|event| event.number).collect();
    for send in &ledger.sends {
        match send.reply {
            Reply::Accepted(_) => requests.events += 1,
            Reply::Unknown if send.status == COME_AGAIN && refusable.contains(&send.number) => {
                requests.events_put_off += 1;
            }
            Reply::Unknown => requests.events_in_flight += 1,
            Reply::NotSent => requests.events_refused += 1,
            Reply::Refused => {}
        }
    }
    requests
}
