//! The loop that delivers what one partition announces: reads, sends, logs, remembers.
//!
//! What was sent and not logged when a process dies is sent again. In order: what is logged of a lead is always what
//! came first, since the next message goes after the one before it is settled, and lines are stored in that order.

mod log;
mod sending;
mod target;

use crate::{
    Outbound, chain,
    client::{Caller, Reply},
    message::Message,
    queue::MessagePosition,
    reader::{Eras, checkpoint},
    status::{Part, Seat},
};
use clickhouse::error::Error;
use log::Log;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};
use target::{Name, Target, keys};
use tokio::{
    sync::watch,
    task::{Id, JoinSet},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use whence_aggregator::position::Commit;
use whence_runtime::seldom;
use whence_schemas::time::UnixMs;

whence_metrics::declare! {
    /// Messages in memory that are not delivered or dead, by partition.
    gauge DELIVERIES_WAITING: "whence_deliveries_waiting" { partition };
    /// Reads of what is to be delivered that failed.
    counter DELIVERY_READ_FAILURES: "whence_delivery_read_failures_total";
}

/// How often the loop looks around at least: also how soon a changed endpoint counts.
const TICK: Duration = Duration::from_secs(1);
/// After ClickHouse has failed.
const HOLD: Duration = Duration::from_secs(1);
/// How often a checkpoint is saved that has moved because messages were settled; and one that has not moved.
const SAVE_EVERY: Duration = Duration::from_secs(5);
const SAVE_QUIET_EVERY: Duration = Duration::from_secs(600);
/// How long requests on their way may take when the partition is given up.
const LAND_WITHIN: Duration = Duration::from_secs(2);

/// Delivers until `stop`.
pub async fn run(
    outbound: &Outbound,
    caller: Arc<Caller>,
    partition: u32,
    mut stored: watch::Receiver<Option<Commit>>,
    stop: CancellationToken,
) {
    let begun = stop.run_until_cancelled(begin(outbound, caller, partition, &mut stored)).await;
    if let Some(Some(mut delivery)) = begun {
        delivery.work(&mut stored, &stop).await;
        delivery.land().await;
    }
}

/// Waits for what is stored and for ClickHouse. `None`: the partition's loop has ended.
async fn begin<'a>(
    outbound: &'a Outbound,
    caller: Arc<Caller>,
    partition: u32,
    stored: &mut watch::Receiver<Option<Commit>>,
) -> Option<Delivery<'a>> {
    let commit = (*stored.wait_for(Option::is_some).await.ok()?)?;
    let seat = outbound.status.seat();
    loop {
        match Delivery::open(outbound, Arc::clone(&caller), partition, commit).await {
            Ok(delivery) => return Some(delivery),
            Err(error) => failed(&seat, partition, &error),
        }
        tokio::time::sleep(HOLD).await;
    }
}

fn failed(seat: &Seat, partition: u32, error: &Error) {
    metrics::counter!(DELIVERY_READ_FAILURES).increment(1);
    let error = chain(error);
    seldom!(warn, partition, error, "cannot read what is to be delivered");
    seat.fails(Part::Messages, error);
}

/// A request on its way.
struct Sent {
    target: Name,
    lead: Uuid,
    message: Arc<Message>,
    attempt: u32,
    started_at: UnixMs,
    started: Instant,
}

struct Delivery<'a> {
    outbound: &'a Outbound,
    caller: Arc<Caller>,
    partition: u32,
    eras: Eras,
    targets: BTreeMap<Name, Target>,
    /// Where targets begin that are not there.
    places: HashMap<Name, MessagePosition>,
    versions: watch::Receiver<u64>,
    refresh_at: Instant,
    hold_until: Instant,
    requests: JoinSet<Reply>,
    sent: HashMap<Id, Sent>,
    log: Log,
    turn: usize,
    /// The bound that kept what was due from being sent when that was looked at last.
    held_by: Option<&'static str>,
    seat: Seat,
}

impl<'a> Delivery<'a> {
    async fn open(
        outbound: &'a Outbound,
        caller: Arc<Caller>,
        partition: u32,
        commit: Commit,
    ) -> Result<Delivery<'a>, Error> {
        let eras = Eras::new(outbound.tables.eras(partition).await?, commit);
        let mut places = HashMap::new();
        for found in outbound.tables.checkpoints(partition).await? {
            let place = eras.place(found.incarnation, found.next_offset);
            places.insert((found.program, found.endpoint), place);
        }
        let mut versions = outbound.directory.versions();
        versions.mark_changed();
        Ok(Delivery {
            outbound,
            caller,
            partition,
            eras,
            targets: BTreeMap::new(),
            places,
            versions,
            refresh_at: Instant::now(),
            hold_until: Instant::now(),
            requests: JoinSet::new(),
            sent: HashMap::new(),
            log: Log::new(),
            turn: 0,
            held_by: None,
            seat: outbound.status.seat(),
        })
    }

    async fn work(&mut self, stored: &mut watch::Receiver<Option<Commit>>, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            self.refresh();
            if Instant::now() >= self.hold_until {
                match self.round(stored).await {
                    Ok(()) => self.seat.works(Part::Messages),
                    Err(error) => {
                        failed(&self.seat, self.partition, &error);
                        self.hold_until = Instant::now() + HOLD;
                    }
                }
            }
            self.log.flush_if_due(&self.outbound.tables).await;
            match self.log.trouble() {
                None => self.seat.works(Part::Log),
                Some(why) => self.seat.fails(Part::Log, why.to_owned()),
            }
            let wake_at = self.wake_at();
            tokio::select! {
                () = stop.cancelled() => break,
                Ok(()) = stored.changed(), if Instant::now() >= self.hold_until => stored.mark_changed(),
                Some(landed) = self.requests.join_next_with_id() => self.landed(landed),
                () = tokio::time::sleep_until(wake_at) => {}
            }
            while let Some(landed) = self.requests.try_join_next_with_id() {
                self.landed(landed);
            }
        }
    }

    /// Reads and sends what there is, and remembers.
    async fn round(&mut self, stored: &mut watch::Receiver<Option<Commit>>) -> Result<(), Error> {
        if stored.has_changed().unwrap_or(false) {
            let commit = *stored.borrow_and_update();
            if let Err(error) = self.look(commit).await {
                stored.mark_changed();
                return Err(error);
            }
        }
        let share = self.outbound.settings.messages_share(self.targets.len());
        for target in self.targets.values_mut().filter(|target| !target.endpoint.disabled) {
            target.read(&self.outbound.tables, &self.eras, share).await?;
        }
        self.start().await?;
        self.save(false).await
    }

    /// Takes in what has become of the endpoints.
    fn refresh(&mut self) {
        if Instant::now() < self.refresh_at || !self.versions.has_changed().unwrap_or(false) {
            return;
        }
        self.versions.mark_unchanged();
        self.refresh_at = Instant::now() + TICK;
        let directory = &*self.outbound.directory;
        for endpoint in directory.endpoints() {
            let name = (endpoint.program.clone(), endpoint.id.clone());
            match self.targets.get_mut(&name) {
                Some(target) if target.endpoint == endpoint => {}
                Some(target) => target.change(endpoint.clone(), keys(&endpoint, directory)),
                None if endpoint.disabled => {}
                None => {
                    let at = self.places.get(&name).copied().unwrap_or_default();
                    let keys = keys(&endpoint, directory);
                    let target = Target::new(endpoint, keys, self.partition, at, &self.outbound.settings);
                    self.targets.insert(name, target);
                }
            }
        }
        // A disabled endpoint continues where it stood, once it is enabled.
        let (places, seat) = (&mut self.places, &self.seat);
        self.targets.retain(|name, target| {
            let stays = !target.endpoint.disabled || target.queue.flying() > 0;
            if !stays {
                places.insert(name.clone(), target.done_before());
                seat.works(Part::Endpoint(name.0.clone(), name.1.clone()));
            }
            stays
        });
        let disabled = self.targets.values().any(|target| target.endpoint.disabled);
        if disabled {
            self.versions.mark_changed();
        }
    }

    /// More is stored: who has to read?
    async fn look(&mut self, commit: Option<Commit>) -> Result<(), Error> {
        let Some(commit) = commit else { return Ok(()) };
        let seen = self.eras.stored();
        if seen.incarnation != commit.incarnation || commit.next < seen.next {
            self.eras.advance(commit);
            self.targets.values_mut().for_each(|target| target.reader.told(&self.eras, true));
            return Ok(());
        }
        if self.targets.is_empty() {
            self.eras.advance(commit);
            return Ok(());
        }
        let incarnation = commit.incarnation.0;
        let tables = &self.outbound.tables;
        let programs = tables.programs(self.partition, incarnation, seen.next, commit.next).await?;
        self.eras.advance(commit);
        if !programs.is_empty() {
            self.eras.newest_has_messages();
        }
        for ((program, _), target) in &mut self.targets {
            target.reader.told(&self.eras, programs.contains(program));
        }
        Ok(())
    }

    /// Saves checkpoints that have moved, if it is time. What is not logged yet is not passed.
    async fn save(&mut self, at_once: bool) -> Result<(), Error> {
        let waiting: usize = self.targets.values().map(|target| target.queue.len()).sum();
        metrics::gauge!(DELIVERIES_WAITING, "partition" => self.partition.to_string()).set(waiting as f64);
        let now = Instant::now();
        let mut moved: Vec<(Name, MessagePosition)> = Vec::new();
        for (name, target) in &self.targets {
            let place = target.done_before();
            let (saved, at) = target.saved;
            let every =
                if target.queue.is_empty() && saved.era == place.era { SAVE_QUIET_EVERY } else { SAVE_EVERY };
            if place > saved && (at_once || now >= at + every) {
                moved.push((name.clone(), place));
            }
        }
        if moved.is_empty() || !self.log.flush(&self.outbound.tables).await {
            return Ok(());
        }
        let row = |((program, endpoint), place): &(Name, MessagePosition)| {
            checkpoint(&self.eras, *place, (program, endpoint), self.partition, (self.outbound.now)())
        };
        let rows: Vec<_> = moved.iter().filter_map(row).collect();
        if !rows.is_empty() {
            self.outbound.tables.save(&rows).await?;
        }
        for (name, place) in moved {
            if let Some(target) = self.targets.get_mut(&name) {
                target.saved = (place, now);
            }
        }
        Ok(())
    }

    fn wake_at(&self) -> Instant {
        let now = (self.outbound.now)();
        let may_send = self.requests.len() < self.outbound.settings.deliveries_max
            && self.log.has_room(self.requests.len());
        let enabled = self.targets.values().filter(|target| may_send && !target.endpoint.disabled);
        let due = enabled.filter_map(|target| target.queue.wake_at()).min().map(|due| {
            let wait = u64::try_from(due.ms_since(now)).unwrap_or(0);
            (Instant::now() + Duration::from_millis(wait)).max(self.hold_until)
        });
        let tick = Instant::now() + TICK;
        [due, self.log.due()].into_iter().flatten().fold(tick, Instant::min)
    }

    /// Waits for what is on its way, for a short time, and writes down what has become of it.
    async fn land(mut self) {
        let deadline = Instant::now() + LAND_WITHIN;
        while let Ok(Some(landed)) =
            tokio::time::timeout_at(deadline, self.requests.join_next_with_id()).await
        {
            self.landed(landed);
        }
        let stored = self.log.flush(&self.outbound.tables).await;
        if stored && let Err(error) = self.save(true).await {
            tracing::warn!(partition = self.partition, error = chain(&error), "checkpoints are not saved");
        }
    }
}
