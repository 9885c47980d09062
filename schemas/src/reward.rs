//! Reward terms: what may stand in them, and the ids of the rewards they give.
//!
//! The registry checks terms when a program is saved, the aggregator again when an event brings them.

use crate::{
    event::{
        CapPeriod, ConsentMode, Program, RewardCap, RewardParty, RewardRule, RewardTerms, RiskPolicy,
        reward_tier::Amount,
    },
    ids::EventId,
};
use std::{collections::BTreeSet, fmt::Display};
use uuid::Uuid;

/// Rules of one program: every qualification carries them.
pub const RULES_MAX: usize = 16;
/// Tiers of one rule.
pub const TIERS_MAX: usize = 16;
/// Characters of a rule's id and of the qualification's name.
pub const NAME_MAX: usize = 64;
/// Days a reward can wait for its approval.
pub const HOLD_DAYS_MAX: u32 = 400;
/// The largest amount of any kind, in minor units: sums of thousands of them fit 64 bits.
pub const MINOR_MAX: i64 = 1_000_000_000_000_000;
/// The whole of a qualification's value, in millionths.
pub const PPM_WHOLE: u32 = 1_000_000;
/// The heaviest weight of a risk flag, and the highest threshold.
pub const WEIGHT_MAX: u32 = 1000;
/// Persons behind one device or prefix that are counted at most.
pub const SHARED_LEADS_MAX: u32 = 1000;
/// Days over which the persons behind one device are counted at most.
pub const SHARED_DAYS_MAX: u32 = 400;

/// The UUIDv5 namespace of reward ids.
const REWARD_NAMESPACE: Uuid = Uuid::from_u128(0x77_68_65_6e_63_65_50_00_8e_72_65_77_61_72_64_31);

/// The id of the one reward that a lead can have by a rule: UUIDv5 of program, lead and rule.
#[must_use]
pub fn reward_id(program: &str, lead: EventId, rule: &str) -> Uuid {
    let mut name = Vec::with_capacity(program.len() + rule.len() + 17);
    name.extend_from_slice(program.as_bytes());
    name.push(0);
    name.extend_from_slice(lead.0.as_bytes());
    name.extend_from_slice(rule.as_bytes());
    Uuid::new_v5(&REWARD_NAMESPACE, &name)
}

/// Something that cannot stand in terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The field of the API's JSON.
    pub field: String,
    /// Completes the sentence that starts with the field.
    pub reason: String,
}

/// Everything that is wrong with terms; nothing where they can be used.
#[must_use]
pub fn mistakes(terms: &RewardTerms) -> Vec<Mistake> {
    let mut found = Found(Vec::new());
    if terms.rules.len() > RULES_MAX {
        found.add("rewards", format_args!("must have at most {RULES_MAX} rules, has {}", terms.rules.len()));
        return found.0;
    }
    let mut ids = BTreeSet::new();
    for (index, rule) in terms.rules.iter().enumerate() {
        let at = |field: &str| format!("rewards[{index}].{field}");
        if !ids.insert(rule.id.as_str()) {
            found.add(at("id"), "is the id of an earlier rule");
        }
        rule_mistakes(rule, &at, &mut found);
    }
    if let Some(risk) = &terms.risk {
        risk_mistakes(risk, &mut found);
    }
    found.0
}

struct Found(Vec<Mistake>);

impl Found {
    fn add(&mut self, field: impl Into<String>, reason: impl Display) {
        self.0.push(Mistake { field: field.into(), reason: reason.to_string() });
    }
}

/// A name that stands in tables and queries: few, short and plain.
fn is_plain(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.');
    (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(fits)
}

fn rule_mistakes(rule: &RewardRule, at: &dyn Fn(&str) -> String, found: &mut Found) {
    let plain = format!("must be 1 to {NAME_MAX} of a-z, 0-9, '-', '_' and '.'");
    if !is_plain(&rule.id) {
        found.add(at("id"), &plain);
    }
    if !rule.qualification.is_empty() && !is_plain(&rule.qualification) {
        found.add(at("qualification"), &plain);
    }
    if rule.party() == RewardParty::Unspecified {
        found.add(at("for"), "must be \"referrer\" or \"referred\"");
    }
    if rule.currency.len() != 3 || !rule.currency.bytes().all(|b| b.is_ascii_uppercase()) {
        found.add(at("currency"), "must be an ISO 4217 currency code such as \"EUR\"");
    }
    if rule.hold_days > HOLD_DAYS_MAX {
        found.add(at("hold_days"), format_args!("must be at most {HOLD_DAYS_MAX}"));
    }
    tier_mistakes(rule, at, found);
    let mut bound = |field: &str, minor: i64| {
        if !(0..=MINOR_MAX).contains(&minor) {
            found.add(at(field), format_args!("must be between 0 and {MINOR_MAX}"));
        }
    };
    let amount = |cap: Option<RewardCap>| cap.unwrap_or_default().amount_minor;
    bound("max_minor", rule.reward_max_minor);
    bound("per_referrer.minor", amount(rule.referrer_cap));
    bound("per_period.minor", amount(rule.period_cap));
    bound("budget_minor", rule.budget_minor);
    if rule.period_cap.is_some() && rule.period() == CapPeriod::Unspecified {
        found.add(at("per_period.period"), "must be \"day\" or \"month\"");
    }
}

fn tier_mistakes(rule: &RewardRule, at: &dyn Fn(&str) -> String, found: &mut Found) {
    if rule.tiers.is_empty() || rule.tiers.len() > TIERS_MAX {
        found.add(at("tiers"), format_args!("must have 1 to {TIERS_MAX} entries"));
    }
    let mut before = None;
    for (index, tier) in rule.tiers.iter().enumerate() {
        let field = |name: &str| at(&format!("tiers[{index}].{name}"));
        match before {
            None if tier.from != 0 => found.add(field("from"), "must be 0 in the first tier"),
            Some(before) if tier.from <= before => {
                found.add(field("from"), "must be more than in the tier before");
            }
            _ => {}
        }
        before = Some(tier.from);
        match tier.amount {
            Some(Amount::FixedMinor(1..=MINOR_MAX) | Amount::ValuePpm(1..=PPM_WHOLE)) => {}
            Some(Amount::FixedMinor(_)) => {
                found.add(field("fixed_minor"), format_args!("must be between 1 and {MINOR_MAX}"));
            }
            Some(Amount::ValuePpm(_)) => found.add(field("percent"), "must be more than 0 and at most 100"),
            None => found.add(field("fixed_minor"), "or percent must be given, one of the two"),
        }
    }
}

fn risk_mistakes(risk: &RiskPolicy, found: &mut Found) {
    let weights = [
        ("threshold", risk.threshold),
        ("self_referral", risk.self_referral),
        ("self_referral_prefix", risk.self_referral_prefix),
        ("velocity", risk.velocity),
        ("too_fast", risk.too_fast),
        ("duplicate_identity", risk.duplicate_identity),
        ("bot_click", risk.bot_click),
        ("shared_device", risk.shared_device),
        ("shared_prefix", risk.shared_prefix),
        ("disposable_email", risk.disposable_email),
    ];
    for (name, _) in weights.into_iter().filter(|(_, weight)| *weight > WEIGHT_MAX) {
        found.add(format!("risk.{name}"), format_args!("must be at most {WEIGHT_MAX}"));
    }
    let bounds = [
        ("shared_device_leads", risk.shared_device_leads, SHARED_LEADS_MAX),
        ("shared_device_days", risk.shared_device_days, SHARED_DAYS_MAX),
        ("shared_prefix_leads", risk.shared_prefix_leads, SHARED_LEADS_MAX),
    ];
    for (name, _, max) in bounds.into_iter().filter(|(_, value, max)| value > max) {
        found.add(format!("risk.{name}"), format_args!("must be at most {max}"));
    }
}

/// What a program weighs and can never see, each in a sentence: nothing is refused for it.
#[must_use]
pub fn never_raised(program: &Program) -> Vec<&'static str> {
    let Some(risk) = program.rewards.as_ref().and_then(|terms| terms.risk.as_ref()) else {
        return Vec::new();
    };
    let has_cookie = program.consent() == ConsentMode::Cookie;
    let never = [
        (
            risk.shared_device > 0 && !has_cookie,
            "risk.shared_device is never raised: browsers are told apart by the visitor cookie, which consent \"none\" \
             does not set. Set consent to \"cookie\" if your visitors have agreed to it, or weigh shared_prefix",
        ),
        (
            risk.shared_device > 0 && risk.shared_device_days == 0,
            "risk.shared_device is never raised: risk.shared_device_days is 0",
        ),
        (risk.too_fast > 0 && risk.too_fast_ms == 0, "risk.too_fast is never raised: risk.too_fast_ms is 0"),
    ];
    never.into_iter().filter(|(is_so, _)| *is_so).map(|(_, why)| why).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::RewardTier;

    fn rule() -> RewardRule {
        RewardRule {
            id: "purchase".into(),
            party: RewardParty::Referrer.into(),
            currency: "EUR".into(),
            tiers: vec![RewardTier { from: 0, amount: Some(Amount::FixedMinor(1000)) }],
            ..RewardRule::default()
        }
    }

    #[test]
    fn what_is_weighed_and_can_not_be_seen_is_told() {
        let seen = RiskPolicy {
            shared_device: 30,
            shared_device_days: 7,
            too_fast: 5,
            too_fast_ms: 900,
            ..RiskPolicy::default()
        };
        let program = |risk: RiskPolicy, consent: ConsentMode| Program {
            consent: consent.into(),
            rewards: Some(RewardTerms { rules: vec![], risk: Some(risk) }),
            ..Program::default()
        };
        let told = |risk, consent| never_raised(&program(risk, consent)).len();
        assert_eq!(told(seen, ConsentMode::Cookie), 0);
        assert_eq!(told(RiskPolicy { shared_device: 0, ..seen }, ConsentMode::None), 0);
        assert_eq!(told(seen, ConsentMode::None), 1);
        assert_eq!(told(seen, ConsentMode::Unspecified), 1);
        assert_eq!(told(RiskPolicy { shared_device_days: 0, ..seen }, ConsentMode::Cookie), 1);
        assert_eq!(told(RiskPolicy { too_fast_ms: 0, ..seen }, ConsentMode::Cookie), 1);
    }

    #[test]
    fn everything_wrong_with_terms_is_said_at_once() {
        let right = RewardTerms { rules: vec![rule()], risk: Some(RiskPolicy::default()) };
        assert_eq!(mistakes(&right), []);
        let wrong = RewardRule {
            qualification: "A".into(),
            party: 9,
            currency: "eur".into(),
            tiers: vec![
                RewardTier { from: 1, amount: None },
                RewardTier { from: 1, amount: Some(Amount::ValuePpm(PPM_WHOLE + 1)) },
            ],
            hold_days: 401,
            period_cap: Some(RewardCap { count: 0, amount_minor: -1 }),
            budget_minor: MINOR_MAX + 1,
            ..rule()
        };
        let risk = Some(RiskPolicy { velocity: 1001, shared_device_days: 401, ..RiskPolicy::default() });
        let found = mistakes(&RewardTerms { rules: vec![rule(), wrong], risk });
        let fields: Vec<_> = found.iter().map(|mistake| mistake.field.as_str()).collect();
        let of_rule = [
            "id",
            "qualification",
            "for",
            "currency",
            "hold_days",
            "tiers[0].from",
            "tiers[0].fixed_minor",
            "tiers[1].from",
            "tiers[1].percent",
            "per_period.minor",
            "budget_minor",
            "per_period.period",
        ];
        let mut wanted: Vec<_> = of_rule.iter().map(|field| format!("rewards[1].{field}")).collect();
        wanted.extend(["risk.velocity".into(), "risk.shared_device_days".into()]);
        assert_eq!(fields, wanted);
    }

    #[test]
    fn a_reward_id_is_fixed_for_ever_and_of_one_lead_and_rule() {
        let lead = EventId(Uuid::from_u128(7));
        let id = reward_id("demo", lead, "purchase");
        assert_eq!(id.to_string(), "6a56b61a-56fc-50cb-ab49-85b1e29a5548");
        assert_ne!(id, reward_id("demo", lead, "trial"));
        assert_ne!(id, reward_id("demo", EventId(Uuid::from_u128(8)), "purchase"));
        assert_ne!(id, reward_id("demo2", lead, "purchase"));
    }
}
