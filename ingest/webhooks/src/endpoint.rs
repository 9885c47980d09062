//! Endpoints to which whence sends webhooks: what may stand in their records.

use super::{
    Mistake,
    check::{ID_MAX, Mistakes, is_plain},
};
use whence_schemas::{
    event::WebhookEndpoint,
    ids::ProgramId,
    message,
    outgoing::{self, Reach},
    time::UnixMs,
};

/// All that is wrong with an endpoint of a deployment with this reach; nothing, where it can be used. Whether its
/// secrets are there is for the API to see, which was given them; what its host resolves to, for whoever sends.
#[must_use]
pub fn check_endpoint(endpoint: &WebhookEndpoint, reach: Reach) -> Vec<Mistake> {
    let mut mistakes = Mistakes(Vec::new());
    if let Err(error) = endpoint.program.parse::<ProgramId>() {
        mistakes.add("program", error);
    }
    if !is_plain(&endpoint.id, ID_MAX) {
        mistakes.add("id", format_args!("must be 1 to {ID_MAX} of a-z, 0-9, '-', '_' and '.'"));
    }
    if let Err(reason) = outgoing::check(&endpoint.url, reach) {
        mistakes.add("url", reason);
    }
    for (index, kind) in endpoint.types.iter().enumerate() {
        if !message::TYPES.contains(&kind.as_str()) {
            let types = message::TYPES.join(", ");
            mistakes.add(format!("types[{index}]"), format_args!("must be one of {types}"));
        } else if endpoint.types[..index].contains(kind) {
            mistakes.add(format!("types[{index}]"), "is in the list twice");
        }
    }
    mistakes.secrets(&endpoint.secrets);
    if !UnixMs(endpoint.since_ms).is_storable() {
        mistakes.add("since", "must lie between 1970 and 2299");
    }
    mistakes.0
}
