//! Records that fit, to be broken one field at a time.

use std::sync::Arc;
use whence_ingest::registry::{Change, RegistryState, check};
use whence_schemas::{
    event::{ApiKey, AttributionModel, AttributionRule, ConsentMode, Link, Program, Referrer, RegistryEntry},
    time::UnixMs,
};

pub const NOW: UnixMs = UnixMs(1_800_000_000_000);

pub fn program(id: &str) -> Program {
    Program {
        id: id.into(),
        name: "Demo".into(),
        destination_hosts: vec!["shop.example".into(), "*.apps.example".into()],
        fallback: "https://shop.example/".into(),
        link_hosts: vec![format!("{id}.go.example")],
        channels: vec!["email".into(), "whatsapp".into()],
        rule: Some(AttributionRule {
            model: AttributionModel::LastTouch.into(),
            window_ms: 1000,
            ..AttributionRule::default()
        }),
        consent: ConsentMode::None.into(),
        hash_lead_ids: false,
        disabled: false,
        rewards: None,
    }
}

pub fn referrer(program: &str, id: &str) -> Referrer {
    Referrer { program: program.into(), id: id.into(), name: "Ann".into(), disabled: false }
}

pub fn link(program: &str, host: &str, code: &str, referrer: &str) -> Link {
    Link {
        host: host.into(),
        code: code.into(),
        program: program.into(),
        referrer: referrer.into(),
        channel: "email".into(),
        destination: "https://shop.example/landing".into(),
        ..Link::default()
    }
}

pub fn key(id: &str) -> ApiKey {
    ApiKey {
        id: id.into(),
        hash: vec![7; 32].into(),
        program: String::new(),
        scopes: vec!["events:write".into()],
        ..ApiKey::default()
    }
}

/// Applies changes that must fit.
pub fn written(state: &mut RegistryState, changes: &[Change]) -> Vec<Arc<RegistryEntry>> {
    let staged = check::stage(state, changes, NOW);
    for entry in &staged.entries {
        state.apply(Arc::clone(entry)).unwrap();
    }
    staged.outcomes.into_iter().map(|outcome| outcome.unwrap().entry).collect()
}

/// Two programs, `demo` with the referrer `ann` and the link `go.example/abc`, `other` with `bob`.
pub fn demo_changes() -> Vec<Change> {
    vec![
        Change::PutProgram(program("demo")),
        Change::PutProgram(program("other")),
        Change::CreateReferrer(referrer("demo", "ann")),
        Change::CreateReferrer(referrer("other", "bob")),
        Change::CreateLink(link("demo", "go.example", "abc", "ann")),
        Change::CreateKey(key("k1")),
    ]
}

pub fn demo() -> RegistryState {
    let mut state = RegistryState::default();
    written(&mut state, &demo_changes());
    state
}
