//! Log lines on stderr, as text for people or JSON for collectors.

use std::io::IsTerminal;

use tracing::Dispatch;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::{MakeWriter, Subscriber};

whence_metrics::declare! {
    /// Panics in any thread.
    counter PANICS: "whence_panics_total";
}

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
    Logs(#[source] tracing::dispatcher::SetGlobalDefaultError),
    /// The buckets are wrong.
    #[error("metrics cannot be set up")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
    /// Something in the process has already set up metrics.
    #[error("metrics are already set up")]
    Recorder,
}

/// Starts logging to stderr for the whole process.
///
/// # Errors
/// If the filter is wrong or logging has been started before.
pub fn start_logs(settings: &LogSettings) -> Result<(), TelemetryError> {
    let lines = dispatch(settings, std::io::stderr, std::io::stderr().is_terminal())?;
    tracing::dispatcher::set_global_default(lines).map_err(TelemetryError::Logs)
}

fn dispatch<W>(settings: &LogSettings, writer: W, colours: bool) -> Result<Dispatch, TelemetryError>
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let filter = EnvFilter::builder().parse(&settings.log)?;
    let lines = Subscriber::builder().with_env_filter(filter).with_writer(writer);
    Ok(match settings.log_format {
        LogFormat::Text => lines.with_ansi(colours).finish().into(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).finish().into(),
    })
}

/// Logs every panic as an event and counts it, in addition to what the previous hook did: a panic in a
/// task would otherwise leave a line no collector recognises.
pub fn install_panic_hook() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        ::metrics::counter!(PANICS).increment(1);
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(location, "panic");
        before(panic);
    }));
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::settings::from_pairs;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(pairs: &[(&str, &str)], act: impl FnOnce()) -> String {
        let page = Page::default();
        let writer = page.clone();
        let lines = dispatch(&from_pairs(pairs).unwrap(), move || writer.clone(), false).unwrap();
        tracing::dispatcher::with_default(&lines, act);
        String::from_utf8(page.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn json_lines_carry_level_message_and_fields() {
        let text = logged(&[("log-format", "json")], || tracing::warn!(partition = 3, "lagging"));
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&line["level"], &line["message"], &line["partition"]),
            (&"WARN".into(), &"lagging".into(), &3.into())
        );
    }

    #[test]
    fn text_is_one_line_an_event_and_the_filter_applies() {
        let text = logged(&[("log", "warn")], || {
            tracing::info!("unseen");
            tracing::warn!(partition = 3, "lagging");
        });
        assert!(text.ends_with("lagging partition=3\n") && text.lines().count() == 1, "{text}");
    }
}
