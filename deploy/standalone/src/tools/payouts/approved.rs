//! What is to be paid.

use clickhouse::{Client, Row};
use serde::{Deserialize, Serialize};
use whence_console::ask::AskError;
use whence_ingest::api::events::money;

use crate::failure::Failure;

/// A reward to be paid, as it stands in the file.
#[derive(Debug, Row, Serialize, Deserialize)]
pub(super) struct Payout {
    pub reward: String,
    pub revision: u32,
    pub program: String,
    pub referrer: String,
    pub party: String,
    pub rule: String,
    pub lead_id: String,
    pub qualification_id: String,
    #[serde(default)]
    pub amount: String,
    pub amount_minor: i64,
    pub currency: String,
    pub earned_at: String,
    pub approved_at: String,
    pub approved_by: String,
    /// For people; empty: none.
    pub referrer_name: String,
    /// The caller's lead id, of a reward of the referred; `None` once they are forgotten.
    pub lead: Option<String>,
}

/// A program's approved rewards, of one referrer or currency where these are not empty: one more than `limit` where there are
/// more.
///
/// # Errors
/// ClickHouse does not answer.
pub(super) async fn payouts(
    client: &Client,
    program: &str,
    referrer: &str,
    currency: &str,
    limit: u32,
) -> Result<Vec<Payout>, Failure> {
    let moment = |column: &str| format!("formatDateTime({column}, '%FT%T.%fZ')");
    let sql = format!(
        "SELECT toString(reward_id) AS reward, revision, toString(program) AS program, referrer, toString(party) AS party, \
         toString(rule) AS rule, toString(lead_id) AS lead_id, toString(qualification_id) AS qualification_id, '' AS amount, \
         amount_minor, toString(currency) AS currency, {} AS earned_at, {} AS approved_at, decided_by AS approved_by, \
         referrer_name, lead \
         FROM (SELECT * FROM payouts WHERE program = {{program:String}} \
         AND ({{referrer:String}} = '' OR referrer = {{referrer:String}}) \
         AND ({{currency:String}} = '' OR currency = {{currency:String}}) \
         ORDER BY referrer, approved_at, reward_id LIMIT {{rows:UInt32}})",
        moment("earned_at"),
        moment("approved_at"),
    );
    let query = client
        .query(&sql)
        .param("program", program)
        .param("referrer", referrer)
        .param("currency", currency)
        .param("rows", limit + 1);
    let mut found = query.fetch_all::<Payout>().await.map_err(AskError::from)?;
    for payout in &mut found {
        payout.amount = amount(payout.amount_minor, &payout.currency);
    }
    Ok(found)
}

/// `12.50` of 1250 minor units; the minor units of a currency that nobody knows.
fn amount(minor: i64, currency: &str) -> String {
    match money::decimals(currency) {
        None | Some(0) => minor.to_string(),
        Some(decimals) => {
            let unit = 10_i64.pow(decimals as u32);
            format!("{}.{:0decimals$}", minor / unit, minor % unit)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_the_decimals_of_their_currency() {
        let cases = [
            (1250, "EUR", "12.50"),
            (5, "EUR", "0.05"),
            (7, "JPY", "7"),
            (1500, "BHD", "1.500"),
            (3, "??", "3"),
        ];
        for (minor, currency, text) in cases {
            assert_eq!(amount(minor, currency), text);
        }
    }
}
