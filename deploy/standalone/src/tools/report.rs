//! `whence report`: the report views of ClickHouse on a terminal, or as JSON or CSV.

use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Arg, ArgMatches, Command, value_parser};
use clickhouse::Client;
use serde::Deserialize;
use serde_json::Value;
use whence_console::reports::{self, Report};
use whence_runtime::settings;
use whence_schemas::time::UnixMs;

use super::table::{Align, Table};
use crate::data_dir::READER_PASSWORD;
use crate::failure::Failure;
use crate::settings::{ReportSettings, load};

/// What a report is asked for.
struct Asked<'a> {
    table: &'a str,
    program: Option<&'a str>,
    as_of: Option<UnixMs>,
}

/// `whence report`
pub fn command() -> Command {
    let name = Arg::new("report")
        .value_name("REPORT")
        .required(true)
        .value_parser(PossibleValuesParser::new(
            Report::ALL
                .iter()
                .map(|report| PossibleValue::new(report.word().replace('_', "-")).help(report.about())),
        ))
        .help("What to report");
    let program = Arg::new("program").long("program").value_name("ID").help("Only this program");
    let as_of = Arg::new("as-of")
        .long("as-of")
        .value_name("TIME")
        .value_parser(|text: &str| {
            reports::as_of(text).ok_or("expected a time such as 2026-01-31T12:00:00Z, or a day")
        })
        .help("Report what was known at this time; for reports on rewards");
    let format = Arg::new("format")
        .long("format")
        .value_name("FORMAT")
        .default_value("text")
        .value_parser(PossibleValuesParser::new(["text", "json", "csv"]))
        .help("Columns for people, or JSON, or CSV");
    let limit = Arg::new("limit")
        .long("limit")
        .value_name("NUMBER")
        .default_value("1000")
        .value_parser(value_parser!(u32).range(1..=1_000_000))
        .help("Maximum number of rows");
    settings::command::<ReportSettings>(Command::new("report").about("Prints a report from ClickHouse"))
        .args([name, program, as_of, format, limit])
}

/// Asks and prints.
///
/// # Errors
/// ClickHouse does not answer, or the report has no programs to choose from.
pub fn run(flags: &ArgMatches) -> Result<(), Failure> {
    let settings = load::<ReportSettings>(flags)?.settings;
    let text = |name: &str| flags.get_one::<String>(name);
    let name = text("report").expect("required");
    let is_asked = |report: &&Report| report.word().replace('_', "-") == *name;
    let report = Report::ALL.iter().copied().find(|report| is_asked(&report)).expect("clap knows these only");
    let program = text("program").map(String::as_str);
    if program.is_some() && !report.has_program() {
        return Err(Failure::Usage(format!("the report {name} is about all programs: leave --program out")));
    }
    let as_of = flags.get_one::<UnixMs>("as-of").copied();
    if as_of.is_some() && !report.has_past() {
        return Err(Failure::Usage(format!("the report {name} has no --as-of")));
    }
    let table = report.table(as_of.is_some());
    let asked = Asked { table: &table, program, as_of };
    let limit = flags.get_one::<u32>("limit").copied().expect("has a default");
    let client = super::client(
        &settings.clickhouse,
        &settings.account,
        &settings.answer,
        &settings.data,
        READER_PASSWORD,
    )?;
    let printed = super::ask(&settings.log, async {
        match text("format").expect("has a default").as_str() {
            "json" => fetch(&client, &asked, limit, "JSON").await,
            "csv" => fetch(&client, &asked, limit, "CSVWithNames").await,
            _ => columns(&fetch(&client, &asked, limit, "JSONCompact").await?),
        }
    })?;
    super::print(&printed)
}

async fn fetch(client: &Client, asked: &Asked<'_>, limit: u32, format: &str) -> Result<String, Failure> {
    let filter = asked.program.map_or("", |_| "WHERE program = {program:String}");
    let sql = format!("SELECT * FROM {} {filter} LIMIT {limit}", asked.table);
    let mut query = client.query(&sql);
    if let Some(program) = asked.program {
        query = query.param("program", program);
    }
    if let Some(at) = asked.as_of {
        query = query.param("at", reports::parameter(at));
    }
    let bytes = query
        .with_setting("output_format_json_quote_64bit_integers", "0")
        .fetch_bytes(format)?
        .collect()
        .await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// ClickHouse's `JSONCompact`.
#[derive(Deserialize)]
struct Compact {
    meta: Vec<Column>,
    data: Vec<Vec<Value>>,
}

#[derive(Deserialize)]
struct Column {
    name: String,
    r#type: String,
}

fn columns(json: &str) -> Result<String, Failure> {
    let answer: Compact = serde_json::from_str(json)
        .map_err(|error| Failure::Failed(format!("clickhouse answered no JSON: {error}")))?;
    let is_number = |kind: &str| ["Int", "UInt", "Float", "Decimal"].iter().any(|word| kind.contains(word));
    let headings: Vec<(&str, Align)> = answer
        .meta
        .iter()
        .map(|column| {
            (column.name.as_str(), if is_number(&column.r#type) { Align::Right } else { Align::Left })
        })
        .collect();
    let mut table = Table::new(&headings);
    for row in answer.data {
        table.row(row.iter().map(cell).collect());
    }
    Ok(table.to_string())
}

/// Control characters would move the terminal's cursor, and names come from outside.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_right_and_nothing_moves_the_cursor() {
        let json = r#"{"meta":[{"name":"program","type":"LowCardinality(String)"},{"name":"clicks","type":"Int64"},
            {"name":"rate","type":"Nullable(Float64)"}],"data":[["p\u001b[2J",12,null],["q",5,0.5]],"rows":2}"#;
        let text = columns(json).unwrap();
        assert_eq!(text, "program  clicks  rate\np\u{fffd}[2J        12     -\nq             5   0.5\n");
    }
}
