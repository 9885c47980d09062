//! The OpenAPI document and the JSON Schemas of events, as they stand in `schemas/json`. Tests hold the API
//! to them; a new route starts with its path there.

use super::{
    events::kind::Kind,
    problem::{Code, Problem},
};
use hyper::{
    Response,
    header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
};
use whence_runtime::http::{Full, full};

macro_rules! file {
    ($name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../schemas/json/", $name))
    };
}

const DOCUMENT: &str = file!("openapi.json");

/// `GET /v1/openapi.json`
pub(super) fn document() -> Response<Full> {
    json("application/json", DOCUMENT)
}

/// `GET /v1/schemas/NAME`, where the name is a kind of event's word with `.json`.
pub(super) fn schema(name: &str) -> Result<Response<Full>, Problem> {
    let kind = name.strip_suffix(".json").and_then(Kind::of);
    let kind = kind.ok_or_else(|| Problem::new(Code::NotFound, "there is no schema of this name"))?;
    Ok(json("application/schema+json", text(kind)))
}

fn text(kind: Kind) -> &'static str {
    match kind {
        Kind::Lead => file!("lead.json"),
        Kind::Qualification => file!("qualification.json"),
        Kind::Disqualification => file!("disqualification.json"),
        Kind::Reinstatement => file!("reinstatement.json"),
        Kind::Participant => file!("participant.json"),
        Kind::Share => file!("share.json"),
        Kind::Identify => file!("identify.json"),
        Kind::RewardDecision => file!("reward_decision.json"),
        Kind::Erasure => file!("erasure.json"),
    }
}

fn json(content_type: &'static str, text: &'static str) -> Response<Full> {
    let mut response = Response::new(full(text));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=300"));
    response
}
