//! The lines of a file of payouts: an export, maybe with columns of somebody's own. Knows no ledger.

use std::io::{self, Read};
use std::path::Path;

use serde_json::Value;

use super::super::{rewards::reward, spreadsheet::line_of};

/// Bytes of a file: an export of a million rewards is smaller.
const FILE_BYTES_MAX: u64 = 512 << 20;

/// A reward that was paid.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Paid {
    /// Its id.
    pub reward: String,
    /// Its change that was exported, if the file says so.
    pub revision: Option<u32>,
    /// What was paid in minor units, if the file says so.
    pub amount_minor: Option<i64>,
    /// Of what, if the file says so.
    pub currency: Option<String>,
    /// The referrer who was paid, if the file says so.
    pub referrer: Option<String>,
}

/// A line of the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// From 1; of a JSON document the entry.
    pub number: u64,
    /// The reward, or why there is none.
    pub paid: Result<Paid, String>,
}

/// All lines.
///
/// # Errors
/// The file can't be read, is too large, or is not in one of the formats of an export.
pub(super) fn read(path: &Path, format: Option<&str>) -> io::Result<Vec<Line>> {
    let file: Box<dyn Read> = match path.to_str() {
        Some("-") => Box::new(io::stdin().lock()),
        _ => Box::new(std::fs::File::open(path)?),
    };
    let mut text = String::new();
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("it has more than {FILE_BYTES_MAX} bytes")));
    }
    let named = || path.extension().and_then(|extension| extension.to_str());
    match format.or_else(named).unwrap_or_default().to_ascii_lowercase().as_str() {
        "csv" => csv(&text),
        "ndjson" | "jsonl" => Ok(ndjson(&text)),
        "json" => json(&text),
        _ => Err(io::Error::other("say what it is: --format csv, json or ndjson")),
    }
}

fn csv(text: &str) -> io::Result<Vec<Line>> {
    let text = text.trim_start_matches('\u{feff}');
    let mut reader =
        csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(true).from_reader(text.as_bytes());
    let header = reader.headers()?.clone();
    let place = |name: &str| header.iter().position(|column| column == name);
    let Some(reward_at) = place("reward") else {
        return Err(io::Error::other("its header has no column \"reward\""));
    };
    let places = ["revision", "amount_minor", "currency", "referrer"].map(place);
    let mut lines = Vec::new();
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(io::Error::other)? {
        // Spreadsheets leave blank rows behind.
        if record.iter().all(|cell| cell.trim().is_empty()) {
            continue;
        }
        let number = line_of(&reader, &record);
        if record.len() != header.len() {
            let why = format!("has {} fields where the header has {}", record.len(), header.len());
            lines.push(Line { number, paid: Err(why) });
            continue;
        }
        let cell = |at: Option<usize>| at.and_then(|at| record.get(at)).filter(|cell| !cell.is_empty());
        let [revision, amount, currency, referrer] = places.map(cell);
        lines.push(Line { number, paid: paid(cell(Some(reward_at)), revision, amount, currency, referrer) });
    }
    Ok(lines)
}

fn ndjson(text: &str) -> Vec<Line> {
    let lines = text.trim_start_matches('\u{feff}').lines();
    let filled = (1..).zip(lines).filter(|(_, line)| !line.trim().is_empty());
    let parsed = filled.map(|(number, line)| (number, serde_json::from_str::<Value>(line)));
    parsed.map(|(number, value)| Line { number, paid: of_object(value.unwrap_or_default()) }).collect()
}

fn json(text: &str) -> io::Result<Vec<Line>> {
    let mut whole: Value = serde_json::from_str(text)?;
    let entries = match whole["payouts"].take() {
        Value::Array(entries) => entries,
        _ => return Err(io::Error::other("it has no list \"payouts\"")),
    };
    Ok((1..).zip(entries).map(|(number, entry)| Line { number, paid: of_object(entry) }).collect())
}

fn of_object(value: Value) -> Result<Paid, String> {
    let Value::Object(object) = value else { return Err("is not a JSON object".to_owned()) };
    let text = |name: &str| match object.get(name) {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text.clone()),
        Some(other) => Some(other.to_string()),
    };
    let fields = ["reward", "revision", "amount_minor", "currency", "referrer"].map(text);
    let [reward, revision, amount, currency, referrer] = fields.each_ref().map(Option::as_deref);
    paid(reward, revision, amount, currency, referrer)
}

fn paid(
    id: Option<&str>,
    revision: Option<&str>,
    amount: Option<&str>,
    currency: Option<&str>,
    referrer: Option<&str>,
) -> Result<Paid, String> {
    let id = id.ok_or("names no reward")?;
    let number = |text: Option<&str>, name: &str| match text {
        None => Ok(None),
        Some(text) => text.parse::<i64>().map(Some).map_err(|_| format!("{name} is not a whole number")),
    };
    let revision = number(revision, "revision")?;
    Ok(Paid {
        reward: reward(id).map_err(|why| format!("{id:?} {why}"))?,
        revision: revision
            .map(u32::try_from)
            .transpose()
            .map_err(|_| "revision is not between 0 and 4294967295")?,
        amount_minor: number(amount, "amount_minor")?,
        currency: currency.map(str::to_owned),
        referrer: referrer.map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "3f2b8c1e-0a51-5c7e-9a7f-2f8f0f6f1d11";

    fn full() -> Result<Paid, String> {
        Ok(Paid {
            reward: ID.into(),
            revision: Some(2),
            amount_minor: Some(60),
            currency: Some("EUR".into()),
            referrer: Some("ann".into()),
        })
    }

    #[test]
    fn the_three_formats_say_the_same() {
        let cells = format!("note,referrer,amount_minor,currency,revision,reward\n ok ,ann,60,EUR,2,{ID}\n");
        assert_eq!(csv(&cells).unwrap(), [Line { number: 2, paid: full() }]);
        let object = format!(
            "{{\"reward\":\"{}\",\"amount_minor\":60,\"currency\":\"EUR\",\"revision\":2,\"referrer\":\"ann\"}}",
            ID.to_uppercase()
        );
        assert_eq!(ndjson(&format!("\n{object}\n")), [Line { number: 2, paid: full() }]);
        assert_eq!(json(&format!("{{\"payouts\":[{object}]}}")).unwrap(), [Line { number: 1, paid: full() }]);
        let bare = csv(&format!("reward\n{ID}\n")).unwrap();
        assert_eq!(bare[0].paid.as_ref().unwrap().amount_minor, None);
    }

    #[test]
    fn lines_that_say_nothing_usable_are_told_where_they_stand() {
        let found = csv(&format!("reward,amount_minor\n,1\nx,1\n{ID},1.50\n,\n \n\n{ID}\n")).unwrap();
        let why: Vec<_> = found.into_iter().map(|line| (line.number, line.paid.unwrap_err())).collect();
        let expected = [
            (2, "names no reward"),
            (3, "\"x\" is not a reward's id"),
            (4, "amount_minor is not a whole number"),
            (8, "has 1 fields where the header has 2"),
        ];
        assert_eq!(why, expected.map(|(line, why)| (line, why.to_owned())));
        assert_eq!(ndjson("{\n")[0].paid, Err("is not a JSON object".to_owned()));
        assert!(csv("id\nx\n").unwrap_err().to_string().contains("no column \"reward\""));
        assert!(json("{}").is_err() && json("[").is_err());
    }
}
