//! Log lines on stderr, as text for people or JSON for collectors.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::Subscriber;

crate::choice! {
    /// Shape of the log lines.
    pub enum LogFormat {
        /// One readable line per event.
        Text = "text",
        /// One JSON object per event.
        Json = "json",
    }
}

crate::settings! {
    /// Logs
    pub struct LogSettings {
        /// What is logged: a level, or `target=level` directives separated by commas.
        pub log: String = "info",
        /// Shape of the log lines on stderr.
        pub log_format: LogFormat = "text",
    }
    check directives_are_valid
}

fn directives_are_valid(settings: &LogSettings) -> Vec<String> {
    let parsed = EnvFilter::builder().parse(&settings.log);
    parsed.err().map(|error| format!("log, `{}`: {error}", settings.log)).into_iter().collect()
}

/// Why logs or metrics could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The log directives do not parse.
    #[error("the log filter is not valid")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Something in the process has already set up logs.
    #[error("logs are already set up")]
    Logs(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Something in the process has already set up metrics, or the buckets are wrong.
    #[error("metrics cannot be set up")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
}

/// Starts logging to stderr for the whole process.
///
/// # Errors
/// If the filter is wrong or logging has been started before.
pub fn start_logs(settings: &LogSettings) -> Result<(), TelemetryError> {
    let filter = EnvFilter::builder().parse(&settings.log)?;
    let lines = Subscriber::builder().with_env_filter(filter).with_writer(std::io::stderr);
    match settings.log_format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).try_init(),
    }
    .map_err(TelemetryError::Logs)
}

/// Logs every panic as an event and counts it, in addition to what the previous hook did: a panic in a
/// task would otherwise leave a line no collector recognises.
pub fn install_panic_hook() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        ::metrics::counter!("whence_panics_total").increment(1);
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(location, "panic");
        before(panic);
    }));
}
