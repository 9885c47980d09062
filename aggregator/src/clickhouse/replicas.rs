//! Which ClickHouse server this process asks: one of several, always the same one, until it fails.
//!
//! On a replicated cluster inserts wait for a quorum, one at a time in a table: of several at a time ClickHouse merges a
//! part whose quorum is open, and what is given up then lives on in what it was merged into (its issue 43867). Inserts of
//! this process take turns; those of others are met in Keeper, and made again a moment later.
//!
//! Reads are plain ones of the replica that this process writes through: it has what it wrote. What others wrote it has a
//! little later. So before the first look-up of a partition that somebody else may have written, and before another
//! replica is asked, that replica has to catch up ([`Replicas::catch_up`]).
//!
//! An insert that was tried before is not stored because the next try says so: [`Replicas::insert`].
//!
//! What only waiting fixes is waited for here, in the middle of a block, so that nothing is started over for it.

mod trouble;
mod turns;

use super::tables::LOOKED_UP;
use clickhouse::{Client, error::Error};
use futures_util::{StreamExt as _, future::try_join_all, stream::FuturesUnordered};
use metrics::{counter, gauge};
use std::{
    collections::BTreeMap,
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Mutex as AsyncMutex, watch},
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use trouble::Trouble;
use turns::Turns;

whence_metrics::declare! {
    /// Tries after which ClickHouse was waited for, by its code: no quorum, no Keeper, nobody there.
    counter CLICKHOUSE_WAITS: "whence_clickhouse_waits_total" { code };
    /// Waits for ClickHouse that lasted for clickhouse-wait-max.
    counter CLICKHOUSE_WAITS_GIVEN_UP: "whence_clickhouse_waits_given_up_total";
    /// Inserts that met another insert's quorum and were made again a moment later.
    counter CLICKHOUSE_TURNS: "whence_clickhouse_turns_total";
    /// Inserts sent once more because a try had failed before one succeeded.
    counter CLICKHOUSE_INSERTS_CONFIRMED: "whence_clickhouse_inserts_confirmed_total";
    /// Inserts given up because failures and successes took turns for too long; they are tried again.
    counter CLICKHOUSE_INSERTS_UNCONFIRMED: "whence_clickhouse_inserts_unconfirmed_total";
    /// Moves to another ClickHouse server.
    counter CLICKHOUSE_MOVES: "whence_clickhouse_moves_total";
    /// 1 for the ClickHouse server that this process asks, 0 for the others.
    gauge CLICKHOUSE_SERVER_ASKED: "whence_clickhouse_server_asked" { server };
    /// Replicas of the tables that Keeper knows.
    gauge CLICKHOUSE_REPLICAS_REGISTERED: "whence_clickhouse_replicas_registered";
}

const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// Between two looks at whether the replica answers, and how long it may take: one that says nothing for longer is
/// given up for another, with what it was asked.
const ASK_EVERY: Duration = Duration::from_secs(1);
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// Until an insert is made again that has met another one's open quorum, which takes some ten milliseconds: a time
/// between these, so that two that meet do not meet again.
const TURN: std::ops::Range<Duration> = Duration::from_millis(4)..Duration::from_millis(20);
/// A quorum that is open for longer is of a replica that is away, and is waited for like all that is.
const TURN_MAX: Duration = Duration::from_secs(5);
/// Times that an insert is sent again because a try had failed before one succeeded.
const CONFIRMATIONS_MAX: u32 = 16;
/// What fails for longer is told in the log, and again after this.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// How servers are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaSettings {
    /// They are replicas of a cluster; else they are one server under several addresses.
    pub is_cluster: bool,
    /// How long a replica may take to have what the others have. It is tried again for as long as anything is waited
    /// for.
    pub catch_up_max: Duration,
    /// How long to wait for what only waiting fixes; then the caller gets the error.
    pub wait_max: Duration,
}

impl Default for ReplicaSettings {
    fn default() -> Self {
        ReplicaSettings {
            is_cluster: false,
            catch_up_max: Duration::from_secs(30),
            wait_max: Duration::from_secs(600),
        }
    }
}

/// The server that is asked now; `epoch` grows with each move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pin {
    index: usize,
    epoch: u64,
}

/// The servers.
#[derive(Clone)]
pub struct Replicas(Arc<Inner>);

struct Inner {
    clients: Vec<Client>,
    names: Vec<String>,
    settings: ReplicaSettings,
    pin: watch::Sender<Pin>,
    moving: AsyncMutex<()>,
    /// When the newest wait for a replica's catching up began that has ended well, and in which epoch.
    caught_up: AsyncMutex<Option<(u64, Instant)>>,
    /// Replicas that Keeper knows; 0 before it was asked.
    registered: AtomicU64,
    turns: Turns,
    /// Calls that wait: since when, and what for.
    waiting: Mutex<BTreeMap<u64, (Instant, String)>>,
    calls: AtomicU64,
}

impl From<Client> for Replicas {
    /// One server, and nothing is waited for.
    fn from(client: Client) -> Replicas {
        let settings = ReplicaSettings { wait_max: Duration::ZERO, ..ReplicaSettings::default() };
        Replicas::new(vec![("clickhouse".into(), client)], 0, settings)
    }
}

impl Replicas {
    /// These servers, by names for people, of which the one at `first` (modulo their number) is asked first.
    ///
    /// # Panics
    /// Without a server.
    #[must_use]
    pub fn new(servers: Vec<(String, Client)>, first: usize, settings: ReplicaSettings) -> Replicas {
        assert!(!servers.is_empty(), "there is somebody to ask");
        let index = first % servers.len();
        let (names, clients) = servers.into_iter().unzip();
        let replicas = Replicas(Arc::new(Inner {
            clients,
            names,
            settings,
            pin: watch::Sender::new(Pin { index, epoch: 0 }),
            moving: AsyncMutex::new(()),
            caught_up: AsyncMutex::new(None),
            registered: AtomicU64::new(0),
            turns: Turns::default(),
            waiting: Mutex::default(),
            calls: AtomicU64::new(0),
        }));
        replicas.show(index);
        replicas
    }

    /// Whether they are replicas of a cluster.
    #[must_use]
    pub fn is_cluster(&self) -> bool {
        self.0.settings.is_cluster
    }

    /// The name of the server that is asked now.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.names[self.pin().index]
    }

    /// Each server by itself, with its name.
    pub fn each(&self) -> impl Iterator<Item = (&str, &Client)> {
        self.0.names.iter().map(String::as_str).zip(&self.0.clients)
    }

    /// How many replicas Keeper knows of the tables; 0 where nobody has asked it, or there is none.
    #[must_use]
    pub fn registered(&self) -> u64 {
        self.0.registered.load(Ordering::Relaxed)
    }

    /// What somebody has waited for longer than this, and still does.
    #[must_use]
    pub fn waiting_for(&self, at_least: Duration) -> Option<String> {
        let waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let longest = waiting.values().min_by_key(|(since, _)| *since);
        longest.filter(|(since, _)| since.elapsed() > at_least).map(|(_, what)| what.clone())
    }

    /// Whether [`Self::call`] has waited for an end of what this error tells, in vain.
    pub(super) fn has_waited_for(&self, error: &Error) -> bool {
        !self.0.settings.wait_max.is_zero() && Trouble::of(error).is_some()
    }

    /// Changes with each move to another server.
    pub(super) fn epoch(&self) -> u64 {
        self.pin().epoch
    }

    /// The client with what an insert needs, so that it is where one replica's death loses nothing.
    #[must_use]
    pub fn for_inserts(&self, client: Client) -> Client {
        if self.is_cluster() { quorum(client, self.registered()) } else { client }
    }

    /// Asks the server, again and again as long as only waiting helps and no longer than the settings allow, each
    /// time the one that is asked then. What is asked has to be harmless to ask twice.
    ///
    /// # Errors
    /// The server's own, where waiting does not help or has not helped.
    pub async fn call<T, F>(&self, ask: impl Fn(Client) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        self.try_until_answered(ask, &AtomicU64::new(0)).await
    }

    /// Counts the tries after which it is not known what was done.
    async fn try_until_answered<T, F>(
        &self,
        ask: impl Fn(Client) -> F,
        unknown: &AtomicU64,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let began = Instant::now();
        let (mut backoff, mut tell_at) = (BACKOFF_FIRST, TELL_EVERY / 2);
        let call = self.0.calls.fetch_add(1, Ordering::Relaxed);
        let waiter = Waiter { inner: &self.0, call, since: began };
        let mut pins = self.0.pin.subscribe();
        loop {
            let pin = *pins.borrow_and_update();
            let asked = ask(self.0.clients[pin.index].clone());
            let error = tokio::select! {
                biased;
                answer = asked => match answer {
                    Ok(answer) => return Ok(answer),
                    Err(error) => error,
                },
                // Whoever has moved has found out that this one does not answer.
                Ok(()) = pins.changed() => {
                    unknown.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
            };
            let Some(trouble) = Trouble::of(&error) else { return Err(error) };
            let waited = began.elapsed();
            if !Trouble::is_anothers_turn(&error) {
                unknown.fetch_add(1, Ordering::Relaxed);
            }
            counter!(CLICKHOUSE_WAITS, "code" => trouble.label).increment(1);
            if waited >= self.0.settings.wait_max {
                if !self.0.settings.wait_max.is_zero() {
                    counter!(CLICKHOUSE_WAITS_GIVEN_UP).increment(1);
                }
                return Err(error);
            }
            let server = &self.0.names[pin.index];
            let cause = crate::chain(&error);
            waiter.waits_for(format!("{server}: {cause}"));
            if waited > tell_at {
                tell_at = waited + TELL_EVERY;
                tracing::warn!(server, error = cause, ?waited, "waiting for clickhouse");
            } else {
                tracing::debug!(server, error = cause, "waiting for clickhouse");
            }
            if trouble.is_of_one_replica {
                self.move_from(pin).await;
            }
            if self.pin() == pin {
                sleep(backoff).await;
                backoff = (backoff * 2).min(BACKOFF_MAX);
            }
        }
    }

    /// The same for an insert into a table, under a token, which is done when it has succeeded without a failure just
    /// before.
    ///
    /// A try that failed may have left a part on one replica that is gone. A second one finds its token and waits for
    /// that part's quorum; when the others give the part up, ClickHouse forgets the token and takes the missing
    /// quorum for a satisfied one (`waitForQuorum` in ReplicatedMergeTreeSink.cpp looks at the asked replica only;
    /// ClickHouse's issue 54543). Sent once more, the rows are stored where they are missing. A try that met another
    /// insert's quorum has left nothing open.
    ///
    /// # Errors
    /// See [`Self::call`].
    pub async fn insert<F>(&self, table: &'static str, send: impl Fn(Client) -> F) -> Result<(), Error>
    where
        F: Future<Output = Result<(), Error>>,
    {
        if !self.is_cluster() {
            return self.call(send).await;
        }
        let turn = self.0.turns.of(table);
        for _ in 0..=CONFIRMATIONS_MAX {
            let unknown = AtomicU64::new(0);
            let in_turn = |client: Client| {
                let (turn, send) = (&turn, &send);
                async move {
                    let _turn = turn.lock().await;
                    let until = Instant::now() + TURN_MAX;
                    loop {
                        let sent = send(client.clone()).await;
                        if !sent.as_ref().is_err_and(Trouble::is_anothers_turn) || Instant::now() > until {
                            return sent;
                        }
                        // Whoever comes later in this process does not pass.
                        counter!(CLICKHOUSE_TURNS).increment(1);
                        sleep(rand::random_range(TURN)).await;
                    }
                }
            };
            self.try_until_answered(in_turn, &unknown).await?;
            if unknown.into_inner() == 0 {
                return Ok(());
            }
            counter!(CLICKHOUSE_INSERTS_CONFIRMED).increment(1);
        }
        counter!(CLICKHOUSE_INSERTS_UNCONFIRMED).increment(1);
        tracing::warn!(
            "an insert failed and succeeded in turns, {CONFIRMATIONS_MAX} times: it is begun again later"
        );
        Err(Error::TimedOut)
    }

    /// Returns once this server has all that was stored, through whichever replica, before this was called.
    ///
    /// # Errors
    /// See [`Self::call`].
    pub async fn catch_up(&self) -> Result<(), Error> {
        if !self.is_cluster() {
            return Ok(());
        }
        let arrived = Instant::now();
        let mut caught_up = self.0.caught_up.lock().await;
        if caught_up.is_some_and(|(epoch, began)| epoch == self.pin().epoch && began >= arrived) {
            return Ok(());
        }
        let (epoch, began) = (self.pin().epoch, Instant::now());
        self.call(|client| async move { self.sync(&client).await }).await?;
        // Moved meanwhile: that was waited for on both.
        *caught_up = Some((self.pin().epoch, began)).filter(|(now, _)| *now == epoch);
        Ok(())
    }

    async fn sync(&self, client: &Client) -> Result<(), Error> {
        let max = self.0.settings.catch_up_max;
        let client = client.clone().with_setting("receive_timeout", max.as_secs().max(1).to_string());
        let synced =
            try_join_all(
                LOOKED_UP.iter().map(|table| {
                    let client = &client;
                    async move {
                        client.query(&format!("SYSTEM SYNC REPLICA {table} LIGHTWEIGHT")).execute().await
                    }
                }),
            );
        timeout(max + ANSWER_MAX, synced).await.unwrap_or(Err(Error::TimedOut))?;
        let sql = "SELECT toUInt64(max(total_replicas)) FROM system.replicas \
                   WHERE database = currentDatabase() AND table = 'clicks'";
        let registered = timeout(ANSWER_MAX, client.query(sql).fetch_one::<u64>()).await;
        let registered = registered.unwrap_or(Err(Error::TimedOut))?;
        self.0.registered.store(registered, Ordering::Relaxed);
        gauge!(CLICKHOUSE_REPLICAS_REGISTERED).set(registered as f64);
        Ok(())
    }

    /// Moves to the server that first has what the others have, unless this has been done since `from` or that one is
    /// well. Where there is none, nothing changes.
    async fn move_from(&self, from: Pin) {
        let _moving = self.0.moving.lock().await;
        if self.pin() != from || self.0.clients.len() == 1 || self.is_well(from.index).await {
            return;
        }
        let began = Instant::now();
        let mut candidates: FuturesUnordered<_> = (0..self.0.clients.len())
            .map(|index| async move {
                let client = &self.0.clients[index];
                let sound = match self.is_cluster() {
                    true => self.sync(client).await,
                    false => client.query("SELECT 1").fetch_one::<u8>().await.map(drop),
                };
                (index, sound)
            })
            .collect();
        let first_of = async {
            while let Some((index, sound)) = candidates.next().await {
                match sound {
                    Ok(()) => return Some(index),
                    Err(error) => {
                        let server = &self.0.names[index];
                        tracing::debug!(server, error = crate::chain(&error), "not to be moved to");
                    }
                }
            }
            None
        };
        let Ok(Some(index)) = timeout(self.0.settings.catch_up_max, first_of).await else { return };
        let (left, server) = (&self.0.names[from.index], &self.0.names[index]);
        if index != from.index {
            counter!(CLICKHOUSE_MOVES).increment(1);
            tracing::warn!(left, server, took = ?began.elapsed(), "another clickhouse replica is asked from here on");
        }
        self.show(index);
        self.0.pin.send_replace(Pin { index, epoch: from.epoch + 1 });
    }

    /// Whether a server answers and takes inserts.
    async fn is_well(&self, index: usize) -> bool {
        let sql = match self.is_cluster() {
            true => {
                "SELECT toUInt8(count() = 0) FROM system.replicas WHERE database = currentDatabase() AND is_readonly"
            }
            false => "SELECT toUInt8(1)",
        };
        let asked = self.0.clients[index].query(sql).fetch_one::<u8>();
        matches!(timeout(ASK_EVERY, asked).await, Ok(Ok(1)))
    }

    /// Looks after the server that is asked, and moves on when it says nothing: a machine that is gone does not even
    /// refuse. To be run beside everything else, if there are several.
    pub async fn watch(&self) {
        let mut ticks = interval(ASK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let pin = self.pin();
            let asked = self.0.clients[pin.index].query("SELECT 1").fetch_one::<u8>();
            if !matches!(timeout(ANSWER_MAX, asked).await, Ok(Ok(_))) {
                self.move_from(pin).await;
            }
        }
    }

    fn pin(&self) -> Pin {
        *self.0.pin.borrow()
    }

    fn show(&self, pinned: usize) {
        if self.0.names.len() > 1 {
            for (index, name) in self.0.names.iter().enumerate() {
                let share = if index == pinned { 1.0 } else { 0.0 };
                gauge!(CLICKHOUSE_SERVER_ASKED, "server" => name.clone()).set(share);
            }
        }
    }
}

/// The client with what an insert needs where there are so many replicas (0: nobody knows).
///
/// Of a single replica `auto` would be a quorum of one, which ClickHouse waits for and never reaches: a replica counts
/// when it has fetched the part.
pub(super) fn quorum(client: Client, registered: u64) -> Client {
    if registered == 1 {
        return client;
    }
    client
        .with_setting("insert_quorum", "auto")
        .with_setting("insert_quorum_parallel", "0")
        // A quorum that is not there after this is asked for again, under the same token: what a dead replica had alone
        // is stored elsewhere as soon as Keeper has given that replica up.
        .with_setting("insert_quorum_timeout", "3000")
        // Where a limit of time ends it between Keeper's yes and ClickHouse's hearing it, its token stays and its part
        // does not (ClickHouse's issue 112149). The client's own limit leaves the server at work.
        .with_setting("max_execution_time", "0")
        // Nor are Keeper's failures hidden: whoever knows the token asks again.
        .with_setting("insert_keeper_max_retries", "0")
}

/// What so many replicas of a cluster can not promise, in words for an operator; `None` for three and more.
#[must_use]
pub fn warning(registered: u64) -> Option<&'static str> {
    match registered {
        1 => Some(
            "the cluster has one replica: nothing waits for a copy, and what its disk loses is lost; for facts that \
             outlive a machine give it two more",
        ),
        2 => Some(
            "the cluster has two replicas: every insert waits for both, so that while one is away nothing is stored and \
             records wait in Kafka; a third one lets it go on",
        ),
        _ => None,
    }
}

/// A call that may have to wait. Its entry goes with it, however it ends.
struct Waiter<'a> {
    inner: &'a Inner,
    call: u64,
    since: Instant,
}

impl Waiter<'_> {
    fn waits_for(&self, what: String) {
        let mut waiting = self.inner.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.insert(self.call, (self.since, what));
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.inner.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.call);
    }
}
