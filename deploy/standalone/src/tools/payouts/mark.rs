//! `whence payouts mark`: rewards that were paid, marked as issued under the payment's reference. What the ledger has
//! otherwise than the file, it is told of and is not marked. The same mark again changes nothing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command, value_parser};
use serde_json::json;
use whence_runtime::settings;

use super::super::report::cell;
use super::super::reward_ledger::{Decision, LedgerReward, Outcome, RewardLedger, words};
use super::super::rewards::{by, reward, wait};
use super::super::spreadsheet::says;
use super::super::table::{Align, Table};
use super::file::{Line, Paid, read};
use crate::failure::Failure;
use crate::settings::RewardLedgerSettings;

/// `whence payouts mark`
pub(super) fn command() -> Command {
    let file = Arg::new("file")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("What was paid: an export, or a part of one; `-`: standard input");
    let rewards = Arg::new("reward")
        .long("reward")
        .value_name("ID")
        .action(ArgAction::Append)
        .value_parser(reward)
        .help("A reward that was paid as it stands, in place of a file; may be repeated");
    let reference = Arg::new("reference")
        .long("reference")
        .value_name("TEXT")
        .required(true)
        .help("Reference of the payment, such as its number at the bank");
    let input = Arg::new("format")
        .long("format")
        .value_name("FORMAT")
        .value_parser(PossibleValuesParser::new(["csv", "json", "ndjson"]))
        .help("Format of the file [default: by the ending of its name]");
    let check = Arg::new("check")
        .long("check")
        .action(ArgAction::SetTrue)
        .help("Only says what would be marked: to be called before the payment");
    let answer = Arg::new("answer")
        .long("answer")
        .value_name("FORMAT")
        .default_value("text")
        .value_parser(PossibleValuesParser::new(["text", "json"]))
        .help("Columns for people, or JSON");
    let about = "Marks rewards as paid under a reference; what has changed since the export is refused";
    settings::command::<RewardLedgerSettings>(Command::new("mark").about(about))
        .arg(Arg::new("program").value_name("PROGRAM").required(true).help("The program"))
        .args([file, rewards])
        .group(ArgGroup::new("what").args(["file", "reward"]).required(true))
        .args([reference, by(), input, check, answer, wait()])
}

/// The outcome of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    /// The reward can be marked.
    Ready,
    /// Marked as paid now.
    Issued,
    /// Marked before, under this very reference.
    Unchanged,
    /// Refused; says why.
    Refused(String),
    /// The decision was sent, and the ledger does not show it yet.
    Sent,
}

impl Said {
    fn word(&self) -> &'static str {
        match self {
            Said::Ready => "ready",
            Said::Issued => "issued",
            Said::Unchanged => "unchanged",
            Said::Refused(_) => "refused",
            Said::Sent => "sent",
        }
    }

    fn why(&self) -> &str {
        match self {
            Said::Refused(why) => why,
            Said::Unchanged => "it was paid under this reference already",
            Said::Sent => "the ledger does not show it yet: mark again to see",
            Said::Ready | Said::Issued => "",
        }
    }
}

/// Marks and prints what came of each line.
///
/// # Errors
/// A line was refused or not seen through, or a part of whence does not answer.
pub(super) fn run(flags: &ArgMatches) -> Result<(), Failure> {
    let text = |name: &str| flags.get_one::<String>(name).map(String::as_str);
    let lines = match flags.get_one::<PathBuf>("file") {
        Some(path) => {
            read(path, text("format")).map_err(|source| Failure::File { path: path.clone(), source })?
        }
        None => (1..).zip(flags.get_many::<String>("reward").into_iter().flatten()).map(bare).collect(),
    };
    let ledger = RewardLedger::open(flags)?;
    let reference = text("reference").expect("required");
    let marked = ledger.work(async {
        let ids: Vec<String> =
            lines.iter().filter_map(|line| Some(line.paid.as_ref().ok()?.reward.clone())).collect();
        let stored = ledger.stored(&ids).await?;
        let mut said = judged(&lines, &stored, reference);
        if !flags.get_flag("check") {
            mark(&ledger, &lines, &stored, reference, text("by").expect("required"), &mut said).await?;
        }
        Ok((said, stored))
    });
    let (said, stored) = marked?;
    super::super::print(&match text("answer") {
        Some("json") => as_json(&lines, &said),
        _ => people(&lines, &said, &stored),
    })?;
    let is_open = |said: &&Said| matches!(said, Said::Refused(_) | Said::Sent);
    match said.iter().filter(is_open).count() {
        0 => Ok(()),
        rows => Err(Failure::Undecided { rows: rows as u64 }),
    }
}

fn bare((number, reward): (u64, &String)) -> Line {
    let paid =
        Paid { reward: reward.clone(), revision: None, amount_minor: None, currency: None, referrer: None };
    Line { number, paid: Ok(paid) }
}

/// What the ledger says of each line.
fn judged(lines: &[Line], stored: &HashMap<String, LedgerReward>, reference: &str) -> Vec<Said> {
    let mut seen = HashSet::new();
    let judge = |line: &Line| match &line.paid {
        Err(why) => Said::Refused(why.clone()),
        Ok(paid) if !seen.insert(paid.reward.clone()) => {
            Said::Refused("the reward stands on an earlier line, too".to_owned())
        }
        Ok(paid) => match stored.get(&paid.reward) {
            None => Said::Refused(words("unknown_reward").to_owned()),
            Some(reward) => compared(paid, reward, reference),
        },
    };
    lines.iter().map(judge).collect()
}

/// A reward is marked only as it was exported: approved, of this amount, and of no later change.
fn compared(paid: &Paid, reward: &LedgerReward, reference: &str) -> Said {
    let LedgerReward { state, open_minor, currency, referrer, revision, .. } = reward;
    let differs = |told: &Option<String>, now: &String| told.as_ref().is_some_and(|told| !says(told, now));
    let is_other =
        paid.amount_minor.is_some_and(|told| told != *open_minor) || differs(&paid.currency, currency);
    match state.as_str() {
        "issued" if reward.reference != reference => {
            Said::Refused(format!("it was paid as {:?}", reward.reference))
        }
        "issued" if is_other => Said::Refused(format!(
            "{open_minor} {currency} of it stand as paid under this reference: not what the file says"
        )),
        "issued" => Said::Unchanged,
        "approved" if is_other => {
            Said::Refused(format!("{open_minor} {currency} of it is to be paid now: not what the file says"))
        }
        "approved" if differs(&paid.referrer, referrer) => {
            Said::Refused(format!("it is {referrer:?}'s now: not what the file says"))
        }
        "approved" if paid.revision.is_some_and(|told| told != *revision) => {
            Said::Refused("it has changed since the export".to_owned())
        }
        "approved" => Said::Ready,
        state => {
            let why = [&*reward.decided_by, &*reward.reason].into_iter().filter(|text| !text.is_empty());
            let why = why.collect::<Vec<_>>().join(": ");
            Said::Refused(format!("it is {state}, not approved ({why})"))
        }
    }
}

/// Sends what is ready, and learns what came of it.
async fn mark(
    ledger: &RewardLedger,
    lines: &[Line],
    stored: &HashMap<String, LedgerReward>,
    reference: &str,
    by: &str,
    said: &mut [Said],
) -> Result<(), Failure> {
    let mut places = Vec::new();
    let mut decisions = Vec::new();
    for (place, line) in lines.iter().enumerate().filter(|(place, _)| said[*place] == Said::Ready) {
        let Some(about) = line.paid.as_ref().ok().and_then(|paid| stored.get(&paid.reward)) else {
            continue;
        };
        places.push(place);
        // What changes between this look and the decision is refused by the ledger itself.
        let paid_minor = about.open_minor;
        decisions.push(Decision { about, decision: "issue", by, reason: "", reference, paid_minor });
    }
    for (place, outcome) in places.into_iter().zip(ledger.decide(&decisions).await?) {
        said[place] = match outcome {
            Outcome::Ledger(word) if word == "applied" => Said::Issued,
            Outcome::Ledger(word) if word == "issued_so_already" => Said::Unchanged,
            Outcome::Ledger(word) => Said::Refused(words(&word).to_owned()),
            Outcome::Refused(why) => Said::Refused(why),
            Outcome::Waits => Said::Sent,
        };
    }
    Ok(())
}

fn id(line: &Line) -> &str {
    line.paid.as_ref().map_or("", |paid| &paid.reward)
}

fn as_json(lines: &[Line], said: &[Said]) -> String {
    let items = lines.iter().zip(said).map(|(line, said)| {
        json!({ "line": line.number, "reward": id(line), "outcome": said.word(), "why": said.why() })
    });
    format!("{:#}\n", json!({ "items": items.collect::<Vec<_>>() }))
}

fn people(lines: &[Line], said: &[Said], stored: &HashMap<String, LedgerReward>) -> String {
    let mut table = Table::new(&[
        ("line", Align::Right),
        ("reward", Align::Left),
        ("amount", Align::Right),
        ("outcome", Align::Left),
        ("why", Align::Left),
    ]);
    let mut sums: BTreeMap<(&str, &str), (u64, i128)> = BTreeMap::new();
    for (line, said) in lines.iter().zip(said) {
        let reward = stored.get(id(line));
        let (minor, currency) =
            reward.map_or((0, ""), |reward| (reward.open_minor, reward.currency.as_str()));
        let sum = sums.entry((said.word(), currency)).or_default();
        *sum = (sum.0 + 1, sum.1 + i128::from(minor));
        let amount = if currency.is_empty() { "-".to_owned() } else { format!("{minor} {currency}") };
        let cells = [&*line.number.to_string(), id(line), &amount, said.word(), said.why()];
        table.row(cells.map(|text| cell(&text.into())).to_vec());
    }
    let sums = sums.into_iter().map(|((word, currency), (count, minor))| match currency {
        "" => format!("{count} {word}\n"),
        currency => format!("{count} {word}: {minor} minor units of {currency}\n"),
    });
    format!("{table}{}", sums.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reward(state: &str) -> LedgerReward {
        LedgerReward {
            reward: "r".into(),
            state: state.into(),
            open_minor: 60,
            currency: "EUR".into(),
            referrer: "ann".into(),
            reference: "SEPA-1".into(),
            decided_by: "kim".into(),
            reason: "fraud".into(),
            revision: 3,
        }
    }

    fn paid() -> Paid {
        Paid {
            reward: "r".into(),
            revision: Some(3),
            amount_minor: Some(60),
            currency: Some("EUR".into()),
            referrer: Some("ann".into()),
        }
    }

    #[test]
    fn only_what_stands_as_it_was_exported_is_ready() {
        let approved = reward("approved");
        assert_eq!(compared(&paid(), &approved, "SEPA-2"), Said::Ready);
        let (currency, referrer) = (Some("USD".to_owned()), Some("bob".to_owned()));
        for (changed, why) in [
            (Paid { amount_minor: Some(100), ..paid() }, "60 EUR of it is to be paid now"),
            (Paid { currency, ..paid() }, "60 EUR of it is to be paid now"),
            (Paid { referrer, ..paid() }, "it is \"ann\"'s now"),
            (Paid { revision: Some(2), ..paid() }, "it has changed since the export"),
        ] {
            let said = compared(&changed, &approved, "SEPA-2");
            assert!(said.why().contains(why) && said.word() == "refused", "{said:?}");
        }
        for (name, told) in [("-ann", "-ann"), ("-ann", "'-ann"), ("=ann", "'=ann")] {
            let named = LedgerReward { referrer: name.into(), ..reward("approved") };
            let told = Paid { referrer: Some(told.into()), ..paid() };
            assert_eq!(compared(&told, &named, "SEPA-2"), Said::Ready, "{told:?}");
        }
        assert_eq!(compared(&paid(), &reward("issued"), "SEPA-1"), Said::Unchanged);
        let more = Paid { amount_minor: Some(100), ..paid() };
        assert!(compared(&more, &reward("issued"), "SEPA-1").why().starts_with("60 EUR of it stand as paid"));
        assert!(compared(&paid(), &reward("issued"), "SEPA-2").why().contains("paid as \"SEPA-1\""));
        for state in ["accrued", "held", "rejected", "clawed_back"] {
            let said = compared(&paid(), &reward(state), "SEPA-1");
            assert_eq!(said.why(), format!("it is {state}, not approved (kim: fraud)"));
        }
    }

    #[test]
    fn a_reward_on_two_lines_is_paid_once() {
        let known = HashMap::from([("r".to_owned(), reward("approved"))]);
        let line = |number, paid| Line { number, paid };
        let unknown = Paid { reward: "s".into(), ..paid() };
        let lines =
            [line(2, Ok(paid())), line(3, Ok(paid())), line(4, Ok(unknown)), line(5, Err("x".into()))];
        let said = judged(&lines, &known, "SEPA-2");
        assert_eq!(
            said.iter().map(Said::word).collect::<Vec<_>>(),
            ["ready", "refused", "refused", "refused"]
        );
        let text = people(&lines, &said, &known);
        assert!(
            text.ends_with("1 ready: 60 minor units of EUR\n2 refused\n1 refused: 60 minor units of EUR\n"),
            "{text}"
        );
    }
}
