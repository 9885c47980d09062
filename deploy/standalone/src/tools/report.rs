//! `whence report`: the report views of ClickHouse on a terminal, or as JSON or CSV, page by page.

use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Arg, ArgMatches, Command};
use csv::QuoteStyle;
use serde_json::{Value, json};
use whence_console::cursor::Cursor;
use whence_console::reports::{self, Report, Rows, Selection};
use whence_runtime::settings;
use whence_schemas::sql::Column;
use whence_schemas::time::UnixMs;

use super::table::{Align, Table};
use super::{parameters, spreadsheet};
use crate::failure::Failure;
use crate::settings::{ReportSettings, load};

/// Rows of a page, at most: they are held in memory.
const ROWS_MAX: u32 = 1_000_000;

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
    let after = Arg::new("after")
        .long("after")
        .value_name("PLACE")
        .value_parser(|text: &str| text.parse::<Cursor>().map_err(|()| "is not the end of a page"))
        .help("Continue after the page that ended here");
    let format = Arg::new("format")
        .long("format")
        .value_name("FORMAT")
        .default_value("text")
        .value_parser(PossibleValuesParser::new(["text", "json", "csv"]))
        .help("Columns for people, or JSON, or CSV");
    settings::command::<ReportSettings>(Command::new("report").about("Prints a report from ClickHouse")).args(
        [
            name,
            parameters::text("program", "ID", "Only this program"),
            parameters::referrer("Counts of this referrer only; for reports on days"),
            parameters::day("from", "Count from this day (UTC) on, such as 2026-01-31; for reports on days"),
            parameters::day("to", "Count to the end of this day (UTC)"),
            parameters::as_of("Report what was known at this time; for reports on rewards"),
            format,
            after,
            parameters::limit("1000", ROWS_MAX, "Maximum number of rows"),
        ],
    )
}

/// Asks and prints.
///
/// # Errors
/// ClickHouse does not answer, the program or referrer is not known, or the report does not take what it is given.
pub fn run(flags: &ArgMatches) -> Result<(), Failure> {
    let settings = load::<ReportSettings>(flags)?.settings;
    let text = |name: &str| flags.get_one::<String>(name);
    let name = text("report").expect("required");
    let is_asked = |report: &&Report| report.word().replace('_', "-") == *name;
    let report = Report::ALL.iter().copied().find(|report| is_asked(&report)).expect("clap knows these only");
    let selection = selection(flags, name, report)?;
    let client = super::reader(&settings.clickhouse, &settings.account, &settings.answer, &settings.data)?;
    let (rows, rest) = super::ask(&settings.log, async {
        if let Some(program) = &selection.program {
            parameters::known(&client, program, selection.referrer.as_deref()).await?;
        }
        let rows = reports::rows(&client, report, &selection).await?;
        let rest = match &rows.next {
            Some(_) => {
                reports::count(&client, report, &Selection { after: rows.next.clone(), ..selection }).await?
            }
            None => 0,
        };
        Ok((rows, rest))
    })?;
    let columns = report.all_columns();
    super::print(&match text("format").expect("has a default").as_str() {
        "json" => json(&columns, &rows),
        "csv" => csv(&columns, &rows),
        _ => people(&columns, &rows),
    })?;
    if let Some(next) = &rows.next {
        parameters::tell_rest(rest, next);
    }
    Ok(())
}

fn selection(flags: &ArgMatches, name: &str, report: Report) -> Result<Selection, Failure> {
    let text = |name: &str| flags.get_one::<String>(name).cloned();
    if text("program").is_some() && !report.has_program() {
        return Err(Failure::Usage(format!("the report {name} is about all programs: leave --program out")));
    }
    if flags.contains_id("as-of") && !report.has_past() {
        return Err(Failure::Usage(format!("the report {name} has no --as-of")));
    }
    let of_days = ["referrer", "from", "to"].into_iter().find(|given| flags.contains_id(given));
    if let Some(given) = of_days.filter(|_| !report.has_days()) {
        return Err(Failure::Usage(format!("the report {name} has no --{given}")));
    }
    if text("referrer").is_some() && text("program").is_none() {
        return Err(Failure::Usage("a referrer is a program's: give --program too".to_owned()));
    }
    let after = flags.get_one::<Cursor>("after").cloned();
    if after.as_ref().is_some_and(|place| !place.fits(&report.sort_keys())) {
        return Err(Failure::Failed(format!("--after is not the end of a page of the report {name}")));
    }
    let (from, to) = parameters::span(flags)?;
    let day = |day: UnixMs| day.rfc3339()[..10].to_owned();
    Ok(Selection {
        program: text("program").map(|name| parameters::program(&name)).transpose()?.map(|id| id.to_string()),
        referrer: text("referrer"),
        from: from.map(day),
        to: to.map(day),
        as_of: flags.get_one::<UnixMs>("as-of").copied(),
        after,
        limit: flags.get_one::<u32>("limit").copied().expect("has a default"),
    })
}

fn json(columns: &[Column], rows: &Rows) -> String {
    let meta: Vec<Value> =
        columns.iter().map(|column| json!({ "name": column.name, "type": column.kind })).collect();
    let next = rows.next.as_ref().map(ToString::to_string);
    format!("{:#}\n", json!({ "meta": meta, "data": rows.items, "rows": rows.items.len(), "next": next }))
}

fn csv(columns: &[Column], rows: &Rows) -> String {
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let cells = rows
        .items
        .iter()
        .map(|row| names.iter().map(|name| row.get(*name).unwrap_or(&Value::Null)).collect());
    // As ClickHouse quotes.
    spreadsheet::file(QuoteStyle::NonNumeric, &names, cells)
}

fn people(columns: &[Column], rows: &Rows) -> String {
    let is_number = |kind: &str| ["Int", "UInt", "Float", "Decimal"].iter().any(|word| kind.contains(word));
    let headings: Vec<(&str, Align)> = columns
        .iter()
        .map(|column| {
            (column.name.as_str(), if is_number(&column.kind) { Align::Right } else { Align::Left })
        })
        .collect();
    let mut table = Table::new(&headings);
    for row in &rows.items {
        table.row(columns.iter().map(|column| cell(row.get(&column.name).unwrap_or(&Value::Null))).collect());
    }
    table.to_string()
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
    fn numbers_stand_right_nothing_moves_the_cursor_and_nothing_is_a_formula() {
        let column = |(name, kind): (&str, &str)| Column {
            name: name.into(),
            kind: kind.into(),
            comment: String::new(),
        };
        let columns =
            [("program", "LowCardinality(String)"), ("clicks", "Int64"), ("rate", "Nullable(Float64)")]
                .map(column);
        let row = |program: &str, clicks: i64, rate: Value| {
            json!({ "program": program, "clicks": clicks, "rate": rate }).as_object().unwrap().clone()
        };
        let items = vec![row("p\u{1b}[2J", 12, Value::Null), row("=q", -5, json!(-0.5))];
        let rows = Rows { items, next: None };
        let text = people(&columns, &rows);
        assert_eq!(text, "program  clicks  rate\np\u{fffd}[2J        12     -\n=q           -5  -0.5\n");
        assert_eq!(
            csv(&columns, &rows),
            "\"program\",\"clicks\",\"rate\"\n\"p\u{1b}[2J\",12,\"\"\n\"'=q\",-5,-0.5\n"
        );
    }
}
