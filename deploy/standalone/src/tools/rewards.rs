//! `whence rewards approve|reject|claw-back`: somebody decides, and hears what came of it.

use clap::{Arg, ArgMatches, Command, value_parser};
use whence_runtime::settings;

use super::report::cell;
use super::reward_ledger::{Decision, Outcome, RewardLedger, words};
use super::table::{Align, Table};
use crate::failure::Failure;
use crate::settings::RewardLedgerSettings;

/// The decisions: the word of the command line, that of the API, and what it is for.
const DECISIONS: [(&str, &str, &str); 3] = [
    ("approve", "approve", "Approves rewards that are accrued or held"),
    ("reject", "reject", "Rejects rewards that are not paid yet"),
    ("claw-back", "claw_back", "Takes rewards back that were paid"),
];

/// `whence rewards`
pub fn command() -> Command {
    let decision = |(name, _, about)| {
        let rewards = Arg::new("rewards")
            .value_name("REWARD")
            .required(true)
            .num_args(1..=1000)
            .value_parser(reward)
            .help("Ids of rewards");
        let reason = Arg::new("reason").long("reason").value_name("TEXT").required(true).help("The reason");
        settings::command::<RewardLedgerSettings>(Command::new(name).about(about))
            .arg(Arg::new("program").value_name("PROGRAM").required(true).help("The program"))
            .args([rewards, by(), reason, wait()])
    };
    Command::new("rewards")
        .about("Decides about rewards; `whence report review-queue` lists what waits for that")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands(DECISIONS.map(decision))
}

/// Who decides.
pub(super) fn by() -> Arg {
    let help = "Who decides: a user name or ticket, never an email address";
    Arg::new("by").long("by").value_name("WHO").required(true).help(help)
}

/// How long the ledger may take.
pub(super) fn wait() -> Arg {
    Arg::new("wait")
        .long("wait")
        .value_name("SECONDS")
        .default_value("60")
        .value_parser(value_parser!(u64).range(0..=3600))
        .help("How long to wait until the ledger shows it")
}

/// A reward's id, as the ledger writes it.
pub(super) fn reward(text: &str) -> Result<String, &'static str> {
    let id = text.trim().parse::<uuid::Uuid>();
    id.map(|id| id.hyphenated().to_string()).map_err(|_| "is not a reward's id")
}

/// Decides and prints what came of it.
///
/// # Errors
/// A decision changed nothing, or a part of whence does not answer.
pub fn run(flags: &ArgMatches) -> Result<(), Failure> {
    let (name, flags) = flags.subcommand().expect("clap requires a command");
    let (_, decision, _) =
        DECISIONS.iter().find(|(known, ..)| *known == name).expect("clap knows these only");
    let text = |name: &str| flags.get_one::<String>(name).map_or("", String::as_str);
    let rewards: Vec<String> = flags.get_many::<String>("rewards").expect("required").cloned().collect();
    let ledger = RewardLedger::open(flags)?;
    let mut table = Table::new(&["reward", "was", "amount", "outcome"].map(|name| (name, Align::Left)));
    let mut refused = 0;
    ledger.work(async {
        let stored = ledger.stored(&rewards).await?;
        let known: Vec<_> = rewards.iter().filter_map(|reward| stored.get(reward)).collect();
        let decided = |about| Decision {
            about,
            decision,
            by: text("by"),
            reason: text("reason"),
            reference: "",
            paid_minor: 0,
        };
        let decisions: Vec<Decision<'_>> = known.iter().copied().map(decided).collect();
        let mut outcomes = ledger.decide(&decisions).await?.into_iter();
        for reward in &rewards {
            let Some(stored_reward) = stored.get(reward) else {
                refused += 1;
                table.row([reward, "-", "-", words("unknown_reward")].map(str::to_owned).to_vec());
                continue;
            };
            let outcome = outcomes.next().unwrap_or(Outcome::Waits);
            let is_so = |word: &str| ["applied", "approved_already"].contains(&word);
            refused += u64::from(!matches!(&outcome, Outcome::Ledger(word) if is_so(word)));
            let said = match &outcome {
                Outcome::Ledger(word) if word == "applied" => word.clone(),
                Outcome::Ledger(word) => format!("nothing changed: {}", words(word)),
                Outcome::Refused(why) => format!("refused: {why}"),
                Outcome::Waits => "accepted; the ledger does not show it yet".to_owned(),
            };
            let amount = format!("{} {}", stored_reward.open_minor, stored_reward.currency);
            table.row(
                [reward, &stored_reward.state, &amount, &said]
                    .map(|text| cell(&text.as_str().into()))
                    .to_vec(),
            );
        }
        Ok(())
    })?;
    super::print(&table.to_string())?;
    match refused {
        0 => Ok(()),
        rows => Err(Failure::Undecided { rows }),
    }
}
