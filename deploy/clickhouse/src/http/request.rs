//! What a request asks for, read from its method, URL and headers.
//!
//! ClickHouse takes a setting from any URL parameter that is not one of its own; so does this.

use hyper::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING};
use hyper::{HeaderMap, Method, Request};
use secrecy::SecretString;

use super::auth::Credentials;
use super::reply::Failure;
use crate::codec::{RequestCoding, ResponseCoding};
use crate::engine::Exception;

/// Parameters of ClickHouse's HTTP interface that are neither settings nor of any use here. Sessions
/// are not kept: every statement runs in one of its own.
const IGNORED: [&str; 11] = [
    "quota_key",
    "session_id",
    "session_timeout",
    "session_check",
    "close_session",
    "buffer_size",
    "client_protocol_version",
    "stacktrace",
    "role",
    "roles",
    "framing",
];

/// A request for one statement.
#[derive(Debug)]
pub struct Ask {
    /// The statement, or the head of it, as the URL has it.
    pub query: String,
    /// The database that unqualified names are looked up in.
    pub database: Option<String>,
    /// The format of a result whose statement names none.
    pub default_format: Option<String>,
    /// Settings, in the order given.
    pub settings: Vec<(String, String)>,
    /// Values of `{name:Type}`.
    pub params: Vec<(String, String)>,
    /// The caller's id of this statement, or a new one.
    pub query_id: String,
    /// Hold the result back until the statement has ended.
    pub wait_end_of_query: bool,
    /// How the body is packed.
    pub request_coding: RequestCoding,
    /// How to pack the result.
    pub response_coding: ResponseCoding,
    /// Whether the method allows changes.
    pub read_only: bool,
    /// Who asks.
    pub credentials: Credentials,
}

impl Ask {
    /// Reads a request's method, URL and headers.
    ///
    /// # Errors
    /// 36 for a header that is not text, 89 for a coding this server does not have.
    pub fn read<B>(request: &Request<B>) -> Result<Self, Failure> {
        let headers = request.headers();
        let mut url = Url::default();
        for (name, value) in form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()) {
            url.take(&name, value.into_owned());
        }
        let header = |name: &str| text(headers, name);
        let credentials = Credentials::new(
            url.user.take().or(header("x-clickhouse-user")?),
            url.password.take().or(header("x-clickhouse-key")?.map(SecretString::from)),
            header(AUTHORIZATION.as_str())?,
        );
        let accepted = header(ACCEPT_ENCODING.as_str())?.filter(|_| url.http_compression);
        let query_id = url.query_id.or(header("x-clickhouse-query-id")?).filter(|id| !id.is_empty());
        Ok(Self {
            query: url.query,
            database: url.database.or(header("x-clickhouse-database")?).filter(|name| !name.is_empty()),
            default_format: url.default_format.or(header("x-clickhouse-format")?),
            settings: url.settings,
            params: url.params,
            query_id: query_id.unwrap_or_else(|| uuid::Uuid::new_v4().to_string()),
            wait_end_of_query: url.wait_end_of_query,
            request_coding: RequestCoding::new(header(CONTENT_ENCODING.as_str())?.as_deref(), url.decompress)
                .map_err(|error| Failure::from(error.exception()))?,
            response_coding: ResponseCoding::choose(url.compress, accepted.as_deref()),
            read_only: *request.method() != Method::POST,
            credentials,
        })
    }
}

/// The parameters of a URL, sorted out.
#[derive(Default)]
struct Url {
    query: String,
    query_id: Option<String>,
    database: Option<String>,
    default_format: Option<String>,
    user: Option<String>,
    password: Option<SecretString>,
    settings: Vec<(String, String)>,
    params: Vec<(String, String)>,
    compress: bool,
    decompress: bool,
    http_compression: bool,
    wait_end_of_query: bool,
}

impl Url {
    fn take(&mut self, name: &str, value: String) {
        match name {
            "query" => self.query = value,
            "query_id" => self.query_id = Some(value),
            "database" => self.database = Some(value),
            "default_format" => self.default_format = Some(value),
            "user" => self.user = Some(value),
            "password" => self.password = Some(value.into()),
            "compress" => self.compress = is_true(&value),
            "decompress" => self.decompress = is_true(&value),
            "enable_http_compression" => self.http_compression = is_true(&value),
            "wait_end_of_query" => self.wait_end_of_query = is_true(&value),
            _ if IGNORED.contains(&name) => {}
            _ => match name.strip_prefix("param_") {
                Some(name) => self.params.push((name.to_owned(), value)),
                None => self.settings.push((name.to_owned(), value)),
            },
        }
    }
}

fn is_true(value: &str) -> bool {
    value == "1" || value.eq_ignore_ascii_case("true")
}

fn text(headers: &HeaderMap, name: &str) -> Result<Option<String>, Failure> {
    let Some(value) = headers.get(name) else {
        return Ok(None);
    };
    match value.to_str() {
        Ok(value) => Ok(Some(value.to_owned())),
        Err(_) => {
            let message = format!("Header {name} is not text");
            Err(Exception::new(36, "BAD_ARGUMENTS", &message).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str, headers: &[(&str, &str)]) -> Result<Ask, Failure> {
        let mut request = Request::post(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Ask::read(&request.body(()).unwrap())
    }

    #[test]
    fn an_unknown_coding_is_refused() {
        assert!(read("/", &[("content-encoding", "br")]).is_err());
    }

    #[test]
    fn url_parameters_are_parted_into_settings_params_and_the_interfaces_own() {
        let ask = read(
            "/?query=SELECT+%7Ba%3AInt8%7D&param_a=1%2B1&max_threads=2&database=d&session_id=x&compress=1&query_id=q",
            &[],
        )
        .unwrap();
        assert_eq!(ask.query, "SELECT {a:Int8}");
        assert_eq!(ask.params, [("a".to_owned(), "1+1".to_owned())]);
        assert_eq!(ask.settings, [("max_threads".to_owned(), "2".to_owned())]);
        assert_eq!((ask.database.as_deref(), ask.query_id.as_str()), (Some("d"), "q"));
        assert_eq!(ask.response_coding, ResponseCoding::Blocks);
    }

    #[test]
    fn headers_serve_where_the_url_is_silent() {
        let headers =
            [("x-clickhouse-database", "h"), ("x-clickhouse-format", "CSV"), ("accept-encoding", "gzip")];
        let ask = read("/?enable_http_compression=1", &headers).unwrap();
        assert_eq!((ask.database.as_deref(), ask.default_format.as_deref()), (Some("h"), Some("CSV")));
        assert_eq!(ask.response_coding, ResponseCoding::Gzip);
        assert_eq!(read("/?database=u", &headers).unwrap().database.as_deref(), Some("u"));
        assert_eq!(read("/", &headers).unwrap().response_coding, ResponseCoding::Identity);
    }
}
