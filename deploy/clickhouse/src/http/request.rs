//! What a request asks for, read from its method, URL and headers.
//!
//! ClickHouse takes a setting from any URL parameter that is not one of its own; so does this. `parameters` has its own.

use hyper::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE};
use hyper::{HeaderMap, Method, Request};

use super::auth::Credentials;
use super::form;
use super::parameters::Parameters;
use super::reply::Failure;
use crate::codec::{RequestCoding, ResponseCoding};
use crate::engine::Exception;

/// A request for one statement.
#[derive(Debug)]
pub struct Ask {
    /// What the URL, and a form if there is one, say.
    pub said: Parameters,
    /// The caller's id of this statement, or a new one.
    pub query_id: String,
    /// How the body is packed.
    pub request_coding: RequestCoding,
    /// How to pack the result.
    pub response_coding: ResponseCoding,
    /// The boundary of the form that the body is, if it is one.
    pub form: Option<String>,
    /// Whether the method allows no changes.
    pub read_only: bool,
    /// Who asks.
    pub credentials: Credentials,
}

impl Ask {
    /// Reads a request's method, URL and headers.
    ///
    /// # Errors
    /// 36 for a header that is not text, 89 for a coding this server does not have, and what [`Parameters`] refuses.
    pub fn read<B>(request: &Request<B>) -> Result<Self, Failure> {
        let headers = request.headers();
        let mut said = Parameters::default();
        for (name, value) in form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()) {
            said.take(&name, value.into_owned())?;
        }
        for name in headers.keys().filter(|name| name.as_str().starts_with("x-clickhouse-")) {
            if let Some(value) = text(headers, name.as_str())? {
                said.take_header(name.as_str(), &value)?;
            }
        }
        let header = |name: &str| text(headers, name);
        let credentials = Credentials::new(
            said.user.take(),
            said.password.take(),
            header(AUTHORIZATION.as_str())?.as_deref(),
        );
        let query_id = said.query_id.take().filter(|id| !id.is_empty());
        let accepted = header(ACCEPT_ENCODING.as_str())?.filter(|_| said.http_compression != Some(false));
        let coding = RequestCoding::new(header(CONTENT_ENCODING.as_str())?.as_deref(), said.decompress);
        Ok(Self {
            query_id: query_id.unwrap_or_else(|| uuid::Uuid::new_v4().to_string()),
            request_coding: coding.map_err(|error| Failure::from(error.exception()))?,
            response_coding: ResponseCoding::choose(said.compress, accepted.as_deref()),
            form: header(CONTENT_TYPE.as_str())?.as_deref().and_then(form::boundary),
            read_only: *request.method() != Method::POST,
            credentials,
            said,
        })
    }
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
        assert_eq!(ask.said.query, "SELECT {a:Int8}");
        assert_eq!(ask.said.params, [("a".to_owned(), "1+1".to_owned())]);
        assert_eq!(ask.said.settings, [("max_threads".to_owned(), "2".to_owned())]);
        assert_eq!((ask.said.database.as_deref(), ask.query_id.as_str()), (Some("d"), "q"));
        assert_eq!(ask.response_coding, ResponseCoding::Blocks);
    }

    #[test]
    fn headers_serve_where_the_url_is_silent() {
        let headers =
            [("x-clickhouse-database", "h"), ("x-clickhouse-format", "CSV"), ("accept-encoding", "gzip")];
        let ask = read("/", &headers).unwrap();
        assert_eq!(
            (ask.said.database.as_deref(), ask.said.default_format.as_deref()),
            (Some("h"), Some("CSV"))
        );
        assert_eq!(ask.response_coding, ResponseCoding::Gzip);
        let ask = read("/?database=u&enable_http_compression=0", &headers).unwrap();
        assert_eq!(
            (ask.said.database.as_deref(), ask.response_coding),
            (Some("u"), ResponseCoding::Identity)
        );
    }
}
