//! A cluster of a test's own: Keeper and replicas as processes, which the test kills, freezes and starts again at the
//! same addresses. All end when it is dropped.
//!
//! Needs the binary of this crate (`cargo build -p whence-clickhouse-replica --bins`), the engine, Java and Debian's
//! ZooKeeper; `make test` has them all.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::front::{COUNT_PATH, KEEP_PATH};
use crate::keeper::PID_FILE;
use crate::proxy::KeeperProxy;
pub use crate::replica::CLUSTER;

/// Longer than anything here takes on a loaded machine.
const DEADLINE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(20);
/// The password of user `default` of every replica.
const PASSWORD: &str = "password-of-the-replicas-0123456789abcdef";
/// How long Keeper takes a replica that says nothing for alive.
const SESSION_MS: &str = "3000";

/// A cluster.
#[derive(Debug)]
pub struct Cluster {
    dir: PathBuf,
    binary: PathBuf,
    keeper_address: SocketAddr,
    keeper: Option<Child>,
    /// What each replica takes for Keeper; none: Keeper itself.
    proxies: Vec<KeeperProxy>,
    addresses: Vec<SocketAddr>,
    parts: Vec<SocketAddr>,
    shards: Vec<u32>,
    replicas: Vec<Option<Child>>,
}

impl Cluster {
    /// A cluster of so many replicas, with data and logs in `dir`; they answer when this returns.
    ///
    /// # Panics
    /// Something that it needs is missing, or did not start: a test without a cluster fails.
    #[must_use]
    pub fn start(dir: &Path, replicas: usize) -> Self {
        Self::start_sharded(dir, &vec![1; replicas])
    }

    /// The same with a [`KeeperProxy`] between Keeper and each replica.
    ///
    /// # Panics
    /// See [`Self::start`].
    #[must_use]
    pub fn start_proxied(dir: &Path, replicas: usize) -> Self {
        Self::start_all(dir, &vec![1; replicas], true)
    }

    /// The same with a replica of each of these shards.
    ///
    /// # Panics
    /// See [`Self::start`].
    #[must_use]
    pub fn start_sharded(dir: &Path, shards: &[u32]) -> Self {
        Self::start_all(dir, shards, false)
    }

    fn start_all(dir: &Path, shards: &[u32], is_proxied: bool) -> Self {
        fs::create_dir_all(dir).expect("a test's folder can be made");
        let mut ports = free_addresses(2 * shards.len() + 1);
        let parts = ports.split_off(shards.len() + 1);
        let addresses = ports.split_off(1);
        let mut cluster = Self {
            dir: dir.to_owned(),
            binary: binary(),
            keeper_address: ports[0],
            keeper: None,
            proxies: Vec::new(),
            addresses,
            parts,
            shards: shards.to_vec(),
            replicas: shards.iter().map(|_| None).collect(),
        };
        if is_proxied {
            let proxy = |_: &u32| KeeperProxy::start(ports[0]).expect("a proxy can listen");
            cluster.proxies = shards.iter().map(proxy).collect();
        }
        write_private(&cluster.password_file(), PASSWORD);
        cluster.start_keeper();
        (0..shards.len()).for_each(|number| cluster.launch(number));
        (0..shards.len()).for_each(|number| cluster.until_answers(number));
        cluster
    }

    /// Where a replica answers, `http://127.0.0.1:PORT`; the first is 0.
    #[must_use]
    pub fn url(&self, replica: usize) -> String {
        format!("http://{}", self.addresses[replica])
    }

    /// Where all of them do.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        (0..self.addresses.len()).map(|replica| self.url(replica)).collect()
    }

    /// The password of user `default`.
    #[must_use]
    pub fn password(&self) -> &'static str {
        PASSWORD
    }

    /// A file with it, as the settings take it.
    #[must_use]
    pub fn password_file(&self) -> PathBuf {
        self.dir.join("password")
    }

    /// Kills a replica as `kill -9` does.
    pub fn kill(&mut self, replica: usize) {
        end(self.replicas[replica].take());
    }

    /// Starts a replica that was killed, and waits until it answers.
    pub fn revive(&mut self, replica: usize) {
        self.launch(replica);
        self.until_answers(replica);
    }

    /// Stops a replica's time: its connections stay open and nothing answers.
    pub fn freeze(&self, replica: usize) {
        let child = self.replicas[replica].as_ref().expect("it runs");
        signal(pid(child), libc::SIGSTOP);
    }

    /// Lets it go on.
    pub fn thaw(&self, replica: usize) {
        let child = self.replicas[replica].as_ref().expect("it runs");
        signal(pid(child), libc::SIGCONT);
    }

    /// Kills Keeper.
    pub fn kill_keeper(&mut self) {
        // The process that started it ends with it.
        self.keeper_pid().into_iter().for_each(|java| signal(java, libc::SIGKILL));
        if let Some(mut keeper) = self.keeper.take() {
            let _ = keeper.wait();
        }
    }

    /// Starts Keeper, as it was before it was killed.
    pub fn start_keeper(&mut self) {
        let data = self.dir.join("keeper");
        let mut command = Command::new(&self.binary);
        command.args(["keeper", "--data"]).arg(&data).args(["--listen", &self.keeper_address.to_string()]);
        self.keeper = Some(self.spawn("keeper", command));
        let address = self.keeper_address;
        self.until("keeper", "serves", || serves(address).unwrap_or(false));
    }

    /// Stops Keeper's time.
    pub fn freeze_keeper(&self) {
        signal(self.keeper_pid().expect("it runs"), libc::SIGSTOP);
    }

    /// Lets it go on.
    pub fn thaw_keeper(&self) {
        signal(self.keeper_pid().expect("it runs"), libc::SIGCONT);
    }

    /// What is between Keeper and this replica.
    ///
    /// # Panics
    /// If it was started without.
    #[must_use]
    pub fn proxy(&self, replica: usize) -> &KeeperProxy {
        self.proxies.get(replica).expect("the cluster was started with proxies")
    }

    /// Statements `ON CLUSTER` that a replica was sent since it was started.
    #[must_use]
    pub fn statements_on_cluster(&self, replica: usize) -> u64 {
        let answer = get(self.addresses[replica], COUNT_PATH).unwrap_or_default();
        answer.rsplit("\r\n").next().and_then(|count| count.trim().parse().ok()).expect("a number is told")
    }

    /// Has a replica give no part of this table of `whence` to the others until it is started again.
    ///
    /// # Panics
    /// If it does not answer.
    pub fn keep_parts_of(&self, replica: usize, table: &str) {
        let answer = get(self.addresses[replica], &format!("{KEEP_PATH}{table}")).unwrap_or_default();
        assert!(answer.ends_with("kept"), "{answer}");
    }

    fn keeper_pid(&self) -> Option<libc::pid_t> {
        self.keeper.as_ref()?;
        fs::read_to_string(self.dir.join("keeper").join(PID_FILE)).ok()?.trim().parse().ok()
    }

    fn launch(&mut self, replica: usize) {
        assert!(self.replicas[replica].is_none(), "it runs");
        let keeper = self.proxies.get(replica).map_or(self.keeper_address, KeeperProxy::address);
        let joined = |values: Vec<String>| values.join(",");
        let mut command = Command::new(&self.binary);
        command
            .args(["replica", "--number", &(replica + 1).to_string(), "--session-ms", SESSION_MS, "--data"])
            .arg(self.dir.join(format!("replica-{}", replica + 1)))
            .arg("--password-file")
            .arg(self.password_file())
            .args(["--replicas", &joined(self.addresses.iter().map(ToString::to_string).collect())])
            .args(["--shards", &joined(self.shards.iter().map(ToString::to_string).collect())])
            .args(["--parts", &self.parts[replica].to_string()])
            .args(["--keeper", &keeper.to_string()]);
        self.replicas[replica] = Some(self.spawn(&format!("replica-{}", replica + 1), command));
    }

    fn until_answers(&mut self, replica: usize) {
        let address = self.addresses[replica];
        let is_there = || get(address, "/ping").is_some_and(|answer| answer.starts_with("HTTP/1.1 200"));
        self.until(&format!("replica-{}", replica + 1), "answers", is_there);
    }

    fn spawn(&self, name: &str, mut command: Command) -> Child {
        let log = File::options().create(true).append(true).open(self.log(name)).expect("a log can be made");
        let err = log.try_clone().expect("a file has another handle");
        command.stdin(Stdio::null()).stdout(log).stderr(err).spawn().expect("a process can be started")
    }

    fn log(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.log"))
    }

    fn until(&self, name: &str, what: &str, mut is_so: impl FnMut() -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !is_so() {
            let log = || fs::read_to_string(self.log(name)).unwrap_or_default();
            assert!(Instant::now() < deadline, "{name} never {what}; it logged:\n{}", log());
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        (0..self.replicas.len()).for_each(|replica| self.kill(replica));
        self.kill_keeper();
    }
}

fn end(child: Option<Child>) {
    if let Some(mut child) = child {
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn pid(child: &Child) -> libc::pid_t {
    libc::pid_t::try_from(child.id()).expect("process ids are positive ints")
}

fn signal(pid: libc::pid_t, signal: libc::c_int) {
    // SAFETY: a plain system call, to a process that this one started.
    unsafe { libc::kill(pid, signal) };
}

/// Keeper takes connections a while before it serves.
fn serves(keeper: SocketAddr) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect_timeout(&keeper, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"srvr")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.contains("Mode: standalone"))
}

fn get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// From below the range that the kernel gives to outgoing connections and the one that test brokers choose from, so that
/// nobody takes one while its process is dead.
fn free_addresses(count: usize) -> Vec<SocketAddr> {
    let mut held = Vec::new();
    while held.len() < count {
        let port = 12_000 + (uuid::Uuid::new_v4().as_u128() % 4_000) as u16;
        held.extend(TcpListener::bind((Ipv4Addr::LOCALHOST, port)));
    }
    held.iter().map(|listener| listener.local_addr().expect("a bound listener has an address")).collect()
}

fn write_private(path: &Path, text: &str) {
    use std::os::unix::fs::OpenOptionsExt;
    let file = File::options().create(true).truncate(true).write(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).expect("a test's folder can be written");
}

/// `target/PROFILE/whence-clickhouse-replica`, seen from `target/PROFILE/deps/TEST`.
fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own file");
    let folder = test.parent().filter(|folder| folder.ends_with("deps")).and_then(Path::parent);
    let path = folder.or(test.parent()).unwrap_or(Path::new(".")).join("whence-clickhouse-replica");
    assert!(
        path.is_file(),
        "the replica is not at {}: run `cargo build -p whence-clickhouse-replica --bins` first",
        path.display()
    );
    path
}
