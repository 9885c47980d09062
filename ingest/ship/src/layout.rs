//! Whether the topics are still those that the journals' records have gone to: a key's partition is part of its
//! meaning, and a topic that was given more partitions sends a key's later records elsewhere.
//!
//! What a journal's topic was like is kept beside the journal, from the first time on. A topic that was recreated has
//! another id and may have other partitions.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use rdkafka_sys::rd_kafka_t;
use uuid::Uuid;
use whence_kafka::Trouble;
use whence_kafka::describe::{Operation, describe};

/// How long brokers may take to describe a topic. The shipper's thread waits meanwhile.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// The file in the journal's directory: `1 TOPIC ID PARTITIONS`.
const FILE: &str = "topic";
const VERSION: &str = "1";

/// A topic as it was when a journal's records first went there.
#[derive(Debug, PartialEq, Eq)]
struct Kept {
    topic: String,
    id: Uuid,
    partitions: u32,
}

impl Kept {
    fn parse(text: &str) -> Option<Kept> {
        let parts: Vec<&str> = text.split_whitespace().collect();
        let [VERSION, topic, id, partitions] = parts[..] else { return None };
        Some(Kept { topic: topic.to_owned(), id: id.parse().ok()?, partitions: partitions.parse().ok()? })
    }

    fn load(dir: &Path) -> io::Result<Option<Kept>> {
        match fs::read_to_string(dir.join(FILE)) {
            Ok(text) => Ok(Kept::parse(&text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn save(&self, dir: &Path) -> io::Result<()> {
        let part = dir.join("topic.part");
        let mut file = fs::File::create(&part)?;
        writeln!(file, "{VERSION} {} {} {}", self.topic, self.id, self.partitions)?;
        file.sync_all()?;
        fs::rename(part, dir.join(FILE))
    }
}

/// Asks for the topic of a journal and compares it with what it was. How many partitions it has.
///
/// # Safety
/// `client` must be a valid librdkafka handle for the whole call.
///
/// # Errors
/// What keeps records from being sent there.
pub(super) unsafe fn confirm(client: *mut rd_kafka_t, dir: &Path, topic: &str) -> Result<u32, Trouble> {
    // SAFETY: by the caller's promise.
    let described = unsafe { describe(client, topic, ANSWER_MAX) }.map_err(|error| error.trouble())?;
    if !described.allowed.contains(&Operation::Write) {
        return Err(Trouble::lasting(format!(
            "the user may not use the topic {topic}, an ACL is missing: Write on it"
        )));
    }
    let unkept =
        |error: io::Error| Trouble::passing(format!("cannot use {}: {error}", dir.join(FILE).display()));
    let now = Kept { topic: topic.to_owned(), id: described.id, partitions: described.partitions };
    let kept = Kept::load(dir).map_err(unkept)?;
    if let Some(kept) = kept.as_ref().filter(|kept| (&kept.topic, kept.id) == (&now.topic, now.id))
        && kept.partitions != now.partitions
    {
        return Err(changed(topic, kept.partitions, now.partitions));
    }
    if kept.as_ref() != Some(&now) {
        now.save(dir).map_err(unkept)?;
    }
    Ok(now.partitions)
}

fn changed(topic: &str, before: u32, now: u32) -> Trouble {
    Trouble::lasting(format!(
        "the topic {topic} had {before} partitions when records first went there and has {now} now, so that a key's later \
         records would be in another partition than its earlier ones: delete and create it again with {before} \
         partitions, once all that is in it has been read"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_again_and_nonsense_is_as_good_as_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Kept::load(dir.path()).unwrap(), None);
        let kept = Kept { topic: "a.whence.clicks".into(), id: Uuid::from_u128(7), partitions: 8 };
        kept.save(dir.path()).unwrap();
        assert_eq!(Kept::load(dir.path()).unwrap(), Some(kept));
        for nonsense in ["", "2 a 00000000-0000-0000-0000-000000000007 8", "1 a b 8"] {
            assert_eq!(Kept::parse(nonsense), None);
        }
    }
}
