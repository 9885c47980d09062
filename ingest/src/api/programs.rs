//! `/v1/programs`: a program's form.

use super::{form::Form, rewards};
use whence_schemas::{
    event::{AttributionModel, AttributionRule, ConsentMode, ExistingCustomers, Program},
    reward::never_raised,
};

/// The attribution window of a program that names none: 30 days, the field's usual.
pub const WINDOW_MS_DEFAULT: u64 = 30 * 24 * 60 * 60 * 1000;

const MODELS: [(&str, AttributionModel); 2] =
    [("last_touch", AttributionModel::LastTouch), ("first_touch", AttributionModel::FirstTouch)];
const EXISTING: [(&str, ExistingCustomers); 2] =
    [("refuse", ExistingCustomers::Refuse), ("allow", ExistingCustomers::Allow)];
const CONSENTS: [(&str, ConsentMode); 2] = [("none", ConsentMode::None), ("cookie", ConsentMode::Cookie)];

/// What the program asks for and can't be had.
const WARNINGS: &str = "warnings";

/// A program of which nothing is said.
pub(super) fn new(id: &str) -> Program {
    Program {
        id: id.to_owned(),
        rule: Some(AttributionRule {
            model: AttributionModel::LastTouch.into(),
            window_ms: WINDOW_MS_DEFAULT,
            existing_customers: ExistingCustomers::Refuse.into(),
        }),
        consent: ConsentMode::None.into(),
        ..Program::default()
    }
}

/// A program as callers write and see it.
pub(super) fn form(form: &mut Form<'_, '_>, program: &mut Program) {
    form.of_path("id", &program.id);
    form.text("name", &mut program.name);
    form.texts("destination_hosts", &mut program.destination_hosts);
    form.text("fallback", &mut program.fallback);
    form.texts("link_hosts", &mut program.link_hosts);
    form.texts("channels", &mut program.channels);
    let rule = program.rule.get_or_insert_default();
    form.word("model", &MODELS, &mut rule.model);
    let mut window_ms = i64::try_from(rule.window_ms).unwrap_or(i64::MAX);
    form.integer("window_ms", &mut window_ms);
    // What is below is refused by the registry, as what is above.
    rule.window_ms = u64::try_from(window_ms).unwrap_or(0);
    if rule.existing_customers() == ExistingCustomers::Unspecified {
        // Of a program that is older than the choice.
        rule.set_existing_customers(ExistingCustomers::Refuse);
    }
    form.word("existing_customers", &EXISTING, &mut rule.existing_customers);
    form.word("consent", &CONSENTS, &mut program.consent);
    form.flag("hash_lead_ids", &mut program.hash_lead_ids);
    form.flag("disabled", &mut program.disabled);
    rewards::form(form, &mut program.rewards);
    form.made_here(WARNINGS, || never_raised(program).into());
}
