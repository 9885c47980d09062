//! A recorder that accepts declared metrics only, so that no test passes with one that is not declared.

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

use crate::{Kind, find};

/// Panics when a metric of whence is used that is not declared, or with another kind, other labels, or a label value that
/// its declaration does not list. For builds with debug assertions, as tests are.
#[derive(Debug)]
pub struct Checked<R>(pub R);

fn check(key: &Key, kind: Kind) {
    let name = key.name();
    if !name.starts_with("whence_") {
        return;
    }
    let metric = find(name).unwrap_or_else(|| panic!("{name} is not declared: see whence_metrics::declare!"));
    assert_eq!(metric.kind, kind, "the kind of {name}");
    let mut given: Vec<&str> = key.labels().map(metrics::Label::key).collect();
    let mut declared: Vec<&str> = metric.labels.iter().map(|label| label.name).collect();
    given.sort_unstable();
    declared.sort_unstable();
    assert_eq!(given, declared, "the labels of {name}, and those that are declared");
    for label in metric.labels.iter().filter(|label| !label.values.is_empty()) {
        let value = key.labels().find(|given| given.key() == label.name).map_or("", metrics::Label::value);
        assert!(label.values.contains(&value), "{name} has {}={value:?}, which is not declared", label.name);
    }
}

impl<R: Recorder> Recorder for Checked<R> {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, help: SharedString) {
        self.0.describe_counter(name, unit, help);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, help: SharedString) {
        self.0.describe_gauge(name, unit, help);
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, help: SharedString) {
        self.0.describe_histogram(name, unit, help);
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        check(key, Kind::Counter);
        self.0.register_counter(key, metadata)
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        check(key, Kind::Gauge);
        self.0.register_gauge(key, metadata)
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        check(key, Kind::Histogram);
        self.0.register_histogram(key, metadata)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use metrics::NoopRecorder;
    use std::panic::catch_unwind;

    crate::declare! {
        /// What is checked.
        counter CHECKED: "whence_checked_total" { outcome: ["ok"], host };
    }

    #[test]
    fn only_what_is_declared_passes() {
        let is_taken = |count: fn()| {
            catch_unwind(|| metrics::with_local_recorder(&Checked(NoopRecorder), count)).is_ok()
        };
        assert!(is_taken(|| metrics::counter!(CHECKED, "host" => "h", "outcome" => "ok").increment(1)));
        assert!(is_taken(|| metrics::counter!("of_somebody_else").increment(1)));
        assert!(!is_taken(|| metrics::counter!("whence_unknown_total").increment(1)));
        assert!(!is_taken(|| metrics::counter!(CHECKED, "outcome" => "ok").increment(1)));
        assert!(!is_taken(|| metrics::counter!(CHECKED, "host" => "h", "outcome" => "no").increment(1)));
        assert!(!is_taken(|| metrics::gauge!(CHECKED, "host" => "h", "outcome" => "ok").set(1.0)));
    }
}
