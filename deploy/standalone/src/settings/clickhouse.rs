//! Settings of ClickHouse, embedded or not, and of what writes to it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::ExposeSecret;
use whence_aggregator::click::DedupSettings;
use whence_aggregator::clickhouse::StoreSettings;
use whence_aggregator::clickhouse::migrate::TableSettings;
use whence_aggregator::clickhouse::replicas::ReplicaSettings;
use whence_aggregator::filter::FilterSettings;
use whence_aggregator::partition::LoopSettings;
use whence_aggregator::servers::ServerUrl;
use whence_clickhouse_embedded::Account;
use whence_runtime::settings::{ByteSize, Secret};
use whence_runtime::tls::{self, TlsFiles};
use whence_schemas::sql::Topology;

use super::RetentionSettings;

whence_runtime::settings! {
    /// ClickHouse
    pub struct ClickHouseSettings {
        /// Address of a ClickHouse server, such as `https://clickhouse:8443` or `http://clickhouse:8123`; several with
        /// the same tables, separated by commas, are asked in turn. Without one, `whence up` runs the embedded engine.
        ///
        /// A path before ClickHouse's own (`https://host/prefix`) and credentials (`https://user:password@host`) may be
        /// in it. Without a port it is 443, or 80 with `http://`; ClickHouse itself listens at 8443 and 8123.
        pub clickhouse_url: Vec<ServerUrl>,
        /// Certificates of the authorities that ClickHouse's certificate may be signed by, PEM; by default those that
        /// the machine trusts.
        pub clickhouse_ca_file: Option<PathBuf>,
        /// Certificate that whence shows to ClickHouse, PEM, with those between it and an authority; needs
        /// `clickhouse-key-file`.
        pub clickhouse_certificate_file: Option<PathBuf>,
        /// Key of that certificate, PEM. Others than its owner must not be able to read it.
        pub clickhouse_key_file: Option<PathBuf>,
        /// Name of a replicated cluster in the server's settings; none: one server.
        pub clickhouse_cluster: Option<String>,
        /// Every insert is on the disk before it counts. On by default, except for a cluster.
        pub fsync_inserts: Option<bool>,
        /// Blocks of all partitions that a table remembers, so that one that was written in part can be completed:
        /// more than are written during the longest outage of one partition. 100000, and 10000 for a cluster.
        pub blocks_remembered: Option<u64>,
    }
}

whence_runtime::settings! {
    /// ClickHouse account
    pub struct AccountSettings {
        /// Database with whence's tables.
        pub clickhouse_database: String = "whence",
        /// User of ClickHouse.
        pub clickhouse_user: String = "default",
        /// Password of that user. The embedded engine's is made at the first start and kept in the folder, in
        /// `clickhouse-password`, unless one is given.
        pub clickhouse_password: Option<Secret>,
    }
}

whence_runtime::settings! {
    /// Embedded ClickHouse
    pub struct EngineSettings {
        /// Address of the embedded ClickHouse. It speaks no TLS: beyond this machine, put something before it that
        /// does.
        pub clickhouse_listen: SocketAddr = "127.0.0.1:8123",
        /// The engine, a `libchdb.so`; by default the one that `deploy/clickhouse/fetch-engine` has fetched.
        pub clickhouse_engine: Option<PathBuf>,
        /// Memory of all statements and caches together.
        pub clickhouse_memory_max: ByteSize = "4GiB" in ByteSize::mib(512)..,
        /// Memory of one statement.
        pub clickhouse_query_memory_max: ByteSize = "2GiB" in ByteSize::mib(128)..,
        /// Time of one statement.
        pub clickhouse_query_timeout: Duration = "5m" in Duration::from_secs(1)..=Duration::from_secs(86_400),
        /// Queries at a time; more wait.
        pub clickhouse_queries_max: usize = "8" in 1..=256,
        /// Inserts at a time; more wait. Queries do not take their places.
        pub clickhouse_inserts_max: usize = "4" in 1..=64,
        /// Password of the user `reader`, for people and their tools: reads everything, and makes tables in the
        /// database `scratch`. Made at the first start and kept in the folder, in `clickhouse-reader-password`,
        /// unless one is given.
        pub clickhouse_reader_password: Option<Secret>,
        /// Statements of the reader, the console included, at a time; more wait. They take no place of the
        /// aggregator's.
        pub clickhouse_reader_queries_max: usize = "4" in 1..=64,
        /// Memory of all statements of the reader together; each may take its part of it.
        pub clickhouse_reader_memory_max: ByteSize = "2GiB" in ByteSize::mib(64)..,
        /// Time of one statement of the reader.
        pub clickhouse_reader_query_timeout: Duration = "5m" in Duration::from_secs(1)..=Duration::from_secs(86_400),
        /// Size of all tables in the database `scratch`.
        pub clickhouse_scratch_max: ByteSize = "1GiB" in ByteSize::mib(1)..,
        /// Tables and views in the database `scratch`.
        pub clickhouse_scratch_tables_max: u64 = "100" in 1..=10_000,
        /// How long after its last change a table of the database `scratch` stays.
        pub clickhouse_scratch_age_max: Duration = "168h" in Duration::from_secs(60)..=Duration::from_secs(31_536_000),
    }
}

whence_runtime::settings! {
    /// Aggregator
    pub struct AggregatorSettings {
        /// Records of a block, which is one insert into each table.
        pub block_records_max: usize = "100000" in 1..=1_000_000,
        /// Size of a block's records.
        pub block_bytes_max: ByteSize = "64MiB" in ByteSize::mib(1)..=ByteSize::gib(1),
        /// A block that is not full is inserted this long after its first record.
        pub linger: Duration = "1s" in Duration::from_millis(1)..=Duration::from_secs(60),
        /// Tries of an insert before its partition begins again at its last commit.
        pub insert_tries_max: u32 = "6" in 1..=100,
        /// How long an insert may take.
        pub insert_timeout: Duration = "60s" in Duration::from_secs(1)..=Duration::from_secs(3600),
        /// How long a look-up in ClickHouse may take.
        pub lookup_timeout: Duration = "60s" in Duration::from_secs(1)..=Duration::from_secs(3600),
        /// How long an insert or a look-up waits in place for what recovers by itself: a server, a quorum of replicas,
        /// Keeper. After this its partition begins again at its last commit, which changes nothing else.
        pub clickhouse_wait_max: Duration = "10m" in Duration::from_secs(1)..=Duration::from_secs(86_400),
        /// How long a replica may take to have what the others have, before it is asked for anything: when a partition
        /// is taken over, and when the replica that was asked before is away. Then it is tried again.
        pub clickhouse_catch_up_max: Duration = "30s" in Duration::from_secs(1)..=Duration::from_secs(3600),
        /// Memory of a partition's filters of seen ids.
        pub filter_bytes_max: ByteSize = "256MiB" in ByteSize::mib(1)..=ByteSize::gib(64),
        /// Share of new ids that the filters take for seen ones; each costs a look-up.
        pub filter_false_positive_rate: f64 = "0.0001" in 0.000_000_1..=0.5,
        /// Stored clicks that a process keeps in memory (about 0.1 KB each), so that the leads that follow on them
        /// ask ClickHouse for nothing. 0: none.
        pub hot_clicks_max: usize = "1800000" in 0..=100_000_000,
        /// How long after an erasure other names are given to the person's keys, and how long after that the links under the keys
        /// are removed: longer than a process may be cut off and come back. Personal columns are blanked at once.
        pub erasure_unlink_after: Duration = "10m" in Duration::ZERO..=DAY,
        /// How often stored rows are held against the account of what was stored.
        pub verify_every: Duration = "5m" in Duration::from_secs(1)..=Duration::from_secs(86_400),
        /// Where commits are lost (an expired or renamed consumer group, a removed checkpoint), go on behind what
        /// is stored instead of standing still. For one start: of a block that was in flight a part may lack.
        pub resume_behind_stored: bool = "false",
        /// Where less is stored than was committed (tables from an older copy), read the records behind the account of
        /// the blocks again instead of standing still. For one start.
        pub replay_missing: bool = "false",
        /// Where less is stored than was committed, or records of a journal are gone before they were read, count what
        /// lacks as lost (rejects with the reason `damaged`) instead of standing still. For one start; with
        /// `replay-missing` only what can't be read again.
        pub accept_loss: bool = "false",
    }
}

whence_runtime::settings! {
    /// Stored data
    pub struct KeepSettings {
        /// How long rows of clicks are kept. They go by whole months, once all of a month is older. Rollups, leads,
        /// qualifications and rewards stay for good.
        ///
        /// Never shorter than any program gives credit for a click, than Kafka may bring it again, or than a reward that rests
        /// on it is open: where this is, readiness says so and they are kept for as long as that.
        pub click_retention: Duration = "396d" in DAY..=DAY.saturating_mul(36_500),
        /// How long hashes of addresses and their networks (`address`, `prefix`) are kept, in all tables; then they are 0.
        /// By whole days, and never shorter than a program gives credit for a click or a reward that rests on it is open.
        pub address_retention: Duration = "30d" in DAY..=DAY.saturating_mul(36_500),
        /// How long rejects are kept. They go by whole months.
        pub reject_retention: Duration = "396d" in DAY..=DAY.saturating_mul(36_500),
        /// How long the log of deliveries is kept, by whole months: also how long `payouts export` to an endpoint and `deliveries
        /// resend` know what was taken.
        pub delivery_retention: Duration = "396d" in DAY.saturating_mul(31)..=DAY.saturating_mul(36_500),
        /// How long messages to endpoints are kept, by whole months: what an endpoint that is disabled, or recreated
        /// with `since`, can be sent.
        pub message_retention: Duration = "396d" in DAY.saturating_mul(31)..=DAY.saturating_mul(36_500),
        /// How often is looked what is past its time.
        pub retention_every: Duration = "1h" in Duration::from_secs(1)..=DAY,
    }
}

const DAY: Duration = Duration::from_secs(86_400);

impl ClickHouseSettings {
    /// One server or a cluster.
    pub fn topology(&self) -> Topology {
        match &self.clickhouse_cluster {
            None => Topology::Single,
            Some(name) => Topology::Cluster { name: name.clone() },
        }
    }

    /// How the tables are to be. A cluster has copies instead of synced inserts.
    pub fn table_settings(&self, retention: &RetentionSettings) -> TableSettings {
        let is_single = self.clickhouse_cluster.is_none();
        let remembered = match is_single {
            true => TableSettings::BLOCKS_REMEMBERED,
            false => TableSettings::BLOCKS_REMEMBERED_CLUSTER,
        };
        TableSettings {
            sync: self.fsync_inserts.unwrap_or(is_single),
            blocks_remembered: self.blocks_remembered.unwrap_or(remembered).max(1),
            remembered_for: retention.kept_at_most(),
        }
    }

    /// What is wrong with them.
    pub fn mistakes(&self) -> Vec<String> {
        let mut mistakes = self.mistakes_of_tls();
        if self.clickhouse_cluster.is_some() && self.clickhouse_url.is_empty() {
            mistakes.push(
                "clickhouse-cluster needs clickhouse-url: the embedded engine has no cluster".to_owned(),
            );
        }
        let mut credentials = self.clickhouse_url.iter().filter_map(ServerUrl::credentials);
        if let Some((user, password)) = credentials.next()
            && credentials.any(|other| other.0 != user || other.1.expose_secret() != password.expose_secret())
        {
            mistakes.push("clickhouse-url: the addresses have different users or passwords".to_owned());
        }
        mistakes
    }

    /// The certificates that a connection over TLS trusts and presents.
    pub fn tls(&self) -> TlsFiles {
        let identity = self.clickhouse_certificate_file.clone().zip(self.clickhouse_key_file.clone());
        TlsFiles { authorities: self.clickhouse_ca_file.clone(), identity }
    }

    fn mistakes_of_tls(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        if self.clickhouse_certificate_file.is_some() != self.clickhouse_key_file.is_some() {
            let text = "clickhouse-certificate-file and clickhouse-key-file go together: set both or neither";
            mistakes.push(text.to_owned());
        }
        let has_files = self.tls() != TlsFiles::default();
        let is_plain =
            !self.clickhouse_url.is_empty() && !self.clickhouse_url.iter().any(ServerUrl::is_https);
        if has_files && is_plain {
            let text =
                "clickhouse-ca-file and clickhouse-certificate-file are for clickhouse-url with https://";
            mistakes.push(text.to_owned());
        }
        if has_files && let Err(error) = tls::client(&self.tls()) {
            mistakes.push(format!(
                "clickhouse-ca-file, clickhouse-certificate-file or clickhouse-key-file: {error}"
            ));
        }
        mistakes
    }
}

impl AccountSettings {
    /// What is wrong with them.
    pub fn mistakes(&self) -> Vec<String> {
        let name = self.clickhouse_database.as_str();
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !is_name || ["default", "scratch", "system", "information_schema"].contains(&name) {
            let text = "clickhouse-database must be made of letters, digits and `_`, and be no database of the engine's";
            return vec![text.to_owned()];
        }
        Vec::new()
    }
}

impl EngineSettings {
    /// What is wrong with them.
    pub fn mistakes(&self, account: &AccountSettings) -> Vec<String> {
        let mut mistakes = Vec::new();
        if account.clickhouse_user == Account::READER {
            mistakes.push(
                "clickhouse-user must not be `reader`, which is the embedded engine's other user".into(),
            );
        }
        if self.clickhouse_reader_memory_max.as_u64() >= self.clickhouse_memory_max.as_u64() {
            mistakes.push("clickhouse-reader-memory-max must be less than clickhouse-memory-max".to_owned());
        }
        mistakes
    }
}

impl AggregatorSettings {
    /// How partitions are worked.
    pub fn loop_settings(&self) -> LoopSettings {
        let filter = FilterSettings {
            false_positive_rate: self.filter_false_positive_rate,
            bytes_max: self.filter_bytes_max.as_usize(),
            ..FilterSettings::default()
        };
        LoopSettings {
            block_records_max: self.block_records_max,
            block_bytes_max: self.block_bytes_max.as_usize(),
            linger: self.linger,
            unlink_after: self.erasure_unlink_after,
            insert_tries_max: self.insert_tries_max,
            dedup: DedupSettings { filter, ..DedupSettings::default() },
            conversion_filter: filter,
            resume_behind_stored: self.resume_behind_stored,
            replay_missing: self.replay_missing,
            accept_loss: self.accept_loss,
            ..LoopSettings::default()
        }
    }

    /// How several servers are used.
    pub fn replica_settings(&self, clickhouse: &ClickHouseSettings) -> ReplicaSettings {
        ReplicaSettings {
            is_cluster: clickhouse.clickhouse_cluster.is_some(),
            catch_up_max: self.clickhouse_catch_up_max,
            wait_max: self.clickhouse_wait_max,
        }
    }

    /// How ClickHouse is used.
    pub fn store_settings(&self) -> StoreSettings {
        StoreSettings {
            insert_timeout: self.insert_timeout,
            lookup_timeout: self.lookup_timeout,
            hot_clicks_max: self.hot_clicks_max,
        }
    }
}
