//! Drives the load: an open loop of clicks, the stories that follow them, and a ledger of it all.
//!
//! | module | what it does |
//! |---|---|
//! | [`settings`] | how much of what |
//! | `worker` | one thread: keeps the schedule, bounds what is open |
//! | `agenda` | what is due when |
//! | `lanes` | connections that take requests as they come |
//! | `clicks`, `letters` | requests of redirects and of events, and what their answers mean |
//! | [`measure`] | latencies and counts |
//! | `timer` | sleeps shorter than a millisecond |
//!
//! Latency is measured from the moment a request was due, not from the moment it was sent: a server that
//! stalls delays everything that should have been sent meanwhile, and that shows (no coordinated
//! omission). What the generator itself could not start in time is counted apart.

mod agenda;
mod book;
mod clicks;
mod lanes;
mod letters;
pub mod measure;
pub mod settings;
mod timer;
mod worker;

pub use measure::{Measured, Progress};
pub use settings::DriveSettings;

use crate::{
    ledger::{Entry, Header, Ledger},
    wire::Target,
};
use hyper::header::HeaderValue;
use std::{
    io,
    sync::{Arc, mpsc::SyncSender},
};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// Where the load goes.
#[derive(Clone, Debug)]
pub struct Targets {
    /// The edge.
    pub edge: Target,
    /// The events API.
    pub api: Target,
    /// `Bearer …`, a key that may write events.
    pub bearer: HeaderValue,
}

/// Why the load ended early.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// A worker thread could not be started.
    #[error("cannot start a worker")]
    Thread(#[source] io::Error),
    /// A worker panicked.
    #[error("a worker ended by a panic")]
    Panicked,
}

/// Sends the load and returns what happened. Entries also go to `file` as they happen. `stop` ends the
/// schedule: what is under way is waited for, what is not is left out.
///
/// # Errors
/// See [`DriveError`]; answers of any kind are entries, not errors.
pub async fn drive(
    header: Header,
    settings: &DriveSettings,
    targets: &Targets,
    file: Option<SyncSender<Vec<Entry>>>,
    progress: &Arc<Progress>,
    stop: &CancellationToken,
) -> Result<(Ledger, Measured), DriveError> {
    let world = Arc::new(header.world.clone());
    let mut running = Vec::with_capacity(settings.workers);
    for part in 0..settings.workers {
        let (done, finished) = oneshot::channel();
        let work = worker::Order {
            part: part as u64,
            seed: header.seed,
            world: Arc::clone(&world),
            settings: settings.clone(),
            targets: targets.clone(),
            file: file.clone(),
            progress: Arc::clone(progress),
            stop: stop.clone(),
        };
        std::thread::Builder::new()
            .name(format!("load-{part}"))
            .spawn(move || {
                // Nobody listens any more when another worker has failed.
                let _sent = done.send(worker::run(work));
            })
            .map_err(DriveError::Thread)?;
        running.push(finished);
    }
    drop(file);
    let mut ledger = Ledger::new(header);
    let mut measured = Measured::default();
    for finished in running {
        let (book, own) = finished.await.map_err(|_| DriveError::Panicked)?.map_err(DriveError::Thread)?;
        book.add_to(&mut ledger);
        measured.add(&own);
    }
    ledger.is_complete = true;
    Ok((ledger, measured))
}
