//! From a request to an answer: path, key, method, parameters, question, in this order.

use std::{net::IpAddr, sync::Arc, time::Duration};

use hyper::{
    Request, Response,
    body::Incoming,
    header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
};
use serde_json::{Value, json};
use tokio::time::timeout;
use whence_runtime::http::{Full, Peer, full, read_body};
use whence_schemas::{ids::ProgramId, subject::AliasKind};

use super::{
    Console, openapi,
    problem::{Code, Problem},
    route::{About, Query, Route, somebody},
};
use crate::{
    erasure::erasure,
    fact::fact,
    known,
    lineage::{Explanation, Line, NOTHING, lines, page},
    reports, status,
    subject::{Name, term},
};

whence_metrics::declare! {
    /// Questions of the console by call and outcome.
    counter CONSOLE_QUESTIONS: "whence_console_questions_total" { call, outcome };
}

/// Bytes of a question's body: a name and a referrer.
const BODY_BYTES_MAX: usize = 4096;
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// What the engine may need to notice its own limit.
const GRACE: Duration = Duration::from_secs(2);

pub(super) async fn answer(console: Arc<Console>, request: Request<Incoming>) -> Response<Full> {
    let path = request.uri().path();
    let route = Route::of(path);
    if route.is_none()
        && let Err(problem) = console.access.unproved(request.headers(), peer(&request))
    {
        return problem.response();
    }
    if path == openapi::PATH {
        return openapi::answer(request.method());
    }
    let Some(route) = route else {
        return Problem::new(Code::NotFound, "there is no such path").response();
    };
    let call = route.call();
    let (outcome, response) = match handle(&console, route, request).await {
        Ok(body) => ("answered", json_response(&body)),
        Err(problem) => (problem.code.tag(), problem.response()),
    };
    metrics::counter!(CONSOLE_QUESTIONS, "call" => call, "outcome" => outcome).increment(1);
    response
}

fn peer(request: &Request<Incoming>) -> IpAddr {
    request.extensions().get::<Peer>().expect("every request has its peer").0.ip()
}

async fn handle(console: &Console, route: Route, request: Request<Incoming>) -> Result<Value, Problem> {
    let peer = peer(&request);
    let (head, body) = request.into_parts();
    console.access.check(&head.headers, peer, route.program.as_str())?;
    if head.method.as_str() != route.method() {
        return Err(Problem::method(route.method()));
    }
    let mut query = Query::of(head.uri.query());
    let program = &route.program;
    match route.about {
        About::Somebody => {
            let after = query.after_lines()?;
            query.finish()?;
            let body = read_body(body, BODY_BYTES_MAX, BODY_TIMEOUT).await?;
            let (name, value, referrer) = somebody(&body)?;
            console.lineage(program, (name, &value), referrer.as_deref(), after).await
        }
        About::Lead(lead) => {
            let (referrer, after) = (query.referrer()?, query.after_lines()?);
            query.finish()?;
            console.lineage(program, (Name::Alias(AliasKind::Lead), &lead), referrer.as_deref(), after).await
        }
        About::Status => {
            let selection = query.status(program)?;
            query.finish()?;
            console.known(program, selection.referrer.as_deref()).await?;
            let page = console.ask(status::page(&console.client, &selection)).await?;
            Ok(json!({ "items": page.items, "next": page.next.map(|place| place.to_string()) }))
        }
        About::Fact(kind, id) => {
            query.finish()?;
            console.known(program, None).await?;
            let found = console.ask(fact(&console.client, kind, program.as_str(), id)).await?;
            found.map(Value::Object).ok_or_else(|| {
                Problem::new(
                    Code::NotFound,
                    "nothing is known of such an event; if it was accepted, it is not consumed yet, or a reject",
                )
            })
        }
        About::Erasure(id) => {
            query.finish()?;
            console.known(program, None).await?;
            let found = console.ask(erasure(&console.client, program.as_str(), id)).await?;
            found.map(Value::Object).ok_or_else(|| {
                Problem::new(
                    Code::NotFound,
                    "nothing is known of such an erasure; if it was accepted, it is not done yet",
                )
            })
        }
        About::Report(report) => {
            let selection = query.report(program, report)?;
            query.finish()?;
            console.known(program, selection.referrer.as_deref()).await?;
            let mut rows = console.ask(reports::rows(&console.client, report, &selection)).await?;
            for item in &mut rows.items {
                item.remove("program");
            }
            let next = rows.next.map(|place| place.to_string());
            Ok(json!({ "items": rows.items, "more": next.is_some(), "next": next }))
        }
    }
}

impl Console {
    async fn lineage(
        &self,
        program: &ProgramId,
        (name, value): (Name, &str),
        referrer: Option<&str>,
        after: usize,
    ) -> Result<Value, Problem> {
        let term = term(&self.identity, program, name, value)
            .map_err(|error| Problem::new(Code::Invalid, format_args!("{} {error}", name.word())))?;
        self.known(program, referrer).await?;
        let lines = self.ask(lines(&self.client, program.as_str(), &term)).await?;
        if lines.is_empty() {
            return Err(Problem::new(Code::NotFound, NOTHING));
        }
        let referrer = referrer.map(str::to_owned);
        let told = move || {
            let page = page(&lines, referrer.as_deref(), after)?;
            let events: Vec<Value> = page.events.iter().map(Explanation::json).collect();
            let lines: Vec<Value> = page.lines.iter().map(Line::json).collect();
            let next = page.next.map(|next| next.to_string());
            Some(json!({ "events": events, "lines": lines, "more": page.more, "next": next }))
        };
        // Of a person with thousands of events it takes a while.
        let told = tokio::task::spawn_blocking(told).await.expect("explaining does not panic");
        told.ok_or_else(|| Problem::new(Code::Invalid, "after must be the value of `next` of a page"))
    }

    /// Refuses a program or referrer that nobody knows: neither this process nor what is stored.
    async fn known(&self, program: &ProgramId, referrer: Option<&str>) -> Result<(), Problem> {
        let is_known = self.access.knows_program(program.as_str())
            || self.ask(known::program(&self.client, program.as_str())).await?;
        if !is_known {
            return Err(Problem::new(Code::NotFound, "there is no such program, and no fact of one"));
        }
        let Some(referrer) = referrer else { return Ok(()) };
        let is_known = self.access.knows_referrer(program.as_str(), referrer)
            || self.ask(known::referrer(&self.client, program.as_str(), referrer)).await?;
        if is_known {
            return Ok(());
        }
        Err(Problem::new(Code::NotFound, "the program has no such referrer, and no fact of one"))
    }

    /// Waits for an answer, within the bounds of number and time.
    async fn ask<T>(
        &self,
        question: impl Future<Output = Result<T, crate::ask::AskError>>,
    ) -> Result<T, Problem> {
        let _place = self
            .places
            .try_acquire()
            .map_err(|_| Problem::new(Code::Busy, "as many questions run as may run at once; try again"))?;
        match timeout(self.timeout + GRACE, question).await {
            Ok(answered) => Ok(answered?),
            Err(_) => Err(Problem::new(Code::TimedOut, "clickhouse did not answer in time")),
        }
    }
}

/// An answer that is not to be kept by anybody.
fn json_response(body: &Value) -> Response<Full> {
    let mut response = Response::new(full(body.to_string()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
