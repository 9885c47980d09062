//! Starting and stopping.

use crate::harness::*;
use arc_swap::ArcSwap;
use std::{
    collections::HashSet,
    io::{Read, Write},
    net::TcpStream,
    sync::Arc,
    time::Duration,
};
use tokio_util::sync::CancellationToken;
use whence_ingest::edge::{
    AddressHasher, Clock, EdgeConfig, EdgeError, LinkTable, Parts, Stopped, TableLimits, start,
};

fn parts() -> Parts {
    Parts {
        links: Arc::new(LinkTable::new(TableLimits::default())),
        keys: Arc::new(ArcSwap::from_pointee(ring(1))),
        hasher: AddressHasher::new(&[1; 32]),
        clock: Clock::system(),
        health: None,
    }
}

fn start_error(change: impl FnOnce(&mut EdgeConfig)) -> EdgeError {
    let dir = tempfile::TempDir::new().unwrap();
    let mut config = config(dir.path());
    change(&mut config);
    start(&config, &parts(), &CancellationToken::new()).unwrap_err()
}

#[test]
fn what_keeps_an_edge_from_starting_is_said_at_once() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let error = start_error(|config| config.listen = address);
    assert!(matches!(error, EdgeError::Bind { address: at, .. } if at == address), "{error}");

    let running = Edge::start();
    let dir = running.dir.path().to_owned();
    let error = start_error(|config| config.journal_dir = dir);
    assert!(matches!(error, EdgeError::Journal(whence_journal::OpenError::Locked(_))), "{error}");

    assert!(matches!(start_error(|config| config.threads = 0), EdgeError::NoThreads));
    assert!(matches!(start_error(|config| config.head_bytes_max = 100), EdgeError::HeadBytes));
    assert!(matches!(start_error(|config| config.cookie.name = "a;b".into()), EdgeError::CookieName));
    let missing = start_error(|config| config.agents_path = Some("/nonexistent/agents.tsv".into()));
    assert!(matches!(missing, EdgeError::AgentFile { .. }));
    let list = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(list.path(), "seo\t(").unwrap();
    let broken = start_error(|config| config.agents_path = Some(list.path().into()));
    assert!(matches!(broken, EdgeError::AgentList(_)));
}

#[test]
fn all_threads_share_one_port_and_each_has_its_journal() {
    let edge = Edge::start_with(|config| config.threads = 3);
    let journals: Vec<_> = (0..3).map(|index| edge.dir.path().join(format!("clicks-{index}"))).collect();
    let mut answered = HashSet::new();
    let all =
        |answered: &HashSet<_>| journals.iter().map(|dir| clicks(dir).len()).sum::<usize>() == answered.len();
    // The kernel spreads connections by a hash of their addresses.
    eventually("every thread had a click", || {
        for _ in 0..10 {
            answered.insert(edge.get("/abc", &["Connection: close"]).token().click);
        }
        assert!(all(&answered), "a click that is in no journal, or in two");
        journals.iter().all(|dir| !clicks(dir).is_empty())
    });
}

#[test]
fn a_second_edge_at_an_address_is_refused_and_the_first_one_answers_on() {
    let edge = Edge::start_with(|config| config.threads = 2);
    for _ in 0..20 {
        assert_eq!(edge.get("/abc", &[]).status(), 302);
        let error = second_at(edge.address);
        assert!(error.contains("another process listens there"), "{error}");
    }
    // Each of its threads has a queue of its own at the address, and both are asked.
    eventually("both threads are asked", || {
        edge.get("/abc", &[]);
        (0..2).all(|index| !clicks(&edge.dir.path().join(format!("clicks-{index}"))).is_empty())
    });
}

/// What is said to a second one.
fn second_at(address: std::net::SocketAddr) -> String {
    let error = start_error(|config| {
        config.listen = address;
        config.threads = 2;
    });
    let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[test]
fn idle_connections_do_not_hold_up_the_end() {
    let edge = Edge::start();
    let mut idle = edge.connect();
    idle.write_all(get("/abc", &[]).as_bytes()).unwrap();
    assert_eq!(Reply::read(&mut idle, false).status(), 302);
    let (address, dir) = (edge.address, edge.dir.path().join("clicks-0"));
    edge.shutdown.cancel();
    assert_eq!(idle.read(&mut [0; 16]).unwrap(), 0, "closed");
    eventually("refused", || TcpStream::connect(address).is_err());
    assert_eq!(clicks(&dir).len(), 1);
    assert_eq!(edge.join(), Stopped::default());
}

#[test]
fn who_has_connected_before_the_end_is_answered() {
    let edge = Edge::start();
    let gate = Arc::clone(&edge.gate);
    let shut = gate.lock().unwrap();
    let connected: Vec<TcpStream> = (0..300)
        .map(|_| {
            let mut stream = edge.connect();
            stream.write_all(get("/abc", &[]).as_bytes()).unwrap();
            stream
        })
        .collect();
    // The core is at the first of them, the others wait to be accepted.
    edge.shutdown.cancel();
    drop(shut);
    for mut stream in connected {
        assert_eq!(Reply::read(&mut stream, false).status(), 302);
    }
    assert_eq!(edge.clicks().len(), 300);
    assert_eq!(edge.join(), Stopped::default());
}

#[test]
fn a_client_that_takes_no_answers_is_cut_after_the_drain_time() {
    let edge = Edge::start_with(|config| config.drain_timeout = Duration::from_millis(50));
    let mut deaf = edge.connect();
    deaf.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    // Until all buffers between here and the edge are full.
    while deaf.write_all(get("/abc", &[]).repeat(100).as_bytes()).is_ok() {}
    assert_eq!(edge.stop(), Stopped { cut: 1, panicked: 0 });
}

#[test]
fn a_stopped_edge_leaves_its_journal_to_the_next() {
    let edge = Edge::start();
    edge.get("/abc", &[]);
    let dir = tempfile::TempDir::new().unwrap();
    std::fs::rename(edge.dir.path().join("clicks-0"), dir.path().join("clicks-0")).unwrap();
    assert_eq!(edge.stop(), Stopped::default());
    let next = Edge::start_with(|config| config.journal_dir = dir.path().into());
    next.get("/abc", &[]);
    assert_eq!(clicks(&dir.path().join("clicks-0")).len(), 2);
}
