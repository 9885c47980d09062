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

use super::{json::Fields, problem::Code};
use serde_json::{Map, Value, json};
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

/// The fields `rewards` and `risk` of a program. `None` where there is neither.
pub(super) fn read(fields: &mut Fields<'_>) -> Option<RewardTerms> {
    let has_any = fields.has("rewards") || fields.has("risk");
    let mut terms = RewardTerms::default();
    for (index, value) in fields.list("rewards").into_iter().enumerate() {
        let path = fields.path(&format!("rewards[{index}]"));
        terms.rules.extend(Fields::of(value, &path, fields.errors()).map(rule));
    }
    terms.risk = fields.object("risk").map(risk);
    let are_read = fields.errors().is_empty();
    // Of what could not be read it would be said twice.
    let wrong = if are_read { mistakes(&terms) } else { Vec::new() };
    wrong.into_iter().for_each(|mistake| fields.wrong(&mistake.field, Code::Invalid, mistake.reason));
    has_any.then_some(terms)
}

fn rule(mut fields: Fields<'_>) -> RewardRule {
    let mut tiers = Vec::new();
    let list = fields.list("tiers");
    let has_own = fields.has("fixed_minor") || fields.has("percent");
    if has_own != list.is_empty() {
        let detail = "or percent, or tiers must be given, one of the three";
        fields.wrong("fixed_minor", Code::Invalid, detail);
    }
    if has_own {
        let amount = amount(&mut fields);
        tiers.push(RewardTier { from: 0, amount });
    }
    for (index, value) in list.into_iter().enumerate() {
        let path = fields.path(&format!("tiers[{index}]"));
        tiers.extend(Fields::of(value, &path, fields.errors()).map(tier));
    }
    let mut period = CapPeriod::Unspecified;
    let period_cap = fields.object("per_period").map(|mut cap| {
        period = cap.word("period", &PERIODS).unwrap_or(CapPeriod::Unspecified);
        self::cap(cap)
    });
    let rule = RewardRule {
        id: fields.required_text("id").unwrap_or_default(),
        party: fields.word("for", &PARTIES).unwrap_or(RewardParty::Unspecified).into(),
        qualification: fields.text("qualification").unwrap_or_default(),
        currency: fields.required_text("currency").unwrap_or_default(),
        tiers,
        hold_days: number(&mut fields, "hold_days"),
        reward_max_minor: fields.integer("max_minor").unwrap_or(0),
        referrer_cap: fields.object("per_referrer").map(cap),
        period_cap,
        period: period.into(),
        budget_minor: fields.integer("budget_minor").unwrap_or(0),
    };
    fields.finish("a reward rule");
    rule
}

fn tier(mut fields: Fields<'_>) -> RewardTier {
    let tier = RewardTier { from: number(&mut fields, "from"), amount: amount(&mut fields) };
    fields.finish("a tier");
    tier
}

fn cap(mut fields: Fields<'_>) -> RewardCap {
    let cap =
        RewardCap { count: number(&mut fields, "count"), amount_minor: fields.integer("minor").unwrap_or(0) };
    fields.finish("a cap");
    cap
}

fn amount(fields: &mut Fields<'_>) -> Option<Amount> {
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

fn number(fields: &mut Fields<'_>, name: &str) -> u32 {
    let Some(number) = fields.integer(name) else { return 0 };
    u32::try_from(number).unwrap_or_else(|_| {
        fields.wrong(name, Code::Invalid, "must be between 0 and 4294967295");
        0
    })
}

fn risk(mut fields: Fields<'_>) -> RiskPolicy {
    let policy = RiskPolicy {
        threshold: number(&mut fields, "threshold"),
        self_referral: number(&mut fields, "self_referral"),
        velocity: number(&mut fields, "velocity"),
        too_fast: number(&mut fields, "too_fast"),
        duplicate_identity: number(&mut fields, "duplicate_identity"),
        too_fast_ms: u64::from(number(&mut fields, "too_fast_ms")),
        velocity_rewards: number(&mut fields, "velocity_rewards"),
        bot_click: number(&mut fields, "bot_click"),
        shared_device: number(&mut fields, "shared_device"),
        shared_device_leads: number(&mut fields, "shared_device_leads"),
        shared_device_days: number(&mut fields, "shared_device_days"),
        shared_prefix: number(&mut fields, "shared_prefix"),
        shared_prefix_leads: number(&mut fields, "shared_prefix_leads"),
        disposable_email: number(&mut fields, "disposable_email"),
        self_referral_prefix: number(&mut fields, "self_referral_prefix"),
    };
    fields.finish("a risk policy");
    policy
}

/// Adds the fields of terms to a program's.
pub(super) fn view(terms: &RewardTerms, program: &mut Map<String, Value>) {
    program.insert("rewards".into(), terms.rules.iter().map(rule_view).collect());
    if let Some(risk) = &terms.risk {
        program.insert("risk".into(), risk_view(risk));
    }
}

fn rule_view(rule: &RewardRule) -> Value {
    let cap = |cap: RewardCap| json!({"count": cap.count, "minor": cap.amount_minor});
    let tier = |tier: &RewardTier| {
        let mut view = amount_view(tier.amount);
        view["from"] = tier.from.into();
        view
    };
    let mut view = json!({
        "id": rule.id,
        "for": word(&PARTIES, rule.party()),
        "qualification": rule.qualification,
        "currency": rule.currency,
        "tiers": rule.tiers.iter().map(tier).collect::<Vec<_>>(),
        "hold_days": rule.hold_days,
        "max_minor": rule.reward_max_minor,
        "per_referrer": rule.referrer_cap.map(cap),
        "per_period": rule.period_cap.map(cap),
        "budget_minor": rule.budget_minor,
    });
    if rule.period_cap.is_some() {
        view["per_period"]["period"] = word(&PERIODS, rule.period()).into();
    }
    view
}

fn word<T: PartialEq + Copy>(words: &[(&'static str, T)], wanted: T) -> Option<&'static str> {
    words.iter().find(|(_, value)| *value == wanted).map(|(word, _)| *word)
}

fn amount_view(amount: Option<Amount>) -> Value {
    match amount {
        Some(Amount::FixedMinor(minor)) => json!({"fixed_minor": minor}),
        Some(Amount::ValuePpm(ppm)) => {
            let scale = 10_u32.pow(PERCENT_DECIMALS as u32);
            json!({"percent": format!("{}.{:0width$}", ppm / scale, ppm % scale, width = PERCENT_DECIMALS)})
        }
        None => json!({}),
    }
}

fn risk_view(risk: &RiskPolicy) -> Value {
    json!({
        "threshold": risk.threshold,
        "self_referral": risk.self_referral,
        "velocity": risk.velocity,
        "too_fast": risk.too_fast,
        "duplicate_identity": risk.duplicate_identity,
        "too_fast_ms": risk.too_fast_ms,
        "velocity_rewards": risk.velocity_rewards,
        "bot_click": risk.bot_click,
        "shared_device": risk.shared_device,
        "shared_device_leads": risk.shared_device_leads,
        "shared_device_days": risk.shared_device_days,
        "shared_prefix": risk.shared_prefix,
        "shared_prefix_leads": risk.shared_prefix_leads,
        "disposable_email": risk.disposable_email,
        "self_referral_prefix": risk.self_referral_prefix,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::json::Errors;

    fn parsed(body: Value) -> (Option<RewardTerms>, Vec<String>) {
        let mut errors = Errors::default();
        let mut fields = Fields::of(body, "", &mut errors).unwrap();
        let terms = read(&mut fields);
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
        let mut shown = Map::new();
        view(&terms, &mut shown);
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
                "rewards[0].percent must be a string such as \"12.5\", with up to 4 decimals",
                "rewards[0].for must be \"referrer\" or \"referred\"",
                "rewards[0].hold_days must be between 0 and 4294967295",
                "rewards[1].fixed_minor or percent, or tiers must be given, one of the three",
                "rewards[1].id is missing",
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
