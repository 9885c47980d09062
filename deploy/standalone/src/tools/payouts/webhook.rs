//! Payouts as webhooks: a message for each reward, of an id that is made of the reward and its revision. A receiver
//! that keeps ids pays each once, however often it is exported; what was taken once is not sent again.

use serde_json::json;
use uuid::Uuid;
use whence_outbound::once::{OutboundMessage, Sent};
use whence_schemas::ids::ProgramId;
use whence_schemas::message::PAYOUT_EXPORTED;

use super::super::endpoint_sender::{Tally, endpoint_sender};
use super::super::report::cell;
use super::super::table::{Align, Table};
use super::approved::Payout;
use crate::failure::Failure;
use crate::settings::EndpointSenderSettings;

/// Sends each payout to the endpoint.
///
/// # Errors
/// There is no such endpoint or none of its secrets, or a part of whence does not answer.
pub(super) async fn send(
    settings: &EndpointSenderSettings,
    program: &ProgramId,
    endpoint: &str,
    payouts: &[Payout],
) -> Result<Vec<Sent>, Failure> {
    let messages: Vec<OutboundMessage> = payouts.iter().map(message).collect();
    Ok(endpoint_sender(settings, program, endpoint).await?.send(&messages).await?)
}

/// The same whenever it is sent.
fn message(payout: &Payout) -> OutboundMessage {
    let reward = payout.reward.parse::<Uuid>().unwrap_or_default();
    let body = json!({ "type": PAYOUT_EXPORTED, "timestamp": payout.approved_at, "data": payout });
    OutboundMessage {
        message_id: Uuid::new_v5(&reward, format!("payout/{}", payout.revision).as_bytes()),
        r#type: PAYOUT_EXPORTED.to_owned(),
        lead_id: payout.lead_id.parse().unwrap_or_default(),
        body: body.to_string().into(),
    }
}

/// Says what came of each.
///
/// # Errors
/// Some were not delivered.
pub(super) fn tell(payouts: &[Payout], sent: &[Sent]) -> Result<(), Failure> {
    let mut table = Table::new(&[
        ("reward", Align::Left),
        ("amount", Align::Right),
        ("outcome", Align::Left),
        ("why", Align::Left),
    ]);
    let mut tally = Tally::default();
    for (payout, sent) in payouts.iter().zip(sent) {
        let (word, why) = tally.count(*sent);
        let amount = format!("{} {}", payout.amount, payout.currency);
        table.row([&*payout.reward, &amount, word, &why].map(|text| cell(&text.into())).to_vec());
    }
    tally.tell(&table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_the_same_for_the_same_reward_and_revision_alone() {
        let payout = |reward: &str, revision: u32| {
            let payout = json!({ "reward": reward, "revision": revision, "program": "p", "referrer": "ann",
                "referrer_name": "Ann", "lead": null, "party": "referrer", "rule": "order", "lead_id": "3f2b8c1e-0a51-5c7e-9a7f-2f8f0f6f1d11",
                "qualification_id": "q", "amount": "0.60", "amount_minor": 60, "currency": "EUR",
                "earned_at": "e", "approved_at": "a", "approved_by": "kim" });
            message(&serde_json::from_value(payout).unwrap())
        };
        let reward = "0d2f3c55-74a1-5a0e-8f53-6c1f4a3b2c10";
        let (first, again) = (payout(reward, 1), payout(reward, 1));
        assert_eq!((first.message_id, &first.body), (again.message_id, &again.body));
        assert_eq!(first.message_id.to_string(), "1eef32b4-e2c3-5a1f-acbf-c8d2482825bd");
        let others = [payout(reward, 2), payout("0d2f3c55-74a1-5a0e-8f53-6c1f4a3b2c11", 1)];
        assert!(others.iter().all(|other| other.message_id != first.message_id));
    }
}
