//! The exposition text: buckets by unit, names as they are written, no summaries.

use metrics::{counter, gauge, histogram, with_local_recorder};
use tokio_util::sync::CancellationToken;
use whence_runtime::health::Health;
use whence_runtime::settings::{defaults, from_pairs};
use whence_runtime::telemetry::{BuildInfo, LogFormat, LogSettings, Metrics, install_panic_hook};

const BUILD: BuildInfo = BuildInfo { version: "1.2.3", revision: "unknown", role: "up" };

#[test]
fn a_histogram_has_the_buckets_of_its_unit() {
    let (metrics, recorder) = Metrics::detached(BUILD).unwrap();
    with_local_recorder(&recorder, || {
        histogram!("whence_test_duration_seconds").record(0.000_03);
        histogram!("whence_test_block_bytes").record(5_000.0);
        histogram!("whence_test_block_rows").record(20_000.0);
    });
    let text = metrics.render();
    for expected in [
        "# TYPE whence_test_duration_seconds histogram\n\
         whence_test_duration_seconds_bucket{le=\"0.000025\"} 0\n\
         whence_test_duration_seconds_bucket{le=\"0.00005\"} 1\n",
        "whence_test_block_bytes_bucket{le=\"4096\"} 0\nwhence_test_block_bytes_bucket{le=\"16384\"} 1\n",
        "whence_test_block_rows_bucket{le=\"10000\"} 0\nwhence_test_block_rows_bucket{le=\"30000\"} 1\n",
    ] {
        assert!(text.contains(expected), "no {expected:?} in {text}");
    }
    assert!(!text.contains("quantile"), "{text}");
}

#[test]
fn names_are_exposed_as_they_are_written() {
    let (metrics, recorder) = Metrics::detached(BUILD).unwrap();
    with_local_recorder(&recorder, || {
        counter!("whence_test_clicks_total", "verdict" => "human").increment(2);
        gauge!("whence_test_lag_seconds").set(1.5);
    });
    let text = metrics.render();
    assert!(text.contains("\nwhence_test_clicks_total{verdict=\"human\"} 2\n"), "{text}");
    assert!(text.contains("\nwhence_test_lag_seconds 1.5\n"), "{text}");
}

#[test]
fn readiness_is_a_gauge_per_component() {
    let (metrics, recorder) = Metrics::detached(BUILD).unwrap();
    let text = with_local_recorder(&recorder, || {
        let health = Health::new();
        health.component("journal").ready();
        let _kafka = health.component("kafka");
        metrics.render()
    });
    assert!(text.contains("whence_component_ready{component=\"journal\"} 1\n"), "{text}");
    assert!(text.contains("whence_component_ready{component=\"kafka\"} 0\n"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn upkeep_ends_with_the_shutdown() {
    let (metrics, _recorder) = Metrics::detached(BUILD).unwrap();
    let shutdown = CancellationToken::new();
    let keeping = tokio::spawn(metrics.keep_up(shutdown.clone()));
    tokio::time::advance(std::time::Duration::from_secs(3)).await;
    assert!(!keeping.is_finished());
    shutdown.cancel();
    keeping.await.unwrap();
}

#[test]
fn log_directives_are_checked_with_the_other_settings() {
    let settings: LogSettings =
        from_pairs(&[("log", "info,whence_ingest=debug"), ("log-format", "json")]).unwrap();
    assert_eq!(settings.log_format, LogFormat::Json);
    let mistakes = from_pairs::<LogSettings>(&[("log", "info,x=loud")]).unwrap_err();
    assert!(mistakes.to_string().contains("log, `info,x=loud`: "), "{mistakes}");
    assert_eq!(defaults::<LogSettings>().unwrap().log, "info");
}

#[test]
fn a_panic_is_counted() {
    let (metrics, recorder) = Metrics::detached(BUILD).unwrap();
    with_local_recorder(&recorder, || {
        install_panic_hook();
        assert!(std::panic::catch_unwind(|| panic!("on purpose")).is_err());
    });
    assert!(metrics.render().contains("\nwhence_panics_total 1\n"));
}
