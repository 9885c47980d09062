//! Why a referrer who is asked about gets the credit for a lead, or not: by the lead's own touches.

use whence_schemas::{rows::Evidence, time::UnixMs, token::check_age};

use super::{
    Line, Touch,
    decision::{refusal, window},
    text::span,
};

/// Why this referrer gets the credit, or does not.
pub(super) fn about(lead: &Line, referrer: &str) -> String {
    let winner = &lead.referrer;
    if winner == referrer && !winner.is_empty() {
        return format!("So {referrer} is the one who gets it.");
    }
    let order = if lead.model == "first_touch" { "first" } else { "last" };
    let theirs = Theirs::of(lead, referrer);
    let what = theirs.what(lead);
    let why = match (Evidence::from_word(&lead.evidence), theirs.best()) {
        (Some(Evidence::Token), Best::Token(at)) => {
            return format!(
                "{referrer} does not get it: of the valid click tokens that the lead carried, {winner}'s was the \
                 {order}; {referrer}'s click was {}.",
                apart(at - lead.clicked_at)
            );
        }
        (Some(Evidence::Token), Best::Code) => format!(", and a code ranks below {winner}'s click token"),
        (Some(Evidence::Code), Best::Code) => {
            format!(", and of the codes that it named, {winner}'s was the {order}")
        }
        (Some(Evidence::Alias), _) => format!(", and the person's earliest credited lead is {winner}'s"),
        (Some(Evidence::None), Best::Token(_) | Best::Code) => ", but nobody gets it".to_owned(),
        _ => String::new(),
    };
    let elsewhere = match theirs.best() {
        Best::Nothing => " A click that the lead does not carry the token of does not count.",
        _ => "",
    };
    format!("{referrer} does not get it: {what}{why}.{elsewhere}")
}

/// A click by how far it is from the winner's, in milliseconds.
fn apart(ms: i64) -> String {
    match ms {
        0 => "at the same time, where the click's id decides".to_owned(),
        ms if ms < 0 => format!("{} earlier", span(-ms)),
        ms => format!("{} later", span(ms)),
    }
}

/// What of the lead's touches counts most for somebody.
#[derive(Clone, Copy)]
enum Best {
    /// A valid token of a click at this time.
    Token(i64),
    Code,
    /// A token of a click that is not within the window.
    Refused(&'static str),
    Nothing,
}

/// The lead's touches that name somebody, and what is said of those that prove nothing.
struct Theirs<'a> {
    /// The times of clicks with valid tokens: the one that the model would count.
    token: Option<i64>,
    refused: Option<&'static str>,
    has_code: bool,
    /// Why a token proves nothing: whose it was, is not known.
    nobodys: Option<&'a str>,
    /// Whether the touches were kept.
    is_known: bool,
}

impl<'a> Theirs<'a> {
    fn of(lead: &'a Line, referrer: &str) -> Self {
        let mut theirs = Theirs {
            token: None,
            refused: None,
            has_code: false,
            nobodys: lead.touches.iter().rev().map(|touch| &*touch.refused).find(|why| !why.is_empty()),
            is_known: !lead.touches.is_empty() || !is_of_touches(lead),
        };
        for touch in
            lead.touches.iter().filter(|touch| touch.refused.is_empty() && touch.referrer == referrer)
        {
            theirs.take(lead, touch);
        }
        theirs
    }

    fn take(&mut self, lead: &Line, touch: &Touch) {
        if touch.clicked_at == 0 {
            self.has_code = true;
            return;
        }
        match check_age(UnixMs(touch.clicked_at), UnixMs(lead.at), window(lead)) {
            Err(error) => self.refused = Some(error.tag()),
            Ok(()) if lead.model == "first_touch" => {
                self.token = Some(self.token.map_or(touch.clicked_at, |at| at.min(touch.clicked_at)));
            }
            Ok(()) => self.token = self.token.max(Some(touch.clicked_at)),
        }
    }

    fn best(&self) -> Best {
        match (self.token, self.refused) {
            (Some(at), _) => Best::Token(at),
            (None, _) if self.has_code => Best::Code,
            (None, Some(tag)) => Best::Refused(tag),
            (None, None) => Best::Nothing,
        }
    }

    /// What the lead carried of theirs.
    fn what(&self, lead: &Line) -> String {
        let refused = |tag: &str| refusal(tag, lead).unwrap_or_else(|| format!("was refused ({tag})"));
        match self.best() {
            Best::Token(_) => "the lead carried a valid click token of theirs".to_owned(),
            Best::Code => match self.refused {
                Some(tag) => format!("the lead named their code, and their click token {}", refused(tag)),
                None => "the lead named their code, and carried no click token of theirs".to_owned(),
            },
            Best::Refused(tag) => format!("their click token {}", refused(tag)),
            Best::Nothing if !self.is_known => {
                "which touches the lead carried beside the one that counts was not kept".to_owned()
            }
            Best::Nothing => match self.nobodys {
                Some(tag) => format!(
                    "the lead carried no touch that is known to be theirs, and a click token that {}",
                    refused(tag)
                ),
                None => "the lead carried no touch of theirs".to_owned(),
            },
        }
    }
}

/// Whether the lead must have carried touches: earlier versions did not keep them.
fn is_of_touches(lead: &Line) -> bool {
    let own = [Evidence::Token, Evidence::Code].map(Some).contains(&Evidence::from_word(&lead.evidence));
    own || !["", "no_touch"].contains(&&*lead.reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use whence_schemas::time::{DAY_MS, HOUR_MS};

    const NOW: i64 = 1_798_760_400_000;

    /// A lead of last touch that is credited to ann, if to anybody, for a click two hours before.
    fn lead(evidence: &str, reason: &str, touches: &[(&str, i64, &str)]) -> Line {
        let touch = |&(referrer, clicked_at, refused): &(&str, i64, &str)| {
            Touch::from((referrer.to_owned(), clicked_at, refused.to_owned()))
        };
        Line {
            at: NOW,
            evidence: evidence.into(),
            reason: reason.into(),
            referrer: if evidence == "none" { String::new() } else { "ann".into() },
            clicked_at: if evidence == "token" { NOW - 2 * HOUR_MS } else { 0 },
            model: "last_touch".into(),
            window_ms: 30 * DAY_MS as u64,
            touches: touches.iter().map(touch).collect(),
            ..Line::default()
        }
    }

    #[test]
    fn who_does_not_get_it_hears_what_the_lead_carried_of_theirs() {
        let anns = ("ann", NOW - 2 * HOUR_MS, "");
        let bobs = |ago_ms| ("bob", NOW - ago_ms, "");
        let (ann, bob) = (("ann", 0, ""), ("bob", 0, ""));
        let forged = ("", 0, "token_forged");
        let nothing = "the lead carried no touch of theirs";
        let elsewhere = "A click that the lead does not carry the token of does not count.";
        let cases: &[(Line, String)] = &[
            (lead("token", "", &[anns]), format!("{nothing}. {elsewhere}")),
            (
                lead("token", "", &[bobs(3 * HOUR_MS), anns, bobs(4 * HOUR_MS)]),
                "of the valid click tokens that the lead carried, ann's was the last; bob's click was 1 hour earlier."
                    .into(),
            ),
            (
                lead("token", "", &[anns, bobs(2 * HOUR_MS)]),
                "ann's was the last; bob's click was at the same time, where the click's id decides.".into(),
            ),
            (
                Line {
                    model: "first_touch".into(),
                    ..lead("token", "", &[bobs(1000), anns, bobs(HOUR_MS)])
                },
                "ann's was the first; bob's click was 1 hour later.".into(),
            ),
            (
                lead("token", "token_expired", &[anns, bobs(31 * DAY_MS)]),
                "their click token was of a click longer ago than the program's window of 30 days.".into(),
            ),
            (
                lead("none", "token_from_the_future", &[bobs(-DAY_MS)]),
                "their click token was of a click later than the lead itself.".into(),
            ),
            (
                lead("token", "", &[bob, anns]),
                "the lead named their code, and carried no click token of theirs, and a code ranks below ann's \
                 click token."
                    .into(),
            ),
            (
                lead("token", "token_expired", &[bob, bobs(31 * DAY_MS), anns]),
                "the lead named their code, and their click token was of a click longer ago than the program's \
                 window of 30 days, and a code ranks below ann's click token."
                    .into(),
            ),
            (
                lead("token", "token_forged", &[forged, anns]),
                format!(
                    "the lead carried no touch that is known to be theirs, and a click token that has a wrong \
                     signature. {elsewhere}"
                ),
            ),
            (
                lead("code", "", &[bob, ann]),
                "and of the codes that it named, ann's was the last.".into(),
            ),
            (lead("code", "", &[ann]), format!("{nothing}. {elsewhere}")),
            (
                lead("alias", "repeated_lead", &[bobs(HOUR_MS)]),
                "the lead carried a valid click token of theirs, and the person's earliest credited lead is ann's."
                    .into(),
            ),
            (
                lead("alias", "", &[]),
                format!("{nothing}, and the person's earliest credited lead is ann's. {elsewhere}"),
            ),
            (
                lead("none", "existing_customer", &[bobs(HOUR_MS)]),
                "the lead carried a valid click token of theirs, but nobody gets it.".into(),
            ),
            (lead("none", "no_touch", &[]), format!("{nothing}. {elsewhere}")),
            (
                lead("token", "", &[]),
                format!("which touches the lead carried beside the one that counts was not kept. {elsewhere}"),
            ),
        ];
        for (lead, expected) in cases {
            let text = about(lead, "bob");
            assert!(text.starts_with("bob does not get it: "), "{text}");
            assert!(text.ends_with(expected.as_str()), "{expected}\n{text}");
        }
        assert_eq!(about(&lead("code", "", &[bob, ann]), "ann"), "So ann is the one who gets it.");
    }
}
