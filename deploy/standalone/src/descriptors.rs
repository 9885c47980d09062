//! What each role needs descriptors for, and its settings made to fit the limit.
//!
//! The numbers are upper bounds of what was counted in running processes: a process that is idle has about 40.

use whence_console::http::ConsoleSettings;
use whence_ingest::api::ApiSettings;
use whence_runtime::admin;
use whence_runtime::descriptors::{Fitted, Plan, TooFew, Wanted};
use whence_runtime::settings::{Effective, Origin};

use crate::settings::{
    AggregateSettings, ConsoleRoleSettings, EdgeSettings, IngestSettings, JournalSettings, UpSettings,
    threads,
};

/// Standard streams, locks, the registry's file, event queues, listeners, a scrape's look into `/proc`.
const PROCESS: usize = 40;
/// A thread's event queue and listener.
const OF_EDGE_THREAD: usize = 4;
/// Lock, directory, active file, next one, two held, some being finished; a reader with its checkpoint.
const OF_JOURNAL: usize = 14;
/// Look-ups and inserts of a partition at a time.
const OF_PARTITION: usize = 4;
/// Dimension tables, the watch, statements of a start.
const OF_CLICKHOUSE: usize = 8;
/// Half a dozen clients of librdkafka with a socket and two pipes for each of several brokers.
const OF_KAFKA: usize = 128;
/// Partitions of the topics that one aggregator may have: all of them.
const PARTITIONS: usize = 12;

const EDGE: &str = "edge-connections-max";
const API: &str = "api-connections-max";
const CONSOLE: &str = "console-connections-max";

/// What the limit is looked at for.
#[derive(Clone, Copy, Debug)]
pub struct Limit<'a> {
    /// Descriptors that the process may have.
    pub descriptors: u64,
    /// Its settings, with who has set them.
    pub effective: &'a [Effective],
}

impl Limit<'_> {
    fn is_set(&self, setting: &str) -> bool {
        self.effective.iter().any(|known| known.name == setting && known.origin != Origin::Default)
    }

    fn edge(&self, edge: &EdgeSettings) -> Wanted {
        Wanted {
            setting: EDGE,
            connections: edge.edge_connections_max,
            listeners: threads(edge.edge_threads),
            is_set: self.is_set(EDGE),
            least: 8,
            one_in: 1,
        }
    }

    fn api(&self, api: &ApiSettings) -> Wanted {
        Wanted {
            setting: API,
            connections: api.api_connections_max,
            listeners: 1,
            is_set: self.is_set(API),
            least: 8,
            one_in: 8,
        }
    }

    fn console(&self, console: &ConsoleSettings) -> Wanted {
        Wanted {
            setting: CONSOLE,
            connections: console.console_connections_max,
            listeners: 1,
            is_set: self.is_set(CONSOLE),
            least: 4,
            one_in: 16,
        }
    }

    fn fit(&self, plan: &Plan) -> Result<Fitted, TooFew> {
        let fitted = plan.fit(self.descriptors)?;
        for (setting, wanted, connections) in &fitted.smaller {
            tracing::warn!(
                setting,
                wanted,
                connections,
                descriptors = self.descriptors,
                "fewer connections, to fit the limit of open files: raise it (`ulimit -Hn`, LimitNOFILE=)"
            );
        }
        Ok(fitted)
    }
}

fn process() -> Plan {
    Plan::default().reserve("the process", PROCESS).reserve("admin-listen", admin::CONNECTIONS_MAX)
}

fn with_journals(plan: Plan, edge: &EdgeSettings, journals: &JournalSettings) -> Plan {
    let edges = threads(edge.edge_threads);
    let segment = journals.journal_segment.as_usize().max(1);
    // What waits for the disk may fill some files that are not synced yet.
    let unsynced = journals.conversion_waiting_max.as_usize() / segment + 1;
    plan.reserve("edge threads", edges * OF_EDGE_THREAD)
        .reserve("journals", (edges + 1) * OF_JOURNAL + unsynced)
}

fn with_kafka(plan: Plan, brokers: &[String]) -> Plan {
    if brokers.is_empty() { plan } else { plan.reserve("kafka", OF_KAFKA) }
}

/// Makes the connections of `whence up` fit.
///
/// # Errors
/// If they do not.
pub fn fit_up(settings: &mut UpSettings, limit: Limit<'_>) -> Result<(), TooFew> {
    let edges = threads(settings.edge.edge_threads);
    let partitions = if settings.kafka.kafka_brokers.is_empty() { edges + 1 } else { PARTITIONS };
    let questions = settings.console.console_questions_max;
    let plan = with_journals(process(), &settings.edge, &settings.journals);
    let plan = with_kafka(plan, &settings.kafka.kafka_brokers)
        .reserve("clickhouse", partitions * OF_PARTITION + OF_CLICKHOUSE + questions)
        .reserve("deliveries-max", settings.deliveries.deliveries_max)
        .want(limit.api(&settings.api))
        .want(limit.console(&settings.console))
        .want(limit.edge(&settings.edge));
    let fitted = limit.fit(&plan)?;
    settings.edge.edge_connections_max = fitted.connections(EDGE);
    settings.api.api_connections_max = fitted.connections(API);
    settings.console.console_connections_max = fitted.connections(CONSOLE);
    Ok(())
}

/// Makes the connections of `whence ingest` fit.
///
/// # Errors
/// If they do not.
pub fn fit_ingest(settings: &mut IngestSettings, limit: Limit<'_>) -> Result<(), TooFew> {
    let plan = with_journals(process(), &settings.edge, &settings.journals);
    let plan = with_kafka(plan, &settings.kafka.kafka_brokers)
        .want(limit.api(&settings.api))
        .want(limit.edge(&settings.edge));
    let fitted = limit.fit(&plan)?;
    settings.edge.edge_connections_max = fitted.connections(EDGE);
    settings.api.api_connections_max = fitted.connections(API);
    Ok(())
}

/// Looks whether `whence aggregate` fits.
///
/// # Errors
/// If it does not.
pub fn fit_aggregate(settings: &AggregateSettings, limit: Limit<'_>) -> Result<(), TooFew> {
    let plan = with_kafka(process(), &settings.kafka.kafka_brokers)
        .reserve("clickhouse", PARTITIONS * OF_PARTITION + OF_CLICKHOUSE)
        .reserve("deliveries-max", settings.deliveries.deliveries_max);
    limit.fit(&plan).map(drop)
}

/// Makes the connections of `whence console` fit.
///
/// # Errors
/// If they do not.
pub fn fit_console(settings: &mut ConsoleRoleSettings, limit: Limit<'_>) -> Result<(), TooFew> {
    let plan = with_kafka(process(), &settings.kafka.kafka_brokers)
        .reserve("clickhouse", OF_CLICKHOUSE + settings.console.console_questions_max)
        .want(Wanted { one_in: 1, ..limit.console(&settings.console) });
    settings.console.console_connections_max = limit.fit(&plan)?.connections(CONSOLE);
    Ok(())
}

#[cfg(test)]
mod tests {
    use whence_runtime::settings::from_pairs;

    use super::*;

    fn setting(name: &str, value: &str) -> Effective {
        Effective { name: name.to_owned(), value: value.to_owned(), origin: Origin::Flag }
    }

    #[test]
    fn what_nobody_has_set_fits_small_limits_and_what_is_set_does_or_is_refused() {
        let pairs = [("edge-threads", "2")];
        for descriptors in [256, 1024, 20_000, 1 << 20] {
            let mut settings = from_pairs::<UpSettings>(&pairs).unwrap();
            fit_up(&mut settings, Limit { descriptors, effective: &[] }).unwrap();
            let edge = settings.edge.edge_connections_max * 2;
            let all = edge + settings.api.api_connections_max + settings.console.console_connections_max;
            assert!(edge >= 16 && (all as u64) < descriptors, "{descriptors}: {edge} of {all}");
        }
        let pairs = [("edge-threads", "2"), ("edge-connections-max", "600")];
        let mut settings = from_pairs::<UpSettings>(&pairs).unwrap();
        let set = [setting("edge-connections-max", "600")];
        let refused = fit_up(&mut settings, Limit { descriptors: 1024, effective: &set }).unwrap_err();
        assert!(refused.to_string().contains(" 1200 for edge-connections-max"), "{refused}");
        fit_up(&mut settings, Limit { descriptors: 2048, effective: &set }).unwrap();
        assert_eq!(settings.edge.edge_connections_max, 600);
    }
}
