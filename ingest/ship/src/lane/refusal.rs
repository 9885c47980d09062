//! What becomes of records that Kafka refuses for good: each is kept beside the journal and then passed
//! over. One that can't be kept (a full disk, too many kept already) holds the checkpoint, and once the
//! window is full the journal: it is tried again until it is kept, or until Kafka takes it after all.

use std::time::Instant;

use rdkafka::error::RDKafkaErrorCode;
use whence_journal::{Payload, Reader};

use super::{ERROR_PAUSE, Lane};
use crate::refused;
use crate::window::{End, Ticket};

impl Lane {
    /// Gives up a record that Kafka refused on its own: it must not hold up all others for ever.
    pub(crate) fn give_up(&mut self, ticket: Ticket, code: RDKafkaErrorCode, now: Instant) {
        let Some(position) = self.window.position(ticket) else { return };
        self.metrics.refused(code);
        tracing::error!(
            journal = %self.dir.display(), %position, %code,
            "kafka refuses a record for good, it is kept beside the journal"
        );
        self.refused.push_back(ticket);
        // Behind others that can't be kept it has to wait as they do.
        if self.refused.len() == 1 {
            self.keep_refused(now);
        }
    }

    /// Keeps the records that were given up, and passes over them.
    pub(crate) fn keep_refused(&mut self, now: Instant) {
        if self.keep_again_at.is_some_and(|at| now < at) {
            return;
        }
        self.keep_again_at = None;
        while let Some(ticket) = self.refused.front().copied() {
            if let Err(error) = self.keep(ticket) {
                self.metrics.keep_failures.increment(1);
                tracing::error!(
                    journal = %self.dir.display(), waiting = self.refused.len(), error = &*error,
                    "a refused record could not be kept, trying on"
                );
                self.keep_again_at = Some(now + ERROR_PAUSE);
                return;
            }
            self.refused.pop_front();
            self.window.settle(ticket, End::Refused);
        }
    }

    fn keep(&self, ticket: Ticket) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        // Settled meanwhile, or of before a rewind.
        let Some(position) = self.window.position(ticket) else { return Ok(()) };
        let mut records = Vec::new();
        // Its bytes are in the journal; refusals are too rare to keep every payload for them.
        Reader::open(&self.dir, Some(position)).read(1, usize::MAX, &mut records)?;
        let payload = match records.first().map(|record| &record.payload) {
            Some(Payload::Intact(payload)) => &payload[..],
            // Damaged since it was sent: its name is all that can be kept.
            _ => &[],
        };
        Ok(refused::keep(&self.dir, position, payload)?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::*;
    use std::fs;
    use whence_journal::{JournalConfig, Quota, Writer};
    use whence_kafka::Cluster;

    const TOO_LARGE: RDKafkaErrorCode = RDKafkaErrorCode::MessageSizeTooLarge;

    fn lane(dir: &Path) -> Lane {
        let cluster = Cluster::at("none");
        let source = JournalSource { dir: dir.to_owned(), stream: Stream::Clicks };
        Lane::open(source, &ShipConfig::new(cluster)).unwrap()
    }

    fn saved(lane: &mut Lane) -> Option<u64> {
        lane.save_checkpoint();
        match Checkpoint::load(&lane.dir.join(CHECKPOINT)).unwrap() {
            Stored::Intact(checkpoint) => Some(checkpoint.position.offset),
            _ => None,
        }
    }

    #[test]
    fn a_refused_record_that_cannot_be_kept_is_not_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let config = JournalConfig {
            dir: dir.path().to_owned(),
            segment_bytes: 1 << 16,
            quota: Quota::bytes(1 << 20),
        };
        let mut writer = Writer::open(config).unwrap();
        for record in [b"first", b"wrong", b"third", b"large"] {
            writer.append(record).unwrap();
        }
        // Nothing can be kept where a file stands in the folder's place.
        let folder = dir.path().join("refused");
        fs::write(&folder, "").unwrap();
        let (mut lane, mut now, mut tickets) = (lane(dir.path()), Instant::now(), Vec::new());
        lane.turn(now, |_, _, payload, ticket| {
            if payload == b"wrong" {
                return Err(SendError::Refused(TOO_LARGE));
            }
            tickets.push(ticket);
            Ok(())
        });
        assert_eq!(tickets.len(), 3, "it holds nobody up");
        lane.acknowledge(tickets[0]);
        lane.acknowledge(tickets[1]);
        lane.give_up(tickets[2], TOO_LARGE, now);
        assert_eq!((saved(&mut lane), lane.window.open_records()), (Some(1), 2));
        fs::remove_file(&folder).unwrap();
        lane.keep_refused(now);
        assert_eq!(saved(&mut lane), Some(1), "not tried at once again");
        now += ERROR_PAUSE;
        lane.keep_refused(now);
        assert_eq!((saved(&mut lane), lane.window.open_records()), (Some(4), 0));
        let mut kept: Vec<_> = fs::read_dir(&folder)
            .unwrap()
            .map(|file| fs::read_to_string(file.unwrap().path()).unwrap())
            .collect();
        kept.sort();
        assert_eq!(kept, ["large", "wrong"]);
    }

    #[test]
    fn what_is_sent_anew_need_not_be_kept() {
        let dir = tempfile::tempdir().unwrap();
        let config = JournalConfig {
            dir: dir.path().to_owned(),
            segment_bytes: 1 << 16,
            quota: Quota::bytes(1 << 20),
        };
        Writer::open(config).unwrap().append(b"large").unwrap();
        fs::write(dir.path().join("refused"), "").unwrap();
        let (mut lane, now, mut tickets) = (lane(dir.path()), Instant::now(), Vec::new());
        lane.turn(now, |_, _, _, _| Err(SendError::Refused(TOO_LARGE)));
        assert_eq!(saved(&mut lane), None);
        // The operator has let larger records in, the client was replaced.
        lane.rewind();
        lane.turn(now, |_, _, _, ticket| {
            tickets.push(ticket);
            Ok(())
        });
        lane.acknowledge(tickets[0]);
        lane.keep_refused(now + ERROR_PAUSE);
        assert_eq!((saved(&mut lane), lane.refused.len()), (Some(1), 0));
    }
}
