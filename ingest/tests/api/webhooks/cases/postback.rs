//! Trackers, by a postback.

use super::{Row, row};
use serde_json::json;

fn postback(
    tracker: &'static str,
    status: &'static str,
    query: &str,
    expected: &'static [&'static str],
) -> Row {
    let mut row = row("postback", [tracker, "conversion", status], json!(query), expected);
    // Whoever tells a sale says that it is not rejected, or no longer.
    let is_sale = expected.first() == Some(&"lead") && !matches!(status, "lead" | "late word");
    if is_sale {
        let after = expected.iter().take_while(|gist| !gist.starts_with("unusable")).count();
        row.expected.insert(after, "reinstatement sale");
    }
    row
}

/// All of them.
pub fn all() -> Vec<Row> {
    let sale = &["lead", "qualification sale 1250 USD"][..];
    let unreadable = &["lead", "unusable amount_unreadable"][..];
    let of_words = [
        ("lead", &["registration", "Pending", "hold"][..], "payout=12.50&currency=USD", &["lead"][..]),
        ("sale", &["approved", "CONFIRMED"], "payout=12.50&currency=USD", sale),
        ("rebill", &["recurring", "upsell"], "payout=3&currency=USD", &["qualification rebill 300 USD"]),
        (
            "rejected",
            &["declined", "canceled", "reversed", "chargeback", "trash"],
            "payout=0",
            &["disqualification rejected"],
        ),
        ("refund", &["refund", "refunded"], "x=y", &["disqualification refund"]),
        ("refund", &["refund"], "payout=5&currency=USD", &["disqualification refund 500 USD"]),
        ("refund", &["refund"], "payout=0&currency=USD", &["disqualification refund"]),
        ("refund", &["refund"], "payout=-5&currency=USD", &["unusable amount_negative"]),
        ("lead", &["approved", "confirmed"], "event=registration", &["lead"]),
        ("late word", &["paid", "locked", "purchase", "ftd"], "payout=12.50&currency=USD", sale),
        ("refund", &["refund"], "payout=5", &["unusable currency_missing"]),
    ];
    let of_words = of_words.into_iter().flat_map(|(class, words, rest, expected)| {
        words.iter().map(move |word| {
            postback("others", class, &format!("subid=s&tid=1&status={word}&{rest}"), expected)
        })
    });
    // Amounts under names that are not known; what has such a name and is none.
    let under = [
        "amount_paid=59.97",
        "total_paid=60",
        "paid=59",
        "deposit=250",
        "bounty=40",
        "reward=20",
        "turnover=100",
        "x=1+250.00",
        "android_price=9.99",
        "prepaid_amount=12.50",
        "deposit_amount=1",
    ];
    let under = under
        .map(|pair| postback("others", "unknown name", &format!("subid=s&status=sale&{pair}"), unreadable));
    let flags = ["paid=1", "is_paid=0", "userid=100", "gaid=12", "offer_id=250", "goalid=3", "net=12"];
    let without = &["lead", "qualification sale"][..];
    let flags =
        flags.map(|pair| postback("others", "no amount", &format!("subid=s&status=sale&{pair}"), without));
    let rows = vec![
        postback("Keitaro", "sale", "subid=s&status=sale&tid=1&payout=12.50&currency=USD", sale),
        postback("Keitaro", "lead", "subid=s&status=lead&payout=12.50&currency=USD", &["lead"]),
        postback("Keitaro", "rejected", "subid=s&status=rejected&tid=1", &["disqualification rejected"]),
        postback("Keitaro", "unknown", "subid=s&status=7", &["unmapped"]),
        postback("Voluum", "sale", "cid=s&et=sale&txid=1&payout=12.5&currency=usd", sale),
        postback("Binom", "sale", "cnv_id=s&cnv_status=sale&payout=12.50&cnv_currency=USD", sale),
        postback("RedTrack", "sale", "clickid=s&type=sale&sum=12.50&currency=USD", sale),
        postback(
            "Everflow",
            "sale",
            "transaction_id=s&status=sale&order_id=1&amount=12.50&currency=USD",
            sale,
        ),
        postback("TUNE", "sale", "aff_sub=s&transaction_id=1&status=sale&payout=12.50&currency=USD", sale),
        postback("Impact", "sale", "irclickid=s&ActionId=1&status=sale&Amount=12.50&Currency=USD", sale),
        postback("others", "sale", "click_id=s&status=sale&revenue=12.50&currency=USD", sale),
        postback("others", "sale", "sub1=s&status=sale&sale_amount=12.50&currency=USD", sale),
        postback("others", "noise", "subid=s&status=sale&value=12.500000000000002&currency=USD", sale),
        postback(
            "others",
            "no amount",
            "subid=s&status=sale&tid=1&offer_id=12",
            &["lead", "qualification sale"],
        ),
        postback(
            "others",
            "empty",
            "subid=s&status=sale&payout=&currency=USD",
            &["lead", "unusable amount_missing"],
        ),
        postback(
            "others",
            "empty",
            "subid=s&status=sale&amount=&currency=USD",
            &["lead", "unusable amount_missing"],
        ),
        postback("others", "macro", "subid=s&status=sale&payout={payout}&currency=USD", unreadable),
        postback("others", "macro", "subid={subid}&status=sale&payout=1&currency=USD", &["json_malformed"]),
        postback(
            "others",
            "macro",
            "subid=s&tid=[TXID]&status=sale&payout=1&currency=USD",
            &["json_malformed"],
        ),
        postback("others", "unknown name", "subid=s&status=sale&goal_revenue_usd=12.50", unreadable),
        postback("others", "unknown name", "subid=s&status=sale&profit=12", unreadable),
        postback("others", "unknown name", "subid=s&status=sale&x=12.50", unreadable),
        postback(
            "others",
            "unknown beside known",
            "subid=s&status=sale&payout=12.50&profit=2&currency=USD",
            sale,
        ),
        postback(
            "others",
            "no currency",
            "subid=s&status=sale&payout=12.50",
            &["lead", "unusable currency_missing"],
        ),
        postback(
            "others",
            "thousands",
            "subid=s&status=sale&payout=1,250.00&currency=USD",
            &["lead", "unusable amount_with_separators"],
        ),
        postback(
            "others",
            "negative",
            "subid=s&status=sale&payout=-5&currency=USD",
            &["lead", "unusable amount_negative"],
        ),
    ];
    rows.into_iter().chain(of_words).chain(under).chain(flags).collect()
}
