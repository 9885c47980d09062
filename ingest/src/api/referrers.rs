//! `/v1/programs/P/referrers`: a referrer's form.

use super::{form::Form, problem::Problem};
use serde_json::Value;
use whence_schemas::event::Referrer;

/// A referrer of which nothing is said.
pub(super) fn new(program: &str, id: &str) -> Referrer {
    Referrer { program: program.to_owned(), id: id.to_owned(), ..Referrer::default() }
}

/// A referrer as callers write and see it.
pub(super) fn form(form: &mut Form<'_, '_>, referrer: &mut Referrer) {
    form.of_path("program", &referrer.program);
    form.of_path("id", &referrer.id);
    form.text("name", &mut referrer.name);
    form.flag("disabled", &mut referrer.disabled);
}

/// A new referrer of the program, whose id is in the body.
pub(super) fn read_new(body: Value, program: &str) -> Result<Referrer, Problem> {
    let mut referrer = new(program, "");
    super::form::read(body, "a referrer", |form| {
        form.required_text("id", &mut referrer.id);
        self::form(form, &mut referrer);
    })?;
    Ok(referrer)
}
