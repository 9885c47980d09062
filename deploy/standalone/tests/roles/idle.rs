//! Strangers who connect and say nothing: the others have their clicks recorded, and every listener answers.
//!
//! The number of descriptors is what idle connections use up: processes run with few of them here. Source
//! addresses are networks of 127.0.0.0/8.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::support::{DEADLINE, Role, ask, ask_api};
use socket2::{Domain, Socket, Type};
use tempfile::tempdir;

const CONNECT: Duration = Duration::from_secs(10);

fn authority(url: &str) -> SocketAddr {
    url.strip_prefix("http://").unwrap().parse().unwrap()
}

/// A connection from this address.
fn connect_from(source: [u8; 4], to: SocketAddr) -> Option<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    // Ports are chosen at connecting: so many connections have not enough of them at binding.
    socket.set_reuse_address(true).unwrap();
    socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
    socket.connect_timeout(&to.into(), CONNECT).ok()?;
    Some(socket.into())
}

/// So many connections that say nothing, from these networks in turn.
fn idle(count: usize, networks: usize, to: SocketAddr) -> Vec<TcpStream> {
    let source = |n: usize| [127, 7, u8::try_from(n % networks).unwrap(), 1];
    (0..count).filter_map(|n| connect_from(source(n), to)).collect()
}

/// Somebody who follows a link again and again on a connection of their own.
struct Visitor {
    edge: SocketAddr,
    connection: Option<BufReader<TcpStream>>,
}

impl Visitor {
    fn new(edge: SocketAddr) -> Self {
        Self { edge, connection: None }
    }

    /// Whether the link was answered. A connection that was closed meanwhile is opened again the next time.
    fn click(&mut self) -> bool {
        let connection = self.connection.take().or_else(|| {
            let stream = connect_from([127, 0, 0, 1], self.edge)?;
            stream.set_read_timeout(Some(CONNECT)).unwrap();
            Some(BufReader::new(stream))
        });
        let Some(mut connection) = connection else { return false };
        let request =
            b"GET /x HTTP/1.1\r\nhost: go.example\r\nuser-agent: Mozilla/5.0 (X11; Linux x86_64)\r\n\r\n";
        let mut head = String::new();
        if connection.get_mut().write_all(request).is_err() {
            return false;
        }
        while !head.ends_with("\r\n\r\n") {
            if !connection.read_line(&mut head).is_ok_and(|read| read > 0) {
                return false;
            }
        }
        self.connection = Some(connection);
        assert!(head.starts_with("HTTP/1.1 302"), "{head}");
        true
    }
}

/// Follows a link on connections that are there already while `flood` comes, and until there were so many clicks
/// since; returns how many were answered in all.
fn clicks_during<T>(edge: SocketAddr, enough: usize, flood: impl FnOnce() -> T) -> (usize, T) {
    let is_here = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (ready, begun) = mpsc::channel();
        let is_here = &is_here;
        let visiting = scope.spawn(move || {
            let mut visitors: Vec<_> = (0..8).map(|_| Visitor::new(edge)).collect();
            assert!(visitors.iter_mut().all(Visitor::click));
            let (mut answered, mut since) = (visitors.len(), 0);
            ready.send(()).unwrap();
            let deadline = Instant::now() + DEADLINE;
            for n in 0.. {
                let is_answered = visitors[n % 8].click();
                answered += usize::from(is_answered);
                since += usize::from(is_answered && is_here.load(Ordering::Relaxed));
                if since >= enough {
                    break;
                }
                assert!(
                    Instant::now() < deadline,
                    "only {answered} clicks were answered, {since} of them since"
                );
            }
            answered
        });
        begun.recv().unwrap();
        let flooded = flood();
        is_here.store(true, Ordering::Relaxed);
        (visiting.join().unwrap(), flooded)
    })
}

/// Every listener answers as if nobody else were there.
fn all_answer(whence: &Role) {
    let (status, readiness) = whence.readiness();
    assert_eq!(status, 200, "{readiness}");
    assert_eq!(ask(&whence.address("admin"), "GET", "/livez", &[], "").status, 200);
    let key = std::fs::read_to_string(whence.data().join("admin-key")).unwrap();
    let bearer = [("authorization", format!("Bearer {}", key.trim()))];
    assert_eq!(ask(&whence.address("api"), "GET", "/v1/programs", &bearer, "").status, 200);
    let console = ask(&whence.address("console"), "GET", "/v1/programs/p/funnel", &bearer, "");
    assert_eq!(console.status, 200, "{}", console.body);
}

/// `whence up` with so many descriptors, while so many idle connections are open to `listener`.
fn idle_connections_harm_nobody(
    descriptors: (u64, u64),
    (count, networks): (usize, usize),
    listener: &str,
    arguments: &[&str],
) {
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    let arguments = [&["up", "--edge-threads", "2", "--linger", "200ms"], arguments].concat();
    let whence = Role::start_limited(descriptors, &data, &arguments);
    whence.until_ready();
    let key = std::fs::read_to_string(data.join("admin-key")).unwrap();
    whence.set_up_world(&key);
    whence.click("x");

    let (edge, to) = (authority(&whence.address("edge")), authority(&whence.address(listener)));
    // 15,000 clicks are several segments of 1 MiB for each of two threads.
    let (answered, held) = clicks_during(edge, 15_000, || idle(count, networks, to));
    all_answer(&whence);
    assert_eq!(whence.counter("whence_clicks_lost_total"), 0, "of {answered}; log:\n{}", whence.log());
    whence.until_count("SELECT count() FROM clicks", 1 + answered as u64);
    drop(held);
    let floods = whence.log().lines().filter(|line| line.contains("accept failed")).count();
    assert!(floods <= 20, "{floods} lines of one kind");
}

#[test]
fn idle_connections_from_one_address_lose_no_click_at_the_first_roll_of_a_small_segment() {
    idle_connections_harm_nobody((1024, 1024), (1_500, 1), "edge", &["--journal-segment", "1MiB"]);
}

#[test]
fn idle_connections_from_many_addresses_lose_no_click_when_a_segment_is_closed_for_its_age() {
    idle_connections_harm_nobody((256, 256), (600, 200), "edge", &["--journal-segment-age", "1s"]);
}

#[test]
fn idle_connections_from_one_address_shut_neither_api_nor_probes() {
    for listener in ["api", "admin", "console"] {
        idle_connections_harm_nobody((1024, 1024), (1_100, 1), listener, &[]);
    }
}

#[test]
fn a_soft_limit_is_raised_and_what_is_set_and_does_not_fit_is_refused_with_the_numbers() {
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    let set = ["up", "--edge-threads", "1", "--edge-connections-max", "600"];
    let refused = Role::start_limited((256, 512), &data, &set);
    let log = data.join("stderr");
    assert!(!refused.ended().success());
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains("512 are allowed") && log.contains("600 for edge-connections-max"), "{log}");
    assert!(log.contains("LimitNOFILE="), "it says what to change: {log}");

    let whence = Role::start_limited((256, 2048), &dir.path().join("other"), &set);
    whence.until_ready();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", whence.pid())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(files.split_whitespace().nth(3), Some("2048"), "{files}");
    let log = whence.log();
    assert!(
        log.contains("api-connections-max") && log.contains("wanted=1000"),
        "what got smaller is said: {log}"
    );
}

#[test]
fn guesses_of_keys_are_limited_counted_and_logged_and_hinder_nobody_with_a_key() {
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    let whence = Role::up(&data);
    let key = std::fs::read_to_string(data.join("admin-key")).unwrap();
    let limited = |base: &str, path: &str| {
        let guess =
            |n: usize| ask_api(base, &format!("whk_guess_{n}"), "GET", path, &serde_json::Value::Null);
        let answers: Vec<_> = (0..300).map(guess).collect();
        assert!(answers.iter().filter(|answer| answer.status == 429).all(|answer| {
            answer.header("retry-after").is_some_and(|seconds| seconds.parse::<u32>().is_ok())
        }));
        let right = ask(base, "GET", path, &[("authorization", format!("Bearer {}", key.trim()))], "");
        assert_eq!(right.status, 200, "{}", right.body);
        answers.iter().filter(|answer| answer.status == 429).count()
    };
    whence.set_up_world(&key);
    let refused = limited(&whence.address("api"), "/v1/programs");
    assert!(refused > 200, "{refused} of 300");
    // One share for both.
    assert!(limited(&whence.address("console"), "/v1/programs/p/funnel") > 200);
    assert!(whence.counter("whence_share_beyond_total") > 400);
    let log = whence.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("used up its share")).collect();
    assert!(!lines.is_empty() && lines.len() < 10, "{lines:#?}");
    assert!(lines[0].contains("network=127.0.0.0/24") && lines[0].contains("wrong_keys"), "{lines:#?}");
}

#[test]
fn unknown_codes_beyond_a_share_are_one_row_with_their_number_and_the_funnel_counts_them_all() {
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    let arguments = ["up", "--edge-threads", "1", "--linger", "100ms", "--share-unknown-codes", "20"];
    let whence = Role::start(&data, &arguments);
    whence.until_ready();
    let key = std::fs::read_to_string(data.join("admin-key")).unwrap();
    let program = serde_json::json!({ "destination_hosts": ["shop.example"], "link_hosts": ["go.example"] });
    whence.call_with(&key, "PUT", "/v1/programs/p", &program);
    let edge = whence.address("edge");
    let host = [("host", "go.example".to_owned())];
    let asked = |n: usize| ask(&edge, "GET", &format!("/guess{n}"), &host, "").status;
    // Before the edge knows the host, it is nobody's click.
    crate::support::until("the edge knows the host", || {
        asked(0);
        whence.count("SELECT count() FROM clicks").filter(|count| *count > 0)
    });
    let limited = (0..300).map(asked).filter(|status| *status == 429).count();
    assert!(limited > 200, "{limited}");
    let clicks = "SELECT sum(requests) FROM clicks WHERE reason = 'unknown_link_limited'";
    whence.until_count(clicks, u64::try_from(limited).unwrap());
    let rows = whence.count("SELECT count() FROM clicks WHERE reason = 'unknown_link_limited'").unwrap();
    assert!(rows <= 3, "{rows} rows for {limited} requests");
    let all = whence.count("SELECT sum(requests) FROM clicks").unwrap();
    // The rollup has a block's rows a moment after its table.
    whence.until_count(
        "SELECT toUInt64(sum(other_clicks)) FROM funnel_quarter_hourly WHERE verdict = 'inactive'",
        all,
    );
    let made_by = "SELECT DISTINCT reason, made_by, made_by_reason FROM clicks ORDER BY reason";
    let expected = "unknown_link\tbot\tno_agent\nunknown_link_limited\tunspecified\t";
    assert_eq!(whence.rows(made_by).trim_end_matches('\n'), expected);
    let ends = "SELECT sum(missing) + sum(extra) FROM reconciliation";
    assert_eq!(whence.count(ends), Some(0));
}
