//! Starts and ends: orderly, by `kill -9`, refused, supervised.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::{Engine, basic, connect, eventually, post, read_answer, request};
use whence_clickhouse_embedded::library;
use whence_clickhouse_embedded::supervise::{ChildState, SuperviseError, Supervisor, SupervisorLimits};
use whence_clickhouse_embedded::testing::EngineProcess;

const BINARY: &str = env!("CARGO_BIN_EXE_whence-clickhouse-embedded");

fn rows(first: u64, count: u64) -> Vec<u8> {
    (first..first + count).flat_map(u64::to_le_bytes).collect()
}

#[test]
fn passwords_are_made_once_private_and_asked_for_everywhere() {
    use std::os::unix::fs::PermissionsExt;

    let engine = Engine::start();
    let address = engine.process.address();
    assert_eq!(request(address, "POST", "/", &[], b"SELECT 1").code(), Some(516));
    let kept = engine.process.password().to_owned();
    assert_eq!(kept.len(), 40);
    assert_ne!(kept, engine.process.reader_password());
    for name in ["password", "reader-password"] {
        let mode = std::fs::metadata(engine.data.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let Engine { process, data } = engine;
    process.kill();
    let process = EngineProcess::start(data.path()).unwrap();
    assert_eq!(process.password(), kept);
    drop(process);
    std::fs::set_permissions(data.path().join("password"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let refused = EngineProcess::start(data.path()).unwrap_err().to_string();
    assert!(refused.contains("open to others"), "{refused}");
}

#[test]
fn a_missing_engine_is_named_with_what_to_do() {
    let data = tempfile::tempdir().unwrap();
    let output = Command::new(BINARY)
        .args(["--listen", "127.0.0.1:0", "--data"])
        .arg(data.path())
        .env_remove("WHENCE_CLICKHOUSE_ENGINE")
        .env("WHENCE_CACHE", data.path().join("empty"))
        .output()
        .unwrap();
    assert!(!output.status.success());
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(log.contains("fetch-engine") && log.contains("WHENCE_CLICKHOUSE_ENGINE"), "{log}");
}

#[test]
fn a_second_server_on_the_same_data_is_refused() {
    let engine = Engine::start();
    let second = EngineProcess::start(engine.data.path()).unwrap_err();
    assert!(second.to_string().contains("in use by another process"), "{second}");
    assert_eq!(engine.query("SELECT 1"), "1");
}

#[test]
fn a_terminated_server_ends_in_order_and_keeps_its_rows() {
    let engine = Engine::start();
    engine.query("CREATE TABLE t (n UInt64) ENGINE = MergeTree ORDER BY n");
    engine.post("/?query=INSERT%20INTO%20t%20FORMAT%20RowBinary", &[], &rows(0, 1000));
    let Engine { process, data } = engine;
    let status = process.terminate().unwrap();
    assert!(status.success(), "{status}");
    let process = EngineProcess::start(data.path()).unwrap();
    let engine = Engine { process, data };
    assert_eq!(engine.query("SELECT count() FROM t"), "1000");
}

#[test]
fn a_terminated_server_lets_a_result_under_way_come_to_its_end() {
    let engine = Engine::start();
    let address = engine.process.address();
    let sql = "SELECT number FROM numbers(5000000) FORMAT RowBinary";
    let mut stream = connect(address);
    stream.write_all(post(&engine, sql).as_bytes()).unwrap();
    // Something came, and the rest waits for this client.
    stream.peek(&mut [0]).unwrap();
    let ending = std::thread::spawn(move || engine.process.terminate().unwrap());
    eventually("the server listens no more", || TcpStream::connect(address).is_err());
    let answer = read_answer(&mut stream);
    assert_eq!((answer.complete, answer.body.len()), (true, 40_000_000));
    assert!(ending.join().unwrap().success());
}

#[test]
fn acknowledged_rows_survive_kill_9_and_no_token_is_forgotten() {
    let data = tempfile::tempdir().unwrap();
    let mut engine = Engine { process: EngineProcess::start(data.path()).unwrap(), data };
    engine.query(
        "CREATE TABLE t (n UInt64) ENGINE = MergeTree ORDER BY n \
         SETTINGS non_replicated_deduplication_window = 1000",
    );
    let synced = "SELECT groupArray(value) FROM system.merge_tree_settings \
                  WHERE name IN ('fsync_after_insert', 'fsync_part_directory')";
    assert_eq!(engine.query(synced), "['1','1']");
    let target = |block: u64| {
        format!("/?query=INSERT%20INTO%20t%20FORMAT%20RowBinary&insert_deduplication_token=block-{block}")
    };
    for round in 0..3_u64 {
        for block in round * 10..(round + 1) * 10 {
            assert_eq!(engine.post(&target(block), &[], &rows(block * 100, 100)).status, 200);
        }
        let Engine { process, data } = engine;
        process.kill();
        engine = Engine { process: EngineProcess::start(data.path()).unwrap(), data };
        let expected = (round + 1) * 1000;
        assert_eq!(engine.query("SELECT count(), uniqExact(n) FROM t"), format!("{expected}\t{expected}"));
        // The last block again, as its owner would send it when the answer was lost.
        let last = (round + 1) * 10 - 1;
        assert_eq!(engine.post(&target(last), &[], &rows(last * 100, 100)).status, 200);
        assert_eq!(engine.query("SELECT count() FROM t"), expected.to_string());
    }
}

fn command(data: &Path, library: &Path) -> impl Fn() -> Command + Send + Sync + 'static {
    let (data, library): (PathBuf, PathBuf) = (data.into(), library.into());
    move || {
        let mut command = Command::new(BINARY);
        command.arg("--data").arg(&data).env("WHENCE_CLICKHOUSE_ENGINE", &library);
        command.stdout(std::process::Stdio::null());
        command
    }
}

fn limits() -> SupervisorLimits {
    SupervisorLimits { ping_every: Duration::from_millis(50), ..SupervisorLimits::default() }
}

/// The ids of this process's children that run the server on `data`.
fn children(data: &Path) -> Vec<libc::pid_t> {
    let marker = data.to_str().unwrap();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|id: &libc::pid_t| {
            std::fs::read_to_string(format!("/proc/{id}/cmdline")).is_ok_and(|line| line.contains(marker))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_never_starts_is_an_error_and_not_a_loop() {
    let data = tempfile::tempdir().unwrap();
    let start = command(data.path(), Path::new("/nonexistent/libchdb.so"));
    let error = Supervisor::start("127.0.0.1:0".parse().unwrap(), start, limits()).await.unwrap_err();
    assert!(matches!(error, SuperviseError::Ended(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supervised_server_comes_back_on_the_same_port_with_its_rows() {
    let data = tempfile::tempdir().unwrap();
    let start = command(data.path(), &library::find().unwrap());
    let supervisor = Supervisor::start("127.0.0.1:0".parse().unwrap(), start, limits()).await.unwrap();
    let address: SocketAddr = supervisor.address();
    let password = std::fs::read_to_string(data.path().join("password")).unwrap();
    let own = basic("default", password.trim());
    let ask = |sql: &str| request(address, "POST", "/", &[("authorization", &own)], sql.as_bytes()).text();
    tokio::task::block_in_place(|| {
        ask("CREATE TABLE t (n UInt64) ENGINE = MergeTree ORDER BY n");
        ask("INSERT INTO t SELECT number FROM numbers(10)");
    });
    let [first] = children(data.path())[..] else { panic!("one child") };
    // SAFETY: signals a child of this process.
    unsafe { libc::kill(first, libc::SIGKILL) };
    let mut state = supervisor.state();
    state.wait_for(|state| *state == ChildState::Down).await.unwrap();
    state.wait_for(|state| *state == ChildState::Up).await.unwrap();
    assert_eq!(tokio::task::block_in_place(|| ask("SELECT count() FROM t")), "10\n");
    let [second] = children(data.path())[..] else { panic!("one child") };
    assert_ne!(first, second);
    supervisor.stop().await;
    assert_eq!(*state.borrow_and_update(), ChildState::Stopped);
    assert!(children(data.path()).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supervised_server_that_stops_answering_is_replaced() {
    let data = tempfile::tempdir().unwrap();
    let start = command(data.path(), &library::find().unwrap());
    let limits = SupervisorLimits { ping_max: Duration::from_millis(500), unanswered_max: 3, ..limits() };
    let supervisor = Supervisor::start("127.0.0.1:0".parse().unwrap(), start, limits).await.unwrap();
    let [stuck] = children(data.path())[..] else { panic!("one child") };
    // SAFETY: signals a child of this process.
    unsafe { libc::kill(stuck, libc::SIGSTOP) };
    let mut state = supervisor.state();
    state.wait_for(|state| *state == ChildState::Down).await.unwrap();
    state.wait_for(|state| *state == ChildState::Up).await.unwrap();
    assert!(!children(data.path()).contains(&stuck));
    supervisor.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_server_is_not_killed_however_many_idle_connections_it_has() {
    let data = tempfile::tempdir().unwrap();
    let start = command(data.path(), &library::find().unwrap());
    let limits = SupervisorLimits { ping_max: Duration::from_secs(5), unanswered_max: 2, ..limits() };
    let supervisor = Supervisor::start("127.0.0.1:0".parse().unwrap(), start, limits).await.unwrap();
    let [child] = children(data.path())[..] else { panic!("one child") };
    let address = supervisor.address();
    let own = basic("default", std::fs::read_to_string(data.path().join("password")).unwrap().trim());
    let idle = tokio::task::block_in_place(|| {
        let idle: Vec<TcpStream> = (0..700).map(|_| connect(address)).collect();
        // They fill the strangers' places, and the owner is still answered: many questions go by.
        for _ in 0..100 {
            let answer = request(address, "POST", "/", &[("authorization", &own)], b"SELECT 1");
            assert_eq!(answer.text(), "1\n");
        }
        idle
    });
    let mut state = supervisor.state();
    let left =
        tokio::time::timeout(Duration::from_secs(12), state.wait_for(|state| *state != ChildState::Up)).await;
    assert!(left.is_err(), "the supervisor took a healthy engine for dead");
    assert_eq!(children(data.path()), [child]);
    drop(idle);
    supervisor.stop().await;
}
