//! How a running process is asked for a snapshot of its folder: a socket in the folder, which only its owner can reach.
//!
//! A line of JSON answers a connection: `{"snapshot": FOLDER}` or `{"refused": WHY}`. The snapshot stays until the
//! connection ends, however that happens. One at a time.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use whence_aggregator::pause::Pause;
use whence_clickhouse_embedded::still::Still;
use whence_ingest::registry::{Registry, embedded, snapshot as registry_entries};

use super::{BackupError, DOOR, snapshot};
use crate::chain::chain;

whence_metrics::declare! {
    /// Snapshots of the data folder that a backup was asked for.
    counter SNAPSHOTS: "whence_backup_snapshots_total" { outcome: ["taken", "refused"] };
    /// How long blocks and the engine stood still for the last of them.
    gauge STILL: "whence_backup_still_seconds";
}

/// How long blocks that are under way may take to end.
const BLOCKS_MAX: Duration = Duration::from_secs(60);
/// How long the process may take to answer whoever asks.
const ANSWER_MAX: Duration = Duration::from_secs(600);
const AGAIN: Duration = Duration::from_millis(200);

/// What of a process a snapshot has to know, as it comes up.
#[derive(Clone, Default)]
pub struct Sources {
    /// Holds the partitions that the process works.
    pub pause: Pause,
    parts: Arc<Mutex<Parts>>,
}

#[derive(Clone, Default)]
struct Parts {
    engine: Engine,
    registry: Option<Arc<dyn Registry>>,
}

/// The engine whose files are in the folder.
#[derive(Clone, Default)]
pub enum Engine {
    /// None.
    #[default]
    None,
    /// One that can't be held still now, and why.
    Refused(&'static str),
    /// One that can.
    Held(Still),
}

impl Sources {
    /// This is the engine from now on.
    pub fn engine(&self, engine: Engine) {
        self.lock().engine = engine;
    }

    /// The registry that is in the folder is open.
    pub fn registry(&self, registry: Arc<dyn Registry>) {
        self.lock().registry = Some(registry);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Parts> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The folder as it stands; the process goes on as soon as it is linked.
    async fn take(&self, data: &Path) -> Result<PathBuf, BackupError> {
        let Parts { engine, registry } = self.lock().clone();
        if registry.is_none() && data.join("registry.redb").exists() {
            return Err(BackupError::Refused("it is starting: try again when it is ready".into()));
        }
        let still = match engine {
            Engine::None => None,
            Engine::Refused(why) => return Err(BackupError::Refused(why.into())),
            Engine::Held(still) => Some(still),
        };
        let staging = blocking({
            let data = data.to_owned();
            move || snapshot::clear(&data)
        })
        .await?;
        let paused = timeout(BLOCKS_MAX, self.pause.hold()).await.map_err(|_| {
            let seconds = BLOCKS_MAX.as_secs();
            BackupError::Refused(format!(
                "a block has been under way for {seconds} s: see what /readyz says of it"
            ))
        })?;
        let held = match &still {
            None => None,
            Some(still) => Some(still.hold().await.map_err(BackupError::io(data))?),
        };
        let began = std::time::Instant::now();
        let (from, into) = (data.to_owned(), staging.clone());
        let taken = blocking(move || {
            // Both go on when this thread is done, whatever becomes of who asked for it.
            let _held = (held, paused);
            snapshot::take(&from, &into)
        });
        taken.await?;
        metrics::gauge!(STILL).set(began.elapsed().as_secs_f64());
        tracing::info!(stood_still = ?began.elapsed(), "a snapshot for a backup was taken");
        let (from, into) = (data.to_owned(), staging.clone());
        blocking(move || {
            snapshot::take_rest(&from, &into)?;
            match registry {
                None => Ok(()),
                // Last: it knows everything that the others name.
                Some(registry) if from.join("registry.redb").exists() => {
                    let entries = registry_entries::entries(registry.shared());
                    embedded::write_copy(&into.join("registry.redb"), entries)
                        .map_err(|error| BackupError::Refused(chain(&error)))
                }
                Some(_) => Ok(()),
            }
        })
        .await?;
        Ok(staging)
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BackupError> + Send + 'static,
) -> Result<T, BackupError> {
    tokio::task::spawn_blocking(work).await.expect("copying files does not panic")
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Said {
    Snapshot(PathBuf),
    Refused(String),
}

/// The path of a socket may have 107 bytes; that of a folder more.
fn short(folder: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{DOOR}", folder.as_raw_fd()))
}

/// Opens the door of the folder.
///
/// # Errors
/// The socket can't be made.
pub fn open(data: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(data.join(DOOR)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    UnixListener::bind(short(&File::open(data)?))
}

/// Answers at the door until `stop`.
pub async fn serve(door: UnixListener, data: PathBuf, sources: Sources, stop: CancellationToken) {
    whence_metrics::begin(module_path!());
    let turn = Arc::new(tokio::sync::Mutex::new(()));
    while let Some(accepted) = stop.run_until_cancelled(door.accept()).await {
        match accepted {
            Ok((stream, _)) => {
                tokio::spawn(answer(stream, data.clone(), sources.clone(), Arc::clone(&turn)));
            }
            Err(error) => {
                tracing::warn!(%error, "backups cannot be requested from this process");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
    drop(door);
    // It is removed at the next start at the latest.
    let _ = fs::remove_file(data.join(DOOR));
}

async fn answer(mut stream: UnixStream, data: PathBuf, sources: Sources, turn: Arc<tokio::sync::Mutex<()>>) {
    let taken = match turn.try_lock() {
        Ok(turn) => sources.take(&data).await.map(|staging| (turn, staging)),
        Err(_) => Err(BackupError::Refused("another backup of this folder is being made".into())),
    };
    let outcome = if taken.is_ok() { "taken" } else { "refused" };
    metrics::counter!(SNAPSHOTS, "outcome" => outcome).increment(1);
    let said = match &taken {
        Ok((_, staging)) => Said::Snapshot(staging.clone()),
        Err(error) => Said::Refused(chain(error)),
    };
    let line = format!("{}\n", serde_json::to_string(&said).expect("texts"));
    if stream.write_all(line.as_bytes()).await.is_ok() {
        let mut rest = [0; 64];
        while matches!(stream.read(&mut rest).await, Ok(1..)) {}
    }
    match taken {
        Ok((turn, staging)) => {
            if let Err(error) = blocking(move || snapshot::remove(&staging)).await {
                tracing::warn!(error = chain(&error), "what was taken for a backup can't be removed");
            }
            drop(turn);
        }
        Err(error) => {
            tracing::warn!(error = chain(&error), "no backup is made");
            let staging = data.join(super::STAGING);
            if turn.try_lock().is_ok() && blocking(move || snapshot::remove(&staging)).await.is_err() {
                tracing::warn!("what was taken for a backup can't be removed");
            }
        }
    }
}

/// A snapshot that a running process keeps for as long as this lives.
pub struct Lent {
    /// Where it is.
    pub folder: PathBuf,
    _stream: StdStream,
}

/// Asks the process of the folder for a snapshot; `None` where no process answers.
///
/// # Errors
/// The process gives none.
pub fn ask(data: &Path) -> Result<Option<Lent>, BackupError> {
    let folder = File::open(data).map_err(BackupError::io(data))?;
    let Ok(stream) = StdStream::connect(short(&folder)) else { return Ok(None) };
    let door = data.join(DOOR);
    stream.set_read_timeout(Some(ANSWER_MAX)).map_err(BackupError::io(&door))?;
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line).map_err(BackupError::io(&door))?;
    match serde_json::from_str(&line) {
        Ok(Said::Snapshot(folder)) => Ok(Some(Lent { folder, _stream: stream })),
        Ok(Said::Refused(why)) => Err(BackupError::Door(why)),
        Err(_) => Err(BackupError::Door("it ended meanwhile".into())),
    }
}
