//! Statements sent as a form (`multipart/form-data`), which keeps long parameters out of the URL.
//!
//! A form's fields are what URL parameters are. Fields with a file name are ClickHouse's external
//! tables, which this server does not have. Source of the format: RFC 7578.

use bytes::Bytes;
use memchr::memmem;

use super::parameters::external_table;
use super::reply::Failure;
use crate::engine::Exception;

/// RFC 2046: a longer one is not valid.
const BOUNDARY_BYTES_MAX: usize = 70;
/// A statement, its settings and its parameters.
const FIELDS_MAX: usize = 1000;

/// The boundary in a `Content-Type`, if it names a form.
pub fn boundary(content_type: &str) -> Option<String> {
    let mut parts = content_type.split(';');
    if !parts.next()?.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"').to_owned())
    })
}

/// The fields of a form, in order.
///
/// # Errors
/// 117 for a form that is cut short or damaged, 48 for an external table.
pub fn fields(chunks: &[Bytes], boundary: &str) -> Result<Vec<(String, String)>, Failure> {
    if !(1..=BOUNDARY_BYTES_MAX).contains(&boundary.len()) {
        return Err(damaged());
    }
    let form = chunks.concat();
    let delimiter = format!("--{boundary}");
    let mut rest = find(&form, delimiter.as_bytes()).map(|(_, rest)| rest).ok_or_else(damaged)?;
    let delimiter = format!("\r\n{delimiter}");
    let mut fields = Vec::new();
    while !rest.starts_with(b"--") {
        let part = rest.strip_prefix(b"\r\n").ok_or_else(damaged)?;
        let (head, body) = find(part, b"\r\n\r\n").ok_or_else(damaged)?;
        let (value, after) = find(body, delimiter.as_bytes()).ok_or_else(damaged)?;
        let head = std::str::from_utf8(head).map_err(|_| damaged())?;
        let value = String::from_utf8(value.to_vec()).map_err(|_| damaged())?;
        if fields.len() == FIELDS_MAX {
            return Err(damaged());
        }
        fields.push((name(head)?, value));
        rest = after;
    }
    Ok(fields)
}

fn name(head: &str) -> Result<String, Failure> {
    let disposition = head
        .split("\r\n")
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("content-disposition"))
        .map(|(_, value)| value)
        .ok_or_else(damaged)?;
    let parameter = |wanted: &str| {
        let mut parameters = disposition.split(';').filter_map(|part| part.split_once('='));
        parameters.find_map(|(name, value)| {
            name.trim().eq_ignore_ascii_case(wanted).then(|| value.trim().trim_matches('"').to_owned())
        })
    };
    let name = parameter("name").ok_or_else(damaged)?;
    match parameter("filename") {
        Some(_) => Err(external_table(&name).into()),
        None => Ok(name),
    }
}

fn damaged() -> Failure {
    Exception::new(117, "INCORRECT_DATA", "The form in the request's body is cut short or damaged").into()
}

/// What is before and after the first `needle`.
fn find<'bytes>(bytes: &'bytes [u8], needle: &[u8]) -> Option<(&'bytes [u8], &'bytes [u8])> {
    let at = memmem::find(bytes, needle)?;
    Some((&bytes[..at], &bytes[at + needle.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: &str = "--b\r\nContent-Disposition: form-data; name=\"query\"\r\n\r\nSELECT {a:String}\r\n\
        --b\r\ncontent-disposition: form-data; name=\"param_a\"\r\nContent-Type: text/plain\r\n\r\nx\r\n\r\n\r\n--b--\r\n";

    fn parse(form: &str) -> Result<Vec<(String, String)>, Failure> {
        fields(&[Bytes::copy_from_slice(form.as_bytes())], "b")
    }

    #[test]
    fn a_form_that_is_cut_anywhere_is_refused() {
        for length in 0..FORM.len() - 4 {
            assert_eq!(parse(&FORM[..length]).unwrap_err().exception.code, 117, "{length}");
        }
    }

    #[test]
    fn a_form_has_a_boundary_and_fields_in_numbers_that_forms_have() {
        let with = |boundary: &str, fields: usize| {
            let field = format!("--{boundary}\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx\r\n");
            let form = format!("{}--{boundary}--\r\n", field.repeat(fields));
            super::fields(&[Bytes::from(form)], boundary).map(|fields| fields.len())
        };
        assert_eq!(with(&"b".repeat(70), 1000).unwrap(), 1000);
        assert!(with(&"b".repeat(71), 1).is_err() && with("b", 1001).is_err() && with("", 1).is_err());
    }

    #[test]
    fn an_external_table_is_refused() {
        let form = FORM.replace("name=\"param_a\"", "name=\"t\"; filename=\"t.csv\"");
        assert_eq!(parse(&form).unwrap_err().exception.code, 48);
    }

    #[test]
    fn fields_come_in_order_with_their_line_breaks() {
        let expected = [("query", "SELECT {a:String}"), ("param_a", "x\r\n\r\n")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(parse(FORM).unwrap(), expected);
        assert_eq!(boundary("multipart/form-data; charset=x; boundary=\"b\"").as_deref(), Some("b"));
        assert_eq!(boundary("text/plain; boundary=b"), None);
    }
}
