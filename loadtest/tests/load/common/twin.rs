//! A tiny whence in memory: it answers like an edge and an events API, and stores what it was told as
//! ClickHouse would show it. It is what the generator and the oracle are tested against; it can be made to
//! break its promises.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{HeaderMap, Method, Request, Response, StatusCode, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::net::TcpListener;
use whence_loadtest::{ledger::Id, oracle::identity::event_id};

pub const KEY: &str = "whk_admin_secret";

#[derive(Clone, Debug)]
pub struct Link {
    pub program: String,
    pub referrer: String,
    pub channel: String,
    destination: String,
    disabled: bool,
    channel_override: bool,
    pub test: bool,
}

/// A click as it was recorded.
#[derive(Clone, Debug)]
pub struct Click {
    pub id: Id,
    pub key: String,
    pub link: Link,
    pub channel: String,
    pub verdict: &'static str,
}

/// An event as it was accepted, its order being that of the list.
#[derive(Clone, Debug)]
pub struct Event {
    pub id: Id,
    pub json: Value,
}

#[derive(Default)]
pub struct Records {
    pub programs: BTreeMap<String, Value>,
    pub links: BTreeMap<String, Link>,
    pub clicks: Vec<Click>,
    pub tokens: HashMap<String, usize>,
    pub events: Vec<Event>,
}

/// How the twin breaks its promises.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Every so many requests the connection dies after the request was recorded; 0: never.
    pub dies_after_recording: u64,
    /// The same before anything was recorded.
    pub dies_before_recording: u64,
}

#[derive(Clone)]
pub struct Twin {
    pub records: Arc<Mutex<Records>>,
    faults: Faults,
    requests: Arc<AtomicU64>,
    pub address: SocketAddr,
}

impl Twin {
    pub async fn start(faults: Faults) -> Twin {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let twin = Twin { records: Arc::default(), faults, requests: Arc::default(), address };
        let serving = twin.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let twin = serving.clone();
                let service = service_fn(move |request| twin.clone().serve(request));
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                tokio::spawn(async move {
                    // Clients that go, and answers that are withheld, are what the tests are about.
                    let _ended = connection.await;
                });
            }
        });
        twin
    }

    /// `Err` closes the connection without an answer.
    async fn serve(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, &'static str> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| "no body")?.to_bytes();
        let is_load = !head.uri.path().starts_with("/v1/programs") && !head.uri.path().ends_with("-probe");
        let number = if is_load { self.requests.fetch_add(1, Ordering::Relaxed) + 1 } else { 1 };
        let dies = |every: u64| every != 0 && number % every == 0;
        if dies(self.faults.dies_before_recording) {
            return Err("died");
        }
        let answered = match head.uri.path() {
            path if path.starts_with("/v1/") => self.api(&head.method, path, &head.headers, &body),
            path => Ok(self.edge(&head.method, path, head.uri.query().unwrap_or_default(), &head.headers)),
        };
        let answer =
            answered.unwrap_or_else(|(status, detail)| json_answer(status, &json!({ "detail": detail })));
        if dies(self.faults.dies_after_recording) { Err("died") } else { Ok(answer) }
    }

    fn edge(&self, method: &Method, path: &str, query: &str, headers: &HeaderMap) -> Response<Full<Bytes>> {
        let mut records = self.records.lock().unwrap();
        let key = format!("{}{path}", headers["host"].to_str().unwrap());
        let page = |status| Response::builder().status(status).body(Full::default()).unwrap();
        let Some(link) = records.links.get(&key).cloned() else { return page(404) };
        let allowed = &records.programs[&link.program]["channels"];
        let named = query.split('&').find_map(|part| part.strip_prefix("c="));
        let is_allowed = |name: &&str| allowed.as_array().unwrap().iter().any(|channel| channel == name);
        let channel = named.filter(|_| link.channel_override).filter(is_allowed).unwrap_or(&link.channel);
        let is_disabled = link.disabled;
        let verdict = if is_disabled { "inactive" } else { verdict(method, headers) };
        // The last byte says whether it is a person's click.
        let id = uuid::Uuid::now_v7().as_u128() & !0xff;
        let id = Id(id | u128::from(verdict == "human"));
        let (channel, destination) = (channel.to_owned(), link.destination.clone());
        records.clicks.push(Click { id, key, link, channel, verdict });
        if is_disabled {
            return page(410);
        }
        let mut token = [1u8; 46];
        token[2..18].copy_from_slice(&id.0.to_be_bytes());
        token[18..34].copy_from_slice(&rand::random::<[u8; 16]>());
        let token = URL_SAFE_NO_PAD.encode(token);
        let at = records.clicks.len() - 1;
        records.tokens.insert(token.clone(), at);
        let (before, fragment) = destination.split_once('#').unwrap_or((&destination, ""));
        let separator = if before.contains('?') { '&' } else { '?' };
        let mark = if fragment.is_empty() { "" } else { "#" };
        Response::builder()
            .status(302)
            .header("location", format!("{before}{separator}wclid={token}{mark}{fragment}"))
            .header("set-cookie", "visitor=abc; Path=/; HttpOnly")
            .body(Full::default())
            .unwrap()
    }

    fn api(&self, method: &Method, path: &str, headers: &HeaderMap, body: &[u8]) -> Answered {
        if headers["authorization"] != format!("Bearer {KEY}") {
            return Err((401, "key"));
        }
        let segments: Vec<&str> = path.split('/').collect();
        if path == "/v1/events" {
            let is_lines = headers["content-type"] == "application/x-ndjson";
            return self.events(body, is_lines);
        }
        let json: Value = serde_json::from_slice(body).map_err(|_| (400, "json"))?;
        let mut records = self.records.lock().unwrap();
        match (method.as_str(), &segments[3..]) {
            ("PUT", [program]) => {
                records.programs.insert((*program).to_owned(), json);
                Ok(json_answer(201, &json!({})))
            }
            ("POST", [program, what]) => {
                for record in json.as_array().ok_or((400, "array"))? {
                    if *what == "links" {
                        let (key, link) = link(program, record);
                        if records.links.insert(key, link).is_some() {
                            return Err((409, "taken"));
                        }
                    }
                }
                let results = vec![json!({ "status": "created" }); json.as_array().unwrap().len()];
                Ok(json_answer(201, &json!({ "results": results })))
            }
            _ => Err((404, "path")),
        }
    }

    fn events(&self, body: &[u8], is_lines: bool) -> Answered {
        let text = std::str::from_utf8(body).unwrap();
        let is_array = text.starts_with('[');
        let lines: Vec<Value> = if is_array {
            serde_json::from_str(text).map_err(|_| (400, "json"))?
        } else {
            text.lines().map(serde_json::from_str).collect::<Result<_, _>>().map_err(|_| (400, "json"))?
        };
        let mut results: Vec<Value> = lines.into_iter().map(|event| self.event(event)).collect();
        if !is_array && !is_lines {
            let result = results.pop().unwrap();
            let status = result["error"]["status"].as_u64().unwrap_or(202) as u16;
            return Ok(json_answer(status, &result));
        }
        Ok(json_answer(207, &json!({ "results": results })))
    }

    fn event(&self, event: Value) -> Value {
        let mut records = self.records.lock().unwrap();
        match check(&records, &event) {
            Err(detail) => json!({ "error": { "status": 422, "detail": detail } }),
            Ok(()) => {
                let id = event_id(
                    event["program"].as_str().unwrap(),
                    event["type"].as_str().unwrap(),
                    event["id"].as_str().unwrap(),
                );
                records.events.push(Event { id, json: event });
                json!({ "id": id.to_string(), "status": "accepted" })
            }
        }
    }
}

type Answered = Result<Response<Full<Bytes>>, (u16, &'static str)>;

fn json_answer(status: u16, body: &Value) -> Response<Full<Bytes>> {
    let status = StatusCode::from_u16(status).unwrap();
    Response::builder().status(status).body(Full::from(body.to_string())).unwrap()
}

fn link(program: &str, record: &Value) -> (String, Link) {
    let text = |field: &str| record[field].as_str().unwrap_or_default().to_owned();
    let flag = |field: &str| record[field].as_bool().unwrap_or_default();
    let link = Link {
        program: program.to_owned(),
        referrer: text("referrer"),
        channel: text("channel"),
        destination: text("destination"),
        disabled: flag("disabled"),
        channel_override: flag("channel_override"),
        test: flag("test"),
    };
    (format!("{}/{}", text("host"), text("code")), link)
}

fn verdict(method: &Method, headers: &HeaderMap) -> &'static str {
    let agent = headers["user-agent"].to_str().unwrap().to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| agent.contains(word));
    if method == Method::HEAD {
        "head"
    } else if ["sec-purpose", "purpose", "x-moz"].iter().any(|name| headers.contains_key(*name)) {
        "prefetch"
    } else if has(&[
        "whatsapp",
        "slackbot",
        "facebookexternal",
        "twitterbot",
        "linkedinbot",
        "telegram",
        "discord",
    ]) {
        "preview"
    } else if has(&["bot", "curl", "python"]) {
        "bot"
    } else {
        "human"
    }
}

fn check(records: &Records, event: &Value) -> Result<(), &'static str> {
    let program = event["program"].as_str().ok_or("program")?;
    records.programs.get(program).ok_or("unknown program")?;
    event["id"].as_str().ok_or("no id")?;
    if event.get("colour").is_some() {
        return Err("unknown field");
    }
    let occurred_at_ms = event["occurred_at"].as_i64().ok_or("time")?;
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    if occurred_at_ms > now_ms + 300_000 {
        return Err("future");
    }
    let window_ms = records.programs[program]["window_ms"].as_i64().unwrap();
    for touch in event["touches"].as_array().into_iter().flatten() {
        if let Some(token) = touch["token"].as_str() {
            // One that is damaged proves nothing, and costs no lead.
            let Some(click) = records.tokens.get(token) else { continue };
            let click = &records.clicks[*click];
            if click.link.program != program || occurred_at_ms - click.id.at_ms() > window_ms {
                return Err("foreign or expired");
            }
        } else {
            let code = touch["code"].as_str().ok_or("touch")?;
            let suffix = format!("/{code}");
            let link = records.links.iter().find(|(key, _)| key.ends_with(&suffix)).ok_or("code")?.1;
            if link.program != program || link.disabled {
                return Err("foreign or inactive code");
            }
        }
    }
    Ok(())
}
