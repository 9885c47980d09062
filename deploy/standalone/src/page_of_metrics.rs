//! `docs/metrics.md`: every metric of the binary, for people.

use whence_metrics::{Kind, Metric, all};

/// The part of a metric's name that says whose it is, and what the page calls it.
const PARTS: [(&str, &str); 19] = [
    ("edge", "Edge"),
    ("clicks", "Edge"),
    ("api", "API"),
    ("host", "API"),
    ("webhook", "API: webhooks"),
    ("registry", "Registry"),
    ("journal", "Journals"),
    ("ship", "Shipping to Kafka"),
    ("kafka", "Aggregator: Kafka"),
    ("clickhouse", "Aggregator: ClickHouse"),
    ("delivery", "Deliveries and facts"),
    ("deliveries", "Deliveries and facts"),
    ("facts", "Deliveries and facts"),
    ("console", "Console"),
    ("engine", "Embedded ClickHouse"),
    ("http", "Listeners"),
    ("share", "Listeners"),
    ("backup", "Process"),
    ("retention", "Retention"),
];

fn part(metric: &Metric) -> &'static str {
    let word = metric.name.trim_start_matches("whence_").split('_').next().unwrap_or_default();
    match PARTS.iter().find(|(known, _)| *known == word) {
        Some((_, part)) => part,
        None if metric.module.starts_with("whence_aggregator") => "Aggregator",
        None => "Process",
    }
}

fn page() -> String {
    let mut parts: Vec<&str> = PARTS.map(|(_, part)| part).to_vec();
    parts.extend(["Aggregator", "Process"]);
    parts.sort_unstable();
    parts.dedup();
    let mut text = String::from(
        "# Metrics\n\nWritten by a test from the declarations in the code; change them there (`WHENCE_UPDATE_DOCS=1`).\n\n\
         Counters whose labels are known show 0 from the start of the part that counts them. Beside these there are \
         `process_*`, as Prometheus' client libraries have them.\n",
    );
    for part_name in parts {
        let own: Vec<_> = all().into_iter().filter(|metric| part(metric) == part_name).collect();
        text += &format!("\n## {part_name}\n\n| metric | kind | labels | |\n|---|---|---|---|\n");
        for metric in own {
            let labels = metric.labels.iter().map(|label| match label.values {
                [] => format!("`{}`", label.name),
                values => format!("`{}`: {}", label.name, values.join(", ")),
            });
            let labels = labels.collect::<Vec<_>>().join("; ");
            text +=
                &format!("| `{}` | {} | {labels} | {} |\n", metric.name, metric.kind.word(), metric.help());
        }
    }
    text
}

#[test]
fn the_page_has_every_metric() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");
    if std::env::var_os("WHENCE_UPDATE_DOCS").is_some() {
        std::fs::write(path, page()).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(written == page(), "docs/metrics.md is not what is declared: WHENCE_UPDATE_DOCS=1 writes it");
}

/// <https://prometheus.io/docs/practices/naming/>
#[test]
fn names_are_as_prometheus_wants_them() {
    let metrics = all();
    assert!(metrics.len() > 150, "all crates are linked: {}", metrics.len());
    for metric in &metrics {
        let name = metric.name;
        assert!(name.starts_with("whence_"), "{name}");
        assert_eq!(name.ends_with("_total"), metric.kind == Kind::Counter, "{name}");
        assert!(metric.kind != Kind::Histogram || metric.unit().is_some(), "{name} has no unit");
        assert!(!metric.help().is_empty() && !metric.help().contains('\n'), "{name}");
    }
    assert!(metrics.windows(2).all(|pair| pair[0].name != pair[1].name), "each is declared once");
}
