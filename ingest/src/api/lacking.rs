//! Which secrets the registry's sources and endpoints name that this process was not given: another process, which
//! was, may have saved them. Deliveries of such a source are answered 503, and messages to such an endpoint wait.

use crate::{
    registry::{RegistryState, Shared},
    webhooks::NamedSecrets,
};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

whence_metrics::declare! {
    /// Secrets that sources or endpoints name and this process was not given.
    gauge WEBHOOK_SECRETS_LACKING: "whence_webhook_secrets_lacking";
}

/// Names in a log line.
const NAMED_MAX: usize = 10;
/// Between two looks: the registry changes with every link.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Between two log lines.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Whose secrets a process needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Who serves the API: those of sources and, since it saves them, of endpoints.
    SourcesAndEndpoints,
    /// Who sends messages.
    Endpoints,
}

/// The secrets (`program/name`) that are named and not here. What is disabled needs none.
#[must_use]
pub fn lacking(state: &RegistryState, given: &NamedSecrets, needs: Needs) -> BTreeSet<String> {
    let endpoints = state.endpoints().filter(|endpoint| !endpoint.disabled);
    let of_endpoints = endpoints.map(|endpoint| (&endpoint.program, &endpoint.secrets));
    let sources = state.sources().filter(|source| !source.disabled && needs == Needs::SourcesAndEndpoints);
    let of_sources = sources.map(|source| (&source.program, &source.secrets));
    of_endpoints
        .chain(of_sources)
        .flat_map(|(program, names)| names.iter().map(move |name| (program, name)))
        .filter(|(program, name)| given.get(program, name).is_none())
        .map(|(program, name)| format!("{program}/{name}"))
        .collect()
}

/// Says what is lacking in `whence_webhook_secrets_lacking` and in the log, whenever that changes, until `shutdown`.
pub async fn tell(
    registry: Arc<Shared>,
    given: Arc<NamedSecrets>,
    needs: Needs,
    shutdown: CancellationToken,
) {
    let mut versions = registry.versions();
    let mut told = BTreeSet::new();
    let telling = async {
        loop {
            versions.borrow_and_update();
            let lacking = lacking(&registry.read(), &given, needs);
            metrics::gauge!(WEBHOOK_SECRETS_LACKING).set(lacking.len() as f64);
            let is_news = lacking.difference(&told).next().is_some();
            if is_news {
                let names: Vec<&str> = lacking.iter().take(NAMED_MAX).map(String::as_str).collect();
                tracing::error!(
                    count = lacking.len(),
                    names = names.join(", "),
                    "this process was not given secrets that are named: add them to webhook-secrets-file and start again"
                );
            }
            told = lacking;
            sleep(if is_news { TELL_EVERY } else { LOOK_EVERY }).await;
            if versions.changed().await.is_err() {
                return;
            }
        }
    };
    shutdown.run_until_cancelled(telling).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use whence_schemas::event::{RegistryEntry, WebhookEndpoint, WebhookSource, registry_entry::Entry};

    #[test]
    fn what_is_named_and_not_given_is_found_by_program_and_name() {
        let source = |program: &str, names: &[&str], disabled| {
            let secrets = names.iter().map(|name| (*name).to_owned()).collect();
            Entry::WebhookSource(WebhookSource {
                program: program.into(),
                id: names.concat(),
                secrets,
                disabled,
                ..WebhookSource::default()
            })
        };
        let endpoint = Entry::WebhookEndpoint(WebhookEndpoint {
            program: "a".into(),
            id: "e".into(),
            secrets: vec!["signs".into()],
            ..WebhookEndpoint::default()
        });
        let records = [
            source("a", &["x", "y"], false),
            source("b", &["x"], false),
            source("b", &["z"], true),
            endpoint,
        ];
        let mut state = RegistryState::default();
        for (version, entry) in (1..).zip(records) {
            state
                .apply(Arc::new(RegistryEntry { version, entry: Some(entry), ..RegistryEntry::default() }))
                .unwrap();
        }
        let given = NamedSecrets::parse("a/x=abcdefghijklmnopq").unwrap();
        let found = |needs| lacking(&state, &given, needs).into_iter().collect::<Vec<_>>();
        assert_eq!(found(Needs::SourcesAndEndpoints), ["a/signs", "a/y", "b/x"]);
        assert_eq!(found(Needs::Endpoints), ["a/signs"]);
    }
}
