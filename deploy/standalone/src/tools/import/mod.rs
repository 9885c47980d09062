//! `whence import`: events of the past from a file, over the API. Whatever the file does not name itself has
//! an id made of its content, so that the same import again changes nothing: after a failure, run it again.

mod rows;
mod stored;

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches, Command, value_parser};
use serde_json::Value;
use whence_console::ask::AskError;
use whence_runtime::settings;
use whence_schemas::digest;

use super::parameters;
use super::rewards::wait;
use super::sending::Sender;
use crate::addresses;
use crate::failure::Failure;
use crate::settings::{ImportSettings, load};
use rows::{Defaults, KINDS, Row};
use stored::{Known, PENDING_MAX, Stored};

/// Bytes of a batch: half of what an API takes that is set to take the least.
const BATCH_BYTES_MAX: usize = 512 * 1024;
/// Why a row is refused whose id another one has.
const CONFLICTING: &str = "an event with this id is stored and says something else: it stands as it is; a change is an event of \
                           its own, with another id";
const PROGRESS_EVERY: Duration = Duration::from_secs(2);

/// `whence import`
pub fn command() -> Command {
    let file = Arg::new("file").value_name("FILE").required(true).help("CSV or NDJSON; `-`: standard input");
    let program = Arg::new("program").long("program").value_name("ID").required(true).help("Its program");
    let format = Arg::new("format")
        .long("format")
        .value_name("FORMAT")
        .value_parser(PossibleValuesParser::new(["csv", "ndjson"]))
        .help("Format of the file [default: by the ending of its name]");
    let kind = Arg::new("type")
        .long("type")
        .value_name("TYPE")
        .value_parser(PossibleValuesParser::new(KINDS))
        .help("Type of the rows that have no column `type`");
    let source = Arg::new("source").long("source").value_name("NAME").help(
        "The source of rows that have none; ids count per source [default: import, of leads import-lead]",
    );
    let delimiter = Arg::new("delimiter")
        .long("delimiter")
        .value_name("CHARACTER")
        .default_value(",")
        .value_parser(|text: &str| match text.as_bytes() {
            [byte] if byte.is_ascii() && *byte != b'"' => Ok(*byte),
            name if name == br"\t" || name.eq_ignore_ascii_case(b"tab") => Ok(b'\t'),
            _ => Err(r"expected one ASCII character, or tab (\t)"),
        })
        .help(r"Character that separates the fields of a CSV file; tab or \t for a tab");
    let batch = Arg::new("batch")
        .long("batch")
        .value_name("NUMBER")
        .default_value("500")
        .value_parser(value_parser!(u32).range(1..=10_000))
        .help("Number of events in one request");
    let about = "Imports past events from a file; importing the same file again changes nothing";
    settings::command::<ImportSettings>(Command::new("import").about(about)).args([
        file,
        program,
        format,
        kind,
        source,
        delimiter,
        batch,
        wait(),
    ])
}

/// Imports. What is stored already is not sent again. Refused rows are told on standard error, each with its line and why, also
/// those that are refused after they were accepted.
///
/// # Errors
/// The file or the API can't be used, or rows were refused.
pub fn run(flags: &ArgMatches) -> Result<(), Failure> {
    let settings = load::<ImportSettings>(flags)?.settings;
    let text = |name: &str| flags.get_one::<String>(name).map(String::as_str);
    let path = Path::new(text("file").expect("required"));
    let named = || path.extension().and_then(|extension| extension.to_str());
    let format = text("format").or_else(named).unwrap_or_default();
    let defaults = Defaults {
        program: text("program").expect("required").to_owned(),
        kind: text("type").map(str::to_owned),
        source: text("source").map(str::to_owned),
    };
    let failed = |source| Failure::File { path: path.to_owned(), source };
    let file: Box<dyn Read> = match path.to_str() {
        Some("-") => Box::new(io::stdin().lock()),
        _ => Box::new(File::open(path).map_err(failed)?),
    };
    let rows: Box<dyn Iterator<Item = io::Result<Row>>> = match format.to_ascii_lowercase().as_str() {
        "csv" => {
            let delimiter = flags.get_one::<u8>("delimiter").copied().expect("has a default");
            Box::new(rows::csv(file, delimiter, defaults).map_err(failed)?)
        }
        "ndjson" | "jsonl" => Box::new(rows::ndjson(file, defaults)),
        _ => return Err(Failure::Usage("say what the file is: --format csv or --format ndjson".to_owned())),
    };
    let batch_max = flags.get_one::<u32>("batch").map_or(1, |max| *max as usize);
    let sender = Sender::new(&settings.call, &settings.data)?;
    let mut import = Import { sender, stored: None, counts: Counts::default(), told: Instant::now() };
    let imported = super::ask(&settings.log, async {
        import.stored = open_stored(&settings, flags).await?;
        import.rows(rows, batch_max).await.map_err(|stop| match stop {
            Stop::File(source) => failed(source),
            Stop::Api(why) => Failure::Failed(why),
            Stop::Stored(error) => error.into(),
        })
    });
    let Counts { rows, accepted, unchanged, refused } = import.counts;
    super::print(&format!(
        "{rows} rows read, {accepted} accepted, {unchanged} unchanged, {refused} refused\n"
    ))?;
    imported?;
    if refused > 0 {
        return Err(Failure::Refused { refused });
    }
    if rows == 0 {
        return Err(Failure::Failed(format!("{}: no row is in it", path.display())));
    }
    Ok(())
}

/// What ClickHouse has already; `None` where it is not known where that is, or nothing is to be waited for: what is stored is
/// sent again then, and refused as a duplicate.
async fn open_stored(settings: &ImportSettings, flags: &ArgMatches) -> Result<Option<Stored>, Failure> {
    let noted =
        || addresses::read(&settings.data.data.join("addresses.json")).and_then(|noted| noted.clickhouse);
    if settings.clickhouse.clickhouse_url.is_empty() && noted().is_none() {
        say("without --clickhouse-url it is not known what is stored already: all rows are sent");
        return Ok(None);
    }
    let program = parameters::program(flags.get_one::<String>("program").expect("required"))?;
    let client = super::reader(&settings.clickhouse, &settings.account, &settings.answer, &settings.data)?;
    let wait = Duration::from_secs(flags.get_one::<u64>("wait").copied().expect("has a default"));
    Ok(Some(Stored::open(client, program, wait).await?))
}

/// Why an import ends before its file does.
enum Stop {
    File(io::Error),
    Api(String),
    Stored(AskError),
}

#[derive(Clone, Copy, Default)]
struct Counts {
    rows: u64,
    accepted: u64,
    unchanged: u64,
    refused: u64,
}

/// An event on its way.
struct Sent {
    line: u64,
    event: Value,
}

struct Import {
    sender: Sender,
    stored: Option<Stored>,
    counts: Counts,
    told: Instant,
}

impl Import {
    async fn rows(
        &mut self,
        rows: impl Iterator<Item = io::Result<Row>>,
        batch_max: usize,
    ) -> Result<(), Stop> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for row in rows {
            let Row { line, event } = row.map_err(Stop::File)?;
            self.counts.rows += 1;
            match event {
                Err(why) => self.refuse(line, &why),
                Ok(event) => {
                    let length = event.to_string().len() + 1;
                    if batch.len() == batch_max || bytes + length >= BATCH_BYTES_MAX {
                        self.send(std::mem::take(&mut batch)).await?;
                        bytes = 0;
                    }
                    bytes += length;
                    batch.push(Sent { line, event });
                }
            }
        }
        let sent = self.send(batch).await;
        self.settle(0).await?;
        sent
    }

    /// What is known of the batch; `None` where nobody is asked.
    async fn known(&self, batch: &[Sent]) -> Result<Option<Vec<Known>>, Stop> {
        let Some(stored) = &self.stored else { return Ok(None) };
        let events: Vec<&Value> = batch.iter().map(|sent| &sent.event).collect();
        Ok(Some(stored.known(&events).await.map_err(Stop::Stored)?))
    }

    /// What of the batch is not stored yet.
    async fn new_of(&mut self, batch: Vec<Sent>) -> Result<Vec<Sent>, Stop> {
        let Some(mut known) = self.known(&batch).await? else { return Ok(batch) };
        if known.contains(&Known::Later) {
            self.settle(0).await?;
            known = self.known(&batch).await?.unwrap_or_default();
        }
        let (mut new, mut stored, mut digests) = (Vec::new(), Vec::new(), Vec::new());
        for (sent, known) in batch.into_iter().zip(known) {
            match known {
                // What is not stored by now is left to whoever stores it.
                Known::New | Known::Later => new.push(sent),
                Known::Unchanged | Known::Stored(0) => self.counts.unchanged += 1,
                Known::Stored(digest) => {
                    stored.push(sent);
                    digests.push(digest);
                }
                Known::Refused(why) => self.refuse(sent.line, &format!("was refused before: {why}")),
            }
        }
        let events: Vec<Value> = stored.iter().map(|sent| sent.event.clone()).collect();
        let now = self.sender.digests(&events).await.map_err(Stop::Api)?;
        for ((sent, first), now) in stored.into_iter().zip(digests).zip(now) {
            match now {
                Ok(digest) if digest::tell_apart(first, digest) => self.refuse(sent.line, CONFLICTING),
                Err(code) if code == "conflicting_body" => self.refuse(sent.line, CONFLICTING),
                // What could not be taken any more was taken then.
                Ok(_) | Err(_) => self.counts.unchanged += 1,
            }
        }
        Ok(new)
    }

    /// Waits until no more than so many events are on their way.
    async fn settle(&mut self, left: usize) -> Result<(), Stop> {
        let Some(stored) = &mut self.stored else { return Ok(()) };
        let settled = stored.settle(left).await.map_err(Stop::Stored)?;
        for (line, why) in settled.refused {
            self.counts.accepted -= 1;
            self.refuse(line, &format!("was accepted and became no fact: {why}"));
        }
        if settled.lost > 0 {
            say(&format!(
                "{} accepted rows are not stored yet: the same import again tells what became of them",
                settled.lost
            ));
        }
        Ok(())
    }

    /// Sends a batch until each of its events is accepted or refused.
    async fn send(&mut self, batch: Vec<Sent>) -> Result<(), Stop> {
        let batch = self.new_of(batch).await?;
        let events: Vec<Value> = batch.iter().map(|sent| sent.event.clone()).collect();
        let mut results = Vec::new();
        let sent = self.sender.send(&events, |at, result| results.push((at, result.map(|_| ())))).await;
        for (at, result) in results {
            match result {
                Ok(()) => {
                    self.counts.accepted += 1;
                    if let Some(stored) = &mut self.stored {
                        stored.sent(batch[at].line, &batch[at].event);
                    }
                }
                Err(why) => self.refuse(batch[at].line, &why),
            }
        }
        sent.map_err(|stopped| {
            let line = batch[stopped.first].line;
            Stop::Api(format!(
                "the API took no more at line {line}: {}; run the same import again",
                stopped.why
            ))
        })?;
        if self.stored.as_ref().is_some_and(|stored| stored.pending() > PENDING_MAX) {
            self.settle(PENDING_MAX / 2).await?;
        }
        self.tell();
        Ok(())
    }

    fn refuse(&mut self, line: u64, why: &str) {
        self.counts.refused += 1;
        say(&format!("line {line}: {why}"));
    }

    fn tell(&mut self) {
        if self.told.elapsed() >= PROGRESS_EVERY {
            self.told = Instant::now();
            let Counts { rows, accepted, unchanged, refused } = self.counts;
            say(&format!(
                "{rows} rows read, {accepted} accepted, {unchanged} unchanged, {refused} refused so far"
            ));
        }
    }
}

/// If standard error is gone there is nobody to tell; the exit code and the counts stay.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delimiter_is_a_character_or_a_tab_by_name() {
        let read = |delimiter: &str| {
            let flags = ["import", "f.csv", "--program", "p", "--delimiter", delimiter];
            command()
                .try_get_matches_from(flags)
                .ok()
                .and_then(|flags| flags.get_one::<u8>("delimiter").copied())
        };
        for (name, byte) in
            [(";", b';'), ("\t", b'\t'), (r"\t", b'\t'), ("tab", b'\t'), ("TAB", b'\t'), ("|", b'|')]
        {
            assert_eq!(read(name), Some(byte), "{name:?}");
        }
        for wrong in ["", "\"", ";;", "ä", r"\n"] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
    }
}
