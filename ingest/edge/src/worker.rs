//! One core's work: from a request's head to its answer's head. Knows nothing of sockets.

use std::{sync::Arc, time::Instant};

use hyper::{HeaderMap, Method, StatusCode};
use ipnet::IpNet;
use rand::rngs::StdRng;

use super::{
    agent_cache::AgentCache,
    answer::{self, Answer},
    links::{LinkCache, LinkTable, ProgramRules, ResolvedLink, SETS},
    meters::{Meters, Outcome},
    probe::is_probe,
    reading::{Asked, Reading},
    recorder::Recorder,
    redirector::{ClickContext, Read, Redirector, Request},
    shared::Shared,
    target::{self, KEY_BYTES_MAX},
};

/// Where a certificate authority looks for a proof (RFC 8555, 8.3).
const CHALLENGE_PATH: &str = "/.well-known/acme-challenge/";

/// One core.
pub struct Worker {
    links: LinkCache,
    redirector: Redirector,
    /// The request's host and code; kept for its memory.
    target: String,
}

impl Worker {
    /// A core. `random` must be a generator of its own.
    #[must_use]
    pub fn new(shared: Shared, agents: AgentCache, recorder: Recorder, random: StdRng) -> Worker {
        let links = LinkCache::new(Arc::clone(&shared.links), SETS);
        let redirector = Redirector::new(shared, agents, recorder, random);
        Worker { links, redirector, target: String::with_capacity(KEY_BYTES_MAX) }
    }

    /// Networks whose connections begin with a header of the PROXY protocol.
    #[must_use]
    pub fn proxy_protocol_from(&self) -> &Arc<[IpNet]> {
        self.redirector.proxy_protocol_from()
    }

    /// The core's counts.
    pub fn meters(&mut self) -> &mut Meters {
        &mut self.redirector.meters
    }

    /// Networks of proxies.
    #[must_use]
    pub fn proxies(&self) -> &[IpNet] {
        self.redirector.proxies()
    }

    /// What is due once a second.
    pub fn tick(&mut self) {
        self.redirector.tick();
    }

    /// What is due when there are no more requests.
    pub fn finish(&mut self) {
        self.redirector.finish();
        self.redirector.tick();
    }

    /// Answers a request. HEAD is answered as GET would be, token included: programs that resolve links
    /// ask by HEAD and open what they are told.
    pub fn answer(&mut self, request: Request<'_>) -> Answer {
        let started = self.meters().is_timed().then(Instant::now);
        let (outcome, answer) = self.judge_and_answer(request);
        self.meters().answered(outcome);
        if let Some(started) = started {
            self.meters().took(started.elapsed());
        }
        answer
    }

    fn judge_and_answer(&mut self, request: Request<'_>) -> (Outcome, Answer) {
        if request.method != Method::GET && request.method != Method::HEAD {
            return (Outcome::Method, answer::page(StatusCode::METHOD_NOT_ALLOWED, request.headers));
        }
        let Worker { links, redirector, target } = self;
        let Ok(target) = target::read(request.uri, request.version, &request.headers, target) else {
            return (Outcome::BadRequest, answer::page(StatusCode::BAD_REQUEST, request.headers));
        };
        // What needs no link is done while memory brings the link.
        let place = target.link.map(|key| (links.seek(key), key));
        let judgement = redirector.judge(&request);
        if let Some((place, _)) = place {
            links.fetch(place);
        }
        let click_context = redirector.click_context(&request, judgement);
        if let Some(link) = place.and_then(|(place, key)| links.link(place, key)) {
            let read = Read { reading: target.reading, ..Read::default() };
            return follow(redirector, link, &click_context, request, &read);
        }
        match request.uri.path() {
            "/robots.txt" => return (Outcome::Robots, answer::robots(request.headers)),
            path => {
                if let Some(token) = path.strip_prefix(CHALLENGE_PATH)
                    && let Some(text) = redirector.challenge(token)
                {
                    return (Outcome::Challenge, answer::plain(text, request.headers));
                }
            }
        }
        let asked = Asked::of(request.uri.path()).unwrap_or_default();
        if let Some((link, read)) = generous(links.table(), target.host, &asked) {
            return follow(redirector, &link, &click_context, request, &read);
        }
        if is_probe(asked.text()) || is_probe(asked.bare()) {
            return (Outcome::Probe, answer::page(StatusCode::NOT_FOUND, request.headers));
        }
        if let Some(program) = links.table().program_of_host(target.host) {
            let rules = program.rules();
            let (code, reading) = match target.link.and_then(|key| key.split_once('/')) {
                Some((_, code)) => (code, target.reading),
                None => asked.codes().last().map_or(("", Reading::Exact), |code| (code, asked.reading(code))),
            };
            let link = format!("{}/{code}", target.host);
            return match redirector.record_unknown(&link, target.host, &rules, &click_context, reading) {
                Ok(()) => away(&rules, StatusCode::NOT_FOUND, request.headers),
                Err(beyond) => (Outcome::Limited, answer::limited(beyond, request.headers)),
            };
        }
        (Outcome::NotFound, answer::page(StatusCode::NOT_FOUND, request.headers))
    }
}

/// The link that a path means which is no link's code as it stands. The longest code first: what one link is called is never
/// read as another's code with something behind it.
fn generous(table: &LinkTable, host: &str, asked: &Asked) -> Option<(Arc<ResolvedLink>, Read)> {
    let found = asked.codes().find_map(|code| {
        let (link, case) = table.read(host, code)?;
        let reading = asked.reading(code).max(case);
        Some((link, Read { reading, query: asked.query.clone(), ..Read::default() }))
    });
    found.or_else(|| {
        let (code, channel) = asked.with_channel()?;
        let (link, _) = table.read(host, code)?;
        let is_named = link.has_channel_override && link.program().channel(&channel).is_some();
        let read = Read { reading: Reading::Channel, query: asked.query.clone(), channel };
        is_named.then_some((link, read))
    })
}

/// Records a click on a link, and answers it.
fn follow(
    redirector: &mut Redirector,
    link: &ResolvedLink,
    click_context: &ClickContext,
    request: Request<'_>,
    read: &Read,
) -> (Outcome, Answer) {
    let rules = link.program();
    match link.inactive(&rules, click_context.at) {
        None => (Outcome::Redirected, redirector.redirect(link, &rules, click_context, request, read)),
        Some(reason) => {
            redirector.record_inactive(link, &rules, click_context, reason, read.reading);
            away(&rules, StatusCode::GONE, request.headers)
        }
    }
}

/// To the program's fallback, or to a page of this status.
fn away(rules: &ProgramRules, status: StatusCode, headers: HeaderMap) -> (Outcome, Answer) {
    match &rules.fallback {
        Some(fallback) => {
            (Outcome::Fallback, answer::redirect(StatusCode::FOUND, fallback.clone(), None, headers))
        }
        None if status == StatusCode::GONE => (Outcome::Gone, answer::page(status, headers)),
        None => (Outcome::NotFound, answer::page(status, headers)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TableLimits;
    use proptest::{collection::vec, prelude::*};
    use whence_schemas::event::{HostClaim, Link, RegistryEntry, registry_entry::Entry};

    fn table(codes: &[String], case_sensitive: bool) -> LinkTable {
        let table = LinkTable::new(TableLimits::default());
        let claim = HostClaim { host: "go.example".into(), case_sensitive, ..HostClaim::default() };
        let link = |code: &String| Link {
            host: "go.example".into(),
            code: code.clone(),
            program: "demo".into(),
            destination: "https://shop.example/".into(),
            ..Link::default()
        };
        let entries = std::iter::once(Entry::HostClaim(claim)).chain(codes.iter().map(link).map(Entry::Link));
        for (version, entry) in (1..).zip(entries) {
            table.apply(&RegistryEntry { version, entry: Some(entry), ..RegistryEntry::default() });
        }
        table
    }

    /// The longest beginning of the text that is a code, with no letter behind it.
    fn expected<'c>(codes: &'c [String], is_sensitive: bool, text: &str) -> Option<&'c String> {
        let ends = (1..=text.len()).rev().take_while(|end| !text[*end..].contains(['a', 'A', '+']));
        let mut beginnings = ends.map(|end| &text[..end]);
        beginnings.find_map(|asked| {
            let in_any_case = |code: &&String| !is_sensitive && code.eq_ignore_ascii_case(asked);
            codes.iter().find(|code| *code == asked).or_else(|| codes.iter().find(in_any_case))
        })
    }

    proptest! {
        #[test]
        fn no_reading_leads_past_a_code_that_is_a_links(
            codes in vec("[aA._-]{1,4}", 1..8), text in "[aA._-][aA._)+-]{0,7}", says_sensitive: bool,
        ) {
            let table = table(&codes, says_sensitive);
            let differs = |one: &String, other: &String| one != other && one.eq_ignore_ascii_case(other);
            let is_sensitive = says_sensitive || codes.iter().any(|one| codes.iter().any(|other| differs(one, other)));
            let found = generous(&table, "go.example", &Asked::of(&format!("/{text}")).unwrap());
            let found = found.map(|(link, _)| String::from_utf8(link.key().to_vec()).unwrap());
            let expected = expected(&codes, is_sensitive, &text).map(|code| format!("go.example/{code}"));
            prop_assert_eq!(found, expected);
        }
    }
}
