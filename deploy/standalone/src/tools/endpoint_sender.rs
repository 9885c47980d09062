//! Messages that a person has sent to an endpoint: its record from the API, its secrets from this command's settings,
//! what came of it in words.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use whence_ingest::webhooks::NamedSecrets;
use whence_outbound::client::Caller;
use whence_outbound::machine_time;
use whence_outbound::once::{EndpointSender, INTERACTIVE_RETRY, Sent};
use whence_outbound::sign::SigningKey;
use whence_outbound::tables::Tables;
use whence_schemas::ids::ProgramId;

use super::sending::Sender;
use super::table::Table;
use crate::data_dir::OWNER_PASSWORD;
use crate::failure::Failure;
use crate::parts::replicas;
use crate::settings::EndpointSenderSettings;

/// Who delivers to this endpoint.
///
/// # Errors
/// The program has no such endpoint, it is disabled, or none of its secrets is among this command's.
pub async fn endpoint_sender(
    settings: &EndpointSenderSettings,
    program: &ProgramId,
    endpoint: &str,
) -> Result<EndpointSender, Failure> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if endpoint.is_empty() || !endpoint.bytes().all(is_plain) {
        return Err(Failure::Usage(format!("{endpoint:?} is not an endpoint's id")));
    }
    let sender = Sender::new(&settings.call, &settings.data)?;
    let path = format!("/v1/programs/{program}/endpoints/{endpoint}");
    let Some(record) = sender.look(&path).await? else {
        return Err(Failure::Failed(format!("the program {program} has no endpoint {endpoint}")));
    };
    if record["disabled"] == true {
        return Err(Failure::Failed(format!("the endpoint {endpoint} is disabled")));
    }
    let named = settings.webhooks.named().map_err(|error| Failure::Failed(error.to_string()))?;
    let servers = super::servers(
        &settings.clickhouse,
        &settings.account,
        &settings.answer,
        &settings.data,
        OWNER_PASSWORD,
    )?;
    let replicas = replicas::for_a_person(&servers, &settings.clickhouse);
    // What the aggregators have logged by way of other replicas is logged here, too.
    replicas.catch_up().await?;
    let deliveries = &settings.deliveries;
    Ok(EndpointSender {
        tables: Tables::new(replicas, super::ANSWER_MAX),
        caller: Caller::new(deliveries.call_limits(settings.reach.reach())),
        program: program.to_string(),
        endpoint: endpoint.to_owned(),
        url: record["url"].as_str().unwrap_or_default().to_owned(),
        keys: keys(program.as_str(), &record, &named)?,
        retry: INTERACTIVE_RETRY,
        flying_max: deliveries.endpoint_deliveries_max,
        now: Arc::new(machine_time),
    })
}

/// The keys of those of the endpoint's secrets that this command was given.
fn keys(program: &str, record: &Value, named: &NamedSecrets) -> Result<Vec<SigningKey>, Failure> {
    let names = record["secrets"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut keys = Vec::new();
    for name in names.clone() {
        if let Some(secret) = named.get(program, name) {
            let wrong = |error| Failure::Failed(format!("the secret {program}/{name} can't sign: {error}"));
            keys.push(SigningKey::of(secret).map_err(wrong)?);
        }
    }
    if keys.is_empty() {
        let names: Vec<_> = names.collect();
        let names = names.join(", ");
        let text = format!(
            "none of the endpoint's secrets ({names}) is in --webhook-secrets-file, as {program}/NAME"
        );
        return Err(Failure::Failed(text));
    }
    Ok(keys)
}

/// What came of all.
#[derive(Default)]
pub struct Tally(BTreeMap<&'static str, u64>);

impl Tally {
    /// What came of one, in a word, and why.
    pub fn count(&mut self, sent: Sent) -> (&'static str, String) {
        let (word, why) = match sent {
            Sent::Delivered => ("delivered", String::new()),
            Sent::DeliveredBefore => ("unchanged", "it was delivered before".to_owned()),
            Sent::Failed(0, why) => ("failed", why.to_owned()),
            Sent::Failed(status, why) => ("failed", format!("{why} {status}")),
            Sent::NotTried => ("waits", "those before were not taken".to_owned()),
        };
        *self.0.entry(word).or_default() += 1;
        (word, why)
    }

    /// Prints each and the sums.
    ///
    /// # Errors
    /// Some were not delivered.
    pub fn tell(&self, table: &Table) -> Result<(), Failure> {
        let sums: String = self.0.iter().map(|(word, count)| format!("{count} {word}\n")).collect();
        super::print(&format!("{table}{sums}"))?;
        match ["failed", "waits"].iter().filter_map(|word| self.0.get(word)).sum() {
            0 => Ok(()),
            messages => Err(Failure::Undelivered { messages }),
        }
    }
}
