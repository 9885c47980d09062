//! `whence erase`: a person is forgotten, and whoever asked for it is told what that touched.

use std::time::{Duration, Instant};

use clap::builder::NonEmptyStringValueParser;
use clap::{Arg, ArgGroup, ArgMatches, Command};
use clickhouse::Client;
use serde_json::{Value, json};
use uuid::Uuid;
use whence_console::ask::Object;
use whence_console::erasure::erasure;
use whence_runtime::settings;
use whence_schemas::ids::ProgramId;

use super::parameters;
use super::rewards::wait;
use super::sending::Sender;
use crate::failure::Failure;
use crate::settings::{RewardLedgerSettings, load};

/// The source of these events: ids of events are counted per source.
const SOURCE: &str = "cli";
const POLL: Duration = Duration::from_millis(100);
/// What a person goes by; all that are given are of one person.
const NAMES: [(&str, &str); 5] = [
    ("lead", "The lead's id, as it was sent"),
    ("email", "Email address of the person"),
    ("phone", "Phone number of the person, with country code"),
    ("customer", "The person's customer id at the payment provider"),
    ("contact", "The person's contact id in the CRM"),
];

/// `whence erase`
pub fn command() -> Command {
    let names = NAMES.map(|(name, help)| parameters::text(name, "VALUE", help));
    let id = Arg::new("id")
        .long("id")
        .value_name("ID")
        .value_parser(|text: &str| text.parse::<Uuid>().map_err(|_| "is not an erasure's id"))
        .conflicts_with_all(NAMES.map(|(name, _)| name))
        .help("Asks what this erasure touched, in place of asking for one");
    let requested_by = Arg::new("requested-by")
        .long("requested-by")
        .value_name("WHO")
        .value_parser(NonEmptyStringValueParser::new())
        .required_unless_present("id")
        .help("Who asked for it: a user name or ticket, never an email address");
    let who = ArgGroup::new("who").args(NAMES.map(|(name, _)| name)).arg("id").multiple(true).required(true);
    let about = "Forgets a person: blanks their columns, and has their keys find nobody any more";
    settings::command::<RewardLedgerSettings>(Command::new("erase").about(about))
        .arg(Arg::new("program").value_name("PROGRAM").required(true).help("The program"))
        .args(names)
        .args([id, requested_by, wait()])
        .group(who)
}

/// Asks for an erasure, waits until it is done, and prints what it touched.
///
/// # Errors
/// The program is not known, the API refuses, or it is not done in time.
pub fn run(flags: &ArgMatches) -> Result<(), Failure> {
    let settings = load::<RewardLedgerSettings>(flags)?.settings;
    let program = parameters::program(flags.get_one::<String>("program").expect("required"))?;
    let client = super::reader(&settings.clickhouse, &settings.account, &settings.answer, &settings.data)?;
    let seconds = flags.get_one::<u64>("wait").copied().expect("has a default");
    let asked = flags.get_one::<Uuid>("id").copied();
    let done = super::ask(&settings.log, async {
        let id = match asked {
            Some(id) => {
                parameters::known(&client, program.as_str(), None).await?;
                id
            }
            None => send(&Sender::new(&settings.call, &settings.data)?, &event(flags, &program)).await?,
        };
        let waits = if asked.is_some() { 0 } else { seconds };
        match settled(&client, &program, id, Duration::from_secs(waits)).await? {
            Some(done) => Ok(done),
            None if asked.is_some() => Err(Failure::Failed(
                "nothing is known of such an erasure; if it was accepted, it is not done yet".to_owned(),
            )),
            None => Err(Failure::Failed(format!(
                "the erasure {id} was accepted and is not done after {seconds} s: ask for it with `whence erase {program} --id {id}`"
            ))),
        }
    })?;
    let count = |name: &str, one: &str| match done[name].as_u64().unwrap_or_default() {
        1 => format!("1 {one}"),
        count => format!("{count} {name}"),
    };
    let (events, rewards, keys) =
        (count("events", "event"), count("rewards", "reward"), count("keys", "key"));
    let id = done["id"].as_str().unwrap_or_default();
    super::print(&format!(
        "erasure {id}: {events} without personal columns, {rewards} of nobody by name, {keys} suppressed\n"
    ))
}

fn event(flags: &ArgMatches, program: &ProgramId) -> Value {
    let text = |name: &str| flags.get_one::<String>(name).map(String::as_str);
    let mut event = json!({
        "type": "erasure",
        "program": program.as_str(),
        "id": Uuid::now_v7().to_string(),
        "source": SOURCE,
        "requested_by": text("requested-by"),
    });
    for (name, value) in NAMES.iter().filter_map(|(name, _)| Some((*name, text(name)?))) {
        event[name] = value.into();
    }
    event
}

/// The event's id.
async fn send(sender: &Sender, event: &Value) -> Result<Uuid, Failure> {
    let mut settled = Err("the API said nothing of it".to_owned());
    let sent =
        sender.send(std::slice::from_ref(event), |_, result| settled = result.map(str::to_owned)).await;
    sent.map_err(|stopped| Failure::Failed(format!("the API did not take the erasure: {}", stopped.why)))?;
    let id = settled.map_err(|why| Failure::Failed(format!("the API refused the erasure: {why}")))?;
    id.parse().map_err(|_| Failure::Failed("the API accepted the erasure and named no id".to_owned()))
}

/// Polls until the erasure is done, or for so long.
async fn settled(
    client: &Client,
    program: &ProgramId,
    id: Uuid,
    timeout: Duration,
) -> Result<Option<Object>, Failure> {
    let deadline = Instant::now() + timeout;
    loop {
        let found = erasure(client, program.as_str(), id).await?;
        if found.is_some() || Instant::now() >= deadline {
            return Ok(found);
        }
        tokio::time::sleep(POLL).await;
    }
}
