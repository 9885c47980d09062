//! What every process has: a folder, threads, secrets, logs, the operator's port.

use std::path::PathBuf;
use std::time::Duration;

use whence_runtime::admin::AdminSettings;
use whence_runtime::settings::{ByteSize, Secret};
use whence_runtime::shutdown::ShutdownSettings;
use whence_runtime::site::SiteSettings;
use whence_runtime::telemetry::LogSettings;
use whence_runtime::tls::TlsFiles;

whence_runtime::settings! {
    /// Folder
    pub struct DataSettings {
        /// Folder with everything this process keeps; one process at a time.
        pub data: PathBuf = "whence-data",
    }
}

whence_runtime::settings! {
    /// Process
    pub struct WorkerSettings {
        /// Threads for all but the edge, which has its own; 0: as many as there are cores.
        pub workers: usize = "0" in 0..=512,
        /// Free disk in the folder's file system below which the process says that it is degraded.
        pub disk_free_min: ByteSize = "512MiB" in ByteSize::mib(0)..,
        /// How long a process that is to stop goes on as before while it already says that it is not ready.
        ///
        /// Gives load balancers the time to notice. It is part of the time that a stop may take.
        pub drain_delay: Duration = "0s" in Duration::ZERO..=Duration::from_secs(300),
    }
}

whence_runtime::settings! {
    /// Answers to tools
    pub struct AnswerSettings {
        /// How long ClickHouse may be silent before a tool gives up, with status 1. That it waits it says after 2 s.
        pub answer_timeout: Duration = "5m" in Duration::from_secs(1)..=Duration::from_secs(86_400),
    }
}

whence_runtime::settings! {
    /// Calls of tools
    pub struct CallSettings {
        /// Where links are answered, such as `https://go.example` or `http://edge:8080`; by default what the process of the folder
        /// has noted.
        pub edge_url: Option<String>,
        /// Where events are taken, such as `https://api.example` or `http://api:8081`; by default what the process of the folder has
        /// noted.
        pub api_url: Option<String>,
        /// Certificates of the authorities that those at `edge-url` and `api-url` may be signed by, PEM; by default those
        /// that the machine trusts.
        pub call_ca_file: Option<PathBuf>,
        /// API key that tools call with; by default the admin key in the folder.
        pub api_key: Option<Secret>,
    }
}

impl CallSettings {
    /// The certificates that a call over https trusts.
    pub fn tls(&self) -> TlsFiles {
        TlsFiles { authorities: self.call_ca_file.clone(), identity: None }
    }
}

whence_runtime::settings! {
    /// Secrets
    pub struct SecretsSettings {
        /// File with the token keys and hashing secrets, made with `whence secrets new`.
        ///
        /// `whence up` makes one in its folder if none is given. All processes of a deployment have the
        /// same one. Others than its owner and group must not be able to read it.
        pub secrets_file: Option<PathBuf>,
    }
}

whence_runtime::compose! {
    /// What every process that stays has.
    pub struct ProcessSettings {
        /// Its folder.
        pub data: DataSettings,
        /// Its threads.
        pub workers: WorkerSettings,
        /// The operator's port.
        pub admin: AdminSettings,
        /// Who may call what it has on loopback.
        pub site: SiteSettings,
        /// Its end.
        pub shutdown: ShutdownSettings,
        /// Its logs.
        pub log: LogSettings,
    }
    check the_delay_is_part_of_the_stop
}

fn the_delay_is_part_of_the_stop(process: &ProcessSettings) -> Vec<String> {
    let is_too_long = process.workers.drain_delay >= process.shutdown.shutdown_timeout;
    let text = "drain-delay must be shorter than shutdown-timeout, which includes it";
    is_too_long.then(|| text.to_owned()).into_iter().collect()
}
