//! Every error the console answers with (RFC 9457).

use std::fmt::Display;

use hyper::{
    Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde_json::json;
use whence_runtime::http::{BodyError, Full, full};

use crate::ask::AskError;

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// No key, or not a valid one.
    Unauthorized,
    /// The key does not allow this.
    Forbidden,
    /// No such path.
    NotFound,
    /// The path has another method.
    Method,
    /// The body can't be read.
    Body,
    /// A parameter or field cannot be.
    Invalid,
    /// The network has used up its share of requests that prove nothing.
    Limited,
    /// As much is being asked as may be, or it can't be told yet who asks.
    Busy,
    /// ClickHouse does not answer.
    Unavailable,
    /// ClickHouse did not answer in time.
    TimedOut,
}

impl Code {
    /// The word in `code`, in `type` and in metrics.
    #[must_use]
    pub fn tag(self) -> &'static str {
        self.parts().0
    }

    fn parts(self) -> (&'static str, StatusCode, &'static str) {
        match self {
            Code::Unauthorized => ("unauthorized", StatusCode::UNAUTHORIZED, "A valid API key is needed"),
            Code::Forbidden => ("forbidden", StatusCode::FORBIDDEN, "The API key does not allow this"),
            Code::NotFound => ("not_found", StatusCode::NOT_FOUND, "There is nothing here"),
            Code::Method => {
                ("method_not_allowed", StatusCode::METHOD_NOT_ALLOWED, "This path does not take this method")
            }
            Code::Body => ("body_broken", StatusCode::BAD_REQUEST, "The body could not be read"),
            Code::Invalid => {
                ("invalid", StatusCode::UNPROCESSABLE_ENTITY, "A parameter has an impossible value")
            }
            Code::Limited => (
                "too_many_requests",
                StatusCode::TOO_MANY_REQUESTS,
                "Too many such requests from this network",
            ),
            Code::Busy => ("busy", StatusCode::SERVICE_UNAVAILABLE, "Too much is being worked on"),
            Code::Unavailable => (
                "clickhouse_unavailable",
                StatusCode::SERVICE_UNAVAILABLE,
                "What is stored can't be asked at the moment",
            ),
            Code::TimedOut => ("timed_out", StatusCode::GATEWAY_TIMEOUT, "The question took too long"),
        }
    }
}

/// An error as the caller sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What went wrong.
    pub code: Code,
    /// What exactly, in words; never a value of the request.
    pub detail: String,
    allow: Option<&'static str>,
    /// Seconds after which to try again.
    retry_after_s: Option<u32>,
}

impl Problem {
    /// A problem of this kind.
    pub fn new(code: Code, detail: impl Display) -> Problem {
        let is_for_later = code.parts().1 == StatusCode::SERVICE_UNAVAILABLE;
        Problem { code, detail: detail.to_string(), allow: None, retry_after_s: is_for_later.then_some(1) }
    }

    /// The network has used up its share.
    pub fn limited(detail: impl Display, retry_after_s: u32) -> Problem {
        Problem { retry_after_s: Some(retry_after_s), ..Problem::new(Code::Limited, detail) }
    }

    /// The path takes this method only.
    #[must_use]
    pub fn method(allow: &'static str) -> Problem {
        let detail = format!("this path takes {allow}");
        Problem { allow: Some(allow), ..Problem::new(Code::Method, detail) }
    }

    pub(super) fn response(&self) -> Response<Full> {
        let (tag, status, title) = self.code.parts();
        let body = json!({
            "type": format!("urn:whence:problem:{tag}"),
            "title": title,
            "status": status.as_u16(),
            "detail": self.detail,
            "code": tag,
        });
        let mut response = Response::new(full(body.to_string()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.code == Code::Unauthorized {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"whence\""));
        }
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if let Some(seconds) = self.retry_after_s {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Problem {
        Problem::new(Code::Body, error)
    }
}

impl From<AskError> for Problem {
    fn from(error: AskError) -> Problem {
        // Its text may quote the question: it is for the log.
        tracing::warn!(error = &error as &dyn std::error::Error, "a question was not answered");
        Problem::new(Code::Unavailable, "clickhouse gave an answer that could not be read")
    }
}
