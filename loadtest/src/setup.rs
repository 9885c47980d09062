//! Creates the world by the registry's API, and waits until the edge knows all of it.

use crate::{
    wire::{
        Connection, Failure, Target,
        calls::{CallError, call},
    },
    world::{
        DESTINATION_HOST, Link, LinkState, Model, Program, REWARD_CURRENCY, REWARD_RULE, REWARDED, World,
    },
};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, header::HOST, header::HeaderValue};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Records of one request; the API takes 10,000.
const RECORDS_PER_CALL: usize = 5_000;
/// How long the registry may take to reach the edge.
const VISIBLE_TIMEOUT: Duration = Duration::from_secs(30);
const VISIBLE_POLL: Duration = Duration::from_millis(50);
/// Answers in a row, each on a connection of its own, after which every thread of the edge knows the last
/// link: connections spread over them.
const VISIBLE_IN_A_ROW: u32 = 16;

/// Why the world could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The API could not be called or said no.
    #[error("the registry's API refused a change")]
    Call(#[from] CallError),
    /// Some of many records were refused.
    #[error("{refused} of {sent} records at {path} were refused, the first: {first}")]
    Refused {
        /// Where they were sent.
        path: String,
        /// How many were sent.
        sent: usize,
        /// How many were refused.
        refused: usize,
        /// What was said of the first.
        first: String,
    },
    /// The edge does not know the last link.
    #[error("the edge does not know the last link after {} s: {last}", VISIBLE_TIMEOUT.as_secs())]
    Invisible {
        /// What it answered last.
        last: String,
    },
}

/// Creates programs, referrers and links. `bearer` is the `authorization` header.
///
/// The last link made is a probe in a program of its own: once the edge redirects it, the edge knows all.
/// Clicks on the probe belong to no program of the world.
///
/// # Errors
/// See [`SetupError`]. Nothing is undone: programs carry the run's tag, so nobody else is in the way.
pub async fn set_up(
    world: &World,
    api: &Target,
    edge: &Target,
    bearer: &HeaderValue,
) -> Result<(), SetupError> {
    let registry = Registry { api, bearer };
    for (at, program) in world.programs.iter().enumerate() {
        registry.put_program(&program.id, &program_json(program)).await?;
        let referrers =
            program.referrers.iter().map(|id| json!({ "id": id, "name": format!("Referrer {id}") }));
        registry.create(&program.id, "referrers", referrers.collect()).await?;
        let own = |link: &&Link| usize::from(link.program) == at && link.state != LinkState::Missing;
        let links = world.links.iter().filter(own).map(|link| link_json(link, program));
        registry.create(&program.id, "links", links.collect()).await?;
    }
    let probe = registry.create_probe(world).await?;
    wait_until_visible(edge, &probe).await
}

struct Registry<'a> {
    api: &'a Target,
    bearer: &'a HeaderValue,
}

impl Registry<'_> {
    async fn put_program(&self, id: &str, program: &Value) -> Result<(), CallError> {
        let path = format!("/v1/programs/{id}");
        call(self.api, self.bearer, Method::PUT, &path, program).await.map(drop)
    }

    async fn create(&self, program: &str, what: &str, records: Vec<Value>) -> Result<(), SetupError> {
        let path = format!("/v1/programs/{program}/{what}");
        for records in records.chunks(RECORDS_PER_CALL) {
            let answer = call(self.api, self.bearer, Method::POST, &path, &records.into()).await?;
            let results = answer["results"].as_array().map_or(&[][..], Vec::as_slice);
            // What was there already is as good: a setup that was cut short may be repeated.
            let is_created =
                |result: &&Value| result["status"] == "created" || result["status"] == "unchanged";
            let created = results.iter().filter(is_created).count();
            if created != records.len() {
                let first = results.iter().find(|result| !is_created(result)).unwrap_or(&answer).to_string();
                let (sent, refused) = (records.len(), records.len() - created);
                return Err(SetupError::Refused { path, sent, refused, first });
            }
        }
        Ok(())
    }

    async fn create_probe(&self, world: &World) -> Result<Link, SetupError> {
        let program = format!("probe-{}", world.tag);
        let body = json!({ "destination_hosts": [DESTINATION_HOST], "channels": [] });
        self.put_program(&program, &body).await?;
        self.create(&program, "referrers", vec![json!({ "id": "probe" })]).await?;
        let probe = Link {
            code: format!("{}-probe", world.tag),
            destination: format!("https://{DESTINATION_HOST}/probe"),
            ..world.links[0].clone()
        };
        let link = json!({
            "host": probe.host,
            "code": probe.code,
            "referrer": "probe",
            "destination": probe.destination,
        });
        self.create(&program, "links", vec![link]).await?;
        Ok(probe)
    }
}

fn program_json(program: &Program) -> Value {
    json!({
        "name": format!("Load test {}", program.id),
        "destination_hosts": [DESTINATION_HOST],
        "channels": program.channels,
        "model": match program.model {
            Model::LastTouch => "last_touch",
            Model::FirstTouch => "first_touch",
        },
        "window_ms": program.window_ms,
        "consent": "cookie",
        "rewards": match program.reward_minor {
            0 => json!([]),
            minor => json!([{
                "id": REWARD_RULE, "for": "referrer", "qualification": REWARDED, "currency": REWARD_CURRENCY, "fixed_minor": minor,
                // None is approved by its day, so that nothing moves once all is stored.
                "hold_days": 14,
            }]),
        },
    })
}

fn link_json(link: &Link, program: &Program) -> Value {
    json!({
        "host": link.host,
        "code": link.code,
        "referrer": program.referrers[link.referrer as usize],
        "channel": program.channels[usize::from(link.channel)],
        "destination": link.destination,
        "disabled": link.state == LinkState::Disabled,
        "passthrough": link.passthrough,
        "channel_override": link.channel_override,
        "test": link.test,
    })
}

async fn wait_until_visible(edge: &Target, probe: &Link) -> Result<(), SetupError> {
    let deadline = Instant::now() + VISIBLE_TIMEOUT;
    let mut in_a_row = 0;
    loop {
        let last = match ask(edge, probe, deadline).await {
            Ok(status) if (300..400).contains(&status) => {
                in_a_row += 1;
                if in_a_row == VISIBLE_IN_A_ROW {
                    return Ok(());
                }
                continue;
            }
            Ok(status) => format!("status {status}"),
            Err(failure) => failure.to_string(),
        };
        in_a_row = 0;
        if Instant::now() >= deadline {
            return Err(SetupError::Invisible { last });
        }
        sleep(VISIBLE_POLL).await;
    }
}

async fn ask(edge: &Target, probe: &Link, deadline: Instant) -> Result<u16, Failure> {
    let request = Request::builder()
        .uri(format!("/{}", probe.code))
        .header(HOST, &probe.host)
        .header("user-agent", "curl/8.5.0")
        .header("connection", "close")
        .body(Full::new(Bytes::new()))
        .expect("codes and hosts are plain");
    Ok(Connection::open(edge, deadline).await?.exchange(request, deadline).await?.status.as_u16())
}
