//! `whence payouts export`: every approved reward of a program, one a line or one a webhook, with all that a payment
//! needs and what `mark` compares with the ledger later.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::builder::PossibleValuesParser;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, value_parser};
use csv::QuoteStyle;
use serde_json::Value;
use whence_ingest::api::events::money;
use whence_runtime::settings;

use super::super::{parameters, spreadsheet};
use super::approved::{Payout, payouts};
use super::webhook;
use crate::failure::Failure;
use crate::settings::{EndpointSenderSettings, load};

/// `whence payouts export`
pub(super) fn command() -> Command {
    let format = Arg::new("format")
        .long("format")
        .value_name("FORMAT")
        .default_value("csv")
        .value_parser(PossibleValuesParser::new(["csv", "json", "ndjson"]))
        .help("CSV with a header, one JSON document, or one object a line");
    let output = Arg::new("output")
        .long("output")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("Writes a new file [default: standard output]");
    let limit = Arg::new("limit")
        .long("limit")
        .value_name("NUMBER")
        .default_value("100000")
        .value_parser(value_parser!(u32).range(1..=1_000_000))
        .help("Maximum number of rewards; if there are more, nothing is exported");
    let about = "Exports every approved reward of a program: what is to be paid";
    let webhook = Arg::new("webhook")
        .long("webhook")
        .value_name("ENDPOINT")
        .conflicts_with("output")
        .help("Sends each reward to this endpoint of the program, signed, in place of writing them");
    settings::command::<EndpointSenderSettings>(Command::new("export").about(about))
        .arg(Arg::new("program").value_name("PROGRAM").required(true).help("The program"))
        .arg(parameters::referrer("Only rewards of this referrer's leads"))
        .arg(parameters::text("currency", "ID", "Only this currency, such as EUR").value_parser(currency))
        .args([format, output, webhook, limit])
}

/// A currency that there is or was.
fn currency(text: &str) -> Result<String, &'static str> {
    let is_known = money::decimals(text).is_some();
    is_known.then(|| text.to_owned()).ok_or("expected a currency such as EUR")
}

/// Asks and writes, or sends.
///
/// # Errors
/// ClickHouse does not answer, there is more than the limit, the file is there already, or the endpoint has not
/// taken all.
pub(super) fn run(flags: &ArgMatches) -> Result<(), Failure> {
    let settings = load::<EndpointSenderSettings>(flags)?.settings;
    let text = |name: &str| flags.get_one::<String>(name).map_or("", String::as_str);
    let program = parameters::program(text("program"))?;
    let limit = flags.get_one::<u32>("limit").copied().expect("has a default");
    let endpoint = flags.get_one::<String>("webhook");
    let is_given = flags.value_source("format") == Some(ValueSource::CommandLine);
    if endpoint.is_some() && is_given && text("format") != "json" {
        return Err(Failure::Usage("webhooks are JSON: leave --format out".to_owned()));
    }
    let client =
        super::super::reader(&settings.clickhouse, &settings.account, &settings.answer, &settings.data)?;
    let asked = async {
        let referrer = flags.get_one::<String>("referrer").map(String::as_str);
        parameters::known(&client, program.as_str(), referrer).await?;
        let found = payouts(&client, program.as_str(), text("referrer"), text("currency"), limit).await?;
        if found.len() > limit as usize {
            let text = format!(
                "more than {limit} rewards are to be paid: choose by --referrer or --currency, or raise --limit"
            );
            return Err(Failure::Failed(text));
        }
        let sent = match endpoint {
            Some(endpoint) => Some(webhook::send(&settings, &program, endpoint, &found).await?),
            None => None,
        };
        Ok((found, sent))
    };
    let (found, sent) = super::super::ask(&settings.log, asked)?;
    if let Some(sent) = sent {
        return webhook::tell(&found, &sent);
    }
    let written = match text("format") {
        "json" => json(&found),
        "ndjson" => ndjson(&found),
        _ => csv(&found),
    };
    match flags.get_one::<PathBuf>("output") {
        None => super::super::print(&written),
        Some(path) => create(path, &written).map_err(|source| Failure::File { path: path.clone(), source }),
    }
}

fn csv(payouts: &[Payout]) -> String {
    const HEADER: [&str; 16] = [
        "reward",
        "revision",
        "program",
        "referrer",
        "party",
        "rule",
        "lead_id",
        "qualification_id",
        "amount",
        "amount_minor",
        "currency",
        "earned_at",
        "approved_at",
        "approved_by",
        "referrer_name",
        "lead",
    ];
    let rows: Vec<Value> = payouts.iter().map(|payout| serde_json::json!(payout)).collect();
    spreadsheet::file(
        QuoteStyle::Necessary,
        &HEADER,
        rows.iter().map(|row| HEADER.iter().map(|name| &row[*name]).collect()),
    )
}

fn json(payouts: &[Payout]) -> String {
    format!("{:#}\n", serde_json::json!({ "payouts": payouts }))
}

fn ndjson(payouts: &[Payout]) -> String {
    payouts.iter().map(|payout| format!("{}\n", serde_json::json!(payout))).collect()
}

/// A file that is there already may be on its way to the bank: it is not written over.
fn create(path: &Path, text: &str) -> io::Result<()> {
    let mut file = std::fs::File::options().write(true).create_new(true).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_names_the_fields_in_their_order() {
        let payout = |reward: &str| Payout {
            reward: reward.into(),
            revision: 2,
            program: "p".into(),
            referrer: "ann, \"the\" one".into(),
            referrer_name: "=HYPERLINK(1)".into(),
            party: "referrer".into(),
            rule: "order".into(),
            lead: Some("-customer 1".into()).filter(|_| reward == "r"),
            lead_id: "l".into(),
            qualification_id: "q".into(),
            amount: "0.60".into(),
            amount_minor: 60,
            currency: "EUR".into(),
            earned_at: "e".into(),
            approved_at: "a".into(),
            approved_by: "kim".into(),
        };
        let text = csv(&[payout("r")]);
        let line = "r,2,p,\"ann, \"\"the\"\" one\",referrer,order,l,q,0.60,60,EUR,e,a,kim,'=HYPERLINK(1),'-customer 1";
        assert_eq!(text.lines().nth(1), Some(line));
        assert!(csv(&[payout("s")]).ends_with(",kim,'=HYPERLINK(1),\n"), "NULL is empty");
        let object = serde_json::to_value(payout("r")).unwrap();
        let mut named: Vec<&str> = text.lines().next().unwrap().split(',').collect();
        let mut fields: Vec<&str> = object.as_object().unwrap().keys().map(String::as_str).collect();
        named.sort_unstable();
        fields.sort_unstable();
        assert_eq!(named, fields);
        assert!(csv(&[]).starts_with("reward,revision,"), "an empty export has its header");
    }
}
