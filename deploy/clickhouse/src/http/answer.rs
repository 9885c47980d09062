//! One request after another: who asks, what for, and who answers it.

use std::sync::Arc;
use std::time::Instant;

use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use metrics::{counter, histogram};

use super::body;
use super::form;
use super::reply::{About, Body, Failure, plain};
use super::request::Ask;
use super::server::Server;
use super::text::Text;
use super::{insert, query};
use crate::codec::ResponseCoding;
use crate::metrics::{REQUEST_SECONDS, REQUESTS};
use crate::sql::Statement;

impl Server {
    /// Answers one request.
    pub async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        match (request.method(), request.uri().path()) {
            (&Method::GET | &Method::HEAD, "/ping" | "/replicas_status") => plain(StatusCode::OK, "Ok.\n"),
            (&Method::GET | &Method::HEAD, "/") if request.uri().query().is_none() => {
                plain(StatusCode::OK, "Ok.\n")
            }
            (&Method::GET | &Method::POST, "/") => self.ask(request).await,
            (_, "/") => plain(StatusCode::METHOD_NOT_ALLOWED, "Only GET and POST are served.\n"),
            _ => plain(StatusCode::NOT_FOUND, "There is no handle for this path.\n"),
        }
    }

    async fn ask(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        let started = Instant::now();
        let mut about = About {
            query_id: String::new(),
            version: self.engine.version().to_owned(),
            time_zone: self.time_zone.clone(),
            coding: ResponseCoding::Identity,
        };
        let mut kind = "other";
        let outcome = match Ask::read(&request) {
            Ok(mut ask) => {
                about.query_id.clone_from(&ask.query_id);
                about.coding = ask.response_coding;
                self.statement(&mut ask, &about, request.into_body(), &mut kind).await
            }
            Err(failure) => Err(failure),
        };
        histogram!(REQUEST_SECONDS, "kind" => kind).record(started.elapsed());
        let label = match &outcome {
            Ok(_) => "ok",
            Err(failure) if failure.status == StatusCode::SERVICE_UNAVAILABLE => "refused",
            Err(_) => "exception",
        };
        counter!(REQUESTS, "kind" => kind, "outcome" => label).increment(1);
        outcome.unwrap_or_else(|failure| {
            let code = failure.exception.code;
            tracing::debug!(kind, code, query_id = about.query_id, "statement failed");
            about.failed(&failure)
        })
    }

    async fn statement(
        self: &Arc<Self>,
        ask: &mut Ask,
        about: &About,
        body: Incoming,
        kind: &mut &'static str,
    ) -> Result<Response<Body>, Failure> {
        self.account.check(&ask.credentials)?;
        let mut whole = body::read(body, ask.request_coding, &self.limits, &self.budget).await?;
        if let Some(boundary) = &ask.form {
            for (name, value) in form::fields(&whole.chunks, boundary)? {
                ask.said.take(&name, value);
            }
            (whole.chunks, whole.bytes) = (Vec::new(), 0);
        }
        let Text { text, statement, rows } =
            Text::new(&ask.said.query, &whole, self.limits.statement_bytes_max)?;
        let share = whole.share;
        drop(whole.chunks);
        match statement {
            Statement::Empty => Ok(plain(StatusCode::OK, "")),
            Statement::Output(output) => {
                *kind = "query";
                query::run(self, ask, about.clone(), &text, &output).await
            }
            Statement::Insert(insert) => {
                *kind = "insert";
                insert::run(self, ask, about, &text, &insert, rows, share).await
            }
            Statement::Command { span } => {
                *kind = "command";
                insert::command(self, ask, about, &text[span]).await
            }
        }
    }
}
