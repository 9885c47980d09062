//! Where in a block an aggregator stands, as its log at debug level tells: one JSON object a line.
//!
//! It knows the words of those lines and nothing else of the process that writes them.

use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fmt,
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::PathBuf,
};

/// A block: records `first..end` of a partition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BlockName {
    /// The partition, such as `clicks-3`.
    pub partition: String,
    /// Its first offset.
    pub first: u64,
    /// The offset after its last.
    pub end: u64,
}

impl fmt::Display for BlockName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}, {})", self.partition, self.first, self.end)
    }
}

/// A block that was begun and not committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenBlock {
    /// Which.
    pub name: BlockName,
    /// Its tables that are inserted.
    pub tables: Vec<String>,
    /// The block is being replayed.
    pub is_replay: bool,
}

/// A step that a log line tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A block is done again.
    Replaying(BlockName),
    /// A new block's intent is committed.
    Intended(BlockName),
    /// A table of the partition's block is inserted.
    Inserted {
        /// The partition.
        partition: String,
        /// The table.
        table: String,
    },
    /// The partition's block is committed.
    Committed(BlockName),
}

#[derive(Deserialize)]
struct Line {
    message: String,
    partition: String,
    first: Option<u64>,
    end: Option<u64>,
    table: Option<String>,
}

impl Step {
    /// The step in a log line, if it tells of one.
    #[must_use]
    pub fn parse(line: &str) -> Option<Step> {
        let Line { message, partition, first, end, table } = serde_json::from_str(line).ok()?;
        if message == "table inserted" {
            return Some(Step::Inserted { partition, table: table? });
        }
        let name = BlockName { partition, first: first?, end: end? };
        match message.as_str() {
            "replaying a block" => Some(Step::Replaying(name)),
            "block intended" => Some(Step::Intended(name)),
            "block committed" => Some(Step::Committed(name)),
            _ => None,
        }
    }

    /// Whose step it is.
    #[must_use]
    pub fn partition(&self) -> &str {
        match self {
            Step::Replaying(name) | Step::Intended(name) | Step::Committed(name) => &name.partition,
            Step::Inserted { partition, .. } => partition,
        }
    }
}

/// The blocks of one process over all its lives.
#[derive(Debug, Default)]
pub struct Blocks {
    open: BTreeMap<String, OpenBlock>,
    /// Replays begun.
    pub replays: u64,
    /// Blocks committed.
    pub committed: u64,
    /// How many tables a block had that was replayed to its end.
    pub tables_of_replayed: BTreeMap<BlockName, usize>,
}

impl Blocks {
    /// Goes one step on.
    pub fn apply(&mut self, step: Step) {
        match step {
            Step::Replaying(name) => {
                self.replays += 1;
                self.begin(name, true);
            }
            Step::Intended(name) => self.begin(name, false),
            Step::Inserted { partition, table } => {
                if let Some(open) = self.open.get_mut(&partition) {
                    open.tables.push(table);
                }
            }
            Step::Committed(name) => {
                self.committed += 1;
                if let Some(open) = self.open.remove(&name.partition).filter(|open| open.is_replay) {
                    self.tables_of_replayed.insert(open.name, open.tables.len());
                }
            }
        }
    }

    fn begin(&mut self, name: BlockName, is_replay: bool) {
        let open = OpenBlock { name: name.clone(), tables: Vec::new(), is_replay };
        self.open.insert(name.partition, open);
    }

    /// The process is dead: what was open when it died.
    pub fn died(&mut self) -> Vec<OpenBlock> {
        std::mem::take(&mut self.open).into_values().collect()
    }
}

/// A log that is followed.
#[derive(Debug)]
pub struct BlockLog {
    path: PathBuf,
    read_to: u64,
    /// The beginning of a line whose end is not written yet.
    rest: Vec<u8>,
    /// What it has told so far.
    pub blocks: Blocks,
}

impl BlockLog {
    /// Follows the log at `path` from its beginning.
    #[must_use]
    pub fn new(path: PathBuf) -> BlockLog {
        BlockLog { path, read_to: 0, rest: Vec::new(), blocks: Blocks::default() }
    }

    /// Reads on, and returns the steps that each partition took last; steps before it are history.
    ///
    /// # Errors
    /// Of the file.
    pub fn read_on(&mut self) -> io::Result<Vec<Step>> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.read_to))?;
        let read = file.read_to_end(&mut self.rest)?;
        self.read_to += read as u64;
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else { return Ok(Vec::new()) };
        let rest = self.rest.split_off(end + 1);
        let whole = std::mem::replace(&mut self.rest, rest);
        let mut last = BTreeMap::new();
        for step in String::from_utf8_lossy(&whole).lines().filter_map(Step::parse) {
            last.insert(step.partition().to_owned(), step.clone());
            self.blocks.apply(step);
        }
        Ok(last.into_values().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn line(message: &str, fields: &str) -> String {
        format!(
            r#"{{"timestamp":"t","level":"DEBUG","message":"{message}","partition":"clicks-1"{fields},"target":"m"}}"#
        )
    }

    fn name(first: u64, end: u64) -> BlockName {
        BlockName { partition: "clicks-1".into(), first, end }
    }

    #[test]
    fn lines_of_other_kinds_are_no_steps() {
        for line in ["", "thread panicked", r#"{"message":"block intended"}"#, &line("block intended", "")] {
            assert_eq!(Step::parse(line), None, "{line}");
        }
        let intended = line("block intended", r#","first":1,"end":3"#);
        assert_eq!(Step::parse(&intended), Some(Step::Intended(name(1, 3))));
    }

    #[test]
    fn what_is_open_at_death_is_known_and_its_replay_tells_how_many_tables_it_had() {
        let inserted = |table: &str| Step::Inserted { partition: "clicks-1".into(), table: table.into() };
        let mut blocks = Blocks::default();
        for step in [Step::Intended(name(0, 5)), inserted("clicks"), Step::Committed(name(0, 5))] {
            blocks.apply(step);
        }
        assert_eq!(blocks.died(), []);
        blocks.apply(Step::Intended(name(5, 9)));
        blocks.apply(inserted("clicks"));
        let open = OpenBlock { name: name(5, 9), tables: vec!["clicks".into()], is_replay: false };
        assert_eq!(blocks.died(), [open]);
        for step in [
            Step::Replaying(name(5, 9)),
            inserted("clicks"),
            inserted("rejects"),
            Step::Committed(name(5, 9)),
        ] {
            blocks.apply(step);
        }
        assert_eq!((blocks.replays, blocks.committed), (1, 2));
        assert_eq!(blocks.tables_of_replayed, BTreeMap::from([(name(5, 9), 2)]));
    }

    #[test]
    fn a_log_is_read_line_by_line_as_it_grows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut file = File::create(&path).unwrap();
        let mut log = BlockLog::new(path);
        let text = line("block intended", r#","first":1,"end":3"#);
        let (start, end) = text.split_at(40);
        file.write_all(start.as_bytes()).unwrap();
        assert_eq!(log.read_on().unwrap(), []);
        file.write_all(
            format!("{end}\n{}\n", line("table inserted", r#","table":"clicks","rows":2"#)).as_bytes(),
        )
        .unwrap();
        let inserted = Step::Inserted { partition: "clicks-1".into(), table: "clicks".into() };
        assert_eq!(log.read_on().unwrap(), [inserted]);
        assert_eq!(log.blocks.died()[0].tables, ["clicks"]);
    }
}
