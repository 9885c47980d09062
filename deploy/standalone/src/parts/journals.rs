//! The journals in a data folder: which there are, and that those of clicks are cleared when the
//! aggregator has them.
//!
//! The aggregator clears them too, as it commits. But a journal that is full takes no more records, so
//! nothing is committed any more once it is read to its end, and a file that was too young then would stay
//! and keep the journal full for good. Hence a look every few seconds.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use whence_aggregator::position::Partition;
use whence_journal::{
    Checkpoint, JournalConfig, OpenError, Position, Quota, Reader, SEGMENT_BYTES_MIN, Stored, Writer,
    disk_usage, retire,
};
use whence_runtime::health::Component;
use whence_runtime::settings::ByteSize;
use whence_schemas::topics::Stream;

whence_metrics::declare! {
    /// What of a journal is not in ClickHouse yet.
    gauge JOURNAL_LAG_BYTES: "whence_journal_lag_bytes" { journal };
    /// Disk that a journal takes.
    gauge JOURNAL_DISK_BYTES: "whence_journal_disk_bytes" { journal };
    /// What journals take of their quota, 1 being all.
    gauge JOURNAL_QUOTA_TAKEN_RATIO: "whence_journal_quota_taken_ratio" { stream };
}

const LOOK_EVERY: Duration = Duration::from_secs(5);
/// What is read at once to go on behind the aggregator.
const FOLLOW_BYTES: usize = 4 << 20;
const CONVERSIONS: &str = "conversions";
const CLICKS: &str = "clicks-";

/// One journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    /// Its folder.
    pub dir: PathBuf,
    /// What it counts as.
    pub partition: Partition,
}

impl Journal {
    /// Where the aggregator keeps its place.
    pub fn checkpoint(&self) -> PathBuf {
        self.dir.join("aggregator.checkpoint")
    }

    fn label(&self) -> String {
        self.dir.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// The folder of the conversions' journal.
pub fn conversions(root: &Path) -> PathBuf {
    root.join(CONVERSIONS)
}

/// Every journal there is, those of cores that no longer exist included: what is in them is still to be
/// counted. Call it when the writers are open.
///
/// # Errors
/// The folder can't be listed.
pub fn find(root: &Path) -> io::Result<Vec<Journal>> {
    let mut journals = Vec::new();
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(partition) = name.to_str().and_then(partition) else { continue };
        journals.push(Journal { dir: entry.path(), partition });
    }
    journals.sort_by_key(|journal| (journal.partition.stream, journal.partition.number));
    Ok(journals)
}

/// Ends the journals that nobody writes any more, those of former cores: the newest file of a journal stays
/// for its writer, so each is given one without records.
///
/// # Errors
/// The folder can't be listed, or a journal not be opened.
pub fn end_former(root: &Path) -> Result<(), OpenError> {
    for journal in find(root)? {
        let segment_bytes = SEGMENT_BYTES_MIN;
        match Writer::open(JournalConfig { dir: journal.dir, segment_bytes, quota: Quota::bytes(u64::MAX) }) {
            // It has its writer.
            Ok(_) | Err(OpenError::Locked(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn partition(name: &str) -> Option<Partition> {
    if name == CONVERSIONS {
        return Some(Partition { stream: Stream::Conversions, number: 0 });
    }
    let number = name.strip_prefix(CLICKS)?.parse().ok()?;
    Some(Partition { stream: Stream::Clicks, number })
}

/// Clears journals and shows how full they are, until `stop`.
pub async fn keep(journals: Vec<Journal>, grace: Duration, stop: CancellationToken) {
    whence_metrics::begin(module_path!());
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut followers: Vec<Follower> = journals.iter().map(|journal| Follower::new(&journal.dir)).collect();
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let journals = journals.clone();
        let looked = tokio::task::spawn_blocking(move || {
            for (journal, follower) in journals.iter().zip(&mut followers) {
                if let Err(error) = look_after(journal, grace, follower) {
                    tracing::warn!(journal = journal.label(), %error, "cannot look after a journal");
                }
            }
            followers
        });
        match looked.await {
            Ok(looked) => followers = looked,
            Err(error) => return tracing::error!(%error, "journals are no longer maintained"),
        }
    }
}

/// What of a quota may be taken before people are told: what is left is all that an outage may still take.
const TAKEN_PERCENT_MAX: u64 = 75;

/// Shows in `component` when journals have little of their quotas left, until `stop`.
pub async fn watch_quotas(
    root: PathBuf,
    quotas: [(Stream, &'static str, ByteSize); 2],
    component: Component,
    stop: CancellationToken,
) {
    whence_metrics::begin(module_path!());
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let root = root.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let mut taken = [0; 2];
            for journal in find(&root)? {
                let at = usize::from(journal.partition.stream == Stream::Conversions);
                taken[at] += disk_usage(&journal.dir)?.bytes;
            }
            Ok::<_, io::Error>(taken)
        });
        match looked.await {
            Ok(Ok(taken)) => match short(quotas, taken) {
                None => component.ready(),
                Some(reason) => component.not_ready(reason),
            },
            Ok(Err(error)) => component.not_ready(format!("journals can't be read: {error}")),
            Err(_) => return,
        }
    }
}

/// What is wrong with quotas of which so much is taken.
fn short(quotas: [(Stream, &'static str, ByteSize); 2], taken: [u64; 2]) -> Option<String> {
    let mut short = Vec::new();
    for ((stream, setting, quota), taken) in quotas.into_iter().zip(taken) {
        let percent = taken.saturating_mul(100) / quota.as_u64().max(1);
        metrics::gauge!(JOURNAL_QUOTA_TAKEN_RATIO, "stream" => stream.word()).set(percent as f64 / 100.0);
        if percent > TAKEN_PERCENT_MAX {
            short.push(format!(
                "journals of {} take {} MiB, {percent}% of {setting}={quota}: beyond it records are lost or refused. See why \
                 they are not taken away (Kafka, ClickHouse, journal-grace), or give more room",
                stream.word(),
                taken >> 20,
            ));
        }
    }
    (!short.is_empty()).then(|| short.join("; "))
}

/// Goes through a journal behind the aggregator: where in a file a position is, only reading says.
struct Follower(Reader);

impl Follower {
    fn new(dir: &Path) -> Follower {
        Follower(Reader::open(dir, None))
    }

    /// Bytes of the journal behind this position, framing included, except for those of the first record.
    fn lag_bytes(&mut self, stored: Option<Position>) -> io::Result<u64> {
        let Some(to) = stored else { return self.0.lag_bytes() };
        let next = to.plus(1);
        if self.0.position().is_none_or(|at| at.incarnation != to.incarnation || at > next) {
            self.0.seek(to);
        }
        let mut records = Vec::new();
        // At least once: only then is its file open at the position.
        while let Some(at) = self.0.position().filter(|at| at.incarnation == to.incarnation && *at <= to) {
            let count = usize::try_from(to.offset - at.offset).unwrap_or(usize::MAX).clamp(1, 10_000);
            records.clear();
            let read = self.0.read(count, FOLLOW_BYTES, &mut records).map_err(io::Error::other)?;
            if read.caught_up || records.is_empty() {
                break;
            }
        }
        self.0.lag_bytes()
    }
}

fn look_after(journal: &Journal, grace: Duration, follower: &mut Follower) -> io::Result<()> {
    let label = journal.label();
    let mut from = None;
    if let Stored::Intact(checkpoint) = Checkpoint::load(&journal.checkpoint())? {
        retire(&journal.dir, checkpoint.position, grace)?;
        from = Some(checkpoint.position);
    }
    let lag_bytes = follower.lag_bytes(from)?;
    let usage = disk_usage(&journal.dir)?;
    metrics::gauge!(JOURNAL_LAG_BYTES, "journal" => label.clone()).set(lag_bytes as f64);
    metrics::gauge!(JOURNAL_DISK_BYTES, "journal" => label).set(usage.bytes as f64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_are_told_of_while_there_is_room_left_each_by_its_setting() {
        let quotas = [
            (Stream::Clicks, "click-journal-quota", ByteSize::mib(100)),
            (Stream::Conversions, "conversion-journal-quota", ByteSize::mib(10)),
        ];
        assert_eq!(short(quotas, [75 << 20, 7 << 20]), None);
        let told = short(quotas, [76 << 20, 0]).unwrap();
        assert!(told.contains("clicks take 76 MiB, 76% of click-journal-quota=100MiB"), "{told}");
        let told = short(quotas, [0, 9 << 20]).unwrap();
        assert!(told.contains("conversions take 9 MiB, 90% of conversion-journal-quota"), "{told}");
    }

    #[test]
    fn what_is_not_stored_is_counted_in_bytes_and_is_nothing_once_all_is() {
        const BYTES: u64 = 1000;
        let dir = tempfile::tempdir().unwrap();
        let config = JournalConfig {
            dir: dir.path().to_owned(),
            segment_bytes: SEGMENT_BYTES_MIN,
            quota: Quota::bytes(1 << 30),
        };
        let mut writer = Writer::open(config).unwrap();
        let mut append = |count: usize| {
            let written =
                (0..count).map(|_| writer.append(&[7; BYTES as usize]).unwrap()).collect::<Vec<_>>();
            *written.last().unwrap()
        };
        let mut follower = Follower::new(dir.path());
        // Over several files.
        let last = append(3000);
        let first = Position { offset: 0, ..last };
        let lag = |follower: &mut Follower, at: Position| follower.lag_bytes(Some(at)).unwrap() / BYTES;
        assert!(follower.lag_bytes(None).unwrap() / BYTES >= 3000);
        for (stored, left) in
            [(0, 3000_u64), (1, 2999), (1000, 2000), (2999, 1), (3000, 0), (100, 2900), (3000, 0)]
        {
            let found = lag(&mut follower, first.plus(stored));
            // The framing of each record, and the first one.
            assert!(
                ((left * 95_u64 / 100).saturating_sub(1)..=left * 105 / 100 + 1).contains(&found),
                "{stored}: {found}"
            );
        }
        append(500);
        assert!((499..530).contains(&lag(&mut follower, first.plus(3000))));
        assert_eq!(lag(&mut follower, first.plus(3500)), 0);
    }

    #[test]
    fn journals_of_former_cores_are_found_and_strangers_are_not() {
        let root = tempfile::tempdir().unwrap();
        for name in ["clicks-0", "clicks-11", "clicks-2", "conversions", "clicks-x", "lost+found", "clicks-"]
        {
            fs::create_dir(root.path().join(name)).unwrap();
        }
        let found: Vec<(&str, u32)> = find(root.path())
            .unwrap()
            .iter()
            .map(|journal| (journal.partition.stream.word(), journal.partition.number))
            .collect();
        assert_eq!(found, [("clicks", 0), ("clicks", 2), ("clicks", 11), ("conversions", 0)]);
    }
}
