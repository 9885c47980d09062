//! `whence topics`: makes the topics that are missing and says how the others are. Never changes one.

use std::time::Duration;

use clap::{ArgMatches, Command};
use whence_ingest::topics::{Finding, TopicReport, ensure_topics};
use whence_runtime::settings;

use super::table::{Align, Table};
use crate::failure::Failure;
use crate::settings::{TopicsSettings, load};

const ANSWER_MAX: Duration = Duration::from_secs(30);

/// `whence topics`
pub fn command() -> Command {
    let about = "Creates whence's topics in Kafka, and reports on those that are there";
    settings::command::<TopicsSettings>(Command::new("topics").about(about))
}

/// Makes and reports.
///
/// # Errors
/// Kafka refuses or does not answer.
pub fn run(flags: &ArgMatches) -> Result<(), Failure> {
    let settings = load::<TopicsSettings>(flags)?.settings;
    let cluster = settings.kafka.cluster().expect("the settings were checked for brokers");
    let plan = settings.topics.plan(&settings.retention);
    let reports = super::ask(&settings.log, async { Ok(ensure_topics(&cluster, &plan, ANSWER_MAX).await?) })?;
    super::print(&table(&reports).to_string())
}

fn table(reports: &[TopicReport]) -> Table {
    let mut table = Table::new(&[("topic", Align::Left), ("partitions", Align::Right), ("", Align::Left)]);
    for report in reports {
        let finding = match report.finding {
            Finding::Created => "created".to_owned(),
            Finding::AsPlanned => "as planned".to_owned(),
            Finding::KeptLonger { at_most, planned } => {
                let at_most =
                    at_most.map_or("for good".to_owned(), |at_most| format!("up to {}", days(at_most)));
                format!("left as it is, records stay {at_most}, {} were planned", days(planned))
            }
            Finding::OtherPartitions { planned } => format!("left as it is, {planned} were planned"),
        };
        table.row(vec![report.topic.clone(), report.partitions.to_string(), finding]);
    }
    table
}

fn days(time: Duration) -> String {
    format!("{:.1} days", time.as_secs_f64() / 86_400.0)
}
