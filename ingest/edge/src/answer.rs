//! The answers' heads and pages. Pure.
//!
//! A request's header map becomes its answer's: emptied, it keeps its memory, and hyper takes it back for
//! the connection's next request.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    HeaderMap, Response, StatusCode,
    header::{
        ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue, LOCATION, REFERRER_POLICY, RETRY_AFTER,
        SET_COOKIE, X_CONTENT_TYPE_OPTIONS,
    },
};

use whence_runtime::shares::Beyond;

/// What the edge answers with.
pub type Answer = Response<Full<Bytes>>;

/// To somewhere else.
///
/// `private, no-store`: a repeated click must come here again, also after a permanent redirect. The landing
/// page may learn which site the link stood on, never which page.
#[must_use]
pub fn redirect(
    status: StatusCode,
    location: HeaderValue,
    cookie: Option<HeaderValue>,
    mut headers: HeaderMap,
) -> Answer {
    headers.clear();
    headers.insert(LOCATION, location);
    headers.insert(CACHE_CONTROL, const { HeaderValue::from_static("private, no-store") });
    headers.insert(REFERRER_POLICY, const { HeaderValue::from_static("strict-origin-when-cross-origin") });
    if let Some(cookie) = cookie {
        headers.insert(SET_COOKIE, cookie);
    }
    answer(status, headers, Bytes::new())
}

/// A small page that says what is wrong; `status` is 400, 404, 405 or 410.
#[must_use]
pub fn page(status: StatusCode, mut headers: HeaderMap) -> Answer {
    headers.clear();
    headers.insert(CONTENT_TYPE, const { HeaderValue::from_static("text/html; charset=utf-8") });
    headers.insert(CACHE_CONTROL, const { HeaderValue::from_static("private, no-store") });
    headers.insert(X_CONTENT_TYPE_OPTIONS, const { HeaderValue::from_static("nosniff") });
    let text: &[u8] = match status {
        StatusCode::GONE => include_bytes!("data/gone.html"),
        StatusCode::NOT_FOUND => include_bytes!("data/not_found.html"),
        StatusCode::METHOD_NOT_ALLOWED => {
            headers.insert(ALLOW, const { HeaderValue::from_static("GET, HEAD") });
            b""
        }
        _ => {
            // Whoever sends what two readers read differently is not listened to any further.
            headers.insert(CONNECTION, const { HeaderValue::from_static("close") });
            b""
        }
    };
    answer(status, headers, Bytes::from_static(text))
}

/// 429: this was asked for too often.
#[must_use]
pub fn limited(beyond: Beyond, mut headers: HeaderMap) -> Answer {
    headers.clear();
    headers.insert(RETRY_AFTER, beyond.retry_after_s.into());
    headers.insert(CACHE_CONTROL, const { HeaderValue::from_static("private, no-store") });
    answer(StatusCode::TOO_MANY_REQUESTS, headers, Bytes::new())
}

/// Link previews are wanted: they make people click. Everything else that asks has nothing to find here.
const ROBOTS: &str = "\
User-agent: Twitterbot
User-agent: facebookexternalhit
User-agent: LinkedInBot
User-agent: Slackbot
User-agent: Slackbot-LinkExpanding
User-agent: Discordbot
User-agent: TelegramBot
User-agent: WhatsApp
User-agent: Pinterestbot
User-agent: SkypeUriPreview
Disallow:

User-agent: *
Disallow: /
";

/// `robots.txt`
#[must_use]
pub fn robots(mut headers: HeaderMap) -> Answer {
    headers.clear();
    headers.insert(CONTENT_TYPE, const { HeaderValue::from_static("text/plain") });
    headers.insert(CACHE_CONTROL, const { HeaderValue::from_static("max-age=86400") });
    answer(StatusCode::OK, headers, Bytes::from_static(ROBOTS.as_bytes()))
}

/// A text.
#[must_use]
pub fn plain(text: String, mut headers: HeaderMap) -> Answer {
    headers.clear();
    headers.insert(CONTENT_TYPE, const { HeaderValue::from_static("text/plain") });
    answer(StatusCode::OK, headers, Bytes::from(text))
}

/// Has the connection closed after this answer.
pub fn end(answer: &mut Answer) {
    answer.headers_mut().insert(CONNECTION, const { HeaderValue::from_static("close") });
}

fn answer(status: StatusCode, headers: HeaderMap, body: Bytes) -> Answer {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
