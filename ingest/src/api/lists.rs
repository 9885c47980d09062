//! Pages of records: found by walking an index of the registry, never by sorting, so that a page of millions costs what a
//! page of ten does.

use super::{Api, auth::Scope, batch, call::Call, problem::Problem, query::Query};
use crate::{
    api::problem::Code,
    registry::{
        Kind,
        state::{is_listed, place},
    },
};
use hyper::{Response, StatusCode};
use serde_json::{Map, Value};
use std::sync::Arc;
use whence_runtime::http::Full;
use whence_schemas::event::RegistryEntry;

/// Records that one page looks at, at most: bounds how long the registry is read for it. A page that has looked at as many
/// is short, even empty, and has a `next`.
const LOOKED_AT_MAX: usize = 50_000;

/// `GET` of a list. `next` is what to send as `after` for the next page, absent on the last.
pub(super) fn list(
    api: &Api,
    call: &Call,
    kind: Kind,
    program: &str,
    query: &Query,
) -> Result<Response<Full>, Problem> {
    match kind {
        Kind::Program => call.caller.require(Scope::RegistryRead)?,
        Kind::Key => call.caller.require_everywhere(Scope::RegistryRead)?,
        _ => {
            call.caller.require_in(Scope::RegistryRead, program)?;
            api.known_program(program)?;
        }
    }
    if let Some(named) = query.value_of("program") {
        api.known_program(named)?;
    }
    if let Some(named) = query.value_of("referrer") {
        let is_known = api.registry.shared().read().referrer(program, named).is_some();
        is_known.then_some(()).ok_or_else(|| api.missing("referrer", named))?;
    }
    let own = call.caller.program();
    let is_seen = |entry: &RegistryEntry| {
        is_listed(entry, kind, program)
            && (kind != Kind::Program || own.is_none_or(|own| is_program(entry, own)))
            && query.lets_through(entry)
    };
    let (entries, next) = found(api, kind, program, query, is_seen)?;
    let items: Vec<Value> = entries.iter().map(|entry| api.view_of(entry).into()).collect();
    let mut body = Map::from_iter([("items".to_owned(), items.into())]);
    body.extend(next.map(|next| ("next".to_owned(), next.into())));
    Ok(batch::json_response(StatusCode::OK, &body.into()))
}

fn is_program(entry: &RegistryEntry, id: &str) -> bool {
    use whence_schemas::event::registry_entry::Entry;
    matches!(&entry.entry, Some(Entry::Program(program)) if program.id == id)
}

/// The page's entries, and the place to go on after, where more may follow.
fn found(
    api: &Api,
    kind: Kind,
    program: &str,
    query: &Query,
    is_seen: impl Fn(&RegistryEntry) -> bool,
) -> Result<(Vec<Arc<RegistryEntry>>, Option<String>), Problem> {
    let state = api.registry.shared().read();
    let scan = state.scan(kind, program, query.order, &query.after);
    let scan = scan.ok_or_else(|| {
        Problem::of_field("after", Code::Parameter, "is not the value of `next` of a page in this order")
    })?;
    let (entries, last) = page(scan, query.limit, LOOKED_AT_MAX, is_seen);
    Ok((entries, last.map(|last| place(last, query.order))))
}

/// At most `limit` of these entries, of which at most `looked_at_max` are looked at, and the last that was looked at,
/// where there are others after it.
fn page<'a>(
    entries: impl Iterator<Item = &'a Arc<RegistryEntry>>,
    limit: usize,
    looked_at_max: usize,
    is_seen: impl Fn(&RegistryEntry) -> bool,
) -> (Vec<Arc<RegistryEntry>>, Option<&'a RegistryEntry>) {
    let (mut seen, mut last): (Vec<Arc<RegistryEntry>>, Option<&RegistryEntry>) = (Vec::new(), None);
    for (looked_at, entry) in entries.enumerate() {
        let is_seen = looked_at < looked_at_max && is_seen(entry);
        if looked_at == looked_at_max || (is_seen && seen.len() == limit) {
            return (seen, last);
        }
        if is_seen {
            seen.push(Arc::clone(entry));
        }
        last = Some(entry);
    }
    (seen, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_bounded_by_what_it_shows_and_by_what_it_looks_at() {
        let entry = |version| Arc::new(RegistryEntry { version, ..RegistryEntry::default() });
        let entries: Vec<_> = (1..=20).map(entry).collect();
        let every_third = |entry: &RegistryEntry| entry.version.is_multiple_of(3);
        let mut from = 0;
        let mut pages = Vec::new();
        loop {
            let (seen, last) = page(entries[from..].iter(), 2, 8, every_third);
            pages.push(seen.iter().map(|entry| entry.version).collect::<Vec<_>>());
            let Some(last) = last else { break };
            from = usize::try_from(last.version).unwrap();
        }
        assert_eq!(pages, [[3, 6], [9, 12], [15, 18]]);
        let (seen, last) = page(entries.iter(), 2, 8, |entry| entry.version == 20);
        assert_eq!((seen.len(), last.map(|entry| entry.version)), (0, Some(8)), "short, and not the last");
    }
}
