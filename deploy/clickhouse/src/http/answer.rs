//! One request after another: who asks, what for, and who answers it.

use std::sync::Arc;
use std::time::Instant;

use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use metrics::{counter, histogram};

use super::asked::Asked;
use super::body::{self, Share, Whole};
use super::form;
use super::places::ConnectionSlot;
use super::reply::{About, Body, Failure, plain};
use super::request::Ask;
use super::server::Server;
use super::text::Text;
use super::{insert, query};
use crate::codec::ResponseCoding;
use crate::engine::Exception;
use crate::metrics::{NOT_ALLOWED, REQUEST_SECONDS, REQUESTS, TURNED_AWAY};
use crate::rights::Identity;
use crate::sql::{Statement, check_settings};

/// A request that was read and may be answered.
struct Read {
    ask: Ask,
    text: Text,
    share: Share,
}

impl Server {
    /// Answers one request of the connection in `place`.
    pub async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        place: &ConnectionSlot,
    ) -> Response<Body> {
        match (request.method(), request.uri().path()) {
            (&Method::GET | &Method::HEAD, "/ping" | "/replicas_status") => plain(StatusCode::OK, "Ok.\n"),
            (&Method::GET | &Method::HEAD, "/") if request.uri().query().is_none() => {
                plain(StatusCode::OK, "Ok.\n")
            }
            (&Method::GET | &Method::POST, "/") => {
                match self.site.check(request.method(), request.uri(), request.headers()) {
                    Ok(()) => self.ask(request, place).await,
                    Err(refusal) => {
                        counter!(TURNED_AWAY, "reason" => refusal.label()).increment(1);
                        plain(refusal.status(), refusal.text())
                    }
                }
            }
            (_, "/") => plain(StatusCode::METHOD_NOT_ALLOWED, "Only GET and POST are served.\n"),
            _ => plain(StatusCode::NOT_FOUND, "There is no handle for this path.\n"),
        }
    }

    async fn ask(self: Arc<Self>, request: Request<Incoming>, place: &ConnectionSlot) -> Response<Body> {
        let started = Instant::now();
        let mut about = About {
            query_id: String::new(),
            version: self.engine.version().to_owned(),
            time_zone: self.time_zone.clone(),
            coding: ResponseCoding::Identity,
        };
        let mut kind = "other";
        let outcome = match Ask::read(&request) {
            Ok(ask) => {
                about.query_id.clone_from(&ask.query_id);
                about.coding = ask.response_coding;
                self.statement(ask, &about, request.into_body(), &mut kind, place).await
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
        ask: Ask,
        about: &About,
        body: Incoming,
        kind: &mut &'static str,
        place: &ConnectionSlot,
    ) -> Result<Response<Body>, Failure> {
        let identity = self.identify(&ask, place)?;
        let whole = body::read(body, ask.request_coding, self.body_limits(identity)).await?;
        // The reader's texts are read in its places: reading takes time and memory, too.
        let taken = match identity {
            Identity::Owner => None,
            Identity::Reader => Some(self.reader.enter().await?),
        };
        let server = Arc::clone(self);
        let reading = self.blocking.spawn_blocking(move || server.read(ask, whole, identity));
        let read = reading.await.expect("reading a statement does not panic");
        let Read { ask, text: Text { statement, verdict, rows }, share } = read.inspect_err(|failure| {
            if matches!(failure.exception.code, 452 | 497) {
                counter!(NOT_ALLOWED, "identity" => identity.label()).increment(1);
            }
        })?;
        let asked = Asked { ask: &ask, identity, taken };
        match statement {
            Statement::Empty => Ok(plain(StatusCode::OK, "")),
            Statement::Output(output) => {
                *kind = "query";
                query::run(self, asked, about.clone(), &output).await
            }
            Statement::Insert(insert) => {
                *kind = "insert";
                let rows = insert::Rows { rows, share };
                insert::run(self, asked, about, (&insert, verdict.action.target()), rows).await
            }
            Statement::Command { sql, format } => {
                *kind = "command";
                let command = insert::Command { sql, format, action: &verdict.action };
                insert::command(self, asked, about, command).await
            }
        }
    }

    /// Reads what is asked and whether it may be; blocks, for texts can be long and the engine is asked, too.
    fn read(&self, mut ask: Ask, mut whole: Whole, identity: Identity) -> Result<Read, Failure> {
        if let Some(boundary) = &ask.form {
            for (name, value) in form::fields(&whole.chunks, boundary)? {
                ask.said.take(&name, value)?;
            }
            (whole.chunks, whole.bytes) = (Vec::new(), 0);
        }
        let bytes_max = match identity {
            Identity::Owner => self.limits.statement_bytes_max,
            Identity::Reader => self.limits.reader_statement_bytes_max.min(self.limits.statement_bytes_max),
        };
        ask.said.check_known(|name| self.engine.has_setting(name))?;
        check_settings(&mut ask.said.settings, identity, &self.setting_limits)?;
        let text = Text::new(&ask.said.query, &whole, bytes_max, &self.rules(&ask, identity)?)?;
        self.check_views(&text.verdict.views)?;
        if identity == Identity::Reader {
            self.agree(&text.statement)?;
        }
        Ok(Read { ask, text, share: whole.share })
    }

    /// Who asks; their connection is theirs from now on.
    fn identify(&self, ask: &Ask, place: &ConnectionSlot) -> Result<Identity, Failure> {
        let identity = self.accounts.identify(&ask.credentials).inspect_err(|_| {
            counter!(TURNED_AWAY, "reason" => "credentials").increment(1);
        })?;
        if place.belongs_to(identity) {
            return Ok(identity);
        }
        let message = "Too many connections of this account have statements in progress";
        Err(Failure {
            exception: Exception::new(202, "TOO_MANY_SIMULTANEOUS_QUERIES", message),
            status: StatusCode::SERVICE_UNAVAILABLE,
        })
    }
}
