//! The Prometheus recorder, its buckets, and the text of `/metrics`.

use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::logs::TelemetryError;
use super::process;

whence_metrics::declare! {
    /// Always 1; the labels say what runs.
    gauge BUILD_INFO: "whence_build_info" { version, revision, role };
}

/// Seconds. A redirect takes tens of microseconds, a lead with its fsync milliseconds, an insert into
/// ClickHouse seconds, a stall tens of seconds; three buckets a decade tell those apart at 20 series each.
const SECONDS: [f64; 19] = [
    0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
    0.5, 1.0, 2.5, 5.0, 10.0, 60.0,
];

/// Bytes: from one record (256 B) to the largest block or segment (256 MiB), a factor of four each.
const BYTES: [f64; 11] = [
    256.0,
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
    268_435_456.0,
];

/// Counts (rows of a block, records of a batch): blocks end at 100,000 rows, an import may double that.
const COUNTS: [f64; 10] = [1.0, 3.0, 10.0, 30.0, 100.0, 1_000.0, 10_000.0, 30_000.0, 100_000.0, 300_000.0];

/// Histogram samples wait in memory until they are folded into buckets; at 200,000 samples a second this
/// keeps them to a few megabytes even if nobody ever scrapes.
const UPKEEP_EVERY: Duration = Duration::from_secs(1);

/// What `whence_build_info` says.
#[derive(Clone, Copy, Debug)]
pub struct BuildInfo {
    /// The package's version.
    pub version: &'static str,
    /// The commit, or `unknown`.
    pub revision: &'static str,
    /// The command that runs, such as `ingest`.
    pub role: &'static str,
}

/// The process's metrics as text; clones are handles to one recorder.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
}

impl Metrics {
    /// Makes a recorder the process's and returns its handle. Run [`Metrics::keep_up`] beside it.
    ///
    /// # Errors
    /// If the process already has a recorder.
    pub fn install(build: BuildInfo) -> Result<Self, TelemetryError> {
        let recorder = builder()?.build_recorder();
        let handle = recorder.handle();
        #[cfg(debug_assertions)]
        let recorder = whence_metrics::Checked(recorder);
        ::metrics::set_global_recorder(recorder).map_err(|_| TelemetryError::Recorder)?;
        whence_metrics::describe();
        whence_metrics::begin("whence_runtime");
        record_build(build);
        Ok(Self { handle })
    }

    /// A recorder of its own, for tests: use it with `metrics::with_local_recorder`.
    ///
    /// # Errors
    /// Never with the buckets above.
    pub fn detached(build: BuildInfo) -> Result<(Self, PrometheusRecorder), TelemetryError> {
        let recorder = builder()?.build_recorder();
        let handle = recorder.handle();
        ::metrics::with_local_recorder(&recorder, || {
            whence_metrics::describe();
            whence_metrics::begin("whence_runtime");
            record_build(build);
        });
        Ok((Self { handle }, recorder))
    }

    /// The exposition text: the recorder's families, then the process's.
    pub fn render(&self) -> String {
        let mut text = self.handle.render();
        process::render(&mut text);
        text
    }

    /// Folds histogram samples into their buckets every second until `shutdown`.
    pub async fn keep_up(self, shutdown: CancellationToken) {
        let mut ticks = interval(UPKEEP_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            self.handle.run_upkeep();
        }
    }
}

fn builder() -> Result<PrometheusBuilder, TelemetryError> {
    let suffix = |suffix: &str| Matcher::Suffix(suffix.to_owned());
    Ok(PrometheusBuilder::new()
        .with_recommended_naming(true)
        .set_buckets_for_metric(suffix("_seconds"), &SECONDS)?
        .set_buckets_for_metric(suffix("_bytes"), &BYTES)?
        // Whatever counts things; also keeps an unforeseen name from becoming a summary.
        .set_buckets(&COUNTS)?)
}

fn record_build(build: BuildInfo) {
    ::metrics::gauge!(
        BUILD_INFO,
        "version" => build.version,
        "revision" => build.revision,
        "role" => build.role,
    )
    .set(1.0);
}
