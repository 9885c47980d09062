//! What makes a reward look suspicious, with reasons. Pure: what was found out is given.

use super::usage::Pace;
use whence_schemas::{
    event::{RiskPolicy, Verdict},
    rows::Lc,
};

const VELOCITY: &str = "velocity";
/// Between two pieces of evidence.
const SEPARATOR: &str = "; ";

/// What is known about the lead of a qualification.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Signals {
    /// Milliseconds from the click to the lead, where both are known.
    pub click_to_lead_ms: Option<i64>,
    /// The person is the referrer.
    pub is_self: bool,
    /// By what of the person the referrer was near on that day: `click` or `lead`.
    pub near: Option<&'static str>,
    /// Leads of the person that a touch led to.
    pub leads: usize,
    /// Who clicked and why that is thought, where the click is known.
    pub clicked_by: Option<(Verdict, String)>,
    /// Other persons who recently clicked with the same browser, as many as the decision needs.
    pub on_device: usize,
    /// The person gave an email address of a mailbox that is thrown away after use.
    pub is_disposable: bool,
    /// Other persons whose clicks came from the same prefix on the same day, as far as it takes to decide.
    pub on_prefix: usize,
}

impl Signals {
    /// Whether nobody looked at what was clicked. A page that a browser fetched ahead may have been opened: of
    /// that the edge hears nothing more.
    fn is_bot_click(&self) -> bool {
        let verdict = self.clicked_by.as_ref().map(|(verdict, _)| *verdict);
        matches!(verdict, Some(Verdict::Bot | Verdict::Preview | Verdict::Head))
    }
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

impl Finding {
    fn flag(&mut self, name: &str, weight: u32, evidence: &str) {
        self.weight += weight;
        self.flags.push(Lc(name.into()));
        if !self.evidence.is_empty() {
            self.evidence.push_str(SEPARATOR);
        }
        self.evidence.push_str(evidence);
    }

    fn weighed(self, policy: &RiskPolicy) -> Finding {
        let is_held = policy.threshold > 0 && self.weight >= policy.threshold;
        Finding { is_held, ..self }
    }
}

/// Weighs all that is looked for when a reward is accrued.
pub(super) fn assess(policy: &RiskPolicy, signals: &Signals, pace: &Pace) -> Finding {
    let mut finding = of_lead(policy, signals);
    if policy.velocity > 0 && pace.today > i64::from(policy.velocity_rewards) && pace.is_unusual() {
        let evidence = format!(
            "reward {} of the day, {} in the {} days before",
            pace.today,
            pace.before,
            Pace::DAYS_BEFORE
        );
        finding.flag(VELOCITY, policy.velocity, &evidence);
    }
    finding.weighed(policy)
}

/// Weighs again what was found so far, before an approval: how fast rewards came is a matter of the day on which they were earned, the
/// rest may be known by now.
pub(super) fn assess_again(policy: &RiskPolicy, signals: &Signals, flags: &[Lc], evidence: &str) -> Finding {
    let mut finding = of_lead(policy, signals);
    if flags.iter().any(|flag| flag.0 == VELOCITY) {
        let said = evidence.rsplit(SEPARATOR).next().unwrap_or_default();
        finding.flag(VELOCITY, policy.velocity, said);
    }
    finding.weighed(policy)
}

/// What is found of the lead, whenever it is looked at.
fn of_lead(policy: &RiskPolicy, signals: &Signals) -> Finding {
    let mut finding = Finding::default();
    if policy.self_referral > 0 && signals.is_self {
        finding.flag("self_referral", policy.self_referral, "the referrer has a key of the lead");
    }
    if policy.self_referral_prefix > 0
        && let Some(what) = signals.near
    {
        let evidence = format!("the referrer joined or shared from the {what}'s address prefix that day");
        finding.flag("self_referral_prefix", policy.self_referral_prefix, &evidence);
    }
    if policy.duplicate_identity > 0 && signals.leads > 1 {
        let evidence = format!("{} leads of one person", signals.leads);
        finding.flag("duplicate_identity", policy.duplicate_identity, &evidence);
    }
    if policy.too_fast > 0
        && let Some(took) = signals.click_to_lead_ms
        && took < i64::try_from(policy.too_fast_ms).unwrap_or(i64::MAX)
    {
        finding.flag("too_fast", policy.too_fast, &format!("lead {took} ms after its click"));
    }
    if policy.bot_click > 0
        && signals.is_bot_click()
        && let Some((verdict, reason)) = &signals.clicked_by
    {
        let evidence = format!("the click's verdict is {} ({reason})", verdict.word());
        finding.flag("bot_click", policy.bot_click, &evidence);
    }
    if policy.shared_device > 0 && signals.on_device > policy.shared_device_leads as usize {
        let (leads, days) = (policy.shared_device_leads, policy.shared_device_days);
        let evidence =
            format!("more than {leads} other persons clicked with the same browser within {days} days");
        finding.flag("shared_device", policy.shared_device, &evidence);
    }
    if policy.shared_prefix > 0 && signals.on_prefix > policy.shared_prefix_leads as usize {
        let leads = policy.shared_prefix_leads;
        let evidence = format!(
            "the clicks of more than {leads} other persons came from the same address prefix that day"
        );
        finding.flag("shared_prefix", policy.shared_prefix, &evidence);
    }
    if policy.disposable_email > 0 && signals.is_disposable {
        let evidence = "an email address of the person is of a disposable mailbox";
        finding.flag("disposable_email", policy.disposable_email, evidence);
    }
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
        bot_click: 40,
        shared_device: 20,
        shared_device_leads: 1,
        shared_device_days: 30,
        shared_prefix: 30,
        shared_prefix_leads: 2,
        disposable_email: 15,
        self_referral_prefix: 25,
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
    fn clicked_by(verdict: Verdict) -> Signals {
        Signals { clicked_by: Some((verdict, "crawler".into())), ..Signals::default() }
    }

    #[test]
    fn a_click_that_nobody_made_is_flagged_but_not_a_page_fetched_ahead() {
        for verdict in [Verdict::Bot, Verdict::Preview, Verdict::Head] {
            let found = assess(&POLICY, &clicked_by(verdict), &Pace::default());
            assert_eq!((found.weight, &found.flags[..]), (40, &[Lc("bot_click".into())][..]), "{verdict:?}");
            assert_eq!(found.evidence, format!("the click's verdict is {} (crawler)", verdict.word()));
        }
        for verdict in [Verdict::Human, Verdict::Prefetch, Verdict::Inactive, Verdict::Unspecified] {
            assert_eq!(assess(&POLICY, &clicked_by(verdict), &Pace::default()), Finding::default());
        }
        let unasked = RiskPolicy { bot_click: 0, ..POLICY };
        assert_eq!(assess(&unasked, &clicked_by(Verdict::Bot), &Pace::default()), Finding::default());
    }

    #[test]
    fn a_device_or_prefix_of_many_is_flagged_above_its_bound() {
        let on_device =
            |on_device| assess(&POLICY, &Signals { on_device, ..Signals::default() }, &Pace::default());
        assert_eq!(on_device(1), Finding::default());
        let found = on_device(2);
        assert_eq!((found.weight, &found.flags[..]), (20, &[Lc("shared_device".into())][..]));
        assert_eq!(found.evidence, "more than 1 other persons clicked with the same browser within 30 days");
        let on_prefix =
            |on_prefix| assess(&POLICY, &Signals { on_prefix, ..Signals::default() }, &Pace::default());
        assert_eq!(on_prefix(2), Finding::default());
        assert_eq!((on_prefix(3).weight, &on_prefix(3).flags[..]), (30, &[Lc("shared_prefix".into())][..]));
    }

    #[test]
    fn a_referrer_in_the_persons_prefix_is_flagged_apart_from_one_with_a_key_of_the_person() {
        let near = Signals { near: Some("click"), ..Signals::default() };
        let found = assess(&POLICY, &near, &Pace::default());
        assert_eq!((found.weight, &found.flags[..]), (25, &[Lc("self_referral_prefix".into())][..]));
        assert_eq!(found.evidence, "the referrer joined or shared from the click's address prefix that day");
        let both = assess(&POLICY, &Signals { is_self: true, ..near.clone() }, &Pace::default());
        assert_eq!((both.weight, both.flags.len()), (105, 2));
        let unasked = RiskPolicy { self_referral_prefix: 0, ..POLICY };
        assert_eq!(assess(&unasked, &near, &Pace::default()), Finding::default());
    }

    #[test]
    fn a_disposable_mailbox_is_flagged() {
        let found = assess(&POLICY, &Signals { is_disposable: true, ..Signals::default() }, &Pace::default());
        assert_eq!((found.weight, &found.flags[..]), (15, &[Lc("disposable_email".into())][..]));
        assert_eq!(found.evidence, "an email address of the person is of a disposable mailbox");
    }

    #[test]
    fn before_an_approval_all_is_weighed_again_but_the_pace() {
        let twice = Signals { leads: 2, ..Signals::default() };
        let again =
            |signals: &Signals, then: &Finding| assess_again(&POLICY, signals, &then.flags, &then.evidence);
        let slow = assess(&POLICY, &Signals::default(), &Pace::default());
        assert_eq!(again(&twice, &slow), assess(&POLICY, &twice, &Pace::default()));
        let burst = assess(&POLICY, &twice, &Pace { today: 4, before: 27 });
        assert_eq!(again(&twice, &burst), burst);
        let and_more = Signals { leads: 2, ..clicked_by(Verdict::Bot) };
        let found = again(&and_more, &burst);
        assert_eq!((found.weight, found.is_held), (110, true));
        assert!(
            found.evidence.ends_with("reward 4 of the day, 27 in the 28 days before"),
            "{}",
            found.evidence
        );
    }
}
