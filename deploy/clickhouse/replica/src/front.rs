//! What clients of a replica talk to: statements with `ON CLUSTER` go to every replica, all others to the engine of
//! this process, as they are.
//!
//! As a server does, it answers with error 159 when a replica that is away has not run such a statement in time, and
//! has it run it once it is back.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, HOST, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use uuid::Uuid;

use crate::asking::{Answer, Engine};
use crate::parts::Parts;
use crate::rewrite::{Rewritten, rewrite};

/// Where the number of statements that were sent to a cluster is told.
pub const COUNT_PATH: &str = "/statements-on-cluster";
/// Before the name of a table whose parts no other replica gets from here on.
pub const KEEP_PATH: &str = "/keep-parts-of/";
/// How long a replica may be away before the client is told so; a server waits for three minutes.
const AWAY_MAX: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_millis(200);

type Body = BoxBody<Bytes, hyper::Error>;

/// The front of one replica.
pub struct Front {
    /// Where the engine of this process listens.
    engine: String,
    /// All replicas, this one included.
    replicas: Vec<Engine>,
    client: Client<HttpConnector, Body>,
    /// Where this replica is among them.
    own: usize,
    on_cluster: AtomicU64,
    parts: Arc<Parts>,
}

impl Front {
    pub fn new(engine: &str, replicas: Vec<Engine>, own: usize, parts: Arc<Parts>) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { engine: engine.to_owned(), replicas, client, own, on_cluster: AtomicU64::new(0), parts }
    }

    /// Answers one request.
    pub async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        if request.uri().path() == COUNT_PATH {
            return Ok(Response::new(whole(self.on_cluster.load(Ordering::Relaxed).to_string())));
        }
        if let Some(table) = request.uri().path().strip_prefix(KEEP_PATH) {
            return Ok(match self.parts.keep(table).await {
                Ok(()) => Response::new(whole("kept")),
                Err(error) => failed(StatusCode::BAD_REQUEST, &error),
            });
        }
        let (head, body) = request.into_parts();
        let is_statement =
            head.method == Method::POST && !head.uri.query().unwrap_or_default().contains("query=");
        if !is_statement {
            return Ok(self.forward(Request::from_parts(head, body.boxed())).await);
        }
        let Ok(body) = body.collect().await else { return Ok(failed(StatusCode::BAD_REQUEST, "no body")) };
        let body = body.to_bytes();
        if let Some(rewritten) = std::str::from_utf8(&body).ok().and_then(|sql| rewrite(sql, Uuid::new_v4()))
        {
            self.on_cluster.fetch_add(1, Ordering::Relaxed);
            let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
            return Ok(self.distribute(path, rewritten).await);
        }
        Ok(self.forward(Request::from_parts(head, whole(body))).await)
    }

    async fn forward(&self, request: Request<Body>) -> Response<Body> {
        let (mut head, body) = request.into_parts();
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        head.uri = format!("{}{path}", self.engine).parse().expect("a path behind an address is a URL");
        head.headers.remove(HOST);
        match self.client.request(Request::from_parts(head, body)).await {
            Ok(answer) => answer.map(BodyExt::boxed),
            Err(error) => failed(StatusCode::BAD_GATEWAY, &error.to_string()),
        }
    }

    async fn distribute(&self, path: &str, statement: Rewritten) -> Response<Body> {
        let Rewritten { sql, is_for_all } = statement;
        let own = &self.replicas[self.own];
        if !is_for_all {
            // The others have taken it over when it is answered, if they are there.
            let sign = if path.contains('?') { '&' } else { '?' };
            return answered(own.post(&format!("{path}{sign}alter_sync=2"), &sql).await);
        }
        let mut away = 0;
        let mut last = None;
        for replica in &self.replicas {
            let run =
                tokio::time::timeout(AWAY_MAX, until_reached(replica.clone(), path.to_owned(), sql.clone()));
            match run.await {
                Ok(answer) if answer.status != StatusCode::OK => return answered(Ok(answer)),
                Ok(answer) => last = Some(answer),
                Err(_) => {
                    away += 1;
                    tokio::spawn(until_reached(replica.clone(), path.to_owned(), sql.clone()));
                }
            }
        }
        match last {
            Some(answer) if away == 0 => answered(Ok(answer)),
            _ => {
                let total = self.replicas.len();
                let text = format!(
                    "Code: 159. DB::Exception: Distributed DDL task is not finished on {away} of {total} hosts. \
                     They are going to execute the query in background. (TIMEOUT_EXCEEDED)"
                );
                failed(StatusCode::INTERNAL_SERVER_ERROR, &text)
            }
        }
    }
}

/// Sends a statement to a replica until somebody answers.
async fn until_reached(replica: Engine, path: String, sql: String) -> Answer {
    loop {
        match replica.post(&path, &sql).await {
            Ok(answer) => return answer,
            Err(_) => tokio::time::sleep(AGAIN).await,
        }
    }
}

fn answered(answer: Result<Answer, String>) -> Response<Body> {
    match answer {
        Ok(Answer { status, mut headers, body }) => {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
            headers.remove("transfer-encoding");
            let mut response = Response::new(whole(body));
            *response.status_mut() = status;
            *response.headers_mut() = headers;
            response
        }
        Err(reason) => failed(StatusCode::BAD_GATEWAY, &reason),
    }
}

fn failed(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(whole(text.to_owned()));
    *response.status_mut() = status;
    response
}

fn whole(body: impl Into<Bytes>) -> Body {
    Full::new(body.into()).map_err(|never| match never {}).boxed()
}
