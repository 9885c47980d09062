//! What a lead's own touches prove: signed token, then code, then nothing. Whether the person was known
//! before is for [`super::person`] to say.
//!
//! A valid token needs no click row: the result never depends on what arrived first.

use super::decode::{Conversion, Kind};
use uuid::Uuid;
use whence_schemas::{
    event::{AttributionModel, Touch},
    ids::{ChannelNumber, LinkNumber},
    rows::{Evidence, TouchValue},
    time::UnixMs,
    token::{KeyRing, TokenError, check_age},
};

/// The decision and what it rests on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credit {
    /// What it rests on.
    pub evidence: Evidence,
    /// Why better evidence was refused; empty where none was offered and refused.
    pub reason: String,
    /// Who is credited; empty: nobody.
    pub referrer: String,
    /// `host/code`.
    pub link: String,
    /// The channel of the touch.
    pub channel: String,
    /// The click, or nil.
    pub click_id: Uuid,
    /// Its time, or 0.
    pub clicked_at: UnixMs,
}

/// Credit as a lead's row has it.
impl Credit {
    /// Whether a touch of the lead's own is credited.
    pub(super) fn is_own(&self) -> bool {
        matches!(self.evidence, Evidence::Token | Evidence::Code)
    }

    /// The same credit for somebody who relies on it.
    pub(super) fn as_alias(&self, reason: &str) -> Credit {
        Credit { evidence: Evidence::Alias, reason: reason.into(), clicked_at: UnixMs(0), ..self.clone() }
    }

    /// Nobody's.
    pub(super) fn nobody(reason: &str) -> Credit {
        Credit { reason: reason.into(), ..Credit::default() }
    }
}

/// Why there is no credit where nothing was offered.
pub(super) const NO_TOUCH: &str = "no_touch";

/// The lead's touches, and what they prove under its rules.
pub(super) fn proved(conversion: &Conversion, keys: &KeyRing) -> (Vec<TouchValue>, Credit) {
    let Kind::Lead { touches, .. } = &conversion.kind else { return Default::default() };
    let offered = offered(touches, keys);
    let credit = chosen(&offered, conversion.model, conversion.window_ms, conversion.occurred_at);
    (offered, credit)
}

/// The key of one of the event's tokens that is not in the ring.
pub(super) fn unknown_key(event: &Conversion, keys: &KeyRing) -> Option<u8> {
    let Kind::Lead { touches, .. } = &event.kind else { return None };
    touches.iter().find_map(|touch| match keys.verify(&touch.token) {
        Err(TokenError::UnknownKey { key_id }) => Some(key_id),
        _ => None,
    })
}

/// What the touches prove, whatever the rules are.
fn offered(touches: &[Touch], keys: &KeyRing) -> Vec<TouchValue> {
    let offered = touches.iter().filter_map(|touch| {
        if !touch.token.is_empty() {
            let refused = |reason: &str| TouchValue { refused: reason.into(), ..TouchValue::default() };
            return Some(valid_token(touch, keys).unwrap_or_else(refused));
        }
        (!touch.referrer.is_empty()).then(|| named(touch))
    });
    offered.collect()
}

fn named(touch: &Touch) -> TouchValue {
    TouchValue {
        referrer: touch.referrer.clone(),
        link: touch.link.clone(),
        channel: touch.channel.clone(),
        ..TouchValue::default()
    }
}

fn valid_token(touch: &Touch, keys: &KeyRing) -> Result<TouchValue, &'static str> {
    let token = keys.verify(&touch.token).map_err(|error| error.tag())?;
    let is_of_touch =
        LinkNumber::of(&touch.link) == token.link && ChannelNumber::of(&touch.channel) == token.channel;
    if !is_of_touch || touch.referrer.is_empty() {
        return Err("token_foreign");
    }
    Ok(TouchValue { click_id: token.click.0, clicked_at: token.click.at(), ..named(touch) })
}

/// Which of a lead's touches counts under these rules, the lead having happened at this time.
pub(super) fn chosen(
    offered: &[TouchValue],
    model: AttributionModel,
    window_ms: u64,
    occurred_at: UnixMs,
) -> Credit {
    let window_ms = i64::try_from(window_ms).unwrap_or(i64::MAX);
    let mut refused = "";
    let mut tokens: Vec<&TouchValue> = Vec::new();
    let mut codes: Vec<&TouchValue> = Vec::new();
    for touch in offered {
        if !touch.refused.is_empty() {
            refused = &touch.refused;
        } else if touch.click_id.is_nil() {
            codes.push(touch);
        } else {
            match check_age(touch.clicked_at, occurred_at, window_ms) {
                Ok(()) => tokens.push(touch),
                Err(error) => refused = error.tag(),
            }
        }
    }
    let order = |touch: &&&TouchValue| (touch.clicked_at, touch.click_id);
    // Codes carry no time: the order in which the lead names them is theirs.
    let (token, code) = match model {
        AttributionModel::FirstTouch => (tokens.iter().min_by_key(order), codes.first()),
        AttributionModel::LastTouch | AttributionModel::Unspecified => {
            (tokens.iter().max_by_key(order), codes.last())
        }
    };
    match token.or(code) {
        Some(touch) => Credit {
            evidence: if touch.click_id.is_nil() { Evidence::Code } else { Evidence::Token },
            reason: refused.into(),
            referrer: touch.referrer.clone(),
            link: touch.link.clone(),
            channel: touch.channel.clone(),
            click_id: touch.click_id,
            clicked_at: touch.clicked_at,
        },
        None if refused.is_empty() => Credit::nobody(NO_TOUCH),
        None => Credit::nobody(refused),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use whence_schemas::{
        ids::{ClickId, EventId},
        token::{ClickToken, TEXT_LEN},
    };

    const DAY_MS: i64 = 86_400_000;
    const NOW: UnixMs = UnixMs(1_800_000_000_000);

    fn ring(secret: u8) -> KeyRing {
        KeyRing::new(1, &[(1, [secret; 32])]).unwrap()
    }

    fn click(link: &str, ago_ms: i64, secret: u8) -> Touch {
        let token = ClickToken {
            click: ClickId::mint(NOW.plus_ms(-ago_ms), &[0; 10], true),
            link: LinkNumber::of(link),
            channel: ChannelNumber::of("email"),
        };
        let mut text = [0; TEXT_LEN];
        let token = ring(secret).mint(&token, &mut text).to_owned();
        Touch { token, link: link.into(), referrer: format!("of {link}"), channel: "email".into() }
    }

    fn code(link: &str) -> Touch {
        Touch {
            token: String::new(),
            link: link.into(),
            referrer: format!("of {link}"),
            channel: "qr".into(),
        }
    }

    fn decided(model: AttributionModel, touches: Vec<Touch>) -> (Evidence, String, String) {
        let conversion = Conversion {
            id: EventId(Uuid::nil()),
            program: "p".into(),
            source: "api".into(),
            live: true,
            occurred_at: NOW,
            received_at: NOW,
            registry_version: 1,
            model,
            window_ms: 30 * DAY_MS as u64,
            allows_existing: false,
            lead: "l".into(),
            keys: vec![],
            payments: vec![],
            email_disposable: false,
            prefix: 0,
            digest: 0,
            kind: Kind::Lead { touches, record: None },
        };
        let (_, credit) = proved(&conversion, &ring(1));
        (credit.evidence, credit.link, credit.reason)
    }

    #[test]
    fn the_order_of_evidence_is_token_code_nothing() {
        use AttributionModel::LastTouch;
        let all = vec![code("h/code"), click("h/click", DAY_MS, 1)];
        assert_eq!(decided(LastTouch, all), (Evidence::Token, "h/click".into(), "".into()));
        let code = decided(LastTouch, vec![code("h/code")]);
        assert_eq!(code, (Evidence::Code, "h/code".into(), "".into()));
        assert_eq!(decided(LastTouch, vec![]), (Evidence::None, String::new(), "no_touch".into()));
    }

    #[test]
    fn last_and_first_touch_go_by_the_time_of_the_click() {
        let touches = || vec![click("h/b", 5000, 1), click("h/c", 1000, 1), click("h/a", 9000, 1)];
        assert_eq!(decided(AttributionModel::LastTouch, touches()).1, "h/c");
        assert_eq!(decided(AttributionModel::FirstTouch, touches()).1, "h/a");
        let codes = || vec![code("h/1"), code("h/2")];
        assert_eq!(decided(AttributionModel::LastTouch, codes()).1, "h/2");
        assert_eq!(decided(AttributionModel::FirstTouch, codes()).1, "h/1");
    }

    #[test]
    fn a_token_that_proves_nothing_gives_way_and_leaves_its_reason() {
        use AttributionModel::LastTouch;
        let forged = vec![click("h/x", 1000, 2), code("h/code")];
        assert_eq!(decided(LastTouch, forged), (Evidence::Code, "h/code".into(), "token_forged".into()));
        let expired = vec![click("h/x", 31 * DAY_MS, 1)];
        assert_eq!(decided(LastTouch, expired), (Evidence::None, String::new(), "token_expired".into()));
        let of_another_link = vec![Touch { link: "h/mine".into(), ..click("h/x", 1000, 1) }];
        assert_eq!(decided(LastTouch, of_another_link).2, "token_foreign");
        let of_another_channel = vec![Touch { channel: "qr".into(), ..click("h/x", 1000, 1) }];
        assert_eq!(decided(LastTouch, of_another_channel).2, "token_foreign");
    }
}
