//! `whence lineage`: why somebody is credited with a lead, or nobody, in words and in rows.

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgGroup, ArgMatches, Command, value_parser};
use serde_json::json;
use whence_console::lineage::{Explanation, Line, NOTHING, Page, lines, page};
use whence_console::subject::{Name, term};
use whence_runtime::settings;
use whence_schemas::ids::ProgramId;
use whence_schemas::subject::AliasKind;
use whence_schemas::time::UnixMs;

use super::parameters;
use super::report::cell;
use super::table::{Align, Table};
use crate::failure::Failure;
use crate::settings::{LineageSettings, load};

/// The flags in place of the lead id.
const NAMES: [(Name, &str); 5] = [
    (Name::Alias(AliasKind::Email), "Email address of the lead; it is hashed here"),
    (Name::Alias(AliasKind::Phone), "Phone number of the lead, with country code; it is hashed here"),
    (Name::Alias(AliasKind::Customer), "The lead's customer id at the payment provider; it is hashed here"),
    (Name::Alias(AliasKind::Contact), "The lead's contact id in the CRM; it is hashed here"),
    (Name::Event, "Id of one of the lead's events or rewards"),
];

/// `whence lineage`
pub fn command() -> Command {
    let program = Arg::new("program").value_name("PROGRAM").required(true).help("The program");
    let lead = Arg::new("lead").value_name("LEAD").help("The lead's id, as it was sent");
    let names =
        NAMES.map(|(name, help)| Arg::new(name.word()).long(name.word()).value_name("VALUE").help(help));
    let who = ArgGroup::new("who").args(["lead"]).args(NAMES.map(|(name, _)| name.word())).required(true);
    let referrer = parameters::referrer("Also say why this referrer is credited, or not");
    let format = Arg::new("format")
        .long("format")
        .value_name("FORMAT")
        .default_value("text")
        .value_parser(PossibleValuesParser::new(["text", "json"]))
        .help("Sentences and columns for people, or JSON");
    let after = Arg::new("after")
        .long("after")
        .value_name("LINES")
        .value_parser(value_parser!(u32))
        .help("Go on behind so many lines, as the page before says");
    let about =
        "Says who is credited with a lead, why, and what that earned, with all that is stored about it";
    settings::command::<LineageSettings>(Command::new("lineage").about(about))
        .args([program, lead])
        .args(names)
        .group(who)
        .args([referrer, after, format])
}

/// Asks and prints.
///
/// # Errors
/// ClickHouse does not answer, the secrets can't be used, or nothing is known of the program, the referrer or the lead.
pub fn run(flags: &ArgMatches) -> Result<(), Failure> {
    let settings = load::<LineageSettings>(flags)?.settings;
    let text = |name: &str| flags.get_one::<String>(name).map(String::as_str);
    let program = parameters::program(text("program").expect("required"))?;
    let named = Name::ALL.into_iter().find_map(|name| Some((name, text(name.word())?)));
    let (name, value) = named.expect("one of the group is required");
    let term = hashed(&settings, &program, name, value)?;
    let client = super::reader(&settings.clickhouse, &settings.account, &settings.answer, &settings.data)?;
    let found = super::ask(&settings.log, async {
        parameters::known(&client, program.as_str(), text("referrer")).await?;
        Ok(lines(&client, program.as_str(), &term).await?)
    })?;
    if found.is_empty() {
        return Err(Failure::Failed(NOTHING.to_owned()));
    }
    let after = flags.get_one::<u32>("after").map_or(0, |after| *after as usize);
    let page = page(&found, text("referrer"), after)
        .ok_or_else(|| Failure::Failed(format!("--after {after}: there are {} lines", found.len())))?;
    super::print(&match text("format") {
        Some("json") => json(&page),
        _ => people(&page),
    })?;
    match page.next {
        Some(next) => parameters::tell_rest((found.len() - next) as u64, next),
        None if page.more => {
            parameters::tell(&format!("there may be more: {} lines are looked at", found.len()))
        }
        None => {}
    }
    Ok(())
}

/// The raw name ends here.
fn hashed(
    settings: &LineageSettings,
    program: &ProgramId,
    name: Name,
    value: &str,
) -> Result<String, Failure> {
    let secrets = super::secrets(&settings.secrets, &settings.data)?;
    term(&secrets.identity, program, name, value)
        .map_err(|error| Failure::Failed(format!("the {} {error}", name.word())))
}

fn json(page: &Page<'_>) -> String {
    let events: Vec<_> = page.events.iter().map(Explanation::json).collect();
    let lines: Vec<_> = page.lines.iter().map(Line::json).collect();
    let next = page.next.map(|next| next.to_string());
    format!("{:#}\n", json!({ "events": events, "lines": lines, "more": page.more, "next": next }))
}

fn people(page: &Page<'_>) -> String {
    let mut text = String::new();
    for explanation in &page.events {
        let lead = if explanation.lead.is_empty() { "(no lead id)" } else { &explanation.lead };
        text.push_str(&format!("{} {} {}\n", explanation.step, explanation.event_id, plain(lead)));
        for sentence in &explanation.sentences {
            text.push_str(&format!("  {}\n", plain(sentence)));
        }
        text.push('\n');
    }
    text.push_str(&table(page.lines).to_string());
    text
}

fn table(found: &[Line]) -> Table {
    let headings =
        ["at", "step", "sign", "name", "evidence", "reason", "referrer", "link", "source", "position"];
    let mut table = Table::new(&headings.map(|heading| (heading, Align::Left)));
    for line in found {
        let position = format!("{}/{}", line.partition, line.offset);
        let sign = line.sign.to_string();
        let at = UnixMs(line.at).rfc3339();
        let name =
            if line.state.is_empty() { line.name.clone() } else { format!("{} {}", line.name, line.state) };
        let evidence = if line.step == "lead" || line.step == "qualification" { &*line.evidence } else { "" };
        let cells: [&str; 10] = [
            &at,
            &line.step,
            &sign,
            name.trim(),
            evidence,
            &line.reason,
            &line.referrer,
            &line.link,
            &line.source,
            &position,
        ];
        table.row(cells.map(plain).to_vec());
    }
    table
}

fn plain(text: &str) -> String {
    cell(&text.into())
}
