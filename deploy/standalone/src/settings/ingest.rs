//! Settings of the edge and of the journals.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use whence_ingest::edge::{CookieConfig, EdgeConfig, SecureConfig};
use whence_journal::GroupCommitConfig;
use whence_journal::{JournalConfig, Quota};
use whence_runtime::http::forwarded::ForwardedHeader;
use whence_runtime::settings::ByteSize;
use whence_runtime::shares::{Callers, ShareSettings};

use super::threads;

/// A network in CIDR notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(pub IpNet);

impl FromStr for Network {
    type Err = ipnet::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

whence_runtime::parsed_value! {
    Network => "NETWORK", "expected a network such as 10.0.0.0/8 or fd00::/8";
}

whence_runtime::settings! {
    /// Edge
    pub struct EdgeSettings {
        /// Address of the redirector.
        pub edge_listen: SocketAddr = "127.0.0.1:8080",
        /// Threads of the redirector, each with a journal; 0: as many as there are cores.
        pub edge_threads: usize = "0" in 0..=256,
        /// Connections at a time, for each thread.
        pub edge_connections_max: usize = "20000" in 1..=1_000_000,
        /// Size of a request's head.
        pub edge_head_bytes_max: ByteSize = "16KiB" in ByteSize::kib(8)..=ByteSize::kib(256),
        /// Time for a request's head, and for the silence between two requests of a connection.
        pub edge_head_timeout: Duration = "15s" in Duration::from_secs(1)..=Duration::from_secs(600),
        /// Time for open connections to finish when the edge stops.
        pub edge_drain_timeout: Duration = "10s" in Duration::ZERO..=Duration::from_secs(300),
        /// Name of the visitor cookie.
        pub cookie_name: String = "whence_visitor",
        /// How long browsers keep the visitor cookie.
        pub cookie_max_age: Duration = "365d" in Duration::from_secs(60)..=Duration::from_secs(400 * 86_400),
        /// Browsers send the visitor cookie over https only.
        pub cookie_secure: bool = "true",
        /// List of user agents in place of the built-in one: lines of a tag, a tab, a word or regular expression.
        pub agents_file: Option<PathBuf>,
    }
}

whence_runtime::settings! {
    /// Proxies
    pub struct ProxySettings {
        /// Networks of proxies whose header on forwarded clients counts; none: the client is who connects.
        pub trusted_proxies: Vec<Network>,
        /// The header that they write; the other one is the client's own and does not count.
        pub trusted_proxies_header: ForwardedHeader = "x-forwarded-for",
        /// Networks whose connections to the edge begin with a header of the PROXY protocol, version 1 or 2; without it
        /// they are refused, and with it everybody else is.
        pub proxy_protocol_from: Vec<Network>,
    }
}

impl ProxySettings {
    /// The networks whose headers count.
    pub fn networks(&self) -> Vec<IpNet> {
        self.trusted_proxies.iter().map(|network| network.0).collect()
    }

    /// The shares of callers, behind these proxies by the client that they forward.
    pub fn callers(&self, shares: &ShareSettings) -> Callers {
        shares.callers(self.networks(), self.trusted_proxies_header)
    }
}

whence_runtime::settings! {
    /// Journals
    pub struct JournalSettings {
        /// Disk that the journals of clicks may take, all threads together.
        ///
        /// This is how long an outage of ClickHouse or Kafka may last before clicks are lost: a click takes
        /// about 300 bytes.
        pub click_journal_quota: ByteSize = "8GiB" in ByteSize::mib(8)..,
        /// Disk that the journal of leads and qualifications may take.
        pub conversion_journal_quota: ByteSize = "2GiB" in ByteSize::mib(8)..,
        /// Size of a journal's file; also the step in which disk is taken and given back.
        pub journal_segment: ByteSize = "16MiB" in ByteSize::mib(1)..=ByteSize::mib(512),
        /// How long a journal's file takes records before the next one is begun, full or not.
        ///
        /// With `journal-grace` this bounds how long what has arrived is still on this disk.
        pub journal_segment_age: Duration = "1h" in Duration::from_secs(1)..=Duration::from_secs(30 * 86_400),
        /// How long a journal's file stays after all of it has arrived in ClickHouse or Kafka.
        ///
        /// Within the quota: it must hold the clicks of this time beside those of an outage.
        pub journal_grace: Duration = "2m" in Duration::ZERO..=Duration::from_secs(7 * 86_400),
        /// Leads and qualifications that wait for the disk at a time; more are answered 503.
        pub conversion_waiting_max: ByteSize = "16MiB" in ByteSize::mib(1)..=ByteSize::gib(1),
    }
}

impl EdgeSettings {
    /// The edge's own form, with the journals in `journal_dir`.
    pub fn config(
        &self,
        journals: &JournalSettings,
        proxies: &ProxySettings,
        shares: &ShareSettings,
        secure: Option<SecureConfig>,
        journal_dir: PathBuf,
    ) -> EdgeConfig {
        EdgeConfig {
            listen: self.edge_listen,
            secure,
            threads: threads(self.edge_threads),
            segment_bytes: journals.journal_segment.as_u64(),
            segment_age: journals.journal_segment_age,
            quota_bytes: journals.click_journal_quota.as_u64(),
            head_bytes_max: self.edge_head_bytes_max.as_usize(),
            head_timeout: self.edge_head_timeout,
            connections_max: self.edge_connections_max,
            connections_share_percent: shares.share_connections_percent,
            unknown_codes_per_minute: shares.share_unknown_codes,
            drain_timeout: self.edge_drain_timeout,
            trusted_proxies: proxies.networks(),
            forwarded_header: proxies.trusted_proxies_header,
            proxy_protocol_from: proxies.proxy_protocol_from.iter().map(|network| network.0).collect(),
            cookie: CookieConfig {
                name: self.cookie_name.clone(),
                max_age: self.cookie_max_age,
                is_secure: self.cookie_secure,
            },
            agents_path: self.agents_file.clone(),
            ..EdgeConfig::new(self.edge_listen, journal_dir)
        }
    }
}

impl JournalSettings {
    /// The conversions' journal in `dir`.
    pub fn conversions(&self, dir: PathBuf) -> GroupCommitConfig {
        GroupCommitConfig {
            journal: JournalConfig {
                dir,
                segment_bytes: self.journal_segment.as_u64(),
                quota: Quota::bytes(self.conversion_journal_quota.as_u64()),
            },
            waiting_bytes_max: self.conversion_waiting_max.as_usize(),
            segment_age: self.journal_segment_age,
        }
    }

    /// What is wrong with the sizes for this number of edge threads: a journal needs the file that is being
    /// written, the next one, and one that waits.
    pub fn mistakes(&self, edge_threads: usize) -> Vec<String> {
        const FILES_MIN: u64 = 3;
        let least = ByteSize::bytes(self.journal_segment.as_u64().saturating_mul(FILES_MIN));
        let clicks_least = ByteSize::bytes(least.as_u64().saturating_mul(threads(edge_threads) as u64));
        let mut mistakes = Vec::new();
        if self.click_journal_quota < clicks_least {
            mistakes.push(format!(
                "click-journal-quota must be at least {clicks_least}: {FILES_MIN} files of journal-segment for \
                 each of {} threads",
                threads(edge_threads)
            ));
        }
        if self.conversion_journal_quota < least {
            mistakes.push(format!(
                "conversion-journal-quota must be at least {least}: {FILES_MIN} files of journal-segment"
            ));
        }
        mistakes
    }
}
