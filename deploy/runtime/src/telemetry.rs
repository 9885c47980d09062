//! Logs and metrics of a process: both set up once in `main`, both used everywhere through the `tracing`
//! and `metrics` macros.

mod logs;
mod metrics;
mod process;

pub use logs::{LogFormat, LogSettings, TelemetryError, install_panic_hook, start_logs};
pub use metrics::{BuildInfo, Metrics};
