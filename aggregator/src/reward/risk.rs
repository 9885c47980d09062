//! What makes a reward look suspicious, with reasons. Pure: what was found out is given.
//!
//! Of the click only its token's time is used: the click's row may arrive after the reward's block was tried
//! first, and a replay would see what the first try did not.
//!
//! A disposable email domain is not among the flags: addresses are hashed as a whole before they leave the
//! events API, and a hash of the domain alone would give away who shares an employer.

use super::usage::Pace;
use whence_schemas::{event::RiskPolicy, rows::Lc};

/// What is known about the lead of a qualification.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Signals {
    /// Milliseconds from the click to the lead, where both are known.
    pub click_to_lead_ms: Option<i64>,
    /// The person is the referrer.
    pub is_self: bool,
    /// Leads of the person.
    pub leads: usize,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Finding {
    /// The flags' weights together.
    pub weight: u32,
    /// Whether that is enough to ask a person.
    pub is_held: bool,
    /// The flags' names.
    pub flags: Vec<Lc>,
    /// What they rest on, in words, separated by `; `.
    pub evidence: String,
}

/// Weighs all that is looked for.
pub(super) fn assess(policy: &RiskPolicy, signals: &Signals, pace: &Pace) -> Finding {
    let mut finding = Finding::default();
    let mut flag = |name: &str, weight: u32, evidence: String| {
        finding.weight += weight;
        finding.flags.push(Lc(name.into()));
        if !finding.evidence.is_empty() {
            finding.evidence.push_str("; ");
        }
        finding.evidence.push_str(&evidence);
    };
    if policy.self_referral > 0 && signals.is_self {
        flag("self_referral", policy.self_referral, "the referrer has a key of the lead".into());
    }
    if policy.duplicate_identity > 0 && signals.leads > 1 {
        let evidence = format!("{} leads of one person", signals.leads);
        flag("duplicate_identity", policy.duplicate_identity, evidence);
    }
    if policy.too_fast > 0
        && let Some(took) = signals.click_to_lead_ms
        && took < i64::try_from(policy.too_fast_ms).unwrap_or(i64::MAX)
    {
        flag("too_fast", policy.too_fast, format!("lead {took} ms after its click"));
    }
    if policy.velocity > 0 && pace.today > i64::from(policy.velocity_rewards) && pace.is_unusual() {
        let evidence = format!(
            "reward {} of the day, {} in the {} days before",
            pace.today,
            pace.before,
            Pace::DAYS_BEFORE
        );
        flag("velocity", policy.velocity, evidence);
    }
    finding.is_held = policy.threshold > 0 && finding.weight >= policy.threshold;
    finding
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RiskPolicy = RiskPolicy {
        threshold: 100,
        self_referral: 80,
        velocity: 60,
        too_fast: 50,
        duplicate_identity: 10,
        too_fast_ms: 3000,
        velocity_rewards: 3,
    };

    #[test]
    fn flags_add_up_and_the_threshold_holds() {
        let fast = Signals { click_to_lead_ms: Some(2999), ..Signals::default() };
        let slow = Signals { click_to_lead_ms: Some(3000), ..Signals::default() };
        let burst = Pace { today: 4, before: 27 };
        let found = assess(&POLICY, &fast, &burst);
        assert_eq!((found.weight, found.is_held), (110, true));
        assert_eq!(found.flags, [Lc("too_fast".into()), Lc("velocity".into())]);
        assert_eq!(
            found.evidence,
            "lead 2999 ms after its click; reward 4 of the day, 27 in the 28 days before"
        );
        let twice = Signals { is_self: true, leads: 2, ..Signals::default() };
        let found = assess(&POLICY, &twice, &Pace::default());
        assert_eq!((found.weight, found.is_held), (90, false));
        assert_eq!(found.evidence, "the referrer has a key of the lead; 2 leads of one person");
        assert!(!assess(&POLICY, &fast, &Pace { today: 3, before: 0 }).is_held);
        assert_eq!(assess(&POLICY, &slow, &Pace { today: 4, before: 56 }), Finding::default());
        assert_eq!(assess(&POLICY, &Signals::default(), &Pace::default()), Finding::default());
    }

    #[test]
    fn without_a_threshold_nothing_is_held_but_all_is_shown() {
        let policy = RiskPolicy { threshold: 0, ..POLICY };
        let found =
            assess(&policy, &Signals { click_to_lead_ms: Some(0), ..Signals::default() }, &Pace::default());
        assert_eq!((found.weight, found.is_held), (50, false));
    }
}
