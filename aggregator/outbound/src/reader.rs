//! Reads what a partition has announced, in order, from a checkpoint to where the partition's loop has stored it for
//! good. Rows of a block in flight may be seen already, of one table and not yet of the next: nobody reads beyond what
//! is committed, so that no message is passed over that comes later.

use crate::{
    message::Message,
    queue::MessagePosition,
    tables::{Checkpoint, Era, EraRow, Tables, Wanted},
};
use clickhouse::error::Error;
use uuid::Uuid;
use whence_aggregator::position::Commit;
use whence_schemas::time::UnixMs;

/// An incarnation of the partition.
#[derive(Clone, Copy, Debug)]
struct Known {
    incarnation: Uuid,
    /// Whether the table is known to have messages of it.
    has_messages: bool,
    /// When its last message was announced, where no more can come of it.
    ended_at: Option<UnixMs>,
}

/// The incarnations of a partition in the order in which they were written; the last one is the one that is read now.
#[derive(Clone, Debug)]
pub struct Eras {
    known: Vec<Known>,
    stored: Commit,
}

impl Eras {
    /// Those that have messages, and the one of the commit.
    #[must_use]
    pub fn new(found: Vec<EraRow>, stored: Commit) -> Eras {
        let now = stored.incarnation.0;
        let has_messages = found.iter().any(|row| row.incarnation == now);
        let ended = found.into_iter().filter(|row| row.incarnation != now).map(|row| Known {
            incarnation: row.incarnation,
            has_messages: true,
            ended_at: Some(UnixMs(row.last_announced)),
        });
        // Clocks may say otherwise: what is read now is the newest.
        let newest = Known { incarnation: now, has_messages, ended_at: None };
        Eras { known: ended.chain([newest]).collect(), stored }
    }

    /// More is stored.
    pub fn advance(&mut self, stored: Commit) {
        self.stored = stored;
        let now = stored.incarnation.0;
        if self.known[self.last()].incarnation != now {
            self.known.push(Known { incarnation: now, has_messages: false, ended_at: None });
        }
    }

    /// What is stored for good.
    #[must_use]
    pub fn stored(&self) -> Commit {
        self.stored
    }

    /// The newest incarnation was seen to have messages.
    pub fn newest_has_messages(&mut self) {
        let last = self.last();
        self.known[last].has_messages = true;
    }

    fn last(&self) -> usize {
        self.known.len() - 1
    }

    fn era(&self, number: usize) -> Era {
        let end = (number == self.last()).then_some(self.stored.next);
        Era { incarnation: self.known[number].incarnation, end }
    }

    /// The first place behind all that is stored.
    #[must_use]
    pub fn end(&self) -> MessagePosition {
        MessagePosition { era: self.last(), offset: self.stored.next }
    }

    /// The place of a checkpoint; the beginning where its incarnation is not known.
    #[must_use]
    pub fn place(&self, incarnation: Uuid, offset: u64) -> MessagePosition {
        let era = self.known.iter().position(|known| known.incarnation == incarnation);
        era.map_or(MessagePosition::default(), |era| MessagePosition { era, offset })
    }

    /// A place as a checkpoint keeps it: in an incarnation that has messages, by which it is found again. `None`
    /// before the first of them.
    #[must_use]
    pub fn checkpoint(&self, place: MessagePosition) -> Option<(Uuid, u64)> {
        let era = (0..=place.era).rev().find(|era| self.known[*era].has_messages)?;
        let offset = if era == place.era { place.offset } else { u64::MAX };
        Some((self.known[era].incarnation, offset))
    }
}

/// Where somebody reads.
#[derive(Clone, Debug)]
pub struct Reader {
    partition: u32,
    /// What is read.
    pub wanted: Wanted,
    at: MessagePosition,
    /// Whether there may be more.
    pub is_behind: bool,
}

impl Reader {
    /// From this place on.
    #[must_use]
    pub fn new(partition: u32, wanted: Wanted, at: MessagePosition) -> Reader {
        Reader { partition, wanted, at, is_behind: true }
    }

    /// Everything before this has been read.
    #[must_use]
    pub fn at(&self) -> MessagePosition {
        self.at
    }

    /// More is stored, and whether any of it is wanted.
    pub fn told(&mut self, eras: &Eras, is_wanted: bool) {
        if is_wanted {
            self.is_behind = true;
        } else if !self.is_behind {
            self.at = eras.end();
        }
    }

    /// The next messages with their places, about `count` of them; none where nothing more is stored.
    ///
    /// # Errors
    /// ClickHouse failed; the same is read again.
    pub async fn read(
        &mut self,
        tables: &Tables,
        eras: &Eras,
        count: usize,
    ) -> Result<Vec<(MessagePosition, Message)>, Error> {
        while self.is_behind {
            let era = self.at.era;
            if eras.known[era].ended_at.is_some_and(|ended| ended < self.wanted.since) {
                self.at = MessagePosition { era: era + 1, offset: 0 };
                continue;
            }
            let bounds = eras.era(era);
            let messages =
                tables.messages(self.partition, bounds, self.at.offset, &self.wanted, count).await?;
            match (messages.len() < count, bounds.end) {
                (true, None) => self.at = MessagePosition { era: era + 1, offset: 0 },
                (true, Some(end)) => {
                    self.at = MessagePosition { era, offset: end.max(self.at.offset) };
                    self.is_behind = false;
                }
                (false, _) => {
                    let last = messages.last().map_or(self.at.offset, |message| message.offset);
                    self.at = MessagePosition { era, offset: last + 1 };
                }
            }
            if !messages.is_empty() {
                let place = |message: &Message| MessagePosition { era, offset: message.offset };
                return Ok(messages.into_iter().map(|message| (place(&message), message)).collect());
            }
        }
        Ok(Vec::new())
    }
}

/// The checkpoint's row.
#[must_use]
pub fn checkpoint(
    eras: &Eras,
    place: MessagePosition,
    (program, endpoint): (&str, &str),
    partition: u32,
    now: UnixMs,
) -> Option<Checkpoint> {
    let (incarnation, next_offset) = eras.checkpoint(place)?;
    Some(Checkpoint {
        program: program.to_owned(),
        endpoint: endpoint.to_owned(),
        partition,
        incarnation,
        next_offset,
        saved_at: now.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use whence_schemas::ids::Incarnation;

    fn row(number: u128, last_announced: i64) -> EraRow {
        EraRow { incarnation: Uuid::from_u128(number), last_announced }
    }

    fn commit(number: u128, next: u64) -> Commit {
        Commit { incarnation: Incarnation(Uuid::from_u128(number)), next, intent: None }
    }

    #[test]
    fn the_incarnation_that_is_read_now_is_the_newest_whatever_the_clock_said() {
        let mut eras = Eras::new(vec![row(1, 10), row(2, 20)], commit(1, 7));
        assert_eq!(eras.end(), MessagePosition { era: 1, offset: 7 });
        assert_eq!(eras.place(Uuid::from_u128(2), 5), MessagePosition { era: 0, offset: 5 });
        assert_eq!(eras.place(Uuid::from_u128(9), 5), MessagePosition::default());
        eras.advance(commit(3, 0));
        assert_eq!(eras.end(), MessagePosition { era: 2, offset: 0 });
        // Of an incarnation without messages nothing would be found again.
        assert_eq!(eras.checkpoint(eras.end()), Some((Uuid::from_u128(1), u64::MAX)));
        eras.newest_has_messages();
        assert_eq!(eras.checkpoint(eras.end()), Some((Uuid::from_u128(3), 0)));
        assert_eq!(Eras::new(vec![], commit(3, 5)).checkpoint(MessagePosition { era: 0, offset: 5 }), None);
    }
}
