//! `whence status`: every lead of a program with its state now.

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Value, json};
use whence_console::ask::Object;
use whence_console::status::{Complete, PAGE_MAX, Page, PageCursor, Selection, complete, count, page};
use whence_runtime::settings;
use whence_schemas::time::UnixMs;

use super::parameters;
use super::report::cell;
use super::table::{Align, Table};
use crate::failure::Failure;
use crate::settings::{ReportSettings, load};

/// `whence status`
pub fn command() -> Command {
    let program = Arg::new("program").value_name("PROGRAM").required(true).help("The program");
    let referrer =
        parameters::referrer("Only leads that this referrer is credited with, or that were refused them");
    let test = Arg::new("test").long("test").action(ArgAction::SetTrue).help("Test events, not live ones");
    let after = Arg::new("after")
        .long("after")
        .value_name("PLACE")
        .value_parser(|text: &str| text.parse::<PageCursor>().map_err(|()| "is not the end of a page"))
        .help("Continue after the page that ended here");
    let limit = parameters::limit("100", PAGE_MAX, "Maximum number of leads");
    let format = Arg::new("format")
        .long("format")
        .value_name("FORMAT")
        .default_value("text")
        .value_parser(PossibleValuesParser::new(["text", "json"]))
        .help("Columns for people, or JSON");
    let about = "Lists leads with their states: lead, qualified, rewarded, waiting, refused and why";
    settings::command::<ReportSettings>(Command::new("status").about(about))
        .args([program, referrer, test, after, limit, format])
}

/// Asks and prints.
///
/// # Errors
/// ClickHouse does not answer, or the program or referrer is not known.
pub fn run(flags: &ArgMatches) -> Result<(), Failure> {
    let settings = load::<ReportSettings>(flags)?.settings;
    let text = |name: &str| flags.get_one::<String>(name).cloned();
    let selection = Selection {
        program: parameters::program(&text("program").expect("required"))?.to_string(),
        referrer: text("referrer"),
        is_test: flags.get_flag("test"),
        after: flags.get_one::<PageCursor>("after").copied(),
        limit: flags.get_one::<u32>("limit").copied().expect("has a default"),
    };
    let client = super::reader(&settings.clickhouse, &settings.account, &settings.answer, &settings.data)?;
    let (page, rest, complete) = super::ask(&settings.log, async {
        parameters::known(&client, &selection.program, selection.referrer.as_deref()).await?;
        let page = page(&client, &selection).await?;
        let rest = match page.next {
            Some(_) => count(&client, &Selection { after: page.next, ..selection.clone() }).await?,
            None => 0,
        };
        Ok((page, rest, complete(&client, &selection.program).await?))
    })?;
    super::print(&match text("format").as_deref() {
        Some("json") => {
            let next = page.next.map(|place| place.to_string());
            format!("{:#}\n", json!({ "items": page.items, "next": next }))
        }
        _ => format!("{}{}", people(&page), complete.map_or_else(String::new, |complete| is_in(&complete))),
    })?;
    if let Some(next) = page.next {
        parameters::tell_rest(rest, next);
    }
    Ok(())
}

/// Up to when the list has all there is.
fn is_in(complete: &Complete) -> String {
    let held = match complete.held_by.as_str() {
        "" => String::new(),
        held => format!(": {}", cell(&held.into())),
    };
    format!("everything received before {} is in{held}\n", UnixMs(complete.through_ms).rfc3339())
}

fn people(page: &Page) -> String {
    const COLUMNS: [&str; 10] = [
        "since",
        "lead",
        "state",
        "why",
        "referrer",
        "link",
        "evidence",
        "qualification_events",
        "value_minor",
        "rewards",
    ];
    let mut table = Table::new(&COLUMNS.map(|name| (name, Align::Left)));
    for item in &page.items {
        table.row(COLUMNS.map(|name| shown(item, name)).to_vec());
    }
    table.to_string()
}

fn shown(item: &Object, name: &str) -> String {
    match item.get(name) {
        Some(Value::Object(amounts)) => {
            let amounts: Vec<String> =
                amounts.iter().map(|(currency, minor)| format!("{minor} {currency}")).collect();
            amounts.join(", ")
        }
        Some(Value::Array(rewards)) => {
            let text = |reward: &Value, name: &str| cell(&reward[name]);
            let shown = |reward: &Value| match reward["open_minor"].as_i64() {
                Some(0) => {
                    format!("{} {} ({})", text(reward, "rule"), text(reward, "state"), text(reward, "reason"))
                }
                _ => ["rule", "state", "open_minor", "currency"].map(|name| text(reward, name)).join(" "),
            };
            rewards.iter().map(shown).collect::<Vec<_>>().join(", ")
        }
        Some(value) => cell(value),
        None => String::new(),
    }
}
