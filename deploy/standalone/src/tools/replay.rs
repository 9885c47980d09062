//! `whence replay`: who would have been credited and paid under other rules. Changes nothing.

use std::collections::BTreeMap;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches, Command};
use serde_json::json;
use whence_aggregator::conversion::replay::{Rules, replay};
use whence_console::replay::{Change, changes, ledger, past, pay};
use whence_runtime::settings;
use whence_schemas::event::AttributionModel;
use whence_schemas::time::{DAY_MS, HOUR_MS};

use super::parameters;
use super::report::cell;
use super::table::{Align, Table};
use crate::failure::Failure;
use crate::settings::{ReportSettings, load};

/// `whence replay`
pub fn command() -> Command {
    let program = Arg::new("program").value_name("PROGRAM").required(true).help("The program");
    let model = Arg::new("model")
        .long("model")
        .value_name("MODEL")
        .value_parser(PossibleValuesParser::new(["last_touch", "first_touch"]))
        .help("Which touch counts; by default each lead's own rule");
    let window = Arg::new("window")
        .long("window")
        .value_name("SPAN")
        .value_parser(span)
        .help("How long a touch counts, such as 30d or 12h; by default each lead's own");
    let existing = Arg::new("existing")
        .long("existing-customers")
        .value_name("WHAT")
        .value_parser(PossibleValuesParser::new(["refuse", "allow"]))
        .help("Whether known persons can be referred again; by default each lead's own rule");
    let format = Arg::new("format")
        .long("format")
        .value_name("FORMAT")
        .default_value("text")
        .value_parser(PossibleValuesParser::new(["text", "json"]))
        .help("Columns for people, or JSON");
    let about =
        "Says who would have been credited and paid under other rules, from what is stored; changes nothing";
    settings::command::<ReportSettings>(Command::new("replay").about(about))
        .args([program, model, window, existing])
        .arg(parameters::day("from", "Count what happened from this day (UTC) on, such as 2026-01-31"))
        .arg(parameters::day("to", "Count what happened to the end of this day (UTC)"))
        .arg(format)
}

/// Computes and prints.
///
/// # Errors
/// ClickHouse does not answer, the program is not known or has too many events.
pub fn run(flags: &ArgMatches) -> Result<(), Failure> {
    let settings = load::<ReportSettings>(flags)?.settings;
    let text = |name: &str| flags.get_one::<String>(name).map(String::as_str);
    let program = parameters::program(text("program").expect("required"))?;
    let rules = Rules {
        model: text("model").map(|model| match model {
            "first_touch" => AttributionModel::FirstTouch,
            _ => AttributionModel::LastTouch,
        }),
        window_ms: flags.get_one::<u64>("window").copied(),
        allows_existing: text("existing").map(|existing| existing == "allow"),
    };
    let client = super::reader(&settings.clickhouse, &settings.account, &settings.answer, &settings.data)?;
    let (from, to) = parameters::span(flags)?;
    let (past, ledger) = super::ask(&settings.log, async {
        parameters::known(&client, program.as_str(), None).await?;
        Ok((past(&client, program.as_str()).await?, ledger(&client, program.as_str()).await?))
    })?;
    let until = to.map(|day| day.plus_ms(DAY_MS));
    let outcomes = replay(&past, &rules);
    let mut changes = changes(&outcomes, from, until);
    pay(&past, &ledger, &outcomes, (from, until), &mut changes);
    super::print(&match text("format") {
        Some("json") => json(&changes),
        _ => people(&changes),
    })
}

/// `30d` or `12h` in milliseconds.
fn span(text: &str) -> Result<u64, &'static str> {
    const WRONG: &str = "expected days or hours, such as 30d or 12h";
    let (number, unit) = match (text.strip_suffix('d'), text.strip_suffix('h')) {
        (Some(days), _) => (days, DAY_MS),
        (None, Some(hours)) => (hours, HOUR_MS),
        (None, None) => return Err(WRONG),
    };
    let number: u32 = number.parse().map_err(|_| WRONG)?;
    Ok(u64::from(number) * unit.unsigned_abs())
}

fn json(changes: &BTreeMap<String, Change>) -> String {
    let items: Vec<_> = changes
        .iter()
        .map(|(referrer, change)| {
            json!({
                "referrer": referrer,
                "lead_events": change.leads,
                "lead_events_then": change.leads_then,
                "qualification_events": change.qualifications,
                "qualification_events_then": change.qualifications_then,
                "undecided": change.undecided,
                "rewards": change.rewards.iter().map(|((party, currency), [minor, then])| json!({
                    "party": party,
                    "currency": currency,
                    "minor": minor,
                    "minor_then": then,
                })).collect::<Vec<_>>(),
                "rewards_undecided": change.rewards_undecided,
            })
        })
        .collect();
    format!("{:#}\n", json!({ "items": items }))
}

fn people(changes: &BTreeMap<String, Change>) -> String {
    const NUMBERS: [&str; 7] =
        ["lead events", "then", "difference", "qualification events", "then", "difference", "undecided"];
    let mut headings = vec![("referrer", Align::Left)];
    headings.extend(NUMBERS.map(|name| (name, Align::Right)));
    let mut table = Table::new(&headings);
    let difference = |now: u64, then: u64| format!("{:+}", i128::from(then) - i128::from(now));
    for (referrer, change) in changes {
        let name = if referrer.is_empty() { "(nobody)" } else { referrer };
        table.row(vec![
            cell(&name.into()),
            change.leads.to_string(),
            change.leads_then.to_string(),
            difference(change.leads, change.leads_then),
            change.qualifications.to_string(),
            change.qualifications_then.to_string(),
            difference(change.qualifications, change.qualifications_then),
            change.undecided.to_string(),
        ]);
    }
    let undecided: u64 = changes.values().map(|change| change.undecided).sum();
    let note = match undecided {
        0 => String::new(),
        count => format!(
            "undecided: {count} leads and qualifications, of persons with a lead that was stored without its \
             touches, whose stored credit the stored events do not give, or whose payments are added up to a total \
             and would belong to other leads\n"
        ),
    };
    let paid = paid(changes);
    format!("{table}{note}{paid}")
}

/// What stands of rewards now, and what would.
fn paid(changes: &BTreeMap<String, Change>) -> String {
    let mut table = Table::new(&[
        ("referrer", Align::Left),
        ("for", Align::Left),
        ("currency", Align::Left),
        ("minor units", Align::Right),
        ("then", Align::Right),
        ("difference", Align::Right),
    ]);
    for (referrer, change) in changes {
        for ((party, currency), [now, then]) in &change.rewards {
            let difference = format!("{:+}", i128::from(*then) - i128::from(*now));
            let texts = [referrer, party, currency].map(|text| cell(&text.as_str().into()));
            table.row([&texts[..], &[now.to_string(), then.to_string(), difference]].concat());
        }
    }
    if changes.values().all(|change| change.rewards.is_empty()) {
        return "no rewards: none stand, and none would\n".to_owned();
    }
    let undecided: u64 = changes.values().map(|change| change.rewards_undecided).sum();
    let note = match undecided {
        0 => String::new(),
        count => format!(
            "undecided: {count} rewards that the stored events do not give as they stand; they count as they are\n"
        ),
    };
    format!("\nrewards that stand (accrued, held, approved or issued), and would\n{table}{note}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_nothing_else() {
        assert_eq!((span("30d"), span("12h")), (Ok(30 * 86_400_000), Ok(12 * 3_600_000)));
        for wrong in ["", "d", "30", "-1d", "1.5d", "30dh", "4294967296d"] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
    }
}
