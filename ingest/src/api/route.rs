//! Paths and queries. Pure.

use super::events::kind::Kind;
use crate::registry::{self, EntryKey};

/// What a path names. Ids are decoded and not looked at further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// `/v1/openapi.json`: what this API is, for programs.
    OpenApi,
    /// `/v1/schemas/NAME.json`: the JSON Schema of a kind of event.
    Schema(String),
    /// `/v1/events`
    Events,
    /// `/v1/events/batch`
    EventsBatch,
    /// `/v1/events/dry-run`
    EventsDryRun,
    /// `/v1/programs/P/leads`, `/v1/programs/P/qualifications`, …: see [`Kind::plural`].
    Short {
        /// The kind of event.
        kind: Kind,
        /// The program.
        program: String,
    },
    /// `/v1/programs`
    Programs,
    /// `/v1/programs/P`
    Program(String),
    /// `/v1/programs/P/referrers`
    Referrers(String),
    /// `/v1/programs/P/referrers/R`
    Referrer(String, String),
    /// `/v1/programs/P/links`
    Links(String),
    /// `/v1/programs/P/links/HOST/CODE`
    Link(String, String, String),
    /// `/v1/programs/P/hosts`
    Hosts(String),
    /// `/v1/programs/P/hosts/HOST`
    Host(String, String),
    /// `/v1/keys`
    Keys,
    /// `/v1/keys/K`
    Key(String),
    /// `/v1/programs/P/sources`
    Sources(String),
    /// `/v1/programs/P/sources/S`
    Source(String, String),
    /// `/v1/programs/P/sources/S/dry-run`
    DryRun(String, String),
    /// `/v1/programs/P/endpoints`
    Endpoints(String),
    /// `/v1/programs/P/endpoints/E`
    Endpoint(String, String),
    /// `/v1/webhooks/P/S`
    Webhook(String, String),
    /// `/v1/postback/P`
    Postback(String),
    /// `…/disable` or `…/enable` of one of the above.
    Switch(Box<Route>, bool),
}

/// A path as the OpenAPI document writes it, and the route of what stands in its braces.
type Row = (&'static str, fn([String; 3]) -> Route);

/// Every path there is. Where a path fits two rows, the first counts.
///
/// A key that was disabled stays so: whoever had it may still have it.
const TABLE: [Row; 42] = [
    ("/v1/openapi.json", |_| Route::OpenApi),
    ("/v1/schemas/{name}", |[name, ..]| Route::Schema(name)),
    ("/v1/events", |_| Route::Events),
    ("/v1/events/batch", |_| Route::EventsBatch),
    ("/v1/events/dry-run", |_| Route::EventsDryRun),
    ("/v1/keys", |_| Route::Keys),
    ("/v1/keys/{key}", |[key, ..]| Route::Key(key)),
    ("/v1/keys/{key}/disable", |[key, ..]| off(Route::Key(key))),
    ("/v1/programs", |_| Route::Programs),
    ("/v1/programs/{program}", |[program, ..]| Route::Program(program)),
    ("/v1/programs/{program}/disable", |[program, ..]| off(Route::Program(program))),
    ("/v1/programs/{program}/enable", |[program, ..]| on(Route::Program(program))),
    ("/v1/programs/{program}/leads", |[p, ..]| short(Kind::Lead, p)),
    ("/v1/programs/{program}/qualifications", |[p, ..]| short(Kind::Qualification, p)),
    ("/v1/programs/{program}/disqualifications", |[p, ..]| short(Kind::Disqualification, p)),
    ("/v1/programs/{program}/reinstatements", |[p, ..]| short(Kind::Reinstatement, p)),
    ("/v1/programs/{program}/participants", |[p, ..]| short(Kind::Participant, p)),
    ("/v1/programs/{program}/shares", |[p, ..]| short(Kind::Share, p)),
    ("/v1/programs/{program}/identities", |[p, ..]| short(Kind::Identify, p)),
    ("/v1/programs/{program}/reward_decisions", |[p, ..]| short(Kind::RewardDecision, p)),
    ("/v1/programs/{program}/erasures", |[p, ..]| short(Kind::Erasure, p)),
    ("/v1/programs/{program}/referrers", |[program, ..]| Route::Referrers(program)),
    ("/v1/programs/{program}/referrers/{referrer}", |[p, r, _]| Route::Referrer(p, r)),
    ("/v1/programs/{program}/referrers/{referrer}/disable", |[p, r, _]| off(Route::Referrer(p, r))),
    ("/v1/programs/{program}/referrers/{referrer}/enable", |[p, r, _]| on(Route::Referrer(p, r))),
    ("/v1/programs/{program}/sources", |[program, ..]| Route::Sources(program)),
    ("/v1/programs/{program}/sources/{source}", |[p, s, _]| Route::Source(p, s)),
    ("/v1/programs/{program}/sources/{source}/dry-run", |[p, s, _]| Route::DryRun(p, s)),
    ("/v1/programs/{program}/sources/{source}/disable", |[p, s, _]| off(Route::Source(p, s))),
    ("/v1/programs/{program}/sources/{source}/enable", |[p, s, _]| on(Route::Source(p, s))),
    ("/v1/programs/{program}/endpoints", |[program, ..]| Route::Endpoints(program)),
    ("/v1/programs/{program}/endpoints/{endpoint}", |[p, e, _]| Route::Endpoint(p, e)),
    ("/v1/programs/{program}/endpoints/{endpoint}/disable", |[p, e, _]| off(Route::Endpoint(p, e))),
    ("/v1/programs/{program}/endpoints/{endpoint}/enable", |[p, e, _]| on(Route::Endpoint(p, e))),
    ("/v1/webhooks/{program}/{source}", |[p, s, _]| Route::Webhook(p, s)),
    ("/v1/postback/{program}", |[program, ..]| Route::Postback(program)),
    ("/v1/programs/{program}/hosts", |[program, ..]| Route::Hosts(program)),
    ("/v1/programs/{program}/hosts/{host}", |[p, host, _]| Route::Host(p, host)),
    ("/v1/programs/{program}/links", |[program, ..]| Route::Links(program)),
    ("/v1/programs/{program}/links/{host}/{code}", |[p, host, code]| Route::Link(p, host, code)),
    ("/v1/programs/{program}/links/{host}/{code}/disable", |[p, h, c]| off(Route::Link(p, h, c))),
    ("/v1/programs/{program}/links/{host}/{code}/enable", |[p, h, c]| on(Route::Link(p, h, c))),
];

fn short(kind: Kind, program: String) -> Route {
    Route::Short { kind, program }
}

fn off(route: Route) -> Route {
    Route::Switch(route.into(), true)
}

fn on(route: Route) -> Route {
    Route::Switch(route.into(), false)
}

impl Route {
    /// The route of a path, or `None` where it leads nowhere.
    #[must_use]
    pub fn of(path: &str) -> Option<Route> {
        let segments: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        TABLE.iter().find_map(|(template, route)| Some(route(held(template, &segments)?)))
    }

    /// Every path there is, as the OpenAPI document writes it, with the methods it takes.
    pub fn table() -> impl Iterator<Item = (&'static str, &'static str)> {
        TABLE.into_iter().map(|(template, route)| (template, route(Default::default()).methods()))
    }

    /// Whether it is answered without a key: what describes the API is not secret.
    #[must_use]
    pub fn is_public(&self) -> bool {
        matches!(self, Route::OpenApi | Route::Schema(_))
    }

    /// The methods it takes, beside `HEAD`: see [`Route::allowed`].
    #[must_use]
    pub fn methods(&self) -> &'static str {
        match self {
            Route::Events
            | Route::EventsBatch
            | Route::EventsDryRun
            | Route::Short { .. }
            | Route::Switch(..)
            | Route::DryRun(..)
            | Route::Webhook(..) => "POST",
            Route::OpenApi
            | Route::Schema(_)
            | Route::Programs
            | Route::Hosts(_)
            | Route::Sources(_)
            | Route::Endpoints(_)
            | Route::Postback(_) => "GET",
            Route::Program(_)
            | Route::Referrer(..)
            | Route::Link(..)
            | Route::Source(..)
            | Route::Endpoint(..)
            | Route::Key(_) => "GET, PATCH, PUT",
            Route::Referrers(_) | Route::Links(_) | Route::Keys => "GET, POST",
            Route::Host(..) => "DELETE, GET, PATCH, PUT",
        }
    }

    /// Whether `HEAD` is answered as `GET` without its body. A postback reports an event: that is nothing to probe.
    #[must_use]
    pub fn has_head(&self) -> bool {
        self.methods().contains("GET") && !matches!(self, Route::Postback(_))
    }

    /// What `Allow` says.
    #[must_use]
    pub fn allowed(&self) -> String {
        let head = if self.has_head() { ", HEAD" } else { "" };
        format!("{}{head}", self.methods())
    }

    /// The record that it names, where all calls for it are those that records have in common.
    #[must_use]
    pub fn record(&self) -> Option<EntryKey> {
        Some(match self.clone() {
            Route::Program(id) => EntryKey::Program { id },
            Route::Referrer(program, id) => EntryKey::Referrer { program, id },
            Route::Link(program, host, code) => EntryKey::Link { program, host, code },
            Route::Key(id) => EntryKey::ApiKey { id },
            Route::Source(program, id) => EntryKey::Source { program, id },
            Route::Endpoint(program, id) => EntryKey::Endpoint { program, id },
            _ => return None,
        })
    }

    /// The records that its `GET` lists, and the program whose they are; empty for those that belong to no program.
    #[must_use]
    pub fn list(&self) -> Option<(registry::Kind, &str)> {
        Some(match self {
            Route::Programs => (registry::Kind::Program, ""),
            Route::Keys => (registry::Kind::Key, ""),
            Route::Referrers(program) => (registry::Kind::Referrer, program),
            Route::Links(program) => (registry::Kind::Link, program),
            Route::Hosts(program) => (registry::Kind::Host, program),
            Route::Sources(program) => (registry::Kind::Source, program),
            Route::Endpoints(program) => (registry::Kind::Endpoint, program),
            _ => return None,
        })
    }

    /// Whether its query is not ours: a provider's, or the one of a delivery that is tried.
    #[must_use]
    pub fn has_foreign_query(&self) -> bool {
        matches!(self, Route::Webhook(..) | Route::Postback(_) | Route::DryRun(..))
    }
}

/// What the path holds in the template's braces, or `None` where it does not fit.
fn held(template: &str, path: &[&str]) -> Option<[String; 3]> {
    let mut held = <[String; 3]>::default();
    let mut free = held.iter_mut();
    let mut path = path.iter();
    for part in template.split('/').skip(1) {
        let segment = decode(path.next()?)?;
        match part.starts_with('{') {
            true if segment.is_empty() => return None,
            true => *free.next()? = segment,
            false if segment == part => {}
            false => return None,
        }
    }
    path.next().is_none().then_some(held)
}

/// A segment or query part with its percent-encoding undone (RFC 3986), or `None` where that is no UTF-8.
pub(super) fn decode(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            _ => byte,
        });
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_that_lead_nowhere_are_refused() {
        for path in [
            "/",
            "/v1",
            "/v1/",
            "/v2/events",
            "/v1/events/",
            "/v1//events",
            "/v1/events/disable",
            "/v1/keys/a/enable",
            "/v1/programs/a/links/h",
            "/v1/programs/a/links/h/c/d",
            "/v1/programs/%",
            "/v1/programs/%zz",
            "/v1/programs/%ff",
            "/v1/programs/disable/links/disable",
            "/v1/programs//leads",
        ] {
            assert_eq!(Route::of(path), None, "{path}");
        }
    }

    #[test]
    fn paths_name_what_they_say() {
        let link = Route::Link("p".into(), "[::1]:80".into(), "a~b".into());
        assert_eq!(Route::of("/v1/programs/p/links/%5B::1%5D%3a80/a%7Eb"), Some(link.clone()));
        let off = Route::Switch(link.into(), true);
        assert_eq!(Route::of("/v1/programs/p/links/[::1]:80/a~b/disable"), Some(off));
        let named_disable = Route::Link("p".into(), "h".into(), "disable".into());
        assert_eq!(Route::of("/v1/programs/p/links/h/disable"), Some(named_disable));
        assert_eq!(Route::of("/v1/programs/disable"), Some(Route::Program("disable".into())));
    }

    proptest! {
        #[test]
        fn no_path_panics(path in "/v1/[a-z%0-9/]{0,40}") {
            let _ = Route::of(&path);
        }
    }
}
