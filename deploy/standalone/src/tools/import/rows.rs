//! The rows of a file, each an event to send or a reason why not. Knows no API.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read};
use std::rc::Rc;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::super::spreadsheet::line_of;

/// Bytes of a row; a file with a longer one is refused.
pub const ROW_BYTES_MAX: u64 = 256 * 1024;
/// What is imported: what has happened, not what is decided now.
pub const KINDS: [&str; 7] =
    ["lead", "qualification", "disqualification", "reinstatement", "participant", "share", "identify"];
/// The source of rows that name none, except for leads.
pub const SOURCE: &str = "import";
/// The source of leads that name none.
pub const SOURCE_OF_LEADS: &str = "import-lead";
/// Columns that are texts of the event.
const TEXTS: [&str; 22] = [
    "type",
    "program",
    "id",
    "source",
    "lead",
    "email",
    "phone",
    "customer",
    "contact",
    "client_ip",
    "name",
    "wclid",
    "code",
    "referrer",
    "channel",
    "qualification",
    "qualification_id",
    "disqualification",
    "disqualification_id",
    "record",
    "reason",
    "occurred_at",
];
/// The column of the names of a payment, which stand between blanks.
const PAYMENTS: &str = "payments";
/// Columns of the event's `value`.
const VALUES: [&str; 3] = ["amount", "minor", "currency"];
/// Kinds of which an amount that is left out means all, and what else of them does.
const PARTS: [&str; 2] = ["disqualification", "reinstatement"];
const ALL_WITHOUT: [&str; 6] =
    ["value", "qualification", "qualification_id", "disqualification", "disqualification_id", PAYMENTS];

/// What a row says where it says nothing itself.
pub struct Defaults {
    /// The program of every row.
    pub program: String,
    /// The kind of rows that name none.
    pub kind: Option<String>,
    /// The source of rows that name none. Without it, leads have one of their own: they share their ids
    /// with the qualifications of a source.
    pub source: Option<String>,
}

/// A row of the file.
#[derive(Debug, PartialEq)]
pub struct Row {
    /// The line that it begins on, from 1.
    pub line: u64,
    /// The event, or why there is none.
    pub event: Result<Value, String>,
}

/// Reads a file whose rows are of a bounded size.
struct Bounded<R> {
    inner: R,
    left: Rc<Cell<u64>>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left.get() == 0 {
            return Err(io::Error::other(format!("a row is longer than {ROW_BYTES_MAX} bytes")));
        }
        let read = self.inner.read(buffer)?;
        self.left.set(self.left.get().saturating_sub(read as u64));
        Ok(read)
    }
}

fn bounded<R: Read>(inner: R) -> (Bounded<R>, Rc<Cell<u64>>) {
    let left = Rc::new(Cell::new(ROW_BYTES_MAX));
    (Bounded { inner, left: Rc::clone(&left) }, left)
}

/// The rows of a CSV file with a header.
///
/// # Errors
/// The header has a column that no event has, or one twice; or it can't be read.
pub fn csv(
    file: impl Read,
    delimiter: u8,
    defaults: Defaults,
) -> io::Result<impl Iterator<Item = io::Result<Row>>> {
    let (file, left) = bounded(file);
    // Rows of any length: blank ones may be shorter than others.
    let mut reader =
        csv::ReaderBuilder::new().delimiter(delimiter).trim(csv::Trim::All).flexible(true).from_reader(file);
    let columns: Vec<String> = reader.headers()?.iter().map(str::to_owned).collect();
    for (index, column) in columns.iter().enumerate() {
        let is_known = column == "test"
            || column == PAYMENTS
            || TEXTS.contains(&&**column)
            || VALUES.contains(&&**column);
        if !is_known {
            let known = [&TEXTS[..], &VALUES, &["test", PAYMENTS]].concat().join(", ");
            return Err(io::Error::other(format!("the column {column:?} is not one of {known}")));
        }
        if columns[..index].contains(column) {
            return Err(io::Error::other(format!("the column {column:?} is there twice")));
        }
    }
    let mut record = csv::StringRecord::new();
    Ok(std::iter::from_fn(move || {
        loop {
            left.set(ROW_BYTES_MAX);
            match reader.read_record(&mut record) {
                Ok(false) => return None,
                Ok(true) if record.iter().all(is_blank) => {}
                Ok(true) => {
                    let line = line_of(&reader, &record);
                    let event = match (record.len(), columns.len()) {
                        (len, expected) if len != expected => {
                            Err(format!("has {len} fields where the header has {expected}"))
                        }
                        _ => of_cells(&columns, &record).and_then(|event| finished(event, &defaults, true)),
                    };
                    return Some(Ok(Row { line, event }));
                }
                Err(error) => {
                    return Some(match error.into_kind() {
                        csv::ErrorKind::Io(error) => Err(error),
                        _ => Ok(Row {
                            line: reader.position().line().saturating_sub(1),
                            event: Err("is not UTF-8".to_owned()),
                        }),
                    });
                }
            }
        }
    }))
}

/// The rows of a file with a JSON object a line.
pub fn ndjson(file: impl Read, defaults: Defaults) -> impl Iterator<Item = io::Result<Row>> {
    let (file, left) = bounded(file);
    let mut reader = BufReader::new(file);
    let (mut line, mut number) = (Vec::new(), 0);
    std::iter::from_fn(move || {
        loop {
            left.set(ROW_BYTES_MAX);
            line.clear();
            match reader.read_until(b'\n', &mut line) {
                Ok(0) => return None,
                Ok(_) => number += 1,
                Err(error) => return Some(Err(error)),
            }
            let text = line.strip_prefix(b"\xef\xbb\xbf").filter(|_| number == 1).unwrap_or(&line);
            if text.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let event = match serde_json::from_slice::<Value>(text) {
                Ok(Value::Object(event)) => finished(event, &defaults, false),
                Ok(_) => Err("is not a JSON object".to_owned()),
                // The message names the place, never the text.
                Err(error) => Err(format!("is not JSON: {error}")),
            };
            return Some(Ok(Row { line: number, event }));
        }
    })
}

/// Whether a cell has nothing in it that is seen.
fn is_blank(cell: &str) -> bool {
    cell.chars().all(|c| c.is_whitespace() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{feff}'))
}

fn of_cells(columns: &[String], record: &csv::StringRecord) -> Result<Map<String, Value>, String> {
    let (mut event, mut value) = (Map::new(), Map::new());
    for (column, cell) in columns.iter().zip(record) {
        if cell.is_empty() {
            let is_value = VALUES.contains(&column.as_str());
            event.insert(if is_value { "value".to_owned() } else { column.clone() }, Value::Null);
            continue;
        }
        let whole_number = || cell.parse::<i64>().map(Value::from).ok();
        match column.as_str() {
            "test" => {
                let flag: bool = cell.parse().map_err(|_| "test must be true or false".to_owned())?;
                event.insert(column.clone(), flag.into());
            }
            PAYMENTS => {
                event.insert(column.clone(), cell.split_whitespace().collect());
            }
            "minor" => {
                let minor = whole_number().ok_or("minor must be a whole number")?;
                value.insert(column.clone(), minor);
            }
            "amount" | "currency" => {
                value.insert(column.clone(), cell.into());
            }
            "occurred_at" => {
                event.insert(column.clone(), whole_number().unwrap_or_else(|| cell.into()));
            }
            _ => {
                event.insert(column.clone(), cell.into());
            }
        }
    }
    if !value.is_empty() {
        event.insert("value".to_owned(), value.into());
    }
    Ok(event)
}

/// The event as it is sent: with what the file leaves out, and an id that is the same at every import.
fn finished(mut event: Map<String, Value>, defaults: &Defaults, is_csv: bool) -> Result<Value, String> {
    if event.get("type").is_none_or(Value::is_null) {
        let kind = defaults.kind.as_deref().ok_or("names no type, and the call has no --type")?;
        event.insert("type".to_owned(), kind.into());
    }
    let kind = event["type"].clone();
    let null_value = event.get("value").filter(|value| value.is_null() && !is_csv).cloned();
    // What is there and says nothing never means all: the API says so.
    let is_part = PARTS.iter().any(|part| kind == *part);
    event.retain(|name, value| !value.is_null() || (is_part && ALL_WITHOUT.contains(&name.as_str())));
    let own = if kind == "lead" { SOURCE_OF_LEADS } else { SOURCE };
    let source = defaults.source.clone().unwrap_or_else(|| own.to_owned());
    if !KINDS.iter().any(|known| kind == *known) {
        return Err(format!("has a type that is not imported: one of {} is", KINDS.join(", ")));
    }
    let program = event.entry("program").or_insert_with(|| defaults.program.as_str().into());
    if program != defaults.program.as_str() {
        return Err("names another program".to_owned());
    }
    if !event.contains_key("occurred_at") {
        return Err("has no occurred_at: when it happened can't be made up".to_owned());
    }
    event.entry("source").or_insert_with(|| source.into());
    if !event.contains_key("id") {
        // What is blank names nothing, but the `null` that an object has for its value.
        let mut named = event.clone();
        named.retain(|_, value| !value.is_null());
        named.extend(null_value.map(|null| ("value".to_owned(), null)));
        event.insert("id".to_owned(), row_id(&named).into());
    }
    Ok(event.into())
}

/// Names a row by what it says: SHA-256 over its fields in the order of their names. Equal rows are one.
fn row_id(event: &Map<String, Value>) -> String {
    let hash = Sha256::digest(ordered(&Value::Object(event.clone())).as_bytes());
    format!("row-{}", hex::encode(&hash[..16]))
}

/// JSON whose objects have their fields in order, whatever serde_json was built to do.
fn ordered(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let fields: BTreeMap<&String, String> =
                map.iter().map(|(name, value)| (name, ordered(value))).collect();
            let fields: Vec<String> = fields
                .into_iter()
                .map(|(name, value)| format!("{}:{value}", Value::from(name.as_str())))
                .collect();
            format!("{{{}}}", fields.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(ordered).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn defaults() -> Defaults {
        Defaults { program: "p".into(), kind: Some("lead".into()), source: None }
    }

    fn of_csv(text: &str) -> Vec<(u64, Result<Value, String>)> {
        rows(csv(text.as_bytes(), b',', defaults()).unwrap())
    }

    fn of_lines(text: &str) -> Vec<(u64, Result<Value, String>)> {
        rows(ndjson(text.as_bytes(), defaults()))
    }

    fn rows(rows: impl Iterator<Item = io::Result<Row>>) -> Vec<(u64, Result<Value, String>)> {
        rows.map(Result::unwrap).map(|row| (row.line, row.event)).collect()
    }

    #[test]
    fn rows_that_say_nothing_usable_are_refused_where_they_stand() {
        let found = of_csv(
            "lead,occurred_at,minor,type,program,test\n\
             a,,,,,\n\
             b,2026-01-01T00:00:00Z,1.5,,,\n\
             c,2026-01-01T00:00:00Z,,erasure,,\n\
             d,2026-01-01T00:00:00Z,,,q,\n\
             e,2026-01-01T00:00:00Z,,,,yes\n\
             f,x\n\
             \"g\n\",1700000000000,,,p,true\n",
        );
        let why: Vec<(u64, &str)> =
            found.iter().filter_map(|(line, event)| Some((*line, event.as_ref().err()?.as_str()))).collect();
        let kinds = "lead, qualification, disqualification, reinstatement, participant, share, identify";
        assert_eq!(
            why,
            [
                (2, "has no occurred_at: when it happened can't be made up"),
                (3, "minor must be a whole number"),
                (4, &*format!("has a type that is not imported: one of {kinds} is")),
                (5, "names another program"),
                (6, "test must be true or false"),
                (7, "has 2 fields where the header has 6"),
            ]
        );
        assert_eq!(found[6].1.as_ref().unwrap()["occurred_at"], 1_700_000_000_000_i64);
        let found = of_lines("\u{feff}{\"lead\":\"a\",\"occurred_at\":1700000000000}\n\n[]\n{\n");
        assert_eq!((found.len(), found[0].1.is_ok()), (3, true));
        assert_eq!(found[1], (3, Err("is not a JSON object".to_owned())));
        assert!(found[2].1.as_ref().unwrap_err().starts_with("is not JSON: "));
    }

    #[test]
    fn blank_rows_are_passed_over_and_a_tab_may_separate() {
        let rows_of = |text: &str, delimiter| -> Vec<u64> {
            let rows = rows(csv(text.as_bytes(), delimiter, defaults()).unwrap());
            rows.into_iter().map(|(line, event)| event.map(|_| line).unwrap()).collect()
        };
        let text = "lead,occurred_at\n,\na,1700000000000\n\n \n , \n\"\",\"\"\n,,,\n\u{a0},\u{200b}\nb,1700000000000\n,\n";
        assert_eq!(rows_of(text, b','), [3, 10]);
        let tabs = "lead\toccurred_at\n\t\na\t1700000000000\n";
        assert_eq!(rows_of(tabs, b'\t'), [3]);
    }

    #[test]
    fn what_is_blank_never_takes_back_all() {
        let text = "type,lead,qualification,amount,currency,reason,occurred_at\n\
                    disqualification,a,q1,,,refund,1700000000000\n\
                    qualification,a,,,,,1700000000000\n";
        let found = of_csv(text);
        let of = |index: usize, name: &str| found[index].1.as_ref().unwrap().get(name).cloned();
        assert_eq!((of(0, "value"), of(1, "value")), (Some(Value::Null), None));
        assert_eq!((of(0, "qualification"), of(1, "qualification")), (Some("q1".into()), None));
        // Columns in which nothing stands are no part of the row's name.
        let without = of_csv(
            "type,lead,reason,qualification,occurred_at\ndisqualification,a,refund,q1,1700000000000\n",
        );
        assert_eq!(of(0, "id"), without[0].1.as_ref().unwrap().get("id").cloned());
        let found = of_lines(
            r#"{"type":"disqualification","lead":"a","occurred_at":1,"qualification":null,"reason":null}"#,
        );
        let event = found[0].1.as_ref().unwrap();
        assert_eq!((event.get("qualification"), event.get("reason")), (Some(&Value::Null), None));
    }

    #[test]
    fn wrong_columns_and_endless_rows_end_the_import() {
        for (text, expected) in [("lead,emial\n", "emial"), ("lead,lead\n", "twice")] {
            let error = csv(text.as_bytes(), b',', defaults()).err().unwrap().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let endless = || Read::chain(&b"lead\n\""[..], io::repeat(b'x'));
        let error = csv(endless(), b',', defaults()).unwrap().find_map(Result::err).unwrap();
        assert!(error.to_string().contains("a row is longer than"), "{error}");
        let error = ndjson(endless(), defaults()).find_map(Result::err).unwrap();
        assert!(error.to_string().contains("a row is longer than"), "{error}");
    }

    #[test]
    fn a_row_without_an_id_has_one_of_its_content_alone() {
        let one = of_csv("lead,occurred_at,amount,currency\na,2026-01-01T00:00:00Z,1.50,EUR\n");
        let two = of_csv("currency,amount,occurred_at,lead,id\nEUR,1.50,2026-01-01T00:00:00Z,a,\n");
        let three = of_lines(
            r#"{"value":{"currency":"EUR","amount":"1.50"},"lead":"a","occurred_at":"2026-01-01T00:00:00Z","id":null}"#,
        );
        assert_eq!((&one[0].1, &one[0].1), (&two[0].1, &three[0].1));
        let event = one[0].1.as_ref().unwrap();
        let expected = json!({"type": "lead", "program": "p", "source": "import-lead", "lead": "a",
            "occurred_at": "2026-01-01T00:00:00Z", "value": {"amount": "1.50", "currency": "EUR"},
            "id": "row-c135604564f190d30bf9eaab63bba4d6"});
        assert_eq!(event, &expected);
        let other = of_csv("lead,occurred_at\nb,2026-01-01T00:00:00Z\n");
        assert_ne!(other[0].1.as_ref().unwrap()["id"], event["id"]);
    }

    #[test]
    fn a_lead_and_a_qualification_of_one_id_are_of_two_sources() {
        let text = "type,id,lead,name,occurred_at,source\n\
                    lead,1,a,,2026-01-01T00:00:00Z,\n\
                    qualification,1,a,paid,2026-01-01T00:00:00Z,\n\
                    disqualification,1,a,,2026-01-01T00:00:00Z,\n\
                    lead,1,a,,2026-01-01T00:00:00Z,shop\n";
        let sources = |defaults: Defaults| -> Vec<String> {
            let rows = rows(csv(text.as_bytes(), b',', defaults).unwrap());
            rows.into_iter().map(|(_, event)| event.unwrap()["source"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(sources(defaults()), ["import-lead", "import", "import", "shop"]);
        let given = Defaults { source: Some("crm".into()), ..defaults() };
        assert_eq!(sources(given), ["crm", "crm", "crm", "shop"]);
    }

    #[test]
    fn fuzz_files() {
        bolero::check!().for_each(|bytes: &[u8]| {
            if let Ok(rows) = csv(bytes, b',', defaults()) {
                let _ = rows.take_while(Result::is_ok).count();
            }
            let lines = ndjson(bytes, defaults()).take_while(Result::is_ok).count();
            assert!(lines <= bytes.iter().filter(|byte| **byte == b'\n').count() + 1);
        });
    }
}
