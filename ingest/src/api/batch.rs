//! A body of one entry or many (events, links, referrers): found in what comes in, answered in what goes
//! out. Knows not what an entry is.

use super::{
    encoding::Unambiguous,
    problem::{Code, Problem},
};
use hyper::{
    Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER},
};
use serde_json::{Map, Value};
use whence_runtime::http::{Full, full};

/// The entries of a body: one object, or an array, or one object a line (NDJSON).
#[derive(Debug, PartialEq)]
pub enum Body {
    /// One object: the answer is about it alone.
    One(Value),
    /// Any number; what is no JSON stands as its problem where the entry would.
    Many(Vec<Result<Value, Problem>>),
}

/// Splits a body into at most `entries_max` entries. An array is read as a whole or not at all; of lines,
/// each stands for itself, and empty ones do not count.
///
/// The content type decides where it names NDJSON. Otherwise the first byte does, since scripts send JSON
/// under whatever type their library adds: `[` begins an array, `{` one object, or lines when another
/// object follows the first.
///
/// # Errors
/// A problem with the body as a whole.
pub fn split(content_type: Option<&str>, body: &[u8], entries_max: usize) -> Result<Body, Problem> {
    let many = if is_ndjson(content_type) {
        lines(body, entries_max)
    } else {
        match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
            Some(b'{') => match first_value(body)? {
                (value, true) => return Ok(Body::One(value)),
                (_, false) => lines(body, entries_max),
            },
            Some(b'[') => array(body)?,
            Some(_) => {
                return Err(Problem::new(Code::Malformed, "the body must be an object or a list of them"));
            }
            None => return Err(Problem::new(Code::Malformed, "the body is empty")),
        }
    };
    if many.len() > entries_max {
        let detail = format_args!("the body has more than {entries_max} entries");
        return Err(Problem::new(Code::TooLarge, detail));
    }
    if many.is_empty() {
        return Err(Problem::new(Code::Malformed, "the body has no entry"));
    }
    Ok(Body::Many(many))
}

fn is_ndjson(content_type: Option<&str>) -> bool {
    let essence = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    ["application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"]
        .iter()
        .any(|ndjson| essence.eq_ignore_ascii_case(ndjson))
}

/// The first value of the body, and whether nothing follows it.
fn first_value(body: &[u8]) -> Result<(Value, bool), Problem> {
    let mut values = serde_json::Deserializer::from_slice(body).into_iter::<Unambiguous>();
    let first = values.next().unwrap_or(Ok(Unambiguous(Value::Null))).map_err(|error| malformed(&error))?.0;
    let is_alone = body[values.byte_offset()..].iter().all(u8::is_ascii_whitespace);
    Ok((first, is_alone))
}

fn array(body: &[u8]) -> Result<Vec<Result<Value, Problem>>, Problem> {
    let values: Vec<Unambiguous> = serde_json::from_slice(body).map_err(|error| malformed(&error))?;
    Ok(values.into_iter().map(|value| Ok(value.0)).collect())
}

/// One more than `entries_max` at most: enough to see that there are too many.
fn lines(body: &[u8], entries_max: usize) -> Vec<Result<Value, Problem>> {
    body.split(|byte| *byte == b'\n')
        .filter(|line| !line.iter().all(u8::is_ascii_whitespace))
        .take(entries_max + 1)
        .map(|line| {
            serde_json::from_slice::<Unambiguous>(line)
                .map(|value| value.0)
                .map_err(|error| malformed(&error))
        })
        .collect()
}

/// serde_json's message names the place and what was expected, never the text but the name of a field that is there twice.
fn malformed(error: &serde_json::Error) -> Problem {
    Problem::new(Code::Malformed, error)
}

/// What became of one entry.
#[derive(Debug)]
pub struct Outcome {
    /// What names it: shown whatever became of it.
    pub head: Map<String, Value>,
    /// What became of it: the word for it where nothing is wrong.
    pub result: Result<&'static str, Problem>,
}

impl Outcome {
    /// The entry was refused before it had a name.
    #[must_use]
    pub fn refused(problem: Problem) -> Outcome {
        Outcome { head: Map::new(), result: Err(problem) }
    }

    /// `status` of this entry in the answer.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match &self.result {
            Ok(word) => word,
            Err(problem) if problem.code.is_retriable() => "retry",
            Err(_) => "rejected",
        }
    }

    fn into_json(self, index: usize) -> Value {
        let status = self.word();
        let mut json = Map::from_iter([("index".to_owned(), index.into())]);
        json.extend(self.head);
        json.insert("status".to_owned(), status.into());
        if let Err(problem) = self.result {
            let problem = serde_json::to_value(problem).expect("problems are text and numbers");
            json.insert("error".to_owned(), problem);
        }
        Value::Object(json)
    }
}

/// Answers for a single entry: its outcome with `status`, or its problem.
#[must_use]
pub fn answer_one(outcome: Outcome, status: StatusCode) -> Response<Full> {
    match outcome.result {
        Err(problem) => problem.response(),
        Ok(word) => {
            let mut json = outcome.head;
            json.insert("status".to_owned(), word.into());
            json_response(status, &Value::Object(json))
        }
    }
}

/// Answers for entries of which nothing was taken: what would become of each.
#[must_use]
pub fn answer_dry_run(outcomes: impl Iterator<Item = Outcome>) -> Response<Full> {
    let events: Vec<Value> = outcomes.enumerate().map(|(index, outcome)| outcome.into_json(index)).collect();
    json_response(StatusCode::OK, &serde_json::json!({ "results": events }))
}

/// Answers for many entries: `status` where all went well, the problem they share where none did (422
/// where their statuses differ), else 207 with `Retry-After` where some are to be sent again. How many there were of each of
/// `words` is counted.
#[must_use]
pub fn answer_many(outcomes: Vec<Outcome>, status: StatusCode, words: &[&'static str]) -> Response<Full> {
    let problems: Vec<&Problem> =
        outcomes.iter().filter_map(|outcome| outcome.result.as_ref().err()).collect();
    let is_retriable = problems.iter().any(|problem| problem.code.is_retriable());
    let (count, failed) = (outcomes.len(), problems.len());
    let shared = (failed == count).then(|| shared_problem(&problems)).flatten();
    let counted = words.iter().map(|word| {
        let count = outcomes.iter().filter(|outcome| outcome.word() == *word).count();
        ((*word).to_owned(), count.into())
    });
    let mut body: Map<String, Value> = counted.collect();
    let results: Vec<Value> =
        outcomes.into_iter().enumerate().map(|(index, outcome)| outcome.into_json(index)).collect();
    if let Some(mut problem) = shared {
        problem.results = results;
        return problem.response();
    }
    let status = if failed == 0 { status } else { StatusCode::MULTI_STATUS };
    body.insert("results".to_owned(), results.into());
    let mut response = json_response(status, &body.into());
    if is_retriable {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// `None` where some entries are worth another try and others are not.
fn shared_problem(problems: &[&Problem]) -> Option<Problem> {
    let first = problems.first()?;
    let detail = format!("none of the {} entries was taken; the first: {}", problems.len(), first.detail);
    if problems.iter().all(|problem| problem.code.status() == first.code.status()) {
        return Some(Problem::new(first.code, detail));
    }
    let is_final = problems.iter().all(|problem| !problem.code.is_retriable());
    is_final.then(|| Problem::new(Code::Invalid, detail))
}

/// A JSON answer that is not to be kept by anybody.
#[must_use]
pub fn json_response(status: StatusCode, body: &Value) -> Response<Full> {
    let mut response = Response::new(full(body.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn many(content_type: &str, body: &str) -> Vec<Result<Value, Code>> {
        match split(Some(content_type), body.as_bytes(), 3).unwrap() {
            Body::Many(entries) => entries.into_iter().map(|entry| entry.map_err(|p| p.code)).collect(),
            Body::One(_) => panic!("one entry"),
        }
    }

    #[test]
    fn bodies_without_an_entry_are_refused() {
        for (body, code) in [
            ("", Code::Malformed),
            (" \n ", Code::Malformed),
            ("[]", Code::Malformed),
            ("null", Code::Malformed),
            ("\"{}\"", Code::Malformed),
            ("{", Code::Malformed),
            ("[{}", Code::Malformed),
            ("[{}] x", Code::Malformed),
            ("[{},{},{},{}]", Code::TooLarge),
            ("{}\n{}\n{}\n{}", Code::TooLarge),
        ] {
            assert_eq!(split(None, body.as_bytes(), 3).unwrap_err().code, code, "{body}");
        }
    }

    #[test]
    fn a_bad_line_stands_for_itself() {
        let entries = many("application/x-ndjson; charset=utf-8", "{\"a\":1}\r\n\n{oops\n{\"b\":2}\n");
        assert_eq!(entries, [Ok(json!({"a": 1})), Err(Code::Malformed), Ok(json!({"b": 2}))]);
    }

    #[test]
    fn the_content_type_is_no_obstacle() {
        for content_type in ["application/json", "text/plain", "application/x-www-form-urlencoded", ""] {
            let one = split(Some(content_type), b" {\"a\":\n1} ", 3).unwrap();
            assert_eq!(one, Body::One(json!({"a": 1})), "{content_type}");
            assert_eq!(many(content_type, "[{}, 1]"), [Ok(json!({})), Ok(json!(1))]);
            assert_eq!(many(content_type, "{}\n{}"), [Ok(json!({})), Ok(json!({}))]);
        }
    }

    fn outcomes(codes: &[Option<Code>]) -> Vec<Outcome> {
        let result = |code: &Option<Code>| code.map_or(Ok("accepted"), |code| Err(Problem::new(code, "why")));
        codes.iter().map(|code| Outcome { head: Map::new(), result: result(code) }).collect()
    }

    #[test]
    fn the_status_says_whether_to_look_and_whether_to_retry() {
        use Code::{Forbidden, Invalid, Journal, Required};
        for (codes, status, retry) in [
            (&[None, None][..], 202, false),
            (&[None, Some(Invalid)], 207, false),
            (&[None, Some(Journal)], 207, true),
            (&[Some(Invalid), Some(Journal)], 207, true),
            (&[Some(Journal), Some(Journal)], 503, true),
            (&[Some(Invalid), Some(Required)], 422, false),
            (&[Some(Forbidden), Some(Forbidden)], 403, false),
            (&[Some(Forbidden), Some(Required)], 422, false),
        ] {
            let response = answer_many(outcomes(codes), StatusCode::ACCEPTED, &["accepted"]);
            assert_eq!(response.status(), status, "{codes:?}");
            assert_eq!(response.headers().contains_key(RETRY_AFTER), retry, "{codes:?}");
        }
    }

    #[test]
    fn a_single_line_of_ndjson_is_a_batch_of_one() {
        assert_eq!(many("application/ndjson", "{}"), [Ok(json!({}))]);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(body in proptest::collection::vec(any::<u8>(), 0..60), ndjson: bool) {
            let content_type = if ndjson { "application/x-ndjson" } else { "" };
            let _ = split(Some(content_type), &body, 2);
        }
    }
}
