//! Reward rules and the risk policy of a program, from and to JSON.
//!
//! ```json
//! {"rewards": [{"id": "first-order", "for": "referrer", "qualification": "purchase", "currency": "EUR",
//!               "percent": "12.5", "max_minor": 5000, "hold_days": 30,
//!               "per_referrer": {"count": 100, "minor": 100000},
//!               "per_period": {"period": "month", "count": 10, "minor": 20000}, "budget_minor": 10000000},
//!              {"id": "welcome", "for": "referred", "currency": "EUR",
//!               "tiers": [{"from": 0, "fixed_minor": 500}, {"from": 10, "fixed_minor": 800}]}],
//!  "risk": {"threshold": 100, "too_fast": 50, "too_fast_ms": 3000}}
//! ```
//!
//! What is wrong with them is found by [`whence_schemas::reward::mistakes`]: all of it at once.

use super::{form::Form, json::Fields, problem::Code};
use whence_schemas::{
    event::{
        CapPeriod, RewardCap, RewardParty, RewardRule, RewardTerms, RewardTier, RiskPolicy,
        reward_tier::Amount,
    },
    reward::mistakes,
};

const PARTIES: [(&str, RewardParty); 2] =
    [("referrer", RewardParty::Referrer), ("referred", RewardParty::Referred)];
const PERIODS: [(&str, CapPeriod); 2] = [("day", CapPeriod::Day), ("month", CapPeriod::Month)];
/// Decimals of a percentage: a millionth of the value is the smallest share.
const PERCENT_DECIMALS: usize = 4;

/// The fields `rewards` and `risk` of a program. There are no terms where there is neither.
pub(super) fn form(form: &mut Form<'_, '_>, program: &mut Option<RewardTerms>) {
    let is_given = match form {
        Form::Read(fields) => fields.has("rewards") || fields.has("risk"),
        Form::Show(_) => program.is_some(),
    };
    if !is_given {
        if let Form::Read(fields) = form {
            fields.take("rewards");
            fields.take("risk");
        }
        return;
    }
    let terms = program.get_or_insert_default();
    form.list("rewards", "a reward rule", &mut terms.rules, rule);
    form.object("risk", "a risk policy", &mut terms.risk, risk);
    if let Form::Read(fields) = form
        // Of what could not be read it would be said twice.
        && fields.errors().is_empty()
    {
        for mistake in mistakes(terms) {
            fields.wrong(&mistake.field, Code::Invalid, mistake.reason);
        }
    }
}

fn rule(form: &mut Form<'_, '_>, rule: &mut RewardRule) {
    form.required_text("id", &mut rule.id);
    form.word("for", &PARTIES, &mut rule.party);
    form.text("qualification", &mut rule.qualification);
    form.required_text("currency", &mut rule.currency);
    // One amount is short for one tier.
    let mut only = None;
    if let Form::Read(fields) = form
        && (fields.has("fixed_minor") || fields.has("percent"))
    {
        only = Some(RewardTier { from: 0, amount: read_amount(fields) });
    }
    form.list("tiers", "a tier", &mut rule.tiers, |form, tier| {
        form.number("from", &mut tier.from);
        amount(form, &mut tier.amount);
    });
    if let Form::Read(fields) = form {
        if only.is_some() != rule.tiers.is_empty() {
            let detail = "or percent, or tiers must be given, one of the three";
            fields.wrong("fixed_minor", Code::Invalid, detail);
        }
        rule.tiers.extend(only);
    }
    form.number("hold_days", &mut rule.hold_days);
    form.integer("max_minor", &mut rule.reward_max_minor);
    form.object("per_referrer", "a cap", &mut rule.referrer_cap, cap);
    let period = &mut rule.period;
    form.object("per_period", "a cap", &mut rule.period_cap, |form, of_period| {
        form.word("period", &PERIODS, period);
        cap(form, of_period);
    });
    form.integer("budget_minor", &mut rule.budget_minor);
}

fn cap(form: &mut Form<'_, '_>, cap: &mut RewardCap) {
    form.number("count", &mut cap.count);
    form.integer("minor", &mut cap.amount_minor);
}

fn amount(form: &mut Form<'_, '_>, amount: &mut Option<Amount>) {
    let shown = match form {
        Form::Read(fields) => {
            *amount = read_amount(fields);
            return;
        }
        Form::Show(shown) => shown,
    };
    match *amount {
        Some(Amount::FixedMinor(minor)) => shown.insert("fixed_minor".into(), minor.into()),
        Some(Amount::ValuePpm(ppm)) => {
            let scale = 10_u32.pow(PERCENT_DECIMALS as u32);
            let percent = format!("{}.{:0width$}", ppm / scale, ppm % scale, width = PERCENT_DECIMALS);
            shown.insert("percent".into(), percent.into())
        }
        None => None,
    };
}

fn read_amount(fields: &mut Fields<'_>) -> Option<Amount> {
    match (fields.has("fixed_minor"), fields.has("percent")) {
        (true, false) => fields.integer("fixed_minor").map(Amount::FixedMinor),
        (false, true) => {
            let text = fields.text("percent")?;
            let ppm = super::events::money::minor_units(&text, PERCENT_DECIMALS).ok();
            let ppm = ppm.and_then(|ppm| u32::try_from(ppm).ok());
            if ppm.is_none() {
                let detail =
                    format_args!("must be a string such as \"12.5\", with up to {PERCENT_DECIMALS} decimals");
                fields.wrong("percent", Code::Invalid, detail);
            }
            ppm.map(Amount::ValuePpm)
        }
        _ => {
            fields.take("fixed_minor");
            fields.take("percent");
            None
        }
    }
}

fn risk(form: &mut Form<'_, '_>, risk: &mut RiskPolicy) {
    form.number("threshold", &mut risk.threshold);
    form.number("self_referral", &mut risk.self_referral);
    form.number("velocity", &mut risk.velocity);
    form.number("too_fast", &mut risk.too_fast);
    form.number("duplicate_identity", &mut risk.duplicate_identity);
    let mut too_fast_ms = u32::try_from(risk.too_fast_ms).unwrap_or(u32::MAX);
    form.number("too_fast_ms", &mut too_fast_ms);
    risk.too_fast_ms = too_fast_ms.into();
    form.number("velocity_rewards", &mut risk.velocity_rewards);
    form.number("bot_click", &mut risk.bot_click);
    form.number("shared_device", &mut risk.shared_device);
    form.number("shared_device_leads", &mut risk.shared_device_leads);
    form.number("shared_device_days", &mut risk.shared_device_days);
    form.number("shared_prefix", &mut risk.shared_prefix);
    form.number("shared_prefix_leads", &mut risk.shared_prefix_leads);
    form.number("disposable_email", &mut risk.disposable_email);
    form.number("self_referral_prefix", &mut risk.self_referral_prefix);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{form::shown, json::Errors};
    use serde_json::{Value, json};

    fn parsed(body: Value) -> (Option<RewardTerms>, Vec<String>) {
        let mut errors = Errors::default();
        let mut fields = Fields::of(body, "", &mut errors).unwrap();
        let mut terms = None;
        form(&mut Form::Read(&mut fields), &mut terms);
        fields.finish("a program");
        (
            terms,
            errors.into_vec().into_iter().map(|error| format!("{} {}", error.field, error.detail)).collect(),
        )
    }

    #[test]
    fn what_is_shown_can_be_given_back() {
        let body = json!({
            "rewards": [
                {"id": "order", "for": "referrer", "qualification": "purchase", "currency": "EUR",
                 "percent": "12.5", "hold_days": 30, "per_referrer": {"count": 100},
                 "per_period": {"period": "month", "minor": 20000}, "budget_minor": 1_000_000},
                {"id": "welcome", "for": "referred", "currency": "EUR",
                 "tiers": [{"from": 0, "fixed_minor": 500}, {"from": 10, "percent": "0.0001"}]},
            ],
            "risk": {"threshold": 100, "too_fast": 50, "too_fast_ms": 3000, "bot_click": 1, "shared_device": 2,
                     "shared_device_leads": 3, "shared_device_days": 4, "shared_prefix": 5, "shared_prefix_leads": 6,
                     "disposable_email": 7, "self_referral_prefix": 8},
        });
        let (terms, wrong) = parsed(body);
        assert_eq!(wrong, Vec::<String>::new());
        let terms = terms.unwrap();
        assert_eq!(terms.rules[0].tiers[0].amount, Some(Amount::ValuePpm(125_000)));
        assert_eq!(terms.rules[1].tiers[1].amount, Some(Amount::ValuePpm(1)));
        let shown = shown(|shown| form(shown, &mut Some(terms.clone())));
        assert_eq!(parsed(Value::Object(shown)), (Some(terms), vec![]));
        assert_eq!(parsed(json!({})), (None, vec![]));
    }

    #[test]
    fn everything_wrong_is_said_at_once() {
        let (_, wrong) = parsed(json!({
            "rewards": [{"id": "a", "for": "nobody", "currency": "EUR", "percent": "1.00001", "hold_days": -1},
                        {"currency": "EUR", "fixed_minor": 1, "tiers": [{"from": 0}], "x": 1}],
        }));
        assert_eq!(
            wrong,
            [
                "rewards[0].for must be \"referrer\" or \"referred\"",
                "rewards[0].percent must be a string such as \"12.5\", with up to 4 decimals",
                "rewards[0].hold_days must be between 0 and 4294967295",
                "rewards[1].id is missing",
                "rewards[1].fixed_minor or percent, or tiers must be given, one of the three",
                "rewards[1].x is not a field of a reward rule",
            ]
        );
        let (_, wrong) = parsed(
            json!({"rewards": [{"id": "A", "currency": "x", "fixed_minor": 0}], "risk": {"velocity": 1001}}),
        );
        assert_eq!(
            wrong,
            [
                "rewards[0].id must be 1 to 64 of a-z, 0-9, '-', '_' and '.'",
                "rewards[0].for must be \"referrer\" or \"referred\"",
                "rewards[0].currency must be an ISO 4217 currency code such as \"EUR\"",
                "rewards[0].tiers[0].fixed_minor must be between 1 and 1000000000000000",
                "risk.velocity must be at most 1000",
            ]
        );
    }
}
