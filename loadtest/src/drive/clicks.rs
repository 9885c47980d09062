//! A click's request, and what its answer means.

use crate::{
    ledger::{Class, ClickOutcome, Id},
    plan::clicks::PlannedClick,
    wire::{Answer, Failure},
    world::Link,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    HeaderMap, Method, Request, Uri,
    header::{ACCEPT, CONNECTION, COOKIE, HOST, HeaderName, HeaderValue, LOCATION, SET_COOKIE, USER_AGENT},
};

/// Characters of a token, and those at its beginning that hold version, key id and click id: 18 bytes.
const TOKEN_CHARS: usize = 62;
const HEAD_CHARS: usize = 24;
const TOKEN_VERSION: u8 = 1;
const PARAMETER: &str = "wclid=";

/// The request for a click.
pub(super) fn request(
    click: &PlannedClick,
    host: &HeaderValue,
    cookie: Option<&str>,
) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(Bytes::new()));
    *request.method_mut() = if click.looks.is_head { Method::HEAD } else { Method::GET };
    *request.uri_mut() = Uri::try_from(click.path.as_str()).expect("paths are made of codes and plain words");
    let headers = request.headers_mut();
    headers.insert(HOST, host.clone());
    headers.insert(USER_AGENT, HeaderValue::from_static(click.looks.agent));
    headers.insert(ACCEPT, const { HeaderValue::from_static("text/html,*/*;q=0.8") });
    if let Some((name, value)) = click.looks.header {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    if let Some(cookie) = cookie.and_then(|cookie| HeaderValue::from_str(cookie).ok()) {
        headers.insert(COOKIE, cookie);
    }
    if click.is_fresh {
        headers.insert(CONNECTION, const { HeaderValue::from_static("close") });
    }
    request
}

/// What came of a click.
#[derive(Debug)]
pub(super) struct Outcome {
    pub status: u16,
    pub outcome: ClickOutcome,
    /// The text of the token, where there is one.
    pub token: Option<Box<str>>,
}

/// What the answer to a click on `link` means.
pub(super) fn outcome(link: &Link, class: Class, answer: &Result<Answer, Failure>) -> Outcome {
    let of = |status, outcome| Outcome { status, outcome, token: None };
    let answer = match answer {
        Err(failure) if failure.may_have_arrived() => return of(0, ClickOutcome::Unanswered),
        Err(_) => return of(0, ClickOutcome::NotSent),
        Ok(answer) => answer,
    };
    let status = answer.status.as_u16();
    if class == Class::Inactive && answer.status.is_client_error() {
        return of(status, ClickOutcome::Answered);
    }
    let token = location(&answer.headers)
        .filter(|location| answer.status.is_redirection() && leads_to(location, &link.destination))
        .and_then(token);
    match token.and_then(|token| Some((token, click_id(token)?))) {
        Some((token, id)) => {
            Outcome { status, outcome: ClickOutcome::Redirected(id), token: Some(token.into()) }
        }
        None => of(status, ClickOutcome::Wrong),
    }
}

fn location(headers: &HeaderMap) -> Option<&str> {
    headers.get(LOCATION)?.to_str().ok()
}

/// The cookie that an answer sets, as it is to be sent back.
pub(super) fn cookie(headers: &HeaderMap) -> Option<&str> {
    headers.get(SET_COOKIE)?.to_str().ok()?.split(';').next()
}

/// Whether a redirect goes where the link points, with nothing but parameters added.
fn leads_to(location: &str, destination: &str) -> bool {
    let (before, fragment) = destination.split_once('#').unwrap_or((destination, ""));
    let Some(added) = location.strip_prefix(before) else { return false };
    let (added, own_fragment) = added.split_once('#').unwrap_or((added, ""));
    let separator = if before.contains('?') { '&' } else { '?' };
    own_fragment == fragment && added.starts_with(separator)
}

/// The one token in an address; two are as bad as none.
fn token(location: &str) -> Option<&str> {
    let (_, query) = location.split('#').next()?.split_once('?')?;
    let mut tokens = query.split('&').filter_map(|part| part.strip_prefix(PARAMETER));
    let token = tokens.next().filter(|token| token.len() == TOKEN_CHARS);
    token.filter(|_| tokens.next().is_none())
}

/// The click id in a token.
fn click_id(token: &str) -> Option<Id> {
    let mut head = [0; 18];
    let written = URL_SAFE_NO_PAD.decode_slice(&token[..HEAD_CHARS], &mut head).ok()?;
    let id: [u8; 16] = head[2..].try_into().expect("18 bytes less 2");
    let is_v7 = id[6] >> 4 == 7;
    (written == head.len() && head[0] == TOKEN_VERSION && is_v7).then(|| Id(u128::from_be_bytes(id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "AQcBi8_laABwAIAAAAAAAAAAkiVtfGeEl9SCJEQXozlvjS4bta6UQ1GCfts1lg";

    #[test]
    fn the_click_id_is_read_from_the_token() {
        let id = click_id(TOKEN).unwrap();
        assert_eq!(id.at_ms(), 1_700_000_000_000);
        assert_eq!(click_id(&TOKEN.replacen("AQ", "Ag", 1)), None, "another version");
        assert_eq!(click_id(&"-".repeat(62)), None);
    }

    #[test]
    fn a_redirect_must_lead_to_the_links_destination_and_carry_one_token() {
        for (destination, added) in [
            ("https://shop.example/p", "https://shop.example/p?wclid=T"),
            ("https://shop.example/p", "https://shop.example/p?x=1&wclid=T"),
            ("https://shop.example/p?a=1", "https://shop.example/p?a=1&wclid=T"),
            ("https://shop.example/p?a=1#top", "https://shop.example/p?a=1&wclid=T#top"),
        ] {
            let location = added.replace('T', TOKEN);
            assert!(leads_to(&location, destination), "{location}");
            assert_eq!(token(&location), Some(TOKEN), "{location}");
        }
        for location in [
            "https://shop.example.evil.example/p?wclid=T",
            "https://shop.example/p?a=1wclid=T",
            "https://shop.example/p?a=1&wclid=T#elsewhere",
            "https://shop.example/other",
        ] {
            assert!(!leads_to(location, "https://shop.example/p?a=1#top"), "{location}");
        }
        assert_eq!(token(&format!("https://h/?wclid={TOKEN}&wclid={TOKEN}")), None);
        assert_eq!(token(&format!("https://h/?a#wclid={TOKEN}")), None);
    }
}
