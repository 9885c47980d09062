//! What providers call: `POST /v1/webhooks/P/S` and `GET /v1/postback/P`. No API key: a delivery proves
//! itself by its provider's signature with a secret that the source `S` of the program names.
//!
//! | module | what it does |
//! |---|---|
//! | [`self`] | verify, translate, take, answer |
//! | [`touches`] | leaves out touches that prove nothing |
//! | [`personal`] | takes lead ids that are addresses as addresses |
//! | [`dead_letters`] | what is kept of deliveries that became no event |
//! | [`form`] | sources and their mappings |
//! | [`dry_run`] | what a payload would become |
//!
//! A provider is answered 200 when every event of its delivery is on the disk, or understood and not
//! wanted and a letter about it on the disk, so that it does not send what would end the same way again; 503 where a later try may go
//! better; 401 where it proves nothing. A postback is answered 422 where it can't be used: its sender
//! shows that to a person.

pub(super) mod dead_letters;
pub(super) mod dry_run;
pub(super) mod form;
mod personal;
mod touches;

use super::{
    Api,
    auth::{Caller, Scope},
    batch::{Outcome, json_response},
    call::Call,
    events::draft::Context,
    json::Fields,
    problem::{Code, Problem},
};
use crate::webhooks::{
    Delivery, NamedSecrets, Provider, ProviderEvent, Refusal, Translated, Unreadable,
    providers::SALESFORCE_ACK, secrets, translate,
};
use dead_letters::{DeadLetter, DeadLetterQuota, Of};
use hyper::{
    HeaderMap, Response, StatusCode, Uri,
    header::{CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue},
};
use serde_json::{Value, json};
use std::{borrow::Cow, fmt::Display, sync::Arc};
use whence_runtime::{
    http::{Full, full},
    seldom,
    shares::Prefix,
};
use whence_schemas::event::WebhookSource;

whence_metrics::declare! {
    /// Deliveries of providers, by what became of them.
    counter WEBHOOK_DELIVERIES: "whence_webhook_deliveries_total" { provider, outcome };
    /// Events in proved deliveries, by what became of them.
    counter WEBHOOK_EVENTS: "whence_webhook_events_total" { provider, outcome };
    /// Parts of providers' events that could not be read.
    counter WEBHOOK_LEFT_OUT: "whence_webhook_left_out_total" { what };
}

/// The source of a program that answers for postbacks.
pub(super) const POSTBACK: &str = "postback";

/// What webhooks need beside the intake.
pub(super) struct Webhooks {
    /// The secrets that sources name.
    pub secrets: Arc<NamedSecrets>,
    /// Bounds the dead letters.
    pub letters: DeadLetterQuota,
}

impl Webhooks {
    /// Complains about names of secrets of this program that this process was not given: one could be anything's, and
    /// would be missed when the first delivery comes. What is right is left in its short form.
    pub(super) fn check_secrets(&self, fields: &mut Fields<'_>, program: &str, names: &mut [String]) {
        for (index, name) in names.iter_mut().enumerate() {
            *name = secrets::short(program, name).to_owned();
            if secrets::is_name(name) && self.secrets.get(program, name).is_none() {
                // Not repeated: it may be a secret that was given by mistake.
                let reason = format_args!(
                    "is not a secret that this process was given for the program: put {program}/NAME=SECRET into \
                     webhook-secrets-file and start again"
                );
                fields.wrong(&format!("secrets[{index}]"), Code::Invalid, reason);
            }
        }
    }
}

/// What became of a delivery's events.
#[derive(Default)]
struct Tally {
    accepted: usize,
    unmapped: usize,
    unusable: Vec<&'static str>,
    /// Events that are understood and ask for nothing.
    without_effect: usize,
    /// Parts that could not be read.
    left_out: Vec<&'static str>,
    /// The first event that is to be tried again.
    retry: Option<Problem>,
    /// What is kept of those that became nothing.
    letters: Vec<DeadLetter>,
}

/// `POST /v1/webhooks/P/S`, and `GET /v1/postback/P`, whose query is its body.
pub(super) async fn receive(
    api: &Api,
    method: &str,
    uri: &Uri,
    call: Call,
    program: &str,
    id: &str,
) -> Result<Response<Full>, Problem> {
    let network = call.network;
    let source = known_source(api, program, id).map_err(|problem| api.unproved(network, problem))?;
    let provider = Provider::of(&source.provider)
        .filter(|provider| (*provider == Provider::Postback) == (method == "GET"))
        .ok_or_else(|| api.unproved(network, Problem::new(Code::NotFound, "there is no such source")))?;
    let (headers, query) = (call.headers.clone(), call.query.clone());
    let head = Delivery {
        method,
        uri: address(uri, &headers),
        query: query.as_deref(),
        headers: &headers,
        body: b"",
        now: (api.intake.clock)(),
    };
    let declared = call.declared_bytes().unwrap_or(0);
    let mut received =
        Received { api, source: &source, provider, network, delivery: head, body_bytes: declared };
    // Who can prove nothing is not listened to.
    let secrets = received.secrets()?;
    if !provider.is_signed(&received.delivery, &source) {
        return Err(received.refused(Refusal::Unsigned, Of::Unproved(network)).await);
    }
    let (body, _room) = api.read_unproved_body(call).await?;
    received.delivery.body = &body;
    received.body_bytes = body.len();
    let events = received.events(&secrets).await?;
    let tally = received.take(&events).await;
    if let Some(problem) = tally.retry {
        received.count("retry");
        return Err(problem);
    }
    received.count("accepted");
    if provider == Provider::Postback
        && let Some(why) = tally.unusable.first()
    {
        let hint = events.iter().find_map(|event| provider.hint(event));
        let hint = hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
        return Err(Problem::new(Code::Invalid, format_args!("the postback can't be used: {why}{hint}")));
    }
    Ok(received.answer(&tally))
}

/// The source, if it is there and takes something.
fn known_source(api: &Api, program: &str, id: &str) -> Result<WebhookSource, Problem> {
    let source = api.registry.shared().read().source(program, id).cloned();
    source.filter(|source| !source.disabled).ok_or_else(|| {
        metrics::counter!(WEBHOOK_DELIVERIES, "provider" => "unknown", "outcome" => "no_source").increment(1);
        api.missing("source", id)
    })
}

/// The address that the provider called, as far as it can be seen behind proxies: some sign it.
fn address<'a>(uri: &Uri, headers: &HeaderMap) -> Cow<'a, str> {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    Cow::Owned(format!("https://{host}{path}"))
}

/// Who acts for a source: it may report what has happened in its program, and nothing else.
fn caller(source: &WebhookSource) -> Caller {
    Caller::of(&source.program, &[Scope::EventsWrite])
}

struct Received<'a> {
    api: &'a Api,
    source: &'a WebhookSource,
    provider: Provider,
    network: Prefix,
    delivery: Delivery<'a>,
    /// Its body's size, or while that is unread what is declared.
    body_bytes: usize,
}

impl<'a> Received<'a> {
    fn count(&self, outcome: &'static str) {
        let provider = self.provider.word();
        metrics::counter!(WEBHOOK_DELIVERIES, "provider" => provider, "outcome" => outcome).increment(1);
    }

    fn count_event(&self, outcome: &'static str) {
        let provider = self.provider.word();
        metrics::counter!(WEBHOOK_EVENTS, "provider" => provider, "outcome" => outcome).increment(1);
    }

    /// Those of the source's secrets that this process has.
    fn secrets(&self) -> Result<Vec<&'a [u8]>, Problem> {
        let secrets: Vec<&[u8]> = self
            .source
            .secrets
            .iter()
            .filter_map(|name| self.api.webhooks.secrets.get(&self.source.program, name))
            .collect();
        if secrets.is_empty() {
            return Err(self.secret_missing("this process has none of the source's secrets"));
        }
        Ok(secrets)
    }

    fn secret_missing(&self, detail: &str) -> Problem {
        self.count("secret_missing");
        Problem::new(Code::SecretMissing, detail)
    }

    /// The events of a delivery that proves itself.
    async fn events(&self, secrets: &[&[u8]]) -> Result<Vec<ProviderEvent>, Problem> {
        if let Err(refusal) = self.provider.verify(&self.delivery, self.source, secrets) {
            let is_for_lack = matches!(refusal, Refusal::Forged | Refusal::Secret);
            if is_for_lack && secrets.len() < self.source.secrets.len() {
                return Err(self.secret_missing("this process lacks one of the source's secrets"));
            }
            return Err(self.refused(refusal, Of::Unproved(self.network)).await);
        }
        match self.provider.events(&self.delivery, self.source) {
            Ok(events) => Ok(events),
            Err(Unreadable::Refused(refusal)) => Err(self.refused(refusal, Of::Unreadable).await),
            Err(error) => {
                self.count("unreadable");
                self.note("unreadable", Of::Unreadable).await;
                let code = if error == Unreadable::TooMany { Code::TooLarge } else { Code::Malformed };
                Err(Problem::new(code, error))
            }
        }
    }

    async fn refused(&self, refusal: Refusal, of: Of) -> Problem {
        self.count(refusal.tag());
        let problem = Problem::new(Code::Unproved, refusal);
        let problem = match of {
            Of::Unproved(network) => self.api.unproved(network, problem),
            _ => problem,
        };
        // Who has used up a share gets no letter either.
        if problem.code == Code::Unproved {
            self.note(refusal.tag(), of).await;
        }
        problem
    }

    /// Translates events and takes what they become.
    async fn take(&self, events: &[ProviderEvent]) -> Tally {
        let mut tally = Tally::default();
        let (mut of_event, mut translated) = (Vec::new(), Vec::new());
        for event in events {
            let translation = translate(self.source, event, self.delivery.now);
            for what in &translation.left_out {
                metrics::counter!(WEBHOOK_LEFT_OUT, "what" => *what).increment(1);
            }
            for (_rule, why) in &translation.unusable {
                self.unusable(&mut tally, event, why, &"it lacks what its rule needs");
            }
            tally.left_out.extend(&translation.left_out);
            let has_no_effect = !translation.without_effect.is_empty();
            if translation.events.is_empty() && translation.unusable.is_empty() && has_no_effect {
                tally.without_effect += 1;
                self.count_event("without_effect");
            } else if translation.events.is_empty() && translation.unusable.is_empty() {
                tally.unmapped += 1;
                self.count_event("unmapped");
                tally.letters.push(self.letter("unmapped", Of::Event).of(self.provider, event));
            }
            for one in translation.events {
                of_event.push(event);
                translated.push(Ok(self.proved(one)));
            }
        }
        let context = Context { is_delivery: true, ..Context::default() };
        let outcomes = self.api.intake.take(translated, &context, &caller(self.source)).await;
        for (event, Outcome { result, .. }) in of_event.into_iter().zip(outcomes) {
            match result {
                Ok(_) => {
                    tally.accepted += 1;
                    self.count_event("accepted");
                }
                Err(problem) if problem.code.is_retriable() => {
                    self.count_event("retry");
                    tally.retry.get_or_insert(problem);
                }
                Err(problem) => self.unusable(&mut tally, event, problem.code.tag(), &problem.detail),
            }
        }
        if let Err(problem) = self.lay_aside(std::mem::take(&mut tally.letters)).await {
            tally.retry.get_or_insert(problem);
        }
        tally
    }

    /// The event with those of its touches that prove something.
    fn proved(&self, one: Translated) -> Value {
        let one = personal::told_as_alias(&self.api.intake, one);
        touches::proved(&self.api.intake, one, &caller(self.source))
    }

    fn unusable(&self, tally: &mut Tally, event: &ProviderEvent, why: &'static str, detail: &dyn Display) {
        tally.unusable.push(why);
        self.count_event("unusable");
        // The detail names fields, never values.
        seldom!(
            warn,
            program = self.source.program,
            source = self.source.id,
            why,
            %detail,
            "a provider's event that is mapped can't be used"
        );
        tally.letters.push(self.letter(why, Of::Event).of(self.provider, event));
    }

    fn letter(&self, reason: &'static str, of: Of) -> DeadLetter {
        DeadLetter::new(self.source, reason, of, self.body_bytes)
    }

    async fn lay_aside(&self, letters: Vec<DeadLetter>) -> Result<(), Problem> {
        dead_letters::lay_aside(self.api, self.source, letters, self.delivery.now).await
    }

    /// Lays a letter aside that decides no answer.
    async fn note(&self, reason: &'static str, of: Of) {
        // Nothing of it is taken, and its sender is told so: it is never an error that it can't be kept.
        let _ = self.lay_aside(vec![self.letter(reason, of)]).await;
    }

    fn answer(&self, tally: &Tally) -> Response<Full> {
        let is_soap = self.delivery.body.trim_ascii_start().starts_with(b"<");
        if self.provider == Provider::Salesforce && is_soap {
            let mut response = Response::new(full(SALESFORCE_ACK));
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/xml; charset=utf-8"));
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            return response;
        }
        let mut body = json!({
            "accepted": tally.accepted,
            "unmapped": tally.unmapped,
            "unusable": tally.unusable.len(),
        });
        if tally.without_effect > 0 {
            body["without_effect"] = tally.without_effect.into();
        }
        if !tally.left_out.is_empty() {
            body["left_out"] = tally.left_out.as_slice().into();
        }
        json_response(StatusCode::OK, &body)
    }
}
