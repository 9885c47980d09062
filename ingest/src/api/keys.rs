//! `/v1/keys`: for keys of all programs only. A key is for one program, or for all of them where that is asked for.

use super::{
    Api,
    auth::{Caller, Scope},
    call::Call,
    conditions,
    form::Form,
    json::Fields,
    key_text::new_key,
    problem::{Code, Problem},
    records,
};
use crate::registry::{Change, Effect, EntryKey};
use hyper::Response;
use secrecy::ExposeSecret;
use serde_json::Value;
use whence_runtime::http::Full;
use whence_schemas::{
    event::ApiKey,
    ids::ProgramId,
    time::{self, UnixMs},
};

/// `POST`: makes a key. The answer is the only time that it is shown.
pub(super) async fn create(api: &Api, call: Call) -> Result<Response<Full>, Problem> {
    call.caller.require_everywhere(Scope::RegistryWrite)?;
    let caller = call.caller.clone();
    let expected = conditions::expected(&call.headers)?;
    let body = api.read_object(call).await?;
    let new = new_key();
    let mut key = ApiKey { hash: bytes::Bytes::copy_from_slice(&new.hash), ..ApiKey::default() };
    read(body, &mut key, &caller, (api.intake.clock)())?;
    key.id = new.id;
    let at = EntryKey::ApiKey { id: key.id.clone() };
    let written = api.write_one(Change::CreateKey(key).when(at, expected)).await?;
    let mut view = api.view_of(&written.entry);
    view.insert("key".into(), new.key.expose_secret().into());
    let mut response = records::written(Effect::Created, &written.entry, view);
    records::never_kept(&mut response);
    Ok(response)
}

/// Reads what a body says of this key, which is the one that there is, or a new one. A key of everything comes of no slip:
/// an empty or missing variable of a script asks for none.
pub(super) fn read(body: Value, key: &mut ApiKey, caller: &Caller, now: UnixMs) -> Result<(), Problem> {
    let present = key.clone();
    *key = ApiKey {
        id: present.id.clone(),
        hash: present.hash.clone(),
        last_used_day: present.last_used_day,
        ..ApiKey::default()
    };
    super::form::read(body, "a key", |form| {
        self::form(form, key);
        let Form::Read(fields) = form else { return };
        let is_new_end = key.expires_at_ms != present.expires_at_ms && key.expires_at_ms != 0;
        if is_new_end && key.expires_at_ms <= now.0 {
            fields.wrong("expires_at", Code::Invalid, "has passed");
        }
    })?;
    // Nobody gives away more than they have.
    let is_given = |scope: &Scope| {
        [&*key, &present].map(|key| key.scopes.iter().any(|word| word == scope.word())) == [true, false]
    };
    match Scope::ALL.into_iter().find(|scope| is_given(scope) && !caller.has(*scope)) {
        Some(scope) => {
            let detail = format_args!("has {}, which your key does not have", scope.word());
            Err(Problem::of_field("scopes", Code::Forbidden, detail))
        }
        None => Ok(()),
    }
}

/// A key as callers write and see it: never its hash.
pub(super) fn form(form: &mut Form<'_, '_>, key: &mut ApiKey) {
    form.of_path("id", &key.id);
    form.text("name", &mut key.name);
    match form {
        Form::Read(fields) => key.program = program(fields).unwrap_or_default(),
        Form::Show(shown) => {
            let program = (!key.program.is_empty()).then_some(key.program.as_str());
            shown.insert("program".into(), program.into());
            shown.insert("all_programs".into(), program.is_none().into());
        }
    }
    form.texts("scopes", &mut key.scopes);
    form.optional_moment("expires_at", &mut key.expires_at_ms);
    form.made_here("last_used_on", || {
        (key.last_used_day != 0).then(|| time::day_text(key.last_used_day)).into()
    });
    form.flag("disabled", &mut key.disabled);
}

fn program(fields: &mut Fields<'_>) -> Option<String> {
    let is_for_all = fields.flag("all_programs").unwrap_or(false);
    let program = match (fields.has("program"), is_for_all) {
        (true, true) => {
            fields.text("program");
            fields.wrong("program", Code::Invalid, "must be left out with all_programs");
            None
        }
        (true, false) => fields.text("program"),
        (false, true) => None,
        (false, false) => {
            let reason =
                "is missing: name the key's program, or ask for all of them with \"all_programs\": true";
            fields.wrong("program", Code::Required, reason);
            None
        }
    };
    if program.as_deref().is_some_and(|program| program.parse::<ProgramId>().is_err()) {
        fields.wrong("program", Code::Invalid, "is not the id of a program");
    }
    program
}
