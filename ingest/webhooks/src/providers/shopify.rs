//! Shopify: `X-Shopify-Hmac-Sha256`, Base64 of the HMAC-SHA256 of the body. Neither the topic nor the
//! delivery's id is signed: what makes an event one is therefore the id in the body, so that a body that
//! is sent again under another delivery id counts once. Source: Shopify's documentation, "Verify webhook
//! deliveries".

use super::{Delivery, ProviderEvent, Refusal, Unreadable, merge, object, text};
use crate::sign;
use serde_json::{Map, Value, json};
use std::cmp::Ordering;
use whence_schemas::event::WebhookScheme;
use whence_schemas::money::{self, Number};

pub(super) const KEEPS: &[&str] =
    &["/id", "/order_id", "/financial_status", "/source_name", "/currency", "/created_at", "/test"];
pub(super) const RULES: &str = include_str!("../defaults/shopify.json");

pub(super) fn verify(delivery: &Delivery<'_>, _scheme: &WebhookScheme, secret: &[u8]) -> Result<(), Refusal> {
    let header = delivery.header("x-shopify-hmac-sha256").ok_or(Refusal::Unsigned)?;
    sign::same(&sign::of_base64(header)?, &sign::hmac_sha256(secret, &[delivery.body]))
}

pub(super) fn events(
    delivery: &Delivery<'_>,
    _scheme: &WebhookScheme,
) -> Result<Vec<ProviderEvent>, Unreadable> {
    let mut body = object(delivery)?;
    let name = delivery.header("x-shopify-topic").ok_or(Unreadable::Body)?.to_owned();
    if name == "customers/merge" {
        return Ok(customers(&name, body));
    }
    let id = match text(&body, "/id") {
        id if !id.is_empty() => id,
        _ => delivery.header("x-shopify-webhook-id").ok_or(Unreadable::Body)?.to_owned(),
    };
    let is_test = body.pointer("/test") == Some(&json!(true));
    let reachable = json!({ "attributes": attributes(&body), "refund": refund(&body) });
    body["whence"] = reachable;
    Ok(vec![ProviderEvent { id: format!("{name}-{id}"), name, body, is_test }])
}

/// The two customers of a merge, by the ids that orders name them by: `gid://shopify/Customer/1` is 1.
fn customers(name: &str, body: Value) -> Vec<ProviderEvent> {
    let id = |pointer| text(&body, pointer).rsplit('/').next().unwrap_or_default().to_owned();
    let kept = id("/admin_graphql_api_customer_kept_id");
    let deleted = id("/admin_graphql_api_customer_deleted_id");
    let id = format!("{name}-{kept}-{deleted}-{}", text(&body, "/status"));
    let is_done = text(&body, "/status") == "completed";
    let event = ProviderEvent { id, name: name.to_owned(), body, is_test: false };
    if is_done { merge(event, vec![kept.clone(), deleted], &kept) } else { vec![event] }
}

/// `note_attributes` is a list of names and values: as an object, pointers reach it.
fn attributes(body: &Value) -> Map<String, Value> {
    let list = body.pointer("/note_attributes").and_then(Value::as_array).into_iter().flatten();
    list.filter_map(|entry| {
        let name = entry.get("name")?.as_str()?;
        Some((name.to_owned(), entry.get("value")?.clone()))
    })
    .collect()
}

/// What went back to the customer, in the shop's currency, as orders have theirs: `amount` and `currency`. The sum of
/// the refund's transactions that succeeded; 0 where none did. No amount where there is no list of transactions, and
/// a text that is no amount where it can't be told.
fn refund(body: &Value) -> Value {
    let Some(list) = body.pointer("/transactions").and_then(Value::as_array) else { return json!({}) };
    let of_refund: Vec<&Value> = list.iter().filter(|one| text(one, "/kind") == "refund").collect();
    let paid_back = of_refund.iter().copied().filter(|one| text(one, "/status") == "success");
    let Some(sum) = Money::sum(paid_back.map(|one| Money::of(one, "/amount", "/currency"))) else {
        return json!({ "amount": UNREADABLE });
    };
    let is_told = of_refund.iter().all(|one| !text(one, "/status").is_empty());
    match sum.in_shop_currency(body) {
        Some(money) if is_told => json!({ "amount": money.amount(), "currency": money.currency }),
        _ => json!({ "amount": UNREADABLE }),
    }
}

/// Stands for an amount that can't be told, and is none.
const UNREADABLE: &str = "unreadable";
/// Decimals that amounts are counted with here: more than any currency has.
const PLACES: i32 = 6;
/// Digits of an amount here: many thousands of them have a sum.
const DIGITS_MAX: usize = 21;

/// An amount, in millionths of its currency. No currency: 0.
#[derive(Clone, Debug, Default, PartialEq)]
struct Money {
    millionths: i128,
    currency: String,
}

impl Money {
    fn of(value: &Value, amount: &str, currency: &str) -> Option<Money> {
        let number = Number::read(&text(value, amount)).ok()?;
        let (whole, rest) = number.split(PLACES);
        let currency = text(value, currency);
        let fits = rest.is_empty() && whole.len() <= DIGITS_MAX && !currency.is_empty();
        let millionths = whole.parse::<i128>().ok().filter(|_| fits)?;
        Some(Money { millionths: if number.is_negative { -millionths } else { millionths }, currency })
    }

    /// Of a money set: `shop_money` or `presentment_money`. 0 where there is none.
    fn of_set(value: &Value, set: &str, of: &str) -> Option<Money> {
        let Some(money) = value.pointer(&format!("/{set}/{of}")) else { return Some(Money::default()) };
        let currency = if money.get("currency_code").is_some() { "/currency_code" } else { "/currency" };
        Money::of(money, "/amount", currency)
    }

    /// `None` where one of them can't be read, or has another currency.
    fn sum(all: impl IntoIterator<Item = Option<Money>>) -> Option<Money> {
        all.into_iter().try_fold(Money::default(), |sum, one| {
            let one = one?;
            let currency = if sum.currency.is_empty() { &one.currency } else { &sum.currency };
            (one.currency.is_empty() || one.currency == *currency)
                .then(|| Money { millionths: sum.millionths + one.millionths, currency: currency.clone() })
        })
    }

    fn minus(self, other: Money) -> Option<Money> {
        Money::sum([Some(self), Some(Money { millionths: -other.millionths, ..other })])
    }

    /// This amount of the refund's transactions, which are in the buyer's currency, in the shop's: that of its lines
    /// and adjustments where these are what was paid back, else at their rate. `None` where they say no rate.
    fn in_shop_currency(self, refund: &Value) -> Option<Money> {
        let sum = |list: &str, sets: [&str; 2], of: &str| {
            let list = refund.get(list).and_then(Value::as_array).into_iter().flatten();
            Money::sum(list.flat_map(|one| sets.map(|set| Money::of_set(one, set, of))))
        };
        let lines = |of: &str| sum("refund_line_items", ["subtotal_set", "total_tax_set"], of);
        // Shipping that is given back, as less than 0, and what is given back less than its lines.
        let adjustments = |of: &str| sum("order_adjustments", ["amount_set", "tax_amount_set"], of);
        let (shop, buyer) = ("shop_money", "presentment_money");
        let pairs = [
            (lines(shop)?.minus(adjustments(shop)?)?, lines(buyer)?.minus(adjustments(buyer)?)?),
            (lines(shop)?, lines(buyer)?),
            (adjustments(shop)?, adjustments(buyer)?),
        ];
        let named =
            pairs.iter().find(|(shop, buyer)| !shop.currency.is_empty() && !buyer.currency.is_empty());
        let Some((of_shop, of_buyer)) = named else { return Some(self) };
        if self.currency.is_empty() || self.currency == of_shop.currency {
            return Some(self);
        }
        if self.currency != of_buyer.currency {
            return None;
        }
        if let Some((shop, _)) = pairs.iter().find(|(_, buyer)| *buyer == self) {
            return Some(shop.clone());
        }
        let (of_shop, of_buyer) = pairs.iter().find(|(_, buyer)| buyer.millionths != 0)?;
        let decimals = i32::try_from(money::decimals(&of_shop.currency)?).ok()?;
        let unit = 10_i128.pow(PLACES.saturating_sub(decimals).unsigned_abs());
        let units =
            nearest(self.millionths.checked_mul(of_shop.millionths)?, of_buyer.millionths.checked_mul(unit)?);
        Some(Money { millionths: units * unit, currency: of_shop.currency.clone() })
    }

    fn amount(&self) -> String {
        let digits = format!("{:0>7}", self.millionths.unsigned_abs());
        let (whole, fraction) = digits.split_at(digits.len() - 6);
        format!("{}{whole}.{fraction}", if self.millionths < 0 { "-" } else { "" })
    }
}

/// The whole number next to a quotient, of two the even one.
fn nearest(dividend: i128, divisor: i128) -> i128 {
    let (dividend, divisor) = if divisor < 0 { (-dividend, -divisor) } else { (dividend, divisor) };
    let (below, rest) = (dividend.div_euclid(divisor), dividend.rem_euclid(divisor));
    match (rest * 2).cmp(&divisor) {
        Ordering::Less => below,
        Ordering::Greater => below + 1,
        Ordering::Equal => below + below.rem_euclid(2),
    }
}
