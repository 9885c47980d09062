//! Events on their way to the API: batch by batch, again where it could not take them yet.

use std::time::Duration;

use hyper::header::{AUTHORIZATION, HeaderValue, RETRY_AFTER};
use hyper::{Method, StatusCode};
use secrecy::ExposeSecret;
use serde_json::Value;

use crate::call::Part;
use crate::chain::chain;
use crate::failure::Failure;
use crate::settings::{CallSettings, DataSettings};

/// Tries of a batch, or of those of its events that the API could not take yet.
const TRIES_MAX: u32 = 8;
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Where events go, and with which key.
pub struct Sender {
    api: Part,
    authorization: HeaderValue,
}

/// Why the rest of a batch was not taken.
pub struct Stopped {
    /// The first event of the batch that was neither accepted nor refused.
    pub first: usize,
    /// Why.
    pub why: String,
}

impl Sender {
    /// To the given API or the folder's, with the given key or the folder's.
    ///
    /// # Errors
    /// There is no API, or no key that can be sent.
    pub fn new(settings: &CallSettings, data: &DataSettings) -> Result<Self, Failure> {
        let api = super::address(settings.api_url.as_ref(), "api-url", data, |noted| noted.api)?;
        let api = Part::at(&api, &settings.tls())?;
        let key = super::api_key(settings, data)?;
        let header = HeaderValue::try_from(format!("Bearer {}", key.expose_secret()));
        let wrong = |_| Failure::Failed("the API key has characters that none has".into());
        let mut authorization = header.map_err(wrong)?;
        authorization.set_sensitive(true);
        Ok(Self { api, authorization })
    }

    /// What stands at this path; `None`: nothing does.
    ///
    /// # Errors
    /// The API can't be called, or refuses.
    pub async fn look(&self, path: &str) -> Result<Option<Value>, Failure> {
        let headers = [(AUTHORIZATION, self.authorization.clone())];
        let answer = self.api.call(Method::GET, path, &headers, None).await?;
        match answer.status {
            StatusCode::OK => Ok(Some(answer.json())),
            StatusCode::NOT_FOUND => Ok(None),
            status => Err(Failure::Failed(format!("the API refused: {status} {}", detail(&answer.json())))),
        }
    }

    /// What the API tells each of these events apart by, or the code with which it would refuse it. Nothing is taken.
    ///
    /// # Errors
    /// The API can't be called, refuses the whole, or took too long.
    pub async fn digests(&self, events: &[Value]) -> Result<Vec<Result<u64, String>>, String> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let body: Value = events.to_vec().into();
        let mut tries = 0;
        loop {
            let headers = [(AUTHORIZATION, self.authorization.clone())];
            let answer = self.api.call(Method::POST, "/v1/events/dry-run", &headers, Some(&body)).await;
            tries += 1;
            let why = match answer {
                Err(error) if error.is_final() => return Err(chain(&error)),
                Err(error) => chain(&error),
                Ok(answer) => {
                    let (status, said) = (answer.status, answer.json());
                    match said["results"].as_array() {
                        Some(results) if results.len() == events.len() => {
                            let may_know_more = results.iter().any(|result| result["status"] == "retry");
                            if !may_know_more || tries == TRIES_MAX {
                                return Ok(results.iter().map(digest).collect());
                            }
                            "not all can be told yet".to_owned()
                        }
                        // An API of before, which knows no digests.
                        _ if [StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED].contains(&status) => {
                            return Ok(vec![Err("not_found".to_owned()); events.len()]);
                        }
                        _ if status == StatusCode::SERVICE_UNAVAILABLE => {
                            format!("{status} {}", detail(&said))
                        }
                        _ => return Err(format!("the API refused the request: {status} {}", detail(&said))),
                    }
                }
            };
            if tries == TRIES_MAX {
                return Err(format!("not answered after {tries} tries ({why})"));
            }
            tokio::time::sleep(Duration::from_millis(250 << tries).min(WAIT_MAX)).await;
        }
    }

    /// Sends a batch until each of its events is accepted (by this id) or refused (for this reason), and tells
    /// which is which by its place in the batch.
    ///
    /// # Errors
    /// The API can't be called, refuses the whole, or took too long.
    pub async fn send(
        &self,
        events: &[Value],
        mut settle: impl FnMut(usize, Result<&str, String>),
    ) -> Result<(), Stopped> {
        let mut waiting: Vec<usize> = (0..events.len()).collect();
        let mut tries = 0;
        while let Some(&first) = waiting.first() {
            let stopped = |why: String| Stopped { first, why };
            let body: Value = waiting.iter().map(|at| events[*at].clone()).collect();
            let headers = [(AUTHORIZATION, self.authorization.clone())];
            let answer = self.api.call(Method::POST, "/v1/events", &headers, Some(&body)).await;
            tries += 1;
            let (why, asked) = match answer {
                Err(error) if error.is_final() => return Err(stopped(chain(&error))),
                Err(error) => (chain(&error), None),
                Ok(answer) => {
                    let (status, body) = (answer.status, answer.json());
                    match body["results"].as_array() {
                        Some(results) if results.len() == waiting.len() => {
                            waiting = settled(&waiting, results, &mut settle);
                        }
                        _ if status == StatusCode::SERVICE_UNAVAILABLE => {}
                        _ => {
                            let why = format!("the API refused the request: {status} {}", detail(&body));
                            return Err(stopped(why));
                        }
                    }
                    let asked =
                        answer.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
                    (format!("{status} {}", detail(&body)), asked.map(Duration::from_secs))
                }
            };
            let Some(&first) = waiting.first() else { break };
            if tries == TRIES_MAX {
                return Err(Stopped { first, why: format!("not taken after {tries} tries ({why})") });
            }
            let wait = Duration::from_millis(250 << tries).max(asked.unwrap_or_default()).min(WAIT_MAX);
            tracing::warn!(why, ?wait, events = waiting.len(), "not taken yet");
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }
}

/// Of one event of a dry run.
fn digest(result: &Value) -> Result<u64, String> {
    let digest = result["digest"].as_str().and_then(|hex| u64::from_str_radix(hex, 16).ok());
    digest.ok_or_else(|| result["error"]["code"].as_str().unwrap_or_default().to_owned())
}

/// Tells what was decided and returns what is to be sent again.
fn settled(
    waiting: &[usize],
    results: &[Value],
    settle: &mut impl FnMut(usize, Result<&str, String>),
) -> Vec<usize> {
    let mut again = Vec::new();
    for (at, result) in waiting.iter().zip(results) {
        match result["status"].as_str() {
            Some("accepted") => settle(*at, Ok(result["id"].as_str().unwrap_or_default())),
            Some("retry") => again.push(*at),
            _ => settle(*at, Err(detail(&result["error"]))),
        }
    }
    again
}

/// What a problem says: every field at fault, or its detail. The API repeats no value.
fn detail(problem: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match problem["errors"].as_array() {
        Some(errors) => {
            let said =
                errors.iter().map(|error| format!("{} {}", text(&error["field"]), text(&error["detail"])));
            said.collect::<Vec<_>>().join("; ")
        }
        None => text(&problem["detail"]),
    }
}
