//! Queries: which parameters a call takes, each at most once, and what lists are asked for. Pure.

use super::{
    moment,
    problem::{Code, FieldError, Problem},
    route::decode,
};
use crate::registry::{Kind, Order};
use std::collections::BTreeMap;
use whence_schemas::{
    event::{RegistryEntry, registry_entry::Entry},
    time::UnixMs,
};

/// Records of a page, at most.
pub const PAGE_MAX: usize = 1000;
const PAGE_DEFAULT: usize = 100;
/// Characters of a parameter's name that a problem repeats.
const NAME_CHARS_MAX: usize = 64;

/// What every list takes, beside its filters.
const OF_EVERY_LIST: [&str; 5] = ["after", "changed_since", "created_since", "limit", "sort"];

/// The filters of a list, beside those by time: fields of its records.
#[must_use]
pub fn filters(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Program | Kind::Referrer | Kind::Endpoint => &["disabled"],
        Kind::Link => &["channel", "disabled", "host", "referrer", "test"],
        Kind::Key => &["disabled", "program"],
        Kind::Source => &["disabled", "provider", "test"],
        Kind::Host => &[],
    }
}

/// Every parameter of a list.
#[must_use]
pub fn parameters_of_list(kind: Kind) -> Vec<&'static str> {
    OF_EVERY_LIST.iter().chain(filters(kind)).copied().collect()
}

/// What a list is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// What `next` of the page before said; empty for the first.
    pub after: String,
    /// Records, at most.
    pub limit: usize,
    /// Which come first.
    pub order: Order,
    filters: Vec<Filter>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Filter {
    Is(&'static str, String),
    ChangedSince(UnixMs),
    CreatedSince(UnixMs),
}

impl Query {
    /// The query of a list.
    ///
    /// # Errors
    /// 422 with every parameter that is unknown, is given twice or has a value that is not valid.
    pub fn of_list(query: Option<&str>, kind: Kind) -> Result<Query, Problem> {
        let mut given = parameters(query, &parameters_of_list(kind))?;
        let mut errors = Vec::new();
        let mut wrong = |name: &str, detail: &str| {
            errors.push(FieldError {
                field: name.to_owned(),
                code: Code::Parameter,
                detail: detail.to_owned(),
            });
        };
        let mut read = Query { limit: PAGE_DEFAULT, ..Query::default() };
        read.after = given.remove("after").unwrap_or_default();
        if let Some(limit) = given.remove("limit") {
            match limit.parse() {
                Ok(limit) if (1..=PAGE_MAX).contains(&limit) => read.limit = limit,
                _ => wrong("limit", "must be between 1 and 1000"),
            }
        }
        if let Some(sort) = given.remove("sort") {
            let (is_reverse, by) = sort.strip_prefix('-').map_or((false, sort.as_str()), |by| (true, by));
            match by {
                "name" | "changed" => read.order = Order { by_change: by == "changed", is_reverse },
                _ => wrong("sort", "must be name, -name, changed or -changed"),
            }
        }
        for (name, value) in given {
            let filter = match name {
                "changed_since" | "created_since" => match moment::parse(&value) {
                    Some(at) if name == "changed_since" => Filter::ChangedSince(at),
                    Some(at) => Filter::CreatedSince(at),
                    None => {
                        wrong(name, "must be an RFC 3339 time such as 2026-01-31T12:00:00Z");
                        continue;
                    }
                },
                "disabled" | "test" if !["true", "false"].contains(&value.as_str()) => {
                    wrong(name, "must be true or false");
                    continue;
                }
                _ if value.is_empty() => {
                    wrong(name, "is empty, which no record is: leave it out");
                    continue;
                }
                _ => Filter::Is(name, value),
            };
            read.filters.push(filter);
        }
        if errors.is_empty() { Ok(read) } else { Err(Problem::of_fields(errors)) }
    }

    /// The query of a call that takes these parameters and is not a list.
    ///
    /// # Errors
    /// 422 for every other one.
    pub fn of(query: Option<&str>, names: &[&'static str]) -> Result<Query, Problem> {
        parameters(query, names).map(|_| Query::default())
    }

    /// What the filter of this name asks for.
    #[must_use]
    pub fn value_of(&self, name: &str) -> Option<&str> {
        self.filters.iter().find_map(|filter| match filter {
            Filter::Is(known, value) if *known == name => Some(value.as_str()),
            _ => None,
        })
    }

    /// Whether the filters let this record through.
    #[must_use]
    pub fn lets_through(&self, entry: &RegistryEntry) -> bool {
        self.filters.iter().all(|filter| match filter {
            Filter::ChangedSince(at) => entry.changed_at_ms >= at.0,
            Filter::CreatedSince(at) => entry.created_at_ms >= at.0,
            Filter::Is(name, value) => {
                entry.entry.as_ref().is_some_and(|record| field(record, name) == value)
            }
        })
    }
}

/// The field of this name, as text. Every filter of [`filters`] is one of these.
fn field<'a>(record: &'a Entry, name: &str) -> &'a str {
    let flag = |is_set| if is_set { "true" } else { "false" };
    match (record, name) {
        (Entry::Program(program), "disabled") => flag(program.disabled),
        (Entry::Referrer(referrer), "disabled") => flag(referrer.disabled),
        (Entry::Link(link), "disabled") => flag(link.disabled),
        (Entry::Link(link), "test") => flag(link.test),
        (Entry::Link(link), "channel") => &link.channel,
        (Entry::Link(link), "host") => &link.host,
        (Entry::Link(link), "referrer") => &link.referrer,
        (Entry::ApiKey(key), "disabled") => flag(key.disabled),
        (Entry::ApiKey(key), "program") => &key.program,
        (Entry::WebhookSource(source), "disabled") => flag(source.disabled),
        (Entry::WebhookSource(source), "test") => flag(source.test),
        (Entry::WebhookSource(source), "provider") => &source.provider,
        (Entry::WebhookEndpoint(endpoint), "disabled") => flag(endpoint.disabled),
        _ => "",
    }
}

/// The parameters of a query, decoded; each of these names, at most once.
fn parameters(
    query: Option<&str>,
    names: &[&'static str],
) -> Result<BTreeMap<&'static str, String>, Problem> {
    let mut given = BTreeMap::new();
    let mut errors: Vec<(String, String)> = Vec::new();
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let shown: String =
            decode(name).unwrap_or_else(|| name.to_owned()).chars().take(NAME_CHARS_MAX).collect();
        let Some(known) = names.iter().find(|known| **known == shown) else {
            errors.push((format!("unknown query parameter `{shown}`"), shown));
            continue;
        };
        let Some(value) = decode(value) else {
            errors.push((format!("query parameter `{shown}` is not percent-encoded UTF-8"), shown));
            continue;
        };
        if given.insert(*known, value).is_some() {
            errors.push((format!("query parameter `{shown}` is given twice"), shown));
        }
    }
    if errors.is_empty() { Ok(given) } else { Err(Problem::of_parameters(errors)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn links(query: &str) -> Result<Query, Problem> {
        Query::of_list(Some(query), Kind::Link)
    }

    #[test]
    fn lists_are_bounded_and_ordered() {
        let first = Query { limit: 100, ..Query::default() };
        assert_eq!(Query::of_list(None, Kind::Link).unwrap(), first);
        let page = links("limit=5&after=a%2Fb&sort=-changed").unwrap();
        let order = Order { by_change: true, is_reverse: true };
        assert_eq!(page, Query { after: "a/b".into(), limit: 5, order, ..Query::default() });
    }

    #[test]
    fn every_wrong_parameter_is_named() {
        for (query, detail) in [
            ("foo=1", "unknown query parameter `foo`"),
            ("%66oo", "unknown query parameter `foo`"),
            ("limit=1&limit=1", "query parameter `limit` is given twice"),
            ("after=%f", "query parameter `after` is not percent-encoded UTF-8"),
            ("limit=0", "limit must be between 1 and 1000"),
            ("limit=1001", "limit must be between 1 and 1000"),
            ("limit", "limit must be between 1 and 1000"),
            ("sort=size", "sort must be name, -name, changed or -changed"),
            ("disabled=1", "disabled must be true or false"),
            ("changed_since=now", "changed_since must be an RFC 3339 time such as 2026-01-31T12:00:00Z"),
        ] {
            let problem = links(query).unwrap_err();
            assert_eq!((problem.code, problem.detail.as_str()), (Code::Parameter, detail));
        }
        assert_eq!(links("foo=1&bar=2").unwrap_err().errors.len(), 2);
        let long = links(&"x".repeat(5000)).unwrap_err();
        assert_eq!(long.errors[0].field.len(), NAME_CHARS_MAX);
        assert!(Query::of(Some("limit=1"), &[]).is_err(), "a call that is no list takes none");
    }

    #[test]
    fn every_filter_is_a_field_of_its_records() {
        for (kind, record) in [
            (Kind::Program, Entry::Program(Default::default())),
            (Kind::Referrer, Entry::Referrer(Default::default())),
            (Kind::Link, Entry::Link(Default::default())),
            (Kind::Key, Entry::ApiKey(Default::default())),
            (Kind::Source, Entry::WebhookSource(Default::default())),
            (Kind::Endpoint, Entry::WebhookEndpoint(Default::default())),
            (Kind::Host, Entry::HostClaim(Default::default())),
        ] {
            assert_eq!(Kind::of(&record), kind);
            for name in filters(kind) {
                let is_flag = ["disabled", "test"].contains(name);
                assert_eq!(field(&record, name), if is_flag { "false" } else { "" }, "{kind:?} {name}");
                let value = if is_flag { "true" } else { "x" };
                let query = Query::of_list(Some(&format!("{name}={value}")), kind).unwrap();
                let entry = RegistryEntry { entry: Some(record.clone()), ..RegistryEntry::default() };
                assert!(!query.lets_through(&entry), "{kind:?} {name}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_query_panics(query in ".{0,40}") {
            let _ = links(&query);
        }
    }
}
