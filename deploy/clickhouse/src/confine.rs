//! The third lock, the kernel's: this process reaches what the engine stores and what it needs to run, starts no
//! program and opens no connection, whatever the engine is talked into.
//!
//! Of its own folder it reaches the engine's parts and no file beside them, for passwords lie there. Of `/proc`,
//! which shows a process its environment and its memory, it reaches what is named here.
//!
//! Landlock (Linux 5.13; connections since 6.7) takes these rights away from the calling thread and from
//! all threads that it starts later, for good and without privileges. So it has to be called before a
//! runtime is, on the first thread. Where the kernel has less of it, or none, the rest holds and the start
//! says so.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, PathFdError,
    Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};

use crate::engine::{EngineError, Folders};

/// The newest set of rights that this code knows; an older kernel takes what it knows of them.
const NEWEST: ABI = ABI::V6;

/// What the engine and the C library read. Of `/etc`, no more than times and names.
const READ: [&str; 17] = [
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/usr/share/zoneinfo",
    "/etc/localtime",
    "/etc/timezone",
    "/etc/ld.so.cache",
    "/etc/nsswitch.conf",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/sys/vm/overcommit_memory",
    "/sys",
    "/dev/random",
    "/dev/urandom",
    "/dev/zero",
];
/// Devices that are written to.
const WRITTEN: [&str; 1] = ["/dev/null"];

/// How much of it the kernel has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confined {
    /// All that was asked for.
    Fully,
    /// Files and programs; connections only on newer kernels.
    Partly,
    /// The kernel has no Landlock, or it is switched off.
    Not,
}

/// Why a process is not confined though the kernel could.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    /// The kernel refuses.
    #[error("the kernel refuses to confine this process")]
    Ruleset(#[from] RulesetError),
    /// The data folder can't be opened.
    #[error("cannot open the data folder")]
    Data(#[from] PathFdError),
    /// The data folder's parts can't be made.
    #[error("cannot prepare the data folder")]
    Folders(#[from] EngineError),
}

/// What the process still may do.
#[derive(Debug, Clone)]
pub struct Reach {
    /// The engine's data folder.
    pub data: PathBuf,
    /// Files and folders that it reads besides.
    pub read: Vec<PathBuf>,
    /// Folders in which it makes and replaces files besides, and reads none.
    pub write: Vec<PathBuf>,
    /// Whether it may open connections: in trials of engines that do.
    pub connects: bool,
}

/// Takes away everything beyond `reach`, from this thread and from those that it starts.
///
/// # Errors
/// The kernel has Landlock and refuses, or the data folder can't be made.
pub fn confine(reach: &Reach) -> Result<Confined, ConfineError> {
    let everything = AccessFs::from_all(NEWEST);
    let mut ruleset =
        Ruleset::default().set_compatibility(CompatLevel::BestEffort).handle_access(everything)?;
    if !reach.connects {
        ruleset = ruleset.handle_access(AccessNet::ConnectTcp)?;
    }
    let mut ruleset = ruleset.scope(Scope::Signal)?.create()?;
    let reading = AccessFs::ReadFile | AccessFs::ReadDir;
    for path in READ.iter().map(Path::new).chain(reach.read.iter().map(PathBuf::as_path)) {
        ruleset = allow(ruleset, path, reading)?;
    }
    for path in WRITTEN {
        ruleset = allow(ruleset, Path::new(path), AccessFs::ReadFile | AccessFs::WriteFile)?;
    }
    let all_but_programs = everything & !BitFlags::from(AccessFs::Execute);
    // What is not there yet can't be named.
    let Folders { store, config, log, lock } = Folders::make(&reach.data)?;
    for (path, access) in [
        (&store, all_but_programs),
        (&config, all_but_programs),
        (&log, all_but_programs),
        (&lock, all_but_programs & AccessFs::from_file(NEWEST)),
    ] {
        ruleset = ruleset.add_rule(PathBeneath::new(PathFd::new(path)?, access))?;
    }
    for path in &reach.write {
        ruleset = allow(ruleset, path, all_but_programs & !BitFlags::from(AccessFs::ReadFile))?;
    }
    let status = ruleset.restrict_self()?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => Confined::Fully,
        RulesetStatus::PartiallyEnforced => Confined::Partly,
        RulesetStatus::NotEnforced => Confined::Not,
    })
}

/// What is not there needs no rule. A file has fewer rights than a folder.
fn allow(
    ruleset: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    let Ok(fd) = PathFd::new(path) else { return Ok(ruleset) };
    let access = if path.is_dir() { access } else { access & AccessFs::from_file(NEWEST) };
    ruleset.add_rule(PathBeneath::new(fd, access))
}

/// Says what holds.
pub fn tell(confined: Confined) {
    match confined {
        Confined::Fully => tracing::info!("the engine is confined to its own files by the kernel"),
        Confined::Partly => {
            tracing::warn!(
                "the kernel confines the engine's files and programs, but not its connections: Linux 6.7 would"
            );
        }
        Confined::Not => {
            tracing::warn!("the kernel does not confine the engine: Linux 5.13 with Landlock would");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::process::Command;

    use super::*;

    /// Rights are a thread's: the others of this process keep theirs.
    fn confined<T: Send + 'static>(reach: Reach, then: impl FnOnce() -> T + Send + 'static) -> T {
        let thread = std::thread::spawn(move || {
            assert_ne!(confine(&reach).unwrap(), Confined::Not, "this machine's kernel has no landlock");
            then()
        });
        thread.join().unwrap()
    }

    #[test]
    fn a_confined_thread_reads_no_foreign_file_starts_no_program_and_connects_nowhere() {
        let (own, foreign) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let secret = foreign.path().join("secret");
        std::fs::write(&secret, "x").unwrap();
        let (password, written) = (own.path().join("password"), own.path().join("written"));
        std::fs::write(&password, "x").unwrap();
        std::fs::create_dir(&written).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let data = own.path().to_owned();
        let reach =
            Reach { data: data.clone(), read: Vec::new(), write: vec![written.clone()], connects: false };
        confined(reach, move || {
            let stored = data.join("store/own");
            std::fs::write(&stored, "x").unwrap();
            assert_eq!(std::fs::read(&stored).unwrap(), b"x");
            assert!(std::fs::read(&password).is_err());
            assert!(std::fs::write(data.join("own"), "x").is_err());
            for file in ["status", "environ", "maps", "cmdline", "mem"] {
                assert!(std::fs::File::open(format!("/proc/self/{file}")).is_err(), "{file}");
            }
            std::fs::write(written.join("new"), "x").unwrap();
            std::fs::rename(written.join("new"), written.join("replaced")).unwrap();
            assert!(std::fs::read(written.join("replaced")).is_err());
            assert!(std::fs::read(&secret).is_err());
            assert!(std::fs::read("/etc/passwd").is_err());
            assert!(std::fs::write(secret.with_file_name("new"), "x").is_err());
            assert!(Command::new("/bin/true").status().is_err());
            assert!(TcpStream::connect(address).is_err());
        });
        assert!(TcpStream::connect(address).is_ok());
    }
}
