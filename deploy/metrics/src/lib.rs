//! Every metric declared once, in the module that counts it: its name, kind, labels and what it means.
//!
//! ```
//! whence_metrics::declare! {
//!     /// Requests that were answered.
//!     counter REQUESTS: "whence_example_requests_total" { outcome: ["ok", "refused"] };
//!     /// Open connections of a listener.
//!     gauge CONNECTIONS: "whence_example_connections" { listener };
//! }
//! metrics::counter!(REQUESTS, "outcome" => "ok").increment(1);
//! ```
//!
//! A declaration is a constant with the name, and an entry of [`all`]. The recorder describes metrics from these entries, the
//! documentation is written from them, and [`begin`] shows counters with 0 before anything has happened, because Prometheus
//! sees no increase where a counter begins with 1. The unit is the name's last word, as Prometheus has it: `_seconds`, `_bytes`,
//! `_ratio`; `_total` ends the name of every counter and of nothing else
//! (<https://prometheus.io/docs/practices/naming/>).

mod checked;

pub use checked::Checked;
#[doc(hidden)]
pub use linkme;

use metrics::{Key, Label, Level, Metadata, SharedString, Unit};

/// What can be done with a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts observations in buckets.
    Histogram,
}

impl Kind {
    /// As Prometheus calls it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// A label of a metric.
#[derive(Clone, Copy, Debug)]
pub struct LabelOf {
    /// Its name.
    pub name: &'static str,
    /// The values it can have; empty where they are known at run time only.
    pub values: &'static [&'static str],
}

/// A declared metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// Its labels, in the order of the declaration.
    pub labels: &'static [LabelOf],
    /// The module that counts it, as `module_path!` has it.
    pub module: &'static str,
    help: &'static str,
}

/// What [`declare!`] collects; read it by [`all`].
#[doc(hidden)]
#[linkme::distributed_slice]
pub static METRICS: [Metric];

impl Metric {
    /// A declaration; [`declare!`] makes them.
    #[doc(hidden)]
    #[must_use]
    pub const fn new(
        kind: Kind,
        name: &'static str,
        labels: &'static [LabelOf],
        module: &'static str,
        help: &'static str,
    ) -> Metric {
        Metric { name, kind, labels, module, help }
    }

    /// What it means, in one line.
    #[must_use]
    pub fn help(&self) -> String {
        self.help.split_whitespace().collect::<Vec<_>>().join(" ").trim_end_matches('.').to_owned()
    }

    /// The unit that its name ends with.
    #[must_use]
    pub fn unit(&self) -> Option<Unit> {
        let name = self.name.trim_end_matches("_total");
        match name.rsplit('_').next() {
            Some("seconds") => Some(Unit::Seconds),
            Some("bytes") => Some(Unit::Bytes),
            _ => None,
        }
    }

    /// All combinations of the labels' values; none if a label's values are not known.
    fn series(&self) -> Vec<Vec<Label>> {
        self.labels.iter().fold(vec![Vec::new()], |series, label| {
            let with = |labels: &Vec<Label>| {
                let labels = labels.clone();
                label.values.iter().map(move |value| {
                    let mut labels = labels.clone();
                    labels.push(Label::from_static_parts(label.name, value));
                    labels
                })
            };
            series.iter().flat_map(with).collect()
        })
    }
}

/// All metrics of the crates that are linked in, by name.
#[must_use]
pub fn all() -> Vec<&'static Metric> {
    let mut all: Vec<&Metric> = METRICS.iter().collect();
    all.sort_by_key(|metric| metric.name);
    all
}

/// The metric of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|metric| metric.name == name)
}

/// Describes all metrics to the recorder that is current.
pub fn describe() {
    metrics::with_recorder(|recorder| {
        for metric in METRICS {
            let (name, unit, help) = (metric.name.into(), metric.unit(), SharedString::from(metric.help()));
            match metric.kind {
                Kind::Counter => recorder.describe_counter(name, unit, help),
                Kind::Gauge => recorder.describe_gauge(name, unit, help),
                Kind::Histogram => recorder.describe_histogram(name, unit, help),
            }
        }
    });
}

/// Shows each counter of a module and of those below it with 0, in all series whose labels are known: called by each part
/// of a process when it starts.
pub fn begin(module: &str) {
    let metadata = Metadata::new(module_path!(), Level::INFO, None);
    let is_in = |metric: &&Metric| {
        metric.module.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    metrics::with_recorder(|recorder| {
        for metric in METRICS.iter().filter(is_in).filter(|metric| metric.kind == Kind::Counter) {
            for labels in metric.series() {
                recorder.register_counter(&Key::from_parts(metric.name, labels), &metadata).increment(0);
            }
        }
    });
}

/// Declares metrics: `counter`, `gauge` or `histogram`, a constant, its name, and its labels. The comment is its help.
#[macro_export]
macro_rules! declare {
    ($($(#[doc = $help:literal])+ $kind:ident $id:ident: $name:literal
        $({ $($label:ident $(: $values:expr)?),+ $(,)? })?;)+) => {
        $(
            $(#[doc = $help])+
            pub(crate) const $id: &str = {
                #[$crate::linkme::distributed_slice($crate::METRICS)]
                #[linkme(crate = $crate::linkme)]
                static METRIC: $crate::Metric = $crate::Metric::new(
                    $crate::declare!(@kind $kind),
                    $name,
                    &[$($($crate::LabelOf {
                        name: stringify!($label),
                        values: $crate::declare!(@values $($values)?),
                    }),+)?],
                    module_path!(),
                    concat!($($help),+),
                );
                $name
            };
        )+
    };
    (@kind counter) => { $crate::Kind::Counter };
    (@kind gauge) => { $crate::Kind::Gauge };
    (@kind histogram) => { $crate::Kind::Histogram };
    (@values) => { &[] };
    (@values $values:expr) => { &$values };
}

#[cfg(test)]
mod tests {
    use super::*;

    declare! {
        /// Things that
        /// were done.
        counter DONE: "whence_tested_total" { outcome: ["ok", "failed"], place: ["here", "there"] };
        /// Of an open label.
        counter OPEN: "whence_tested_open_total" { outcome: ["ok"], host };
        /// Time.
        histogram TOOK: "whence_tested_seconds";
    }

    #[test]
    fn a_declaration_is_found_with_all_that_it_says() {
        let done = find(DONE).unwrap();
        assert_eq!((done.kind, done.help().as_str()), (Kind::Counter, "Things that were done"));
        assert_eq!(done.module, "whence_metrics::tests");
        assert_eq!(done.series().len(), 4);
        assert_eq!(find(OPEN).unwrap().series().len(), 0);
        assert_eq!(find(TOOK).unwrap().series().len(), 1);
        assert_eq!(find(TOOK).unwrap().unit(), Some(Unit::Seconds));
        assert_eq!(find("whence_nobody_total").map(|metric| metric.name), None);
        assert!(all().is_sorted_by_key(|metric| metric.name));
    }
}
