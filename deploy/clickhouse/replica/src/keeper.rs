//! Debian's ZooKeeper as a child of this process: one server, on one port, without the sync of its log.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use crate::tie::end_with_parent;

/// Where Debian's package `zookeeper` puts what it needs.
const JARS: &str = "/usr/share/java/zookeeper.jar:/usr/share/java/slf4j-nop.jar";
const MAIN: &str = "org.apache.zookeeper.server.quorum.QuorumPeerMain";
/// The name of the file with the server's process id, in its folder.
pub const PID_FILE: &str = "java.pid";

/// Runs it in `data` until it ends.
///
/// # Errors
/// It can't be started (the package or Java is missing), or has ended.
pub fn run(data: &Path, listen: SocketAddr) -> io::Result<()> {
    if !Path::new(JARS.split(':').next().unwrap_or_default()).exists() {
        return Err(io::Error::other(
            "ZooKeeper is missing: apt-get install zookeeper, or run deploy/dev/setup",
        ));
    }
    std::fs::create_dir_all(data)?;
    let config = data.join("zoo.cfg");
    // A session ends after two ticks at the earliest.
    let text = format!(
        "tickTime=500\ndataDir={}\nclientPort={}\nclientPortAddress={}\nadmin.enableServer=false\n\
         maxClientCnxns=0\nminSessionTimeout=1000\nmaxSessionTimeout=60000\nforceSync=no\n",
        data.display(),
        listen.port(),
        listen.ip()
    );
    std::fs::write(&config, text)?;
    let mut java = Command::new("java")
        .args(["-Xmx256m", "-cp", JARS, MAIN])
        .arg(&config)
        .stdin(Stdio::null())
        .spawn()?;
    let id = i32::try_from(java.id()).expect("process ids are positive ints");
    std::fs::write(data.join(PID_FILE), id.to_string())?;
    let running = Arc::new(AtomicI32::new(id));
    let child = Arc::clone(&running);
    end_with_parent(move || {
        let id = child.load(Ordering::SeqCst);
        if id > 0 {
            // SAFETY: a plain system call; the child is waited for by this process alone, which forgets its id first.
            unsafe { libc::kill(id, libc::SIGKILL) };
        }
    })?;
    let status = java.wait()?;
    running.store(0, Ordering::SeqCst);
    Err(io::Error::other(format!("ZooKeeper ended with {status}")))
}
