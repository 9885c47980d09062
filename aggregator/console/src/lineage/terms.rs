//! What a qualification could earn, in words: the terms that it brought. Pure.

use base64::{Engine, engine::general_purpose::STANDARD};
use whence_schemas::{
    event::{self, CapPeriod, RewardCap, RewardParty, RewardRule, RewardTerms, reward_tier::Amount},
    reward::PPM_WHOLE,
};

use super::Line;

/// The terms of a line of this step.
pub(super) fn read(line: &Line) -> Option<RewardTerms> {
    let bytes = STANDARD.decode(&line.detail).ok().filter(|_| line.step == "terms")?;
    event::decode(&bytes).ok()
}

/// Each rule of a line of this step.
pub(super) fn words(line: &Line) -> Option<Vec<String>> {
    Some(read(line)?.rules.iter().map(rule).collect())
}

fn rule(rule: &RewardRule) -> String {
    let who = match rule.party() {
        RewardParty::Referred => "the person referred",
        RewardParty::Referrer | RewardParty::Unspecified => "the referrer",
    };
    let what = match &*rule.qualification {
        "" => "anything reached".to_owned(),
        name => format!("{name:?}"),
    };
    let currency = &rule.currency;
    let mut text = format!("{:?} gives {who} {} for {what}", rule.id, tiers(rule));
    let mut add = |is_set: bool, clause: String| {
        if is_set {
            text.push_str(&clause);
        }
    };
    let max = rule.reward_max_minor;
    add(max > 0, format!(", at most {max} minor units of {currency}"));
    add(rule.hold_days > 0, format!(", approved {} days later", rule.hold_days));
    let of_referrer = rule.referrer_cap.unwrap_or_default();
    add(is_cap(of_referrer), format!(", a referrer at most {}", cap(of_referrer, currency)));
    let of_period = rule.period_cap.unwrap_or_default();
    let period = if rule.period() == CapPeriod::Month { "month" } else { "day" };
    add(is_cap(of_period), format!(", a referrer at most {} a {period}", cap(of_period, currency)));
    let budget = rule.budget_minor;
    add(budget > 0, format!(", all together at most {budget} minor units of {currency}"));
    text
}

fn tiers(rule: &RewardRule) -> String {
    let amount = |amount| match amount {
        Some(Amount::FixedMinor(minor)) => format!("{minor} minor units of {}", rule.currency),
        Some(Amount::ValuePpm(ppm)) => format!("{}% of the value in {}", percent(ppm), rule.currency),
        None => "nothing".to_owned(),
    };
    let tiers = rule.tiers.iter().map(|tier| match tier.from {
        0 => amount(tier.amount),
        from => format!("{} from reward {} on", amount(tier.amount), u64::from(from) + 1),
    });
    tiers.collect::<Vec<_>>().join(", ")
}

fn percent(ppm: u32) -> String {
    let one = PPM_WHOLE / 100;
    let text = format!("{}.{:04}", ppm / one, ppm % one);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn is_cap(cap: RewardCap) -> bool {
    cap.count > 0 || cap.amount_minor > 0
}

fn cap(cap: RewardCap, currency: &str) -> String {
    match (cap.count, cap.amount_minor) {
        (count, 0) => format!("{count} rewards"),
        (0, minor) => format!("{minor} minor units of {currency}"),
        (count, minor) => format!("{count} rewards and {minor} minor units of {currency}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use whence_schemas::event::RewardTier;

    #[test]
    fn a_rule_says_all_that_bounds_it() {
        let tier = |from, amount| RewardTier { from, amount: Some(amount) };
        let plain = RewardRule {
            id: "order".into(),
            party: RewardParty::Referrer.into(),
            currency: "EUR".into(),
            tiers: vec![tier(0, Amount::FixedMinor(500)), tier(10, Amount::ValuePpm(125_000))],
            ..RewardRule::default()
        };
        assert_eq!(
            rule(&plain),
            "\"order\" gives the referrer 500 minor units of EUR, 12.5% of the value in EUR from reward 11 on for \
             anything reached"
        );
        let bound = RewardRule {
            party: RewardParty::Referred.into(),
            qualification: "purchase".into(),
            tiers: vec![tier(0, Amount::ValuePpm(PPM_WHOLE))],
            hold_days: 14,
            reward_max_minor: 900,
            referrer_cap: Some(RewardCap { count: 3, amount_minor: 0 }),
            period_cap: Some(RewardCap { count: 2, amount_minor: 700 }),
            period: CapPeriod::Month.into(),
            budget_minor: 8000,
            ..plain
        };
        assert_eq!(
            rule(&bound),
            "\"order\" gives the person referred 100% of the value in EUR for \"purchase\", at most 900 minor units \
             of EUR, approved 14 days later, a referrer at most 3 rewards, a referrer at most 2 rewards and 700 minor \
             units of EUR a month, all together at most 8000 minor units of EUR"
        );
    }

    #[test]
    fn only_terms_are_read_as_terms() {
        let terms = RewardTerms { rules: vec![RewardRule::default()], risk: None };
        let detail = STANDARD.encode(event::encode(&terms));
        let line = Line { step: "terms".into(), detail, ..Line::default() };
        assert_eq!(words(&line).unwrap().len(), 1);
        assert_eq!(words(&Line { step: "reward".into(), ..line.clone() }), None);
        assert_eq!(words(&Line { detail: "?".into(), ..line }), None);
    }
}
