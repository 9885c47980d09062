//! Takes out now and then what is past its time, and never what a program may still need.
//!
//! How long that is: by the settings, or for as long as programs give credit for a click and Kafka may bring it again, if
//! that is longer. Then the setting does not hold, and readiness, a log line and a metric say so: a process that ended for
//! it would end for what anybody with a key of one program may change.

use std::sync::Arc;
use std::time::Duration;

use metrics::gauge;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use whence_aggregator::clickhouse::{ClickHouseStore, replicas::Replicas};
use whence_aggregator::retention::{Ages, Retention};
use whence_ingest::registry::{Registry, RegistryState, wall_clock};
use whence_ingest::topics::consumed_are_kept;
use whence_kafka::Cluster;
use whence_runtime::health::Component;

use crate::chain::chain;
use crate::settings::KeepSettings;

whence_metrics::declare! {
    /// Passes of retention that failed.
    counter RETENTION_FAILURES: "whence_retention_failures_total";
    /// How long things are kept: by the setting, or for as long as programs need them, by what it is.
    gauge RETENTION_EFFECTIVE_SECONDS: "whence_retention_effective_seconds" { of };
}

/// The name of retention's component in readiness.
pub const COMPONENT: &str = "aggregator.retention";

/// How long Kafka may take to say how long it keeps records.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Between two looks whether the registry is known.
const AGAIN: Duration = Duration::from_millis(200);
/// A pass that failed is tried again after this, or with the next one if that is sooner.
const RETRY: Duration = Duration::from_secs(60);
/// A pass looks at months one after the other, and each question has its own bound; this is for one that hangs.
const PASS_MAX: Duration = Duration::from_secs(3600);

/// What retention goes by.
pub struct Parts {
    /// How long things are to be kept.
    pub settings: KeepSettings,
    /// Whose programs need what.
    pub registry: Arc<dyn Registry>,
    /// Where records are read from, if not from journals.
    pub cluster: Option<Cluster>,
    /// Where things are kept.
    pub replicas: Replicas,
    /// The same, as the account is written to it.
    pub store: ClickHouseStore,
}

/// Passes until `stop`: one as soon as the programs are known, then one every so often.
pub async fn keep(parts: Parts, component: Component, stop: CancellationToken) {
    whence_metrics::begin(module_path!());
    whence_metrics::begin("whence_aggregator::retention");
    let Parts { settings, registry, cluster, replicas, store } = parts;
    let mut retention = Retention::new(replicas, store);
    let every = settings.retention_every;
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = String::new();
    component.ready();
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let pass = async {
            // Of programs that are not known yet nobody knows what they need.
            while !registry.is_current() {
                sleep(AGAIN).await;
            }
            let kafka = match &cluster {
                Some(cluster) => consumed_are_kept(cluster, ANSWER_MAX).await,
                None => Some(Some(Duration::ZERO)),
            };
            let Some(kafka) = kafka else {
                return Err("kafka does not say how long it keeps records".to_owned());
            };
            let needed = needed(&registry.shared().read(), kafka);
            let (ages, objections) = effective(&settings, &needed);
            show(&ages);
            let passed = retention.pass(&ages, wall_clock()()).await;
            passed.map(|_| objections).map_err(|error| chain(&error))
        };
        let passed = stop.run_until_cancelled(timeout(PASS_MAX, pass)).await;
        let Some(passed) = passed else { return };
        match passed.unwrap_or_else(|_| Err("the pass took too long".to_owned())) {
            Ok(objections) if objections.is_empty() => {
                told.clear();
                component.ready();
            }
            Ok(objections) => {
                let text = objections.join("; ");
                if told != text {
                    tracing::warn!(
                        why = text,
                        "a retention setting does not hold: things are kept for longer"
                    );
                    told.clone_from(&text);
                }
                component.not_ready(text);
            }
            Err(error) => {
                metrics::counter!(RETENTION_FAILURES).increment(1);
                tracing::warn!(error, "data past its retention cannot be deleted yet");
                component.not_ready(error);
                ticks.reset_after(RETRY.min(every));
            }
        }
    }
}

/// Why something has to be kept for so long, in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Needed {
    /// A click's row.
    click: (Duration, String),
    /// The hashes of its address.
    address: (Duration, String),
}

/// What programs need: a lead may come as long after its click as its program gives credit for it. `kafka`: for how long a
/// click may come again, which its row is known by; `None`: for good.
fn needed(registry: &RegistryState, kafka: Option<Duration>) -> Needed {
    let windows =
        registry.programs().map(|program| (program.rule.unwrap_or_default().window_ms, &program.id));
    let address = match windows.max() {
        None => (Duration::ZERO, String::new()),
        Some((window_ms, program)) => {
            let why = format!("the program {program:?} gives credit for clicks for");
            (Duration::from_millis(window_ms), why)
        }
    };
    let kafka = kafka.unwrap_or(Duration::MAX);
    let click = match kafka > address.0 {
        true => (kafka, "a click is known by its row when Kafka brings it again, for".to_owned()),
        false => address.clone(),
    };
    Needed { click, address }
}

/// How long things are kept, and what is to be said against the settings.
fn effective(settings: &KeepSettings, needed: &Needed) -> (Ages, Vec<String>) {
    let mut objections = Vec::new();
    let mut longer = |name: &str, set: Duration, (need, why): &(Duration, String)| {
        if set >= *need {
            return set;
        }
        let need_text = if *need == Duration::MAX { "ever".to_owned() } else { days(*need) };
        objections.push(format!("{name} is {}, but {why} {need_text}: so long it is kept", days(set)));
        *need
    };
    let clicks = longer("click-retention", settings.click_retention, &needed.click);
    let addresses = longer("address-retention", settings.address_retention, &needed.address);
    let ages = Ages {
        clicks,
        addresses,
        rejects: settings.reject_retention,
        deliveries: settings.delivery_retention,
        messages: settings.message_retention,
    };
    (ages, objections)
}

fn days(time: Duration) -> String {
    let days = time.as_secs_f64() / 86_400.0;
    format!("{} days", (days * 100.0).round() / 100.0)
}

fn show(ages: &Ages) {
    let Ages { clicks, addresses, rejects, deliveries, messages } = *ages;
    let kept = [
        ("clicks", clicks),
        ("addresses", addresses),
        ("rejects", rejects),
        ("deliveries", deliveries),
        ("messages", messages),
    ];
    for (what, age) in kept {
        gauge!(RETENTION_EFFECTIVE_SECONDS, "of" => what).set(age.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use whence_schemas::event::{AttributionRule, Program, RegistryEntry, registry_entry::Entry};

    const DAY: Duration = Duration::from_secs(86_400);

    fn registry(windows_days: &[u64]) -> RegistryState {
        let mut state = RegistryState::default();
        for (version, days) in (1..).zip(windows_days) {
            let rule = AttributionRule { window_ms: days * 86_400_000, ..AttributionRule::default() };
            let program = Program { id: format!("p{days}"), rule: Some(rule), ..Program::default() };
            let entry = Some(Entry::Program(program));
            state.apply(Arc::new(RegistryEntry { version, entry, ..RegistryEntry::default() })).unwrap();
        }
        state
    }

    fn settings(click_days: u32, address_days: u32) -> KeepSettings {
        KeepSettings {
            click_retention: DAY * click_days,
            address_retention: DAY * address_days,
            reject_retention: DAY,
            delivery_retention: DAY,
            message_retention: DAY,
            retention_every: DAY,
        }
    }

    #[test]
    fn nothing_is_kept_shorter_than_a_program_gives_credit_for() {
        let needed = needed(&registry(&[30, 90, 7]), Some(DAY * 8));
        let (ages, objections) = effective(&settings(60, 30), &needed);
        assert_eq!((ages.clicks, ages.addresses), (DAY * 90, DAY * 90));
        assert_eq!(objections.len(), 2, "{objections:?}");
        assert!(objections[0].contains("click-retention is 60 days") && objections[0].contains("\"p90\""));
        let (ages, objections) = effective(&settings(100, 90), &needed);
        assert_eq!((ages.clicks, ages.addresses, objections.len()), (DAY * 100, DAY * 90, 0));
    }

    #[test]
    fn a_click_that_kafka_may_bring_again_is_kept() {
        let needed = needed(&registry(&[7]), Some(DAY * 50));
        let (ages, objections) = effective(&settings(20, 10), &needed);
        assert_eq!((ages.clicks, ages.addresses, objections.len()), (DAY * 50, DAY * 10, 1));
        let (ages, _) = effective(&settings(20, 10), &super::needed(&registry(&[]), None));
        assert_eq!((ages.clicks, ages.addresses), (Duration::MAX, DAY * 10));
    }
}
