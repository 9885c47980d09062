//! `/v1/programs/P/endpoints`: where the program's messages are sent.

use super::{
    Api,
    form::{self, Form},
    problem::{Code, Problem},
};
use crate::webhooks::check_endpoint;
use serde_json::Value;
use whence_schemas::event::WebhookEndpoint;

/// Reads what a body says of this endpoint. A new one begins with what is announced from now on, or from `since` on.
pub(super) fn read(
    api: &Api,
    body: Value,
    program: &str,
    id: &str,
    begins_ms: i64,
) -> Result<WebhookEndpoint, Problem> {
    let mut endpoint = WebhookEndpoint {
        program: program.to_owned(),
        id: id.to_owned(),
        since_ms: begins_ms,
        ..WebhookEndpoint::default()
    };
    form::read(body, "an endpoint", |form| {
        self::form(form, &mut endpoint);
        let Form::Read(fields) = form else { return };
        api.webhooks.check_secrets(fields, program, &mut endpoint.secrets);
        for mistake in check_endpoint(&endpoint, api.reach) {
            fields.errors().add(mistake.field, Code::Invalid, mistake.reason);
        }
    })?;
    Ok(endpoint)
}

/// An endpoint as callers write and see it.
pub(super) fn form(form: &mut Form<'_, '_>, endpoint: &mut WebhookEndpoint) {
    form.of_path("program", &endpoint.program);
    form.of_path("id", &endpoint.id);
    form.text("url", &mut endpoint.url);
    form.texts("types", &mut endpoint.types);
    form.texts("secrets", &mut endpoint.secrets);
    form.moment("since", &mut endpoint.since_ms);
    form.flag("disabled", &mut endpoint.disabled);
}
