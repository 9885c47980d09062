//! Responses, and how an exception becomes one.
//!
//! The status for each exception code is ClickHouse's own mapping, with two additions: 202 (too many
//! simultaneous queries) and 241 raised for request bodies are 503, since trying again later helps.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};

use crate::codec::{Encoder, ResponseCoding};
use crate::engine::{Answer, EngineError, Exception};

/// The body of a response; its error cuts the connection.
pub type Body = BoxBody<Bytes, std::io::Error>;

/// Text of an exception, in every response that has one.
pub const EXCEPTION_CODE: HeaderName = HeaderName::from_static("x-clickhouse-exception-code");
const QUERY_ID: HeaderName = HeaderName::from_static("x-clickhouse-query-id");
const FORMAT: HeaderName = HeaderName::from_static("x-clickhouse-format");
const SUMMARY: HeaderName = HeaderName::from_static("x-clickhouse-summary");
const TIME_ZONE: HeaderName = HeaderName::from_static("x-clickhouse-timezone");
const DISPLAY_NAME: HeaderName = HeaderName::from_static("x-clickhouse-server-display-name");
const EXCEPTION_TAG: HeaderName = HeaderName::from_static("x-clickhouse-exception-tag");

/// A request that is not served.
#[derive(Debug, thiserror::Error)]
#[error("{exception}")]
pub struct Failure {
    /// What is said.
    pub exception: Exception,
    /// The status it is said with.
    pub status: StatusCode,
}

impl From<Exception> for Failure {
    fn from(exception: Exception) -> Self {
        let status = status(exception.code);
        Self { exception, status }
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Exception(exception) => exception.into(),
            other => {
                tracing::error!(error = %other, "engine failed");
                Exception::new(Exception::STD_EXCEPTION, "STD_EXCEPTION", &other.to_string()).into()
            }
        }
    }
}

impl Failure {
    /// A bound is reached; trying again later helps.
    #[must_use]
    pub fn busy(code: u16, name: &str, message: &str) -> Self {
        Self { exception: Exception::new(code, name, message), status: StatusCode::SERVICE_UNAVAILABLE }
    }
}

/// ClickHouse's `exceptionCodeToHTTPStatus`.
fn status(code: u16) -> StatusCode {
    match code {
        194 => StatusCode::UNAUTHORIZED,
        192 | 193 | 497 | 512 | 516 => StatusCode::FORBIDDEN,
        6 | 8 | 15 | 25 | 26 | 27 | 36 | 37 | 38 | 41 | 44 | 53 | 62 | 72 | 117 | 123 | 167 | 168 | 223
        | 321 | 376 | 427 | 441 | 675 | 676 => StatusCode::BAD_REQUEST,
        46 | 47 | 50 | 56 | 60 | 63 | 73 | 78 | 81 | 115 | 152 | 336 | 511 => StatusCode::NOT_FOUND,
        229 | 307 => StatusCode::PAYLOAD_TOO_LARGE,
        48 => StatusCode::NOT_IMPLEMENTED,
        76 | 202 | 209 | 439 => StatusCode::SERVICE_UNAVAILABLE,
        381 => StatusCode::LENGTH_REQUIRED,
        159 => StatusCode::REQUEST_TIMEOUT,
        779 => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// What every response to a statement says about itself.
#[derive(Debug, Clone)]
pub struct About {
    /// The statement's id.
    pub query_id: String,
    /// The server's version.
    pub version: String,
    /// The server's time zone.
    pub time_zone: String,
    /// How the body is packed.
    pub coding: ResponseCoding,
}

impl About {
    /// The text that a failure is told in, with the version, as ClickHouse tells it.
    #[must_use]
    pub fn told(&self, exception: &Exception) -> String {
        let text = exception.text.trim_end();
        if text.contains("(version ") {
            return format!("{text}\n");
        }
        format!("{text} (version {} (embedded build))\n", self.version)
    }

    /// The response for a failure that is known before any byte of a result was sent.
    #[must_use]
    pub fn failed(&self, failure: &Failure) -> Response<Body> {
        let mut encoder = Encoder::new(self.coding);
        let packed = encoder.chunk(self.told(&failure.exception).into());
        let mut response = self.dress(Response::new(full([packed, encoder.finish()].concat())));
        *response.status_mut() = failure.status;
        let headers = response.headers_mut();
        headers.insert(EXCEPTION_CODE, failure.exception.code.into());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=UTF-8"));
        response
    }

    /// The response for a statement that ended well, with its whole result.
    #[must_use]
    pub fn whole(&self, format: &str, answer: &Answer, elapsed_ns: u128, body: Bytes) -> Response<Body> {
        let mut encoder = Encoder::new(self.coding);
        let packed = if body.is_empty() && self.coding.header().is_none() {
            body
        } else {
            let packed = encoder.chunk(body);
            [packed, encoder.finish()].concat().into()
        };
        let mut response = self.dress(Response::new(full(packed)));
        insert(&mut response, SUMMARY, &summary(answer, elapsed_ns));
        formatted(&mut response, format);
        response
    }

    /// The response for a result that is still being made. `tag` marks an exception in the body.
    #[must_use]
    pub fn streamed(&self, format: &str, tag: &str, body: Body) -> Response<Body> {
        let mut response = self.dress(Response::new(body));
        insert(&mut response, EXCEPTION_TAG, tag);
        formatted(&mut response, format);
        response
    }

    fn dress(&self, mut response: Response<Body>) -> Response<Body> {
        insert(&mut response, QUERY_ID, &self.query_id);
        insert(&mut response, TIME_ZONE, &self.time_zone);
        insert(&mut response, DISPLAY_NAME, "whence");
        if let Some(coding) = self.coding.header() {
            response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
        }
        response
    }
}

/// The exception at the end of a body whose status was already sent, in the frame that clients of
/// ClickHouse 25.11 and later look for:
/// `\r\n__exception__\r\nTAG\r\nTEXT\nLENGTH TAG\r\n__exception__\r\n`.
#[must_use]
pub fn exception_frame(told: &str, tag: &str) -> Bytes {
    let length = told.len();
    format!("\r\n__exception__\r\n{tag}\r\n{told}{length} {tag}\r\n__exception__\r\n").into()
}

fn formatted(response: &mut Response<Body>, format: &str) {
    insert(response, FORMAT, format);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type(format)));
}

fn insert(response: &mut Response<Body>, name: HeaderName, value: &str) {
    // A caller's query id may hold bytes that a header may not.
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

fn summary(answer: &Answer, elapsed_ns: u128) -> String {
    let text = |number: u64| number.to_string();
    serde_json::json!({
        "read_rows": text(answer.rows_read),
        "read_bytes": text(answer.bytes_read),
        "written_rows": text(answer.rows_written),
        "written_bytes": text(answer.bytes_written),
        "total_rows_to_read": text(answer.rows_read),
        "result_rows": text(answer.rows_produced),
        "result_bytes": text(answer.output.len() as u64),
        "elapsed_ns": elapsed_ns.to_string(),
    })
    .to_string()
}

/// ClickHouse's content types, for the formats that have one of their own.
fn content_type(format: &str) -> &'static str {
    match format {
        "JSON"
        | "JSONCompact"
        | "JSONStrings"
        | "JSONCompactStrings"
        | "JSONColumns"
        | "JSONColumnsWithMetadata"
        | "JSONObjectEachRow" => "application/json; charset=UTF-8",
        name if name.starts_with("JSON") => "application/x-ndjson; charset=UTF-8",
        name if name.starts_with("CSVWithNames") => "text/csv; charset=UTF-8; header=present",
        name if name.starts_with("CSV") => "text/csv; charset=UTF-8; header=absent",
        name if name.starts_with("TSV") || name.starts_with("TabSeparated") => {
            "text/tab-separated-values; charset=UTF-8"
        }
        "XML" => "application/xml; charset=UTF-8",
        "Native" | "Parquet" | "ORC" | "Avro" => "application/octet-stream",
        name if name.starts_with("RowBinary") || name.starts_with("Arrow") => "application/octet-stream",
        _ => "text/plain; charset=UTF-8",
    }
}

/// A whole body.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never: Infallible| match never {}).boxed()
}

/// A short text response outside statements.
#[must_use]
pub fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(full(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=UTF-8"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exception_codes_have_clickhouses_statuses() {
        for (code, expected) in
            [(62, 400), (60, 404), (81, 404), (115, 404), (516, 403), (497, 403), (241, 500)]
        {
            assert_eq!(status(code).as_u16(), expected, "{code}");
        }
        assert_eq!(status(202), StatusCode::SERVICE_UNAVAILABLE);
    }

    #[test]
    fn the_length_in_an_exception_frame_counts_the_text_and_its_line_feed() {
        let frame = exception_frame("Code: 1. DB::Exception: x. (Y)\n", "abcdefghijklmnop");
        let text = std::str::from_utf8(&frame).unwrap();
        assert!(text.ends_with("(Y)\n31 abcdefghijklmnop\r\n__exception__\r\n"), "{text:?}");
        assert!(text.starts_with("\r\n__exception__\r\nabcdefghijklmnop\r\nCode: 1."), "{text:?}");
    }
}
