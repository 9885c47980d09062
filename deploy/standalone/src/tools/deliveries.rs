//! `whence deliveries resend`: what an endpoint was given up on is sent to it again.

use std::collections::BTreeSet;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use uuid::Uuid;
use whence_outbound::message::{Message, webhook_id};
use whence_outbound::once::{OutboundMessage, Sent};
use whence_runtime::settings;
use whence_schemas::ids::ProgramId;

use super::endpoint_sender::{Tally, endpoint_sender};
use super::report::cell;
use super::table::{Align, Table};
use crate::failure::Failure;
use crate::settings::{EndpointSenderSettings, load};

/// `whence deliveries`
pub fn command() -> Command {
    let chosen = Arg::new("message")
        .long("message")
        .value_name("ID")
        .action(ArgAction::Append)
        .value_parser(message)
        .help("Only the message with this id (`webhook-id`, `message_id`); may be repeated");
    let limit = Arg::new("limit")
        .long("limit")
        .value_name("NUMBER")
        .default_value("10000")
        .value_parser(value_parser!(u32).range(1..=1_000_000))
        .help("Maximum number of messages, oldest first");
    let about =
        "Sends messages again that were given up, in order within each lead, under their original ids";
    let resend = settings::command::<EndpointSenderSettings>(Command::new("resend").about(about))
        .arg(Arg::new("program").value_name("PROGRAM").required(true).help("The program"))
        .arg(Arg::new("endpoint").value_name("ENDPOINT").required(true).help("Its endpoint"))
        .args([chosen, limit]);
    Command::new("deliveries")
        .about("Handles messages that endpoints did not accept; the view `dead_deliveries` lists them")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(resend)
}

/// A message's id: 32 hexadecimal digits, `-` and `msg_` left out or not.
fn message(text: &str) -> Result<Uuid, &'static str> {
    let text = text.trim();
    text.strip_prefix("msg_").unwrap_or(text).parse().map_err(|_| "is not a message's id")
}

/// Runs it.
///
/// # Errors
/// There is no such endpoint, a part of whence does not answer, or the endpoint has not taken all.
pub fn run(flags: &ArgMatches) -> Result<(), Failure> {
    let (_, flags) = flags.subcommand().expect("clap requires a command");
    let settings = load::<EndpointSenderSettings>(flags)?.settings;
    let text = |name: &str| flags.get_one::<String>(name).map(String::as_str).expect("required");
    let program = super::parameters::program(text("program"))?;
    let chosen: Vec<Uuid> = flags.get_many::<Uuid>("message").into_iter().flatten().copied().collect();
    let limit = flags.get_one::<u32>("limit").copied().expect("has a default");
    let sent = super::ask(&settings.log, resend(&settings, &program, text("endpoint"), &chosen, limit))?;
    let mut table = Table::new(&[
        ("message", Align::Left),
        ("type", Align::Left),
        ("outcome", Align::Left),
        ("why", Align::Left),
    ]);
    let mut tally = Tally::default();
    for (message, sent) in sent {
        let (word, why) = tally.count(sent);
        let cells = [&*webhook_id(message.message_id), &message.r#type, word, &why];
        table.row(cells.map(|text| cell(&text.into())).to_vec());
    }
    tally.tell(&table)
}

/// In chunks, since the callers' lead ids are looked up for each.
async fn resend(
    settings: &EndpointSenderSettings,
    program: &ProgramId,
    endpoint: &str,
    chosen: &[Uuid],
    limit: u32,
) -> Result<Vec<(OutboundMessage, Sent)>, Failure> {
    const CHUNK: usize = 1000;
    let endpoint_sender = endpoint_sender(settings, program, endpoint).await?;
    let dead = endpoint_sender.tables.dead(program.as_str(), endpoint, chosen, limit as usize).await?;
    let mut all = Vec::with_capacity(dead.len());
    for messages in dead.chunks(CHUNK) {
        let leads: BTreeSet<_> =
            messages.iter().map(|message| (message.program.clone(), message.lead_id)).collect();
        let leads = endpoint_sender.tables.leads(&leads).await?;
        let outbound = |message: &Message| OutboundMessage {
            message_id: message.message_id,
            r#type: message.r#type.clone(),
            lead_id: message.lead_id,
            body: message.body(leads.get(&message.lead_id).map_or("", String::as_str)),
        };
        all.extend(messages.iter().map(outbound));
    }
    let sent = endpoint_sender.send(&all).await?;
    Ok(all.into_iter().zip(sent).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_named_as_receivers_and_tables_have_it() {
        let id: Uuid = "0d2f3c55-74a1-8a0e-8f53-6c1f4a3b2c10".parse().unwrap();
        for text in [id.to_string(), webhook_id(id), format!(" {} ", id.simple())] {
            assert_eq!(message(&text), Ok(id), "{text}");
        }
        assert!(message("msg_").is_err());
    }
}
