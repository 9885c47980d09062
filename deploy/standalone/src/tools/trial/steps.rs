//! The steps: a link, its click, a lead, its qualification, and the rows that they become.

use std::time::{Duration, Instant};

use clickhouse::Row;
use hyper::header::{AUTHORIZATION, HOST, HeaderValue, LOCATION, USER_AGENT};
use hyper::{Method, StatusCode};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::{Value, json};
use whence_schemas::ids::{ClickId, LinkNumber};
use whence_schemas::token::PARAMETER;

use super::{Report, Trial};
use crate::call::Answer;
use crate::failure::Failure;

/// The referrer of every trial; also the name of its qualification and the start of its lead's id.
const NAME: &str = "whence-try";
/// For programs that name no host of their own: a domain that is nobody's (RFC 2606).
const HOST_DEFAULT: &str = "try.whence.invalid";
/// An honest agent: the verdict on it is `bot`, and the token counts all the same.
const AGENT: &str = concat!("whence-try/", env!("CARGO_PKG_VERSION"));
const POLL: Duration = Duration::from_millis(20);

/// All of them, in order.
///
/// # Errors
/// The step that did not work, and why.
pub(super) async fn all(trial: &Trial, report: &mut Report) -> Result<(), Failure> {
    let program = report.step("program", program(trial)).await?;
    let link = report.step("test link", link(trial, &program)).await?;
    let (token, click) = report.step("click", click(trial, &link)).await?;
    let id = format!("{NAME}-{}", click.0.simple());
    let lead = json!({ "type": "lead", "touches": [{ "token": token }] });
    let lead = report.step("lead", send(trial, &id, "lead", lead)).await?;
    let reached =
        json!({ "type": "qualification", "name": NAME, "value": { "minor": 100, "currency": "EUR" } });
    let reached = report.step("qualification", send(trial, &id, "reached", reached)).await?;
    report.step("click stored", click_row(trial, click)).await?;
    report.step("lead stored", lead_row(trial, &lead, click)).await?;
    report.step("qualification stored", qualification_row(trial, &reached, &lead)).await?;
    report.step("no trace in the funnel", no_trace(trial)).await
}

async fn program(trial: &Trial) -> Result<(Value, String), Failure> {
    let path = format!("/v1/programs/{}", trial.program);
    let program = expect(&api(trial, Method::GET, &path, None).await?, &[StatusCode::OK])?;
    let rule =
        format!("{} within {} ms", program["model"].as_str().unwrap_or_default(), program["window_ms"]);
    Ok((program, rule))
}

struct Link {
    host: String,
    code: String,
}

/// The program's own test link, made at the first trial.
async fn link(trial: &Trial, program: &Value) -> Result<(Link, String), Failure> {
    let base = format!("/v1/programs/{}", trial.program);
    let host = program["link_hosts"][0].as_str().unwrap_or(HOST_DEFAULT).to_owned();
    let code = format!("{NAME}-{:016x}", LinkNumber::of(trial.program.as_str()).0);
    let path = format!("{base}/links/{host}/{code}");
    let found = api(trial, Method::GET, &path, None).await?;
    let (link, did) = if found.status == StatusCode::OK {
        (found.json(), "used")
    } else {
        expect(&found, &[StatusCode::NOT_FOUND])?;
        let target = program["destination_hosts"][0].as_str().ok_or_else(|| {
            Failure::Failed("the program has no destination_hosts that a link could point at".to_owned())
        })?;
        let referrer = json!({ "name": "whence try" });
        let put = api(trial, Method::PUT, &format!("{base}/referrers/{NAME}"), Some(&referrer)).await?;
        expect(&put, &[StatusCode::OK, StatusCode::CREATED])?;
        let link = json!({ "host": host, "code": code, "referrer": NAME, "test": true,
            "destination": format!("https://{target}/") });
        let made = api(trial, Method::POST, &format!("{base}/links"), Some(&link)).await?;
        (expect(&made, &[StatusCode::CREATED, StatusCode::OK])?, "made")
    };
    if link["test"] != true || link["disabled"] != false {
        let text = format!("the link {host}/{code} is disabled or no test link: nothing was sent");
        return Err(Failure::Failed(text));
    }
    Ok((Link { host, code }, format!("{did} {}", link["url"].as_str().unwrap_or_default())))
}

/// Follows the link, as soon as the edge knows it.
async fn click(trial: &Trial, link: &Link) -> Result<((String, ClickId), String), Failure> {
    let host = HeaderValue::from_str(&link.host).expect("hosts are of letters, digits and few signs");
    let headers = [(HOST, host), (USER_AGENT, HeaderValue::from_static(AGENT))];
    let path = format!("/{}", link.code);
    let deadline = Instant::now() + trial.timeout;
    let answer = loop {
        let answer = trial.edge.call(Method::GET, &path, &headers, None).await?;
        if answer.status != StatusCode::NOT_FOUND || Instant::now() > deadline {
            break answer;
        }
        tokio::time::sleep(POLL).await;
    };
    let location = answer.headers.get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let query = location.split_once('?').map_or("", |(_, query)| query);
    let token = query.split('&').find_map(|pair| pair.strip_prefix(PARAMETER)?.strip_prefix('='));
    let Some(token) = token.filter(|_| answer.status.is_redirection()) else {
        return Err(Failure::Failed(format!("the edge answered {} without a click token", answer.status)));
    };
    let proven =
        trial.keys.verify(token).map_err(|error| Failure::Failed(format!("the click token {error}")))?;
    let evidence = format!("{}, a token that proves click {}", answer.status, proven.click.0);
    Ok(((token.to_owned(), proven.click), evidence))
}

/// Sends an event of the lead `id`; its own id ends in `what`.
async fn send(trial: &Trial, id: &str, what: &str, mut event: Value) -> Result<(String, String), Failure> {
    let fields = [
        ("program", json!(trial.program.as_str())),
        ("id", json!(format!("{id}-{what}"))),
        ("lead", json!(id)),
        ("test", json!(true)),
    ];
    for (name, value) in fields {
        event[name] = value;
    }
    let answer = api(trial, Method::POST, "/v1/events", Some(&event)).await?;
    let taken = expect(&answer, &[StatusCode::ACCEPTED])?;
    let id = taken["id"].as_str().unwrap_or_default().to_owned();
    let evidence = format!("202, on disk as event {id}");
    Ok((id, evidence))
}

#[derive(Row, Deserialize)]
struct Stored {
    /// What the row says of how it came about.
    said: String,
    /// Whether that is what it must say.
    is_right: bool,
    incarnation: String,
    partition: u32,
    offset: u64,
}

/// What of a row says where it came from.
const POSITION: &str = "toString(incarnation) AS incarnation, partition, offset";

async fn click_row(trial: &Trial, click: ClickId) -> Result<((), String), Failure> {
    let sql = format!(
        "SELECT concat(toString(verdict), ' (', reason, ')') AS said, toBool(NOT live AND referrer = {{referrer:String}}) \
         AS is_right, {POSITION} FROM clicks WHERE program = {{program:String}} \
         AND ts = fromUnixTimestamp64Milli({{at:Int64}}, 'UTC') AND id = {{id:UUID}}"
    );
    let question = || trial.client.query(&sql).param("at", click.at().0).param("id", click.0.to_string());
    stored(trial, "the click", question).await
}

async fn lead_row(trial: &Trial, id: &str, click: ClickId) -> Result<((), String), Failure> {
    let sql = format!(
        "SELECT concat('credited to ', referrer, ' on ', toString(evidence)) AS said, toBool(NOT live \
         AND evidence = 'token' AND referrer = {{referrer:String}} AND click_id = {{click:UUID}}) AS is_right, \
         {POSITION} FROM leads WHERE program = {{program:String}} AND id = {{id:UUID}} AND sign = 1"
    );
    let question = || trial.client.query(&sql).param("id", id).param("click", click.0.to_string());
    stored(trial, "the lead", question).await
}

async fn qualification_row(trial: &Trial, id: &str, lead: &str) -> Result<((), String), Failure> {
    let sql = format!(
        "SELECT concat('credited to ', referrer, ', of lead ', toString(lead_id)) AS said, toBool(NOT live \
         AND referrer = {{referrer:String}} AND lead_id = {{lead:UUID}}) AS is_right, {POSITION} \
         FROM qualifications WHERE program = {{program:String}} AND id = {{id:UUID}} \
         ORDER BY revision DESC, sign DESC LIMIT 1"
    );
    let question = || trial.client.query(&sql).param("id", id).param("lead", lead);
    stored(trial, "the qualification", question).await
}

/// Asks until the row is there.
async fn stored(
    trial: &Trial,
    what: &str,
    question: impl Fn() -> clickhouse::query::Query,
) -> Result<((), String), Failure> {
    let deadline = Instant::now() + trial.timeout;
    loop {
        let question = question().param("program", trial.program.as_str()).param("referrer", NAME);
        if let Some(row) = question.fetch_optional::<Stored>().await? {
            let place = format!("{}/{}/{}", row.incarnation, row.partition, row.offset);
            return match row.is_right {
                true => Ok(((), format!("{}, from record {place}", row.said))),
                false => {
                    Err(Failure::Failed(format!("{what} of record {place} is stored wrong: {}", row.said)))
                }
            };
        }
        if Instant::now() > deadline {
            let text = format!("{what} has not arrived in clickhouse within {:?}", trial.timeout);
            return Err(Failure::Failed(text));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// All three are stored, and so is what views make of them.
async fn no_trace(trial: &Trial) -> Result<((), String), Failure> {
    let mut found = 0;
    for table in ["funnel_quarter_hourly", "funnel_daily"] {
        let sql = format!(
            "SELECT count() FROM {table} WHERE program = {{program:String}} AND referrer = {{referrer:String}}"
        );
        let query = trial.client.query(&sql).param("program", trial.program.as_str()).param("referrer", NAME);
        found += query.fetch_one::<u64>().await?;
    }
    match found {
        0 => Ok(((), format!("no row of {NAME} in funnel_quarter_hourly and funnel_daily"))),
        rows => Err(Failure::Failed(format!(
            "{rows} rows of {NAME} are in funnel_quarter_hourly and funnel_daily"
        ))),
    }
}

async fn api(trial: &Trial, method: Method, path: &str, body: Option<&Value>) -> Result<Answer, Failure> {
    let bearer = format!("Bearer {}", trial.key.expose_secret());
    let mut key = HeaderValue::from_str(&bearer)
        .map_err(|_| Failure::Failed("the API key has characters that no key has".to_owned()))?;
    key.set_sensitive(true);
    Ok(trial.api.call(method, path, &[(AUTHORIZATION, key)], body).await?)
}

/// The answer's JSON, if its status is one of these.
fn expect(answer: &Answer, statuses: &[StatusCode]) -> Result<Value, Failure> {
    let json = answer.json();
    if statuses.contains(&answer.status) {
        return Ok(json);
    }
    let detail = json["detail"].as_str().unwrap_or("without a reason");
    Err(Failure::Failed(format!("the API answered {}: {detail}", answer.status)))
}
