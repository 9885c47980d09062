//! The binary as a child process, and short ways to talk to it.
//!
//! Needs the engine, which `deploy/clickhouse/fetch-engine` fetches; the Kafka tests need a broker in
//! `WHENCE_TEST_KAFKA_BROKERS`. Without them a test fails and says so.

pub mod brokers;
pub mod clock;
pub mod hooks;
mod http;
pub mod proxy;
pub mod secured;

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use clock::Environment;
pub use http::{Answer, ask};

/// Longer than anything here takes on a loaded machine.
pub const DEADLINE: Duration = Duration::from_secs(240);
pub const POLL: Duration = Duration::from_millis(20);
/// The agent of a person.
pub const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

/// The binary, with nothing of this process's settings.
pub fn whence() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_whence"));
    let kept = ["WHENCE_CLICKHOUSE_ENGINE", "WHENCE_CACHE"];
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("WHENCE_") && !kept.contains(&name.as_str()) {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// Writes a file for its owner alone, as files with secrets must be.
pub fn write_private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Runs a command to its end.
pub fn run(arguments: &[&str]) -> Output {
    whence().args(arguments).output().unwrap()
}

/// Polls until there is something; panics with `what` after [`DEADLINE`].
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(POLL);
    }
}

/// A role that runs, with a folder of its own.
pub struct Role {
    child: Child,
    data: PathBuf,
}

impl Role {
    /// `whence up` on free ports, as soon as all of it is ready.
    pub fn up(data: &Path) -> Self {
        let role = Self::start(data, &["up"]);
        role.until_ready();
        role
    }

    /// A role on free ports, with what its name and further arguments say. Not waited for.
    pub fn start(data: &Path, arguments: &[&str]) -> Self {
        Self::start_in(Environment::new(), data, arguments)
    }

    /// The same with further variables, such as [`clock::OtherClock`] gives.
    pub fn start_in(environment: Environment, data: &Path, arguments: &[&str]) -> Self {
        Self::spawn(whence().envs(environment), data, arguments)
    }

    /// The same, of a command that is prepared further.
    pub fn start_with(data: &Path, arguments: &[&str], prepare: impl FnOnce(&mut Command)) -> Self {
        let mut command = whence();
        prepare(&mut command);
        Self::spawn(&mut command, data, arguments)
    }

    /// The same, with a socket that listens at `edge` handed over for the edge.
    pub fn start_handed(edge: &str, data: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../dev/hand-over"));
        command
            .arg(edge)
            .arg(env!("CARGO_BIN_EXE_whence"))
            .env("LISTEN_FDNAMES", "edge")
            .stdin(Stdio::null());
        Self::spawn(&mut command, data, arguments)
    }

    /// The same, in a process that may have so many descriptors (soft, hard).
    pub fn start_limited(descriptors: (u64, u64), data: &Path, arguments: &[&str]) -> Self {
        let mut command = whence();
        limit_descriptors(&mut command, descriptors);
        Self::spawn(&mut command, data, arguments)
    }

    fn spawn(command: &mut Command, data: &Path, arguments: &[&str]) -> Self {
        fs::create_dir_all(data).unwrap();
        let log = |name: &str| File::options().create(true).append(true).open(data.join(name)).unwrap();
        let (role, rest) = arguments.split_first().expect("a role");
        let listeners: &[&str] = match *role {
            "up" => &[
                "--edge-listen",
                "--api-listen",
                "--clickhouse-listen",
                "--console-listen",
                "--admin-listen",
            ],
            "console" => &["--console-listen", "--admin-listen"],
            "ingest" => &["--edge-listen", "--api-listen", "--admin-listen"],
            "clickhouse" => &["--clickhouse-listen", "--admin-listen"],
            _ => &["--admin-listen"],
        };
        let child = command
            .arg(role)
            .arg("--data")
            .arg(data)
            .args(listeners.iter().flat_map(|flag| [*flag, "127.0.0.1:0"]))
            .args(rest)
            .stdout(log("stdout"))
            .stderr(log("stderr"))
            .spawn()
            .unwrap();
        Self { child, data: data.to_owned() }
    }

    /// Waits until all parts are ready.
    pub fn until_ready(&self) {
        self.until_noted(|noted| noted["ready"] == true);
    }

    /// Waits until the role has noted that links are answered; the rest may take longer.
    pub fn until_edge(&self) {
        self.until_noted(|noted| noted["edge"].is_string() && noted["api"].is_string());
    }

    fn until_noted(&self, is_enough: impl Fn(&Value) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !self.noted().is_some_and(|noted| is_enough(&noted)) {
            assert!(Instant::now() < deadline, "not ready; it logged:\n{}", self.log());
            std::thread::sleep(POLL);
        }
    }

    fn noted(&self) -> Option<Value> {
        let noted: Value = serde_json::from_slice(&fs::read(self.data.join("addresses.json")).ok()?).ok()?;
        (noted["pid"] == self.child.id()).then_some(noted)
    }

    /// An address that the role has noted, such as `edge`. That of the embedded ClickHouse has its owner's
    /// user and password in it.
    pub fn address(&self, name: &str) -> String {
        let noted = self.noted().unwrap()[name].as_str().unwrap_or_else(|| panic!("no {name}")).to_owned();
        match fs::read_to_string(self.data.join("clickhouse-password")) {
            Ok(password) if name == "clickhouse" => {
                noted.replacen("://", &format!("://default:{}@", password.trim()), 1)
            }
            _ => noted,
        }
    }

    /// Its folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// What it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.data.join("stderr")).unwrap()
    }

    /// What it printed.
    pub fn printed(&self) -> String {
        fs::read_to_string(self.data.join("stdout")).unwrap()
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// The process id of the newest engine.
    pub fn engine_pid(&self) -> i32 {
        let log = self.log();
        let (_, after) = log.rsplit_once("engine process started pid=").expect("an engine was started");
        after.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// Asks the role to end, and waits for that.
    pub fn stop(mut self) -> ExitStatus {
        self.signal(libc::SIGTERM);
        until("the role ends", || self.child.try_wait().unwrap())
    }

    /// Kills it.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        assert_eq!(self.child.wait().unwrap().signal(), Some(libc::SIGKILL));
    }

    /// Waits until the role ends by itself.
    pub fn ended(mut self) -> ExitStatus {
        until("the role ends", || self.child.try_wait().unwrap())
    }

    fn signal(&self, signal: libc::c_int) {
        kill(self.pid(), signal);
    }

    /// A call of the API with the admin key; panics unless it succeeds.
    pub fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let key = fs::read_to_string(self.data.join("admin-key")).unwrap();
        self.call_with(&key, method, path, body)
    }

    /// The same with this key. As a client would, it asks again where it is told to come again.
    pub fn call_with(&self, key: &str, method: &str, path: &str, body: &Value) -> Value {
        let address = self.address("api");
        let answer = until("the API has the time", || {
            let answer = ask_api(&address, key, method, path, body);
            (answer.status != 503).then_some(answer)
        });
        assert!((200..300).contains(&answer.status), "{method} {path}: {} {}", answer.status, answer.body);
        serde_json::from_str(&answer.body).unwrap()
    }

    /// A program `p` with a referrer `ann` and the links `go.example/x` to `/z`.
    pub fn set_up_world(&self, key: &str) {
        let program = json!({ "destination_hosts": ["shop.example"], "channels": ["email"] });
        self.call_with(key, "PUT", "/v1/programs/p", &program);
        self.call_with(key, "POST", "/v1/programs/p/referrers", &json!({ "id": "ann", "name": "Ann" }));
        for code in ["x", "y", "z"] {
            let destination = format!("https://shop.example/{code}");
            let link = json!({ "host": "go.example", "code": code, "referrer": "ann", "channel": "email",
                "destination": destination });
            self.call_with(key, "POST", "/v1/programs/p/links", &link);
        }
    }

    /// Follows a link, as soon as the edge knows it; returns the token.
    pub fn click(&self, code: &str) -> String {
        self.click_with(code, &[("user-agent", BROWSER.to_owned())])
    }

    /// The same with these headers.
    pub fn click_with(&self, code: &str, headers: &[(&str, String)]) -> String {
        let headers = [&[("host", "go.example".to_owned())], headers].concat();
        let path = format!("/{code}");
        let answer = until("the edge knows the link", || {
            let answer = ask(&self.address("edge"), "GET", &path, &headers, "");
            (answer.status != 404).then_some(answer)
        });
        assert_eq!(answer.status, 302, "{}", answer.body);
        let location = answer.header("location").unwrap();
        let start = format!("https://shop.example/{code}?wclid=");
        location.strip_prefix(&start).unwrap_or_else(|| panic!("{location}")).to_owned()
    }

    /// A number from ClickHouse; `None` while it does not answer or the table is not there.
    pub fn count(&self, sql: &str) -> Option<u64> {
        count(&self.address("clickhouse"), sql)
    }

    /// What ClickHouse answers, as text.
    pub fn rows(&self, sql: &str) -> String {
        let answer = ask(&self.address("clickhouse"), "POST", "/?database=whence", &[], sql);
        assert_eq!(answer.status, 200, "{sql}: {}", answer.body);
        answer.body
    }

    /// Polls ClickHouse until the query gives this number, for as long as it changes.
    pub fn until_count(&self, sql: &str, wanted: u64) {
        let (mut last, mut changed) = (None, Instant::now());
        while last != Some(wanted) {
            assert!(changed.elapsed() < DEADLINE, "{sql} gives {last:?}, not {wanted}; log:\n{}", self.log());
            std::thread::sleep(POLL);
            let now = self.count(sql);
            if now != last {
                (last, changed) = (now, Instant::now());
            }
        }
    }

    /// The same as [`Role::readiness`], or `None` while there is no one to ask.
    pub fn noted_readiness(&self) -> Option<(u16, Value)> {
        self.noted().filter(|noted| noted["admin"].is_string())?;
        Some(self.readiness())
    }

    /// A counter of its metrics, summed over its labels; 0 before it first counted.
    pub fn counter(&self, name: &str) -> u64 {
        let metrics = ask(&self.address("admin"), "GET", "/metrics", &[], "").body;
        assert!(metrics.contains("# TYPE"), "no metrics: {metrics:?}");
        let is_it = |series: &str| series.split('{').next() == Some(name);
        let samples = metrics.lines().filter_map(|line| line.rsplit_once(' '));
        samples.filter(|(series, _)| is_it(series)).map(|(_, value)| value.parse::<u64>().unwrap()).sum()
    }

    /// What `/readyz` says, with its status.
    pub fn readiness(&self) -> (u16, Value) {
        let answer = ask(&self.address("admin"), "GET", "/readyz", &[], "");
        (answer.status, serde_json::from_str(&answer.body).unwrap())
    }
}

impl Drop for Role {
    /// The engine goes with its parent.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A request to the API at `base` with this key.
pub fn ask_api(base: &str, key: &str, method: &str, path: &str, body: &Value) -> Answer {
    let headers =
        [("authorization", format!("Bearer {}", key.trim())), ("content-type", "application/json".into())];
    ask(base, method, path, &headers, &body.to_string())
}

/// A number from ClickHouse at `url`; `None` while it does not answer or the table is not there.
pub fn count(url: &str, sql: &str) -> Option<u64> {
    let answer = ask(url, "POST", "/?database=whence", &[], sql);
    (answer.status == 200).then(|| answer.body.trim().parse().unwrap_or_else(|_| panic!("{}", answer.body)))
}

/// Has a command's process run with so many descriptors (soft, hard) at most.
pub fn limit_descriptors(command: &mut Command, (soft, hard): (u64, u64)) {
    let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
    let set = move || {
        // SAFETY: a plain system call on a value of this frame.
        match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: the closure makes one system call and allocates nothing.
    unsafe { command.pre_exec(set) };
}

/// Sends a signal.
pub fn kill(pid: i32, signal: libc::c_int) {
    // SAFETY: a plain system call.
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0, "{}", std::io::Error::last_os_error());
}

/// Whether a process is there; one that has ended and waits for its parent is not.
pub fn is_running(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
    state.is_some_and(|state| state != 'Z')
}
