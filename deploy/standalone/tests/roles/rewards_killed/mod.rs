//! One reward per lead and rule, caps and budgets never exceeded: senders at the API, an ingest, a broker, an engine
//! and two aggregators, each a process of its own, and the aggregators are killed again and again in open blocks.
//!
//! The ledger is looked at while it runs, too: a block's lines are one insert, so that no look sees half of them.

mod group;
mod ledger;
mod orders;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::support::until;
use group::Group;
use ledger::{Ledger, check_end};
use orders::{Senders, duplicates, persons, rounds, set_up};

/// How an aggregator is killed, in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kill {
    /// While a block is open as a rule, wherever in it that meets; it goes on itself.
    AtWork,
    /// The engine does not answer, so that a block stays open; it goes on itself.
    Waiting,
    /// The same, and the other aggregator takes over before it comes back.
    TakenOver,
}

const KILLS: [Kill; 3] = [Kill::AtWork, Kill::Waiting, Kill::TakenOver];

/// Leaves the engine to the aggregators.
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// Looks at the ledger until it is told to stop; returns how many looks found another ledger than the one before.
struct Looker {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<usize>,
}

impl Looker {
    fn start(engine: &str) -> Self {
        let (engine, stop) = (engine.to_owned(), Arc::new(AtomicBool::new(false)));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let (mut different, mut last) = (0, 0);
            while !stopped.load(Ordering::SeqCst) {
                let ledger = until("the engine answers", || Ledger::read(&engine));
                ledger.check_bounds();
                thread::sleep(BETWEEN_LOOKS);
                different += usize::from(ledger.lines != last);
                last = ledger.lines;
            }
            different
        });
        Self { stop, thread }
    }

    /// Whether no look has found anything wrong.
    fn is_content(&self) -> bool {
        !self.thread.is_finished()
    }

    fn stop(self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap()
    }
}

#[test]
fn no_reward_is_given_twice_or_beyond_a_bound_whichever_aggregator_is_killed() {
    let persons = persons();
    let rounds = rounds(&persons);
    let mut group = Group::start();
    set_up(&group.ingest, &group.key);
    let engine = group.clickhouse.address("clickhouse");
    let looker = Looker::start(&engine);
    let senders = Senders::start(&group.ingest.address("api"), &group.key);

    let mut met = [0; KILLS.len()];
    for (round, sends) in rounds.iter().enumerate() {
        let (kill, victim) = (KILLS[round % KILLS.len()], round % 2);
        if kill != Kill::AtWork {
            group.stop_engine();
        }
        senders.send(sends);
        let in_block = || group.is_in_block(victim).then_some(());
        match kill {
            // What it was sent may be stored before a look sees its block open.
            Kill::AtWork => _ = (0..200).find_map(|_| in_block()),
            Kill::Waiting | Kill::TakenOver => until("a block is open", in_block),
        }
        met[round % KILLS.len()] += group.kill(victim);
        if kill != Kill::AtWork {
            group.go_on_engine();
        }
        if kill == Kill::TakenOver {
            group.until_replayed();
        }
        group.restart(victim);
        group.until_replayed();
        senders.until_sent();
        assert!(looker.is_content(), "something was given twice or beyond its bound: see above");
    }

    // All is consumed, and nothing is refused that came for the first time.
    let repeated = duplicates(&rounds);
    let duplicate = "SELECT count() FROM rejects WHERE kind != 'timer' AND reason = 'duplicate'";
    group.until_count(duplicate, repeated);
    until("no block is open", || group.open_blocks().is_empty().then_some(()));
    assert!(met[1] > 0 && met[2] > 0, "kills met no open block: {met:?}");
    eprintln!("kills: {}, open blocks met: {met:?}, replays: {}", rounds.len(), group.replays());
    let different = looker.stop();
    assert!(different > 10, "looked while it ran: {different}");
    check_end(&engine, &persons);
    group.end();
}
