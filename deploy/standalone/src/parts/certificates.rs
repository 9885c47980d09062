//! The certificates of the edge: from files, which are looked at again and again and on SIGHUP, and from an
//! authority.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use whence_ingest::edge::LinkTable;
use whence_ingest::edge::acme::{AcmeConfig, Keeper};
use whence_ingest::edge::tls::{CertificateFolder, CertificateStore};

use crate::failure::Failure;
use crate::process::Process;
use crate::settings::TlsSettings;

const FILES: &str = "edge.certificates";
const AUTHORITY: &str = "edge.acme";
/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Where certificates come from.
pub struct Certificates {
    store: Arc<CertificateStore>,
    folder: Option<CertificateFolder>,
    acme: Option<AcmeConfig>,
}

impl Certificates {
    /// Reads the files.
    ///
    /// # Errors
    /// One of them is not usable.
    pub fn open(settings: &TlsSettings, process: &Process) -> Result<Self, Failure> {
        let store = Arc::new(CertificateStore::default());
        let open =
            |path| CertificateFolder::open(path, Arc::clone(&store), Some(process.health.component(FILES)));
        let folder = settings.tls_certificates.clone().map(open).transpose()?;
        let acme = settings.acme(process.data.acme());
        Ok(Self { store, folder, acme })
    }

    /// All of them, by name.
    pub fn store(&self) -> Arc<CertificateStore> {
        Arc::clone(&self.store)
    }

    /// Keeps them up to date until `stop`.
    ///
    /// # Errors
    /// What an authority gave cannot be kept, or there is no signal to be had.
    pub fn keep(
        self,
        links: &Arc<LinkTable>,
        process: &Process,
        stop: &CancellationToken,
    ) -> Result<(), Failure> {
        let Self { store, folder, acme } = self;
        if let Some(config) = acme {
            let health = Some(process.health.component(AUTHORITY));
            let keeper = Keeper::new(config, store, Arc::clone(links), health)?;
            tokio::spawn(stop.clone().run_until_cancelled_owned(keeper.run()));
        }
        if let Some(folder) = folder {
            let mut asked = signal(SignalKind::hangup()).map_err(Failure::Process)?;
            let looking = async move {
                let mut folder = folder;
                let mut ticks = interval(LOOK_EVERY);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                loop {
                    tokio::select! {
                        _ = ticks.tick() => {}
                        _ = asked.recv() => tracing::info!("looking at certificates because of SIGHUP"),
                    }
                    let looked = tokio::task::spawn_blocking(move || {
                        folder.look();
                        folder
                    });
                    match looked.await {
                        Ok(looked) => folder = looked,
                        Err(error) => {
                            return tracing::error!(%error, "certificates are no longer checked for renewal");
                        }
                    }
                }
            };
            tokio::spawn(stop.clone().run_until_cancelled_owned(looking));
        }
        Ok(())
    }
}
