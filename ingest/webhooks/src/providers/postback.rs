//! Affiliate networks: one GET with everything in its query, proved by a secret in `token`, or as a bearer
//! key. Each tracker has its own names of the same parameters; the rules read them under Keitaro's: `subid`, `tid`,
//! `payout`, `currency`, `status`. Sources: the trackers' documentation of their postback addresses (Keitaro, Voluum,
//! Binom, RedTrack, Everflow, TUNE, Impact).

use super::{Delivery, ProviderEvent, Refusal, Unreadable};
use crate::sign;
use serde_json::{Map, Value};
use whence_schemas::{event::WebhookScheme, money, token};

pub(super) const KEEPS: &[&str] = &["/status", "/currency", "/whence/unknown_amount"];
pub(super) const RULES: &str = include_str!("../defaults/postback.json");

/// A parameter as the rules name it, and its names; of several that are there the first counts.
struct Parameter {
    as_name: &'static str,
    names: &'static [&'static str],
}

/// What is read of the query; the token is not among it.
const PARAMETERS: [Parameter; 4] = [
    Parameter {
        as_name: "subid",
        names: &[
            "subid",
            "sub_id",
            "click_id",
            "clickid",
            "cid",
            "cnv_id",
            "cnvid",
            "wclid",
            "irclickid",
            "aff_click_id",
            "aff_sub",
            "aff_sub1",
            "sub1",
            "subid1",
            "sub_id1",
            "sub_id_1",
            "s1",
        ],
    },
    Parameter {
        as_name: "currency",
        names: &["currency", "currency_code", "cnv_currency", "payout_currency", "cur"],
    },
    Parameter {
        as_name: "status",
        names: &["status", "cnv_status", "conversion_status", "state", "event_type", "event", "et", "type"],
    },
    Parameter {
        as_name: "payout",
        names: &[
            "payout",
            "revenue",
            "amount",
            "sum",
            "value",
            "price",
            "commission",
            "sale_amount",
            "saleamount",
            "order_amount",
            "order_value",
            "order_total",
            "total",
            "earnings",
            "income",
            "cnv_payout",
            "rev",
        ],
    },
];
/// Names of the transaction. Everflow and TUNE call the click so: see [`events`].
const TRANSACTION: Parameter = Parameter {
    as_name: "tid",
    names: &[
        "tid",
        "txid",
        "tx_id",
        "order_id",
        "orderid",
        "conversion_id",
        "conversionid",
        "action_id",
        "actionid",
        "transactionid",
        "transaction_id",
    ],
};
/// Parameters that say what was reached.
const GOALS: [&str; 5] = ["event_type", "event", "et", "type", "goal"];
/// Words there for what is a lead and no sale.
const LEADS: [&str; 8] = ["lead", "registration", "register", "reg", "signup", "sign_up", "install", "trial"];
/// Words that say that what was reached counts, whatever it is.
const APPROVALS: [&str; 10] = [
    "approved",
    "approve",
    "confirmed",
    "confirm",
    "accepted",
    "accept",
    "completed",
    "complete",
    "success",
    "successful",
];
/// Words for a further payment of one click, which nothing but the transaction tells from the first one's retry.
const AGAIN: [&str; 5] = ["rebill", "recurring", "renewal", "upsell", "redeposit"];
/// The only name of the click that some trackers have.
const CLICK_OR_TRANSACTION: &str = "transaction_id";
/// Words in the names of amounts.
const AMOUNT_WORDS: [&str; 25] = [
    "amount",
    "payout",
    "revenue",
    "price",
    "total",
    "value",
    "commission",
    "profit",
    "earning",
    "cost",
    "income",
    "sale",
    "money",
    "sum",
    "pay",
    "fee",
    "paid",
    "deposit",
    "bounty",
    "reward",
    "turnover",
    "gross",
    "cash",
    "charge",
    "spend",
];
/// Of them those that are also the names of flags: `paid=1`.
const FLAG_WORDS: [&str; 4] = ["paid", "sale", "deposit", "charge"];
/// Characters of a parameter's name that is told.
const NAME_CHARS_MAX: usize = 64;

pub(super) fn verify(delivery: &Delivery<'_>, _scheme: &WebhookScheme, secret: &[u8]) -> Result<(), Refusal> {
    let token = delivery.parameter("token");
    let token = token.as_deref().or_else(|| delivery.bearer()).ok_or(Refusal::Unsigned)?;
    sign::same_text(token.as_bytes(), secret)
}

/// The query as an object. The transaction's id tells two payments of one click apart, sale or rebill: what
/// is rejected later names nothing else. Without one there is one payment, and a rebill cannot be told from
/// its retry.
///
/// An amount that is there under a name that nobody knows is not 0: the payout is then a text that is no amount, and
/// `/whence/unknown_amount` says the name.
pub(super) fn events(
    delivery: &Delivery<'_>,
    _scheme: &WebhookScheme,
) -> Result<Vec<ProviderEvent>, Unreadable> {
    let query = delivery.query.unwrap_or_default();
    let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let found = |parameter: &Parameter| {
        let of_name = |name: &&str| pairs.iter().find(|(found, value)| found == name && !value.is_empty());
        parameter.names.iter().find_map(of_name).map(|(_, value)| value.clone())
    };
    let mut body = Map::new();
    for parameter in &PARAMETERS {
        if let Some(value) = found(parameter) {
            let value = if parameter.as_name == "subid" { click(value) } else { value };
            body.insert(parameter.as_name.to_owned(), value.into());
        }
    }
    let mut tid = found(&TRANSACTION);
    if !body.contains_key("subid") {
        let named = Parameter { as_name: "subid", names: &[CLICK_OR_TRANSACTION] };
        body.insert("subid".to_owned(), click(found(&named).ok_or(Unreadable::Body)?).into());
        let others = TRANSACTION.names.strip_suffix(&[CLICK_OR_TRANSACTION]).unwrap_or_default();
        tid = found(&Parameter { as_name: TRANSACTION.as_name, names: others });
    }
    let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
    let subid = text("subid").ok_or(Unreadable::Body)?;
    let mut status = text("status").ok_or(Unreadable::Body)?.to_ascii_lowercase();
    // A network that says in one parameter what was reached, and in another that it counts: what is reached is a lead.
    let is_lead = |(name, value): &(String, String)| {
        GOALS.contains(&name.as_str()) && LEADS.contains(&value.to_ascii_lowercase().as_str())
    };
    if APPROVALS.contains(&status.as_str()) && pairs.iter().any(is_lead) {
        status = "lead".to_owned();
    }
    // All clicks and payments under one name would be one.
    if [Some(&subid), tid.as_ref()].into_iter().flatten().any(|id| is_placeholder(id)) {
        return Err(Unreadable::Body);
    }
    if AGAIN.contains(&status.as_str()) && tid.is_none() {
        return Err(Unreadable::Body);
    }
    let mut whence = Map::new();
    if !body.contains_key("payout") {
        let is_known = |name: &str| {
            let known =
                PARAMETERS.iter().chain([&TRANSACTION]).filter(|parameter| parameter.as_name != "payout");
            name == "token" || known.flat_map(|parameter| parameter.names).any(|known| *known == name)
        };
        let of_amount = &PARAMETERS[PARAMETERS.len() - 1];
        let is_empty = pairs.iter().any(|(name, _)| of_amount.names.contains(&name.as_str()));
        let unknown = pairs.iter().find(|(name, value)| !is_known(name) && looks_like_amount(name, value));
        if let Some((name, _)) = unknown {
            let name: String = name.chars().take(NAME_CHARS_MAX).collect();
            body.insert("payout".to_owned(), "under a name that is not known".into());
            whence.insert("unknown_amount".to_owned(), name.into());
        } else if is_empty {
            body.insert("payout".to_owned(), "".into());
        }
    }
    if let Some(tid) = &tid {
        body.insert("tid".to_owned(), tid.as_str().into());
    }
    let payment = tid.unwrap_or_else(|| format!("only-{subid}"));
    // A network tells a sale, rejects it and tells it again with one query: what tells these apart is when they come.
    whence.insert("delivery".to_owned(), format!("{payment}-{}", delivery.now.0).into());
    whence.insert("payment".to_owned(), payment.as_str().into());
    // Of a part that is taken back the retry is the same event: the time of its delivery would make it another.
    let part = body.get("payout").and_then(Value::as_str).filter(|payout| !money::is_zero(payout));
    let part = part.map(|payout| format!("{payment}-{payout}"));
    whence.extend(part.map(|part| ("refund".to_owned(), part.into())));
    body.insert("whence".to_owned(), whence.into());
    let id = format!("{status}-{payment}");
    Ok(vec![ProviderEvent { id, name: status, body: Value::Object(body), is_test: false }])
}

/// The click as it was named: a token without what trackers add to it, so that all that is told of one click is one's.
fn click(named: String) -> String {
    let token = token::repaired(&named);
    if token::claimed_time(&token).is_some() { token } else { named }
}

/// What a network sends where it does not know the macro of an address: `{clickid}`, `[SUM]`, `%subid%`.
fn is_placeholder(text: &str) -> bool {
    let pairs = [("{", "}"), ("[", "]"), ("<", ">"), ("%", "%"), ("#", "#"), ("${", "}")];
    pairs.iter().any(|(open, close)| text.len() > 1 && text.starts_with(open) && text.ends_with(close))
}

/// Whether a parameter is an amount by its name and value, or by its value alone: digits with two decimals at most.
fn looks_like_amount(name: &str, value: &str) -> bool {
    let digits = value.trim_matches(|c: char| !c.is_ascii_digit());
    let may_be_inside =
        |c: char| c.is_ascii_digit() || c.is_whitespace() || matches!(c, '.' | ',' | '\'' | '’');
    let is_number = !digits.is_empty() && digits.chars().all(may_be_inside);
    let has_decimals =
        digits.split_once(['.', ',']).is_some_and(|(_, fraction)| matches!(fraction.len(), 1 | 2));
    let is_word = |word: &str| match word.len() {
        ..=4 => name.split(['_', '-', '.']).any(|part| part == word),
        _ => name.contains(word),
    };
    let is_id = name.split(['_', '-', '.']).any(|part| part == "id")
        || (name.ends_with("id") && !name.ends_with("paid"));
    let mut words = AMOUNT_WORDS.into_iter().filter(|word| is_word(word));
    let is_named = match digits {
        "0" | "1" => words.any(|word| !FLAG_WORDS.contains(&word)),
        _ => words.next().is_some(),
    };
    is_number && !is_id && (has_decimals || is_named)
}

/// What a person needs to know of an event that can't be used, beside the reason.
pub(super) fn hint(event: &ProviderEvent) -> Option<String> {
    let name = event.body.pointer("/whence/unknown_amount")?.as_str()?;
    let names = PARAMETERS[PARAMETERS.len() - 1].names.join(", ");
    Some(format!("{name} looks like an amount, and an amount is read of {names}"))
}
