//! Three ClickHouse replicas and Keeper, as processes of a scenario: the program `whence-clickhouse-replica`, which is
//! beside `whence`.

use super::{FaultError, Ground, roles::Roles, roles::free_address};
use crate::oracle::store::{Roots, StoreAddress};
use std::{
    fs::OpenOptions,
    io::Write as _,
    net::TcpStream,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// How many.
pub(super) const REPLICAS: usize = 3;
const PASSWORD: &str = "password-of-the-replicas-of-a-fault-scenario";
const KEEPER: &str = "keeper";
const WITHIN: Duration = Duration::from_secs(180);

/// They end with their processes' fleet.
#[derive(Debug)]
pub(super) struct Cluster {
    pub roles: Roles,
    addresses: Vec<String>,
    password_file: PathBuf,
    keeper_data: PathBuf,
    keeper: String,
    program: PathBuf,
}

/// The name of a replica's process, from 0.
pub(super) fn name(replica: usize) -> String {
    format!("replica-{}", replica + 1)
}

impl Cluster {
    pub async fn start(ground: &Ground) -> Result<Cluster, FaultError> {
        let program = ground.whence.with_file_name("whence-clickhouse-replica");
        if !program.is_file() {
            return Err(FaultError::NoBinary(program));
        }
        let dir = ground.dir.join("cluster");
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| FaultError::File { path, source }
        };
        std::fs::create_dir_all(&dir).map_err(failed(&dir))?;
        let password_file = dir.join("password");
        let file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&password_file);
        file.and_then(|mut file| file.write_all(PASSWORD.as_bytes())).map_err(failed(&password_file))?;
        let addresses: Vec<String> = (0..REPLICAS).map(|_| free_address()).collect();
        let mut cluster = Cluster {
            roles: Roles::new(&ground.whence, &dir)?,
            addresses,
            password_file,
            keeper_data: dir.join(KEEPER),
            keeper: free_address(),
            program,
        };
        let data = cluster.keeper_data.to_string_lossy().into_owned();
        let arguments = ["keeper", "--data", &data, "--listen", &cluster.keeper];
        cluster.roles.add_program(KEEPER, &cluster.program, &arguments, None)?;
        cluster.keeper_listens().await?;
        let all = cluster.addresses.join(",");
        for replica in 0..REPLICAS {
            let data = dir.join(name(replica)).to_string_lossy().into_owned();
            let (number, parts) = ((replica + 1).to_string(), free_address());
            let password = cluster.password_file.to_string_lossy().into_owned();
            let own =
                ["replica", "--data", &data, "--number", &number, "--replicas", &all, "--parts", &parts];
            let shared = ["--keeper", &cluster.keeper, "--password-file", &password];
            let url = format!("http://{}", cluster.addresses[replica]);
            let arguments = [&own[..], &shared].concat();
            cluster.roles.add_program(&name(replica), &cluster.program, &arguments, Some(&url))?;
        }
        for replica in 0..REPLICAS {
            cluster.roles.answers(&name(replica)).await?;
        }
        Ok(cluster)
    }

    /// Settings by which whence finds them.
    pub fn flags(&self) -> Vec<String> {
        let urls: Vec<_> = self.addresses.iter().map(|address| format!("http://{address}")).collect();
        let password = self.password_file.to_string_lossy().into_owned();
        let flags = ["--clickhouse-url", &urls.join(","), "--clickhouse-password-file", &password];
        flags.into_iter().chain(["--clickhouse-cluster", "main"]).map(str::to_owned).collect()
    }

    /// Where one is.
    pub fn address(&self, replica: usize) -> StoreAddress {
        StoreAddress {
            url: format!("http://{}", self.addresses[replica]),
            database: "whence".into(),
            user: "default".into(),
            password: PASSWORD.into(),
            roots: Roots::machine(),
        }
    }

    /// The one that listens here, `host:port`.
    pub fn at(&self, address: &str) -> Option<usize> {
        self.addresses.iter().position(|known| known == address)
    }

    pub async fn kill(&mut self, replica: usize) -> Result<(), FaultError> {
        self.roles.kill(&name(replica)).await
    }

    pub async fn revive(&mut self, replica: usize) -> Result<(), FaultError> {
        self.roles.start(&name(replica))?;
        self.roles.answers(&name(replica)).await
    }

    /// Stops a replica's time, or lets it go on.
    pub fn freeze(&self, replica: usize, is_frozen: bool) {
        let signal = if is_frozen { libc::SIGSTOP } else { libc::SIGCONT };
        self.roles.id(&name(replica)).into_iter().for_each(|id| send(id, signal));
    }

    /// Stops Keeper's time, or lets it go on.
    pub fn freeze_keeper(&self, is_frozen: bool) {
        let signal = if is_frozen { libc::SIGSTOP } else { libc::SIGCONT };
        self.java().into_iter().for_each(|id| send(id, signal));
    }

    pub async fn kill_keeper(&mut self) -> Result<(), FaultError> {
        // The process that looks after it ends with it.
        self.java().into_iter().for_each(|id| send(id, libc::SIGKILL));
        self.roles.kill(KEEPER).await
    }

    pub async fn revive_keeper(&mut self) -> Result<(), FaultError> {
        self.roles.start(KEEPER)?;
        self.keeper_listens().await
    }

    fn java(&self) -> Option<libc::pid_t> {
        self.roles.id(KEEPER)?;
        std::fs::read_to_string(self.keeper_data.join("java.pid")).ok()?.trim().parse().ok()
    }

    async fn keeper_listens(&self) -> Result<(), FaultError> {
        let deadline = Instant::now() + WITHIN;
        while TcpStream::connect(&self.keeper).is_err() {
            if Instant::now() >= deadline {
                return Err(FaultError::Late { what: "Keeper listens".into(), within: WITHIN });
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // What its process started is not its fleet's.
        self.java().into_iter().for_each(|id| send(id, libc::SIGKILL));
    }
}

fn send(id: libc::pid_t, signal: libc::c_int) {
    // SAFETY: a plain system call, to a process that was started here.
    unsafe { libc::kill(id, signal) };
}
