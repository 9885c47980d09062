//! What each command is given, and the rules between groups.

use whence_console::http::ConsoleSettings;
use whence_ingest::api::ApiSettings;
use whence_ingest::webhooks::WebhookSecretsSettings;
use whence_outbound::{DeliverySettings, ReachSettings};
use whence_runtime::shares::ShareSettings;
use whence_runtime::telemetry::LogSettings;

use super::{
    AccountSettings, AggregatorSettings, AnswerSettings, CallSettings, ClickHouseSettings, DataSettings,
    EdgeSettings, EngineSettings, JournalSettings, KafkaSettings, KeepSettings, ProcessSettings,
    ProxySettings, RetentionSettings, SecretsSettings, ShipSettings, TlsSettings, TopicSettings,
};

whence_runtime::compose! {
    /// `whence up`.
    pub struct UpSettings {
        pub process: ProcessSettings,
        pub secrets: SecretsSettings,
        pub edge: EdgeSettings,
        pub tls: TlsSettings,
        pub api: ApiSettings,
        pub proxies: ProxySettings,
        pub shares: ShareSettings,
        pub webhooks: WebhookSecretsSettings,
        pub journals: JournalSettings,
        pub aggregator: AggregatorSettings,
        pub keep: KeepSettings,
        pub deliveries: DeliverySettings,
        pub reach: ReachSettings,
        pub clickhouse: ClickHouseSettings,
        pub account: AccountSettings,
        pub engine: EngineSettings,
        pub console: ConsoleSettings,
        pub kafka: KafkaSettings,
        pub topics: TopicSettings,
        pub retention: RetentionSettings,
        pub ship: ShipSettings,
    }
    check up_fits_together
}

whence_runtime::compose! {
    /// `whence ingest`.
    pub struct IngestSettings {
        pub process: ProcessSettings,
        pub secrets: SecretsSettings,
        pub edge: EdgeSettings,
        pub tls: TlsSettings,
        pub api: ApiSettings,
        pub proxies: ProxySettings,
        pub shares: ShareSettings,
        pub webhooks: WebhookSecretsSettings,
        pub reach: ReachSettings,
        pub journals: JournalSettings,
        pub kafka: KafkaSettings,
        pub ship: ShipSettings,
    }
    check ingest_fits_together
}

whence_runtime::compose! {
    /// `whence aggregate`.
    pub struct AggregateSettings {
        pub process: ProcessSettings,
        pub secrets: SecretsSettings,
        pub webhooks: WebhookSecretsSettings,
        pub aggregator: AggregatorSettings,
        pub keep: KeepSettings,
        pub deliveries: DeliverySettings,
        pub reach: ReachSettings,
        pub clickhouse: ClickHouseSettings,
        pub account: AccountSettings,
        pub kafka: KafkaSettings,
    }
    check aggregate_fits_together
}

whence_runtime::compose! {
    /// `whence clickhouse`.
    pub struct ClickHouseRoleSettings {
        pub process: ProcessSettings,
        pub account: AccountSettings,
        pub engine: EngineSettings,
    }
    check clickhouse_fits_together
}

whence_runtime::compose! {
    /// `whence console`.
    pub struct ConsoleRoleSettings {
        pub process: ProcessSettings,
        pub secrets: SecretsSettings,
        pub console: ConsoleSettings,
        pub proxies: ProxySettings,
        pub shares: ShareSettings,
        pub clickhouse: ClickHouseSettings,
        pub account: AccountSettings,
        pub kafka: KafkaSettings,
    }
    check console_fits_together
}

whence_runtime::compose! {
    /// `whence migrate`.
    pub struct MigrateSettings {
        pub data: DataSettings,
        pub clickhouse: ClickHouseSettings,
        pub account: AccountSettings,
        pub answer: AnswerSettings,
        pub retention: RetentionSettings,
        pub log: LogSettings,
    }
    check migrate_fits_together
}

whence_runtime::compose! {
    /// `whence verify`.
    pub struct VerifySettings {
        pub data: DataSettings,
        pub clickhouse: ClickHouseSettings,
        pub account: AccountSettings,
        pub answer: AnswerSettings,
        pub kafka: KafkaSettings,
        pub log: LogSettings,
    }
    check verify_fits_together
}

whence_runtime::compose! {
    /// `whence backup` and `whence restore`.
    pub struct FolderSettings {
        pub data: DataSettings,
        pub log: LogSettings,
    }
}

whence_runtime::compose! {
    /// `whence report`.
    pub struct ReportSettings {
        pub data: DataSettings,
        pub clickhouse: ClickHouseSettings,
        pub account: AccountSettings,
        pub answer: AnswerSettings,
        pub log: LogSettings,
    }
    check report_fits_together
}

whence_runtime::compose! {
    /// `whence lineage`.
    pub struct LineageSettings {
        pub data: DataSettings,
        pub secrets: SecretsSettings,
        pub clickhouse: ClickHouseSettings,
        pub account: AccountSettings,
        pub answer: AnswerSettings,
        pub log: LogSettings,
    }
    check lineage_fits_together
}

whence_runtime::compose! {
    /// `whence try`.
    pub struct TrySettings {
        pub data: DataSettings,
        pub secrets: SecretsSettings,
        pub call: CallSettings,
        pub clickhouse: ClickHouseSettings,
        pub account: AccountSettings,
        pub answer: AnswerSettings,
        pub log: LogSettings,
    }
    check try_fits_together
}

whence_runtime::compose! {
    /// `whence rewards`, `whence payouts mark` and `whence erase`.
    pub struct RewardLedgerSettings {
        pub data: DataSettings,
        pub call: CallSettings,
        pub clickhouse: ClickHouseSettings,
        pub account: AccountSettings,
        pub answer: AnswerSettings,
        pub log: LogSettings,
    }
    check reward_ledger_fits_together
}

whence_runtime::compose! {
    /// `whence payouts export` and `whence deliveries`.
    pub struct EndpointSenderSettings {
        pub data: DataSettings,
        pub call: CallSettings,
        pub webhooks: WebhookSecretsSettings,
        pub deliveries: DeliverySettings,
        pub reach: ReachSettings,
        pub clickhouse: ClickHouseSettings,
        pub account: AccountSettings,
        pub answer: AnswerSettings,
        pub log: LogSettings,
    }
    check endpoint_sender_fits_together
}

whence_runtime::compose! {
    /// `whence import`.
    pub struct ImportSettings {
        pub data: DataSettings,
        pub call: CallSettings,
        pub clickhouse: ClickHouseSettings,
        pub account: AccountSettings,
        pub answer: AnswerSettings,
        pub log: LogSettings,
    }
    check import_fits_together
}

whence_runtime::compose! {
    /// `whence topics`.
    pub struct TopicsSettings {
        pub kafka: KafkaSettings,
        pub topics: TopicSettings,
        pub retention: RetentionSettings,
        pub log: LogSettings,
    }
    check topics_fit_together
}

whence_runtime::compose! {
    /// `whence edges`.
    pub struct EdgesSettings {
        pub kafka: KafkaSettings,
        pub log: LogSettings,
    }
    check edges_fit_together
}

fn edges_fit_together(edges: &EdgesSettings) -> Vec<String> {
    [edges.kafka.mistakes(), needs_kafka(&edges.kafka)].concat()
}

fn up_fits_together(up: &UpSettings) -> Vec<String> {
    let sizes = up.journals.mistakes(up.edge.edge_threads);
    // Of the embedded engine, where that is used.
    let engine = match up.clickhouse.clickhouse_url.is_empty() {
        true => up.engine.mistakes(&up.account),
        false => Vec::new(),
    };
    [
        sizes,
        up.tls.mistakes(&up.kafka),
        up.webhooks.mistakes(),
        up.clickhouse.mistakes(),
        up.account.mistakes(),
        engine,
        up.kafka.mistakes(),
    ]
    .concat()
}

fn clickhouse_fits_together(role: &ClickHouseRoleSettings) -> Vec<String> {
    [role.account.mistakes(), role.engine.mistakes(&role.account)].concat()
}

fn ingest_fits_together(ingest: &IngestSettings) -> Vec<String> {
    let sizes = ingest.journals.mistakes(ingest.edge.edge_threads);
    [
        sizes,
        ingest.tls.mistakes(&ingest.kafka),
        ingest.webhooks.mistakes(),
        ingest.kafka.mistakes(),
        needs_kafka(&ingest.kafka),
        needs_secrets(&ingest.secrets),
    ]
    .concat()
}

fn aggregate_fits_together(aggregate: &AggregateSettings) -> Vec<String> {
    let AggregateSettings { clickhouse, account, kafka, secrets, webhooks, .. } = aggregate;
    [reads_kafka_and_clickhouse(clickhouse, account, kafka, secrets), webhooks.mistakes()].concat()
}

fn console_fits_together(console: &ConsoleRoleSettings) -> Vec<String> {
    reads_kafka_and_clickhouse(&console.clickhouse, &console.account, &console.kafka, &console.secrets)
}

fn reads_kafka_and_clickhouse(
    clickhouse: &ClickHouseSettings,
    account: &AccountSettings,
    kafka: &KafkaSettings,
    secrets: &SecretsSettings,
) -> Vec<String> {
    let url = required(clickhouse.clickhouse_url.is_empty(), "clickhouse-url", "WHENCE_CLICKHOUSE_URL", "");
    [
        clickhouse.mistakes(),
        account.mistakes(),
        kafka.mistakes(),
        needs_kafka(kafka),
        url,
        needs_secrets(secrets),
    ]
    .concat()
}

fn migrate_fits_together(migrate: &MigrateSettings) -> Vec<String> {
    [migrate.clickhouse.mistakes(), migrate.account.mistakes()].concat()
}

fn verify_fits_together(verify: &VerifySettings) -> Vec<String> {
    [verify.clickhouse.mistakes(), verify.account.mistakes()].concat()
}

fn report_fits_together(report: &ReportSettings) -> Vec<String> {
    [report.clickhouse.mistakes(), report.account.mistakes()].concat()
}

fn lineage_fits_together(lineage: &LineageSettings) -> Vec<String> {
    [lineage.clickhouse.mistakes(), lineage.account.mistakes()].concat()
}

fn try_fits_together(trial: &TrySettings) -> Vec<String> {
    [trial.clickhouse.mistakes(), trial.account.mistakes()].concat()
}

fn reward_ledger_fits_together(ledger: &RewardLedgerSettings) -> Vec<String> {
    [ledger.clickhouse.mistakes(), ledger.account.mistakes()].concat()
}

fn endpoint_sender_fits_together(endpoint_sender: &EndpointSenderSettings) -> Vec<String> {
    [
        endpoint_sender.clickhouse.mistakes(),
        endpoint_sender.account.mistakes(),
        endpoint_sender.webhooks.mistakes(),
    ]
    .concat()
}

fn import_fits_together(import: &ImportSettings) -> Vec<String> {
    [import.clickhouse.mistakes(), import.account.mistakes()].concat()
}

fn topics_fit_together(topics: &TopicsSettings) -> Vec<String> {
    [topics.kafka.mistakes(), needs_kafka(&topics.kafka)].concat()
}

fn needs_kafka(kafka: &KafkaSettings) -> Vec<String> {
    required(kafka.kafka_brokers.is_empty(), "kafka-brokers", "WHENCE_KAFKA_BROKERS", "")
}

fn needs_secrets(secrets: &SecretsSettings) -> Vec<String> {
    let hint = ": all processes of a deployment share one, made once with `whence secrets new FILE`";
    required(secrets.secrets_file.is_none(), "secrets-file", "WHENCE_SECRETS_FILE", hint)
}

/// For settings that one command needs and another does without.
fn required(is_missing: bool, name: &str, variable: &str, hint: &str) -> Vec<String> {
    let text = format!(
        "{name} is required here: set --{name}, {variable} or `{name}` in the configuration file{hint}"
    );
    is_missing.then_some(text).into_iter().collect()
}
