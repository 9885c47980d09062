//! Whether a cluster's tables remember blocks for as long as their records may come again.

use std::time::Duration;

use clickhouse::Client;
use whence_aggregator::clickhouse::migrate::first_to_forget;
use whence_aggregator::servers::{Servers, Trouble, trouble};
use whence_ingest::topics::consumed_are_kept;
use whence_kafka::Cluster;
use whence_schemas::sql::Topology;

use crate::failure::Failure;

/// How long Kafka may take to say how long it keeps records.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// What stands for "for good".
const FOR_GOOD: Duration = Duration::from_secs(3650 * 86_400);

/// Refuses tables that forget sooner.
///
/// # Errors
/// A table forgets sooner.
pub async fn refuse_forgetful(
    servers: &Servers,
    topology: &Topology,
    cluster: &Cluster,
) -> Result<(), Failure> {
    match remembered(&servers.any(), topology, cluster).await {
        Err(trouble) if trouble.is_final => Err(trouble.into()),
        _ => Ok(()),
    }
}

/// How long is remembered, or why that is too short.
///
/// # Errors
/// See above; what passes is said, too.
pub async fn remembered(client: &Client, topology: &Topology, cluster: &Cluster) -> Result<String, Trouble> {
    if *topology == Topology::Single {
        return Ok("by number alone".to_owned());
    }
    let first = first_to_forget(client).await.map_err(|error| trouble(&error))?;
    let Some((table, remembered)) = first else { return Ok("there are no tables yet".to_owned()) };
    match consumed_are_kept(cluster, ANSWER_MAX).await {
        Some(kept) => judge(&table, remembered, kept),
        None => Ok(format!("{}; Kafka does not say how long it keeps records", days(remembered))),
    }
}

fn judge(table: &str, remembered: Duration, kept: Option<Duration>) -> Result<String, Trouble> {
    let needed = kept.unwrap_or(FOR_GOOD);
    if remembered >= needed {
        return Ok(days(remembered));
    }
    let kept = kept.map_or("for good".to_owned(), |kept| format!("for up to {}", days(kept)));
    // A segment is closed after a day, or after the retention where that is shorter.
    let retention = needed.saturating_sub(Duration::from_secs(86_400)).max(needed / 2);
    let hours = retention.as_secs().div_ceil(3600);
    let text = format!(
        "the table {table} forgets blocks after {}, and Kafka keeps their records {kept}: a block that stays half \
         written for longer would be stored twice. Run `whence migrate --topic-retention {hours}h`, or have Kafka keep \
         records for a shorter time",
        days(remembered)
    );
    Err(Trouble { text, is_final: true })
}

fn days(time: Duration) -> String {
    format!("{:.1} days", time.as_secs_f64() / 86_400.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_that_forget_before_kafka_does_are_refused_with_what_to_do() {
        let day = Duration::from_secs(86_400);
        assert_eq!(judge("clicks", 8 * day, Some(8 * day)), Ok("8.0 days".into()));
        let refused = judge("clicks", 7 * day, Some(15 * day)).unwrap_err();
        assert!(refused.is_final);
        for words in ["clicks", "7.0 days", "15.0 days", "whence migrate --topic-retention 336h"] {
            assert!(refused.text.contains(words), "{refused}");
        }
        assert!(judge("clicks", 8 * day, None).unwrap_err().text.contains("for good"));
        // What is advised suffices.
        let advised = whence_ingest::topics::kept_at_most(Duration::from_secs(336 * 3600));
        assert!(judge("clicks", advised, Some(15 * day)).is_ok());
    }
}
