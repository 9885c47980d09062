//! `whence topics`: makes the topics that are missing and says how the others are. Never changes one.

use std::time::Duration;

use clap::{ArgMatches, Command};
use whence_ingest::topics::{TopicReport, ensure_topics};
use whence_runtime::settings;

use super::table::{Align, Table};
use crate::failure::Failure;
use crate::parts::kafka;
use crate::settings::{TopicsSettings, load};

const ANSWER_MAX: Duration = Duration::from_secs(30);

/// `whence topics`
pub fn command() -> Command {
    let about =
        "Creates whence's topics in Kafka, and compares those that are there; status 1 if one differs";
    settings::command::<TopicsSettings>(Command::new("topics").about(about))
}

/// Makes and reports.
///
/// # Errors
/// Kafka refuses or does not answer, or a topic is not as planned.
pub fn run(flags: &ArgMatches) -> Result<(), Failure> {
    let settings = load::<TopicsSettings>(flags)?.settings;
    kafka::built(&settings.kafka, kafka::TOPICS)?;
    let cluster = settings.kafka.cluster().expect("the settings were checked for brokers");
    let plan = settings.topics.plan(&settings.retention);
    let reports = super::ask(&settings.log, async { Ok(ensure_topics(&cluster, &plan, ANSWER_MAX).await?) })?;
    super::print(&format!("{}{}", table(&reports), promise(&reports)))?;
    match reports.iter().filter(|report| !report.differences.is_empty()).count() {
        0 => Ok(()),
        topics => Err(Failure::TopicsDiffer { topics }),
    }
}

fn table(reports: &[TopicReport]) -> Table {
    let headings =
        [("topic", Align::Left), ("partitions", Align::Right), ("copies", Align::Right), ("", Align::Left)];
    let mut table = Table::new(&headings);
    for report in reports {
        let mut row = |finding: String| {
            let (partitions, copies) = (report.partitions.to_string(), report.copies.to_string());
            table.row(vec![report.topic.clone(), partitions, copies, finding]);
        };
        if report.is_new {
            row("created".to_owned());
        } else if report.differences.is_empty() {
            row("as planned".to_owned());
        }
        report.differences.iter().for_each(|difference| row(format!("left as it is: {difference}")));
    }
    table
}

/// What so many copies are worth, where that is not what one expects of a cluster.
fn promise(reports: &[TopicReport]) -> &'static str {
    match reports.iter().map(|report| report.copies).min() {
        Some(1) => {
            "One copy of each record: while its broker is away nothing is taken, and what its disk loses is lost.\n"
        }
        Some(2) => {
            "Two copies of each record: one broker may be away, and what is taken meanwhile stands on one disk alone.\n"
        }
        _ => "",
    }
}
