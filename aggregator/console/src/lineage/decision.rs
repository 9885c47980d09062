//! Why somebody is credited with a lead, or nobody: the aggregator's decision as its row tells it.

use whence_schemas::rows::Evidence;

use super::{
    Line,
    text::{link, moment, span},
};

/// What is stored beside the lead that its decision rests on.
#[derive(Clone, Copy, Default)]
pub(super) struct Basis<'a> {
    /// The row of the click that it names.
    pub click: Option<&'a Line>,
    /// What stands for it where that is past retention.
    pub past: Option<&'a Line>,
    /// The earlier lead of the same person, where that decides.
    pub earlier: Option<&'a Line>,
}

/// The decision in sentences: who, on what, what was refused, and what the click looked like.
pub(super) fn sentences(lead: &Line, basis: Basis<'_>) -> Vec<String> {
    let Line { referrer, reason, .. } = lead;
    let refused = refusal(reason, lead);
    let evidence = Evidence::from_word(&lead.evidence);
    let own = match reason.as_str() {
        "repeated_lead" => {
            "the lead's own touch is from before the person was first known, and tells the same referral again"
        }
        _ => "the lead's own touches name nobody",
    };
    let place = link(&lead.link, &lead.channel);
    let mut said = Vec::new();
    match evidence {
        Some(Evidence::Token) => {
            said.push(format!(
                "{referrer} gets the credit: the lead carried a signed token of a click on {place}, made {}, \
                 within the program's window of {}.",
                before(lead),
                span(window(lead))
            ));
            let place = if lead.model == "first_touch" { "first" } else { "last" };
            said.push(format!("Of all valid tokens of a lead the program counts the {place}."));
            said.extend(refused.map(|refused| format!("Another token that the lead carried {refused}.")));
            said.push(click(lead, basis));
        }
        Some(Evidence::Code) => {
            said.push(format!(
                "{referrer} gets the credit: the lead carried no valid click token, and named the referral code \
                 of {place}."
            ));
            said.extend(refused.map(|refused| format!("A click token that it carried {refused}.")));
        }
        Some(Evidence::Alias) => {
            let earlier = match basis.earlier {
                Some(earlier) => format!("the lead {} of {}", earlier.event_id, moment(earlier.received_at)),
                None => "an earlier lead".to_owned(),
            };
            said.push(format!(
                "{referrer} gets the credit: {own}, and {earlier}, by the same person, is credited to them for \
                 {place}."
            ));
            said.extend(refused.map(|refused| format!("A click token that it carried {refused}.")));
        }
        Some(Evidence::None) if reason == "existing_customer" => said.push(
            "Nobody gets the credit: the person was known already when the touch was made that the lead names, \
             and the program has nobody credited for existing customers."
                .to_owned(),
        ),
        Some(Evidence::None) => said.push(match refused {
            Some(refused) => format!(
                "Nobody gets the credit: the click token that the lead carried {refused}, it named no referral \
                 code, and no earlier lead of this person is credited to anybody."
            ),
            None => "Nobody gets the credit: the lead carried no click token and named no referral code, and no \
                     earlier lead of this person is credited to anybody."
                .to_owned(),
        }),
        None => said.push(format!("The lead is credited to {referrer:?} on {:?}.", lead.evidence)),
    }
    said
}

/// The program's window, milliseconds.
pub(super) fn window(lead: &Line) -> i64 {
    i64::try_from(lead.window_ms).unwrap_or(i64::MAX)
}

fn before(lead: &Line) -> String {
    match lead.at.saturating_sub(lead.clicked_at) {
        // Clocks differ.
        ms if ms < 0 => "at the same time".to_owned(),
        ms => format!("{} before", span(ms)),
    }
}

fn click(lead: &Line, basis: Basis<'_>) -> String {
    let at = moment(lead.clicked_at);
    match basis.click {
        Some(click) if click.name == "human" => {
            format!("The click of {at} is stored, and looked like a person's.")
        }
        Some(click) => format!(
            "The click of {at} is stored, and did not look like a person's: {} ({}). That is for whoever decides \
             on rewards; the token is valid.",
            click.name, click.reason
        ),
        None => match basis.past {
            Some(past) => format!(
                "The row of the click of {at} is past retention: clicks of its month were dropped {}; the token \
                 proves it without.",
                moment(past.received_at)
            ),
            None => format!(
                "The row of the click of {at} is not stored (yet, or no more); the token proves it without."
            ),
        },
    }
}

/// What was wrong with a token, to follow "the token"; nothing where no token was refused.
pub(super) fn refusal(reason: &str, lead: &Line) -> Option<String> {
    Some(match reason {
        "" | "no_touch" | "repeated_lead" | "existing_customer" => return None,
        "token_malformed" => "is not a click token".to_owned(),
        "token_unknown_key" => "was signed with a key that is not one of this deployment's".to_owned(),
        "token_forged" => "has a wrong signature".to_owned(),
        "token_expired" => {
            format!("was of a click longer ago than the program's window of {}", span(window(lead)))
        }
        "token_from_the_future" => "was of a click later than the lead itself".to_owned(),
        "token_foreign" => {
            "was of another link or channel than it was sent for, or of nobody's link".to_owned()
        }
        other => format!("was refused ({other})"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;
    use whence_schemas::{
        time::{DAY_MS, HOUR_MS},
        token::TokenError,
    };

    const NOW: i64 = 1_798_760_400_000;

    fn lead(evidence: &str, reason: &str) -> Line {
        Line {
            step: "lead".into(),
            at: NOW,
            received_at: NOW,
            evidence: evidence.into(),
            reason: reason.into(),
            referrer: if evidence == "none" { String::new() } else { "ann".into() },
            link: "go.example/x".into(),
            channel: "email".into(),
            clicked_at: NOW - 2 * HOUR_MS,
            model: "last_touch".into(),
            window_ms: 30 * DAY_MS as u64,
            ..Line::default()
        }
    }

    fn said(evidence: &str, reason: &str, basis: Basis<'_>) -> String {
        sentences(&lead(evidence, reason), basis).join(" ")
    }

    /// Every pair of evidence and reason that the aggregator's `credit` gives.
    #[test]
    fn every_decision_is_told() {
        let human = Line { name: "human".into(), reason: "browser".into(), ..Line::default() };
        let bot = Line { name: "bot".into(), reason: "crawler".into(), ..Line::default() };
        let dropped = Line { step: "past_retention".into(), received_at: NOW, ..Line::default() };
        let earlier = Line { event_id: Uuid::from_u128(7), received_at: NOW - DAY_MS, ..Line::default() };
        let click = |line| Basis { click: Some(line), ..Basis::default() };
        let none = Basis::default();
        for (evidence, reason, basis, expected) in [
            (
                "token",
                "",
                click(&human),
                "ann gets the credit: the lead carried a signed token of a click on \
                go.example/x (channel email), made 2 hours before, within the program's window of 30 days. Of \
                all valid tokens of a lead the program counts the last. The click of 2026-12-31T21:40:00Z is \
                stored, and looked like a person's.",
            ),
            ("token", "", click(&bot), "did not look like a person's: bot (crawler)."),
            ("token", "", none, "is not stored (yet, or no more); the token proves it without."),
            (
                "token",
                "",
                Basis { past: Some(&dropped), ..none },
                "The row of the click of 2026-12-31T21:40:00Z is past retention: clicks of its month were dropped \
                 2026-12-31T23:40:00Z; the token proves it without.",
            ),
            ("token", "token_forged", none, "Another token that the lead carried has a wrong signature."),
            (
                "token",
                "token_expired",
                none,
                "Another token that the lead carried was of a click longer ago than \
                the program's window of 30 days.",
            ),
            (
                "code",
                "",
                none,
                "ann gets the credit: the lead carried no valid click token, and named the referral \
                code of go.example/x (channel email).",
            ),
            (
                "code",
                "token_foreign",
                none,
                "A click token that it carried was of another link or channel than it \
                was sent for",
            ),
            (
                "alias",
                "",
                Basis { earlier: Some(&earlier), ..none },
                "ann gets the credit: the lead's own touches \
                name nobody, and the lead 00000000-0000-0000-0000-000000000007 of 2026-12-30T23:40:00Z, by the \
                same person, is credited to them for go.example/x (channel email).",
            ),
            ("alias", "", none, "and an earlier lead, by the same person,"),
            (
                "alias",
                "token_unknown_key",
                none,
                "A click token that it carried was signed with a key that is not \
                one of this deployment's.",
            ),
            (
                "alias",
                "repeated_lead",
                none,
                "ann gets the credit: the lead's own touch is from before the person was first known, and tells \
                the same referral again, and an earlier lead,",
            ),
            (
                "none",
                "existing_customer",
                none,
                "Nobody gets the credit: the person was known already when the touch was made",
            ),
            (
                "none",
                "no_touch",
                none,
                "Nobody gets the credit: the lead carried no click token and named no \
                referral code, and no earlier lead of this person is credited to anybody.",
            ),
            (
                "none",
                "token_malformed",
                none,
                "Nobody gets the credit: the click token that the lead carried is \
                not a click token, it named no referral code,",
            ),
            (
                "none",
                "token_from_the_future",
                none,
                "carried was of a click later than the lead itself, it named",
            ),
        ] {
            let text = said(evidence, reason, basis);
            assert!(text.contains(expected), "{evidence} {reason}: {text}");
        }
    }

    #[test]
    fn every_reason_for_which_a_token_is_refused_has_words() {
        let errors = [
            TokenError::Malformed,
            TokenError::UnknownKey { key_id: 1 },
            TokenError::Forged,
            TokenError::Expired { age_ms: 2, window_ms: 1 },
            TokenError::FromTheFuture { ahead_ms: 1 },
        ];
        for tag in errors.iter().map(TokenError::tag).chain(["token_foreign"]) {
            let words = refusal(tag, &lead("none", tag)).unwrap();
            assert!(!words.contains(tag), "{tag} has no words of its own");
        }
        assert_eq!(refusal("something_new", &lead("none", "")).unwrap(), "was refused (something_new)");
    }

    #[test]
    fn the_token_that_counts_is_the_models() {
        let first = Line { model: "first_touch".into(), ..lead("token", "") };
        assert!(sentences(&first, Basis::default())[1].ends_with("counts the first."));
    }

    #[test]
    fn a_click_by_a_clock_that_is_ahead_is_at_the_same_time() {
        let ahead = Line { clicked_at: NOW + 1000, ..lead("token", "") };
        assert!(sentences(&ahead, Basis::default())[0].contains("made at the same time, within"));
    }
}
