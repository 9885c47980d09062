//! Who may listen where: nobody beside another process, except for those who are handed a socket.

use std::net::TcpListener;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::{Role, ask, run, until, whence, write_private};
use tempfile::{TempDir, tempdir};

/// What edges are started with; their Kafka is away, which visitors do not notice.
struct Ground {
    dir: TempDir,
    secrets: String,
    key: String,
    nobody: String,
}

impl Ground {
    fn new() -> Ground {
        let dir = tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let (secrets, key) = (path("secrets.toml"), path("admin"));
        assert!(run(&["secrets", "new", &secrets]).status.success());
        write_private(Path::new(&key), "an admin key that nobody can guess, 0123456789");
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        Ground { dir, secrets, key, nobody }
    }

    fn ingest(&self) -> [&str; 9] {
        let bus = ["--kafka-brokers", &self.nobody, "--ship-drain-timeout", "0s"];
        let [a, b, c, d] = bus;
        ["ingest", "--secrets-file", &self.secrets, "--api-admin-key-file", &self.key, a, b, c, d]
    }
}

#[test]
fn a_second_process_at_an_address_ends_with_a_sentence_and_the_first_one_answers_everything() {
    let ground = Ground::new();
    let first = Role::start(&ground.dir.path().join("first"), &ground.ingest());
    first.until_edge();
    let (edge, done) = (first.address("edge"), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut answered = 0;
            while !done.load(Ordering::Relaxed) {
                assert_eq!(ask(&edge, "GET", "/none", &[("host", "go.example".to_owned())], "").status, 404);
                answered += 1;
            }
            answered
        });
        for (flag, name) in [("--edge-listen", "edge"), ("--api-listen", "api"), ("--admin-listen", "admin")]
        {
            let address = first.address(name);
            let address = address.strip_prefix("http://").unwrap();
            let data = ground.dir.path().join("second");
            let free: Vec<&str> = ["--edge-listen", "--api-listen", "--admin-listen"]
                .into_iter()
                .filter(|other| *other != flag)
                .flat_map(|other| [other, "127.0.0.1:0"])
                .collect();
            let second = whence()
                .args(ground.ingest())
                .args(["--data", data.to_str().unwrap(), flag, address])
                .args(free)
                .output()
                .unwrap();
            let log = String::from_utf8_lossy(&second.stderr).into_owned();
            assert_eq!(second.status.code(), Some(1), "{log}");
            let last = log.lines().last().unwrap();
            assert!(last.contains(address) && last.contains("another process listens there"), "{last}");
        }
        done.store(true, Ordering::Relaxed);
        assert!(asking.join().unwrap() > 10);
    });
    assert!(first.stop().success());
}

#[test]
fn processes_that_are_handed_sockets_share_an_address_and_each_may_go() {
    let ground = Ground::new();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let start = |name: &str| {
        let role = Role::start_handed(&address, &ground.dir.path().join(name), &ground.ingest());
        role.until_edge();
        assert_eq!(role.address("edge"), format!("http://{address}"));
        role
    };
    let [one, two] = ["one", "two"].map(start);
    let answered = |times: usize| {
        for _ in 0..times {
            let answer = ask(&one_of(&address), "GET", "/none", &[("host", "go.example".to_owned())], "");
            assert_eq!(answer.status, 404);
        }
    };
    until("both are asked", || {
        answered(10);
        [&one, &two].iter().all(|role| role.counter("whence_edge_requests_total") > 0).then_some(())
    });
    assert!(one.stop().success());
    answered(40);
    assert!(two.stop().success());
}

fn one_of(address: &str) -> String {
    format!("http://{address}")
}

#[test]
fn what_is_handed_over_and_is_no_listening_socket_ends_the_start() {
    let ground = Ground::new();
    let whence = env!("CARGO_BIN_EXE_whence");
    let data = ground.dir.path().join("data");
    let script = "exec 3</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" \"$@\"";
    let output = std::process::Command::new("sh")
        .args(["-c", script, whence])
        .args(ground.ingest())
        .args(["--data", data.to_str().unwrap(), "--admin-listen", "127.0.0.1:0"])
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(log.contains("descriptor 3 of LISTEN_FDS is not a listening socket"), "{log}");
}
