//! One core's work: from a request's head to its answer's head, the click being in the journal before
//! there is an answer. Knows nothing of sockets.

use std::{fmt, net::IpAddr, sync::Arc, time::Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use hyper::{HeaderMap, Method, StatusCode, Uri, header::HeaderValue};
use ipnet::IpNet;
use rand::{Rng, rngs::StdRng};
use whence_schemas::{
    event::{Mode, Verdict},
    ids::{ChannelNumber, ClickId},
    time::UnixMs,
    token::{ClickToken, KeyRing, TEXT_LEN},
};

use super::{
    address::{AddressHasher, DayKeys},
    agent_cache::AgentCache,
    answer::{self, Answer},
    links::{LinkTable, ProgramRules, ResolvedLink},
    meters::{Meters, Outcome},
    proxies, query,
    record::{self, ClickRecord},
    recorder::Recorder,
    target::{self, KEY_BYTES_MAX},
    verdict::{self, Judgement, Reason},
    visitor::{self, VisitorCookie},
};

/// Where the time comes from; read once for each request.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> UnixMs + Send + Sync>);

impl Clock {
    /// A clock of this function.
    pub fn new(now: impl Fn() -> UnixMs + Send + Sync + 'static) -> Clock {
        Clock(Arc::new(now))
    }

    /// The machine's clock.
    #[must_use]
    pub fn system() -> Clock {
        Clock::new(|| {
            let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
            UnixMs(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
        })
    }

    fn now(&self) -> UnixMs {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// What all cores share.
#[derive(Clone, Debug)]
pub struct Shared {
    /// The links.
    pub links: Arc<LinkTable>,
    /// The keys that tokens are made with, replaced as a whole when they rotate.
    pub keys: Arc<ArcSwap<KeyRing>>,
    /// The secret that addresses are hashed with.
    pub hasher: AddressHasher,
    /// Networks whose `X-Forwarded-For` counts.
    pub trusted_proxies: Arc<[IpNet]>,
    /// The visitor cookie.
    pub cookie: VisitorCookie,
    /// The time.
    pub clock: Clock,
}

/// One core.
pub struct Worker {
    shared: Shared,
    agents: AgentCache,
    recorder: Recorder,
    random: StdRng,
    day: DayKeys,
    /// The core's counts.
    pub meters: Meters,
    /// Parameters to be passed on; kept for its memory.
    passed: Vec<u8>,
}

/// What is known of who asks, as it goes into a record.
struct Asker {
    now: UnixMs,
    address: u64,
    prefix: u64,
}

impl Worker {
    /// A core. `random` must be a generator of its own.
    #[must_use]
    pub fn new(shared: Shared, agents: AgentCache, recorder: Recorder, random: StdRng) -> Worker {
        let day = shared.hasher.keys_at(shared.clock.now());
        Worker { shared, agents, recorder, random, day, meters: Meters::new(), passed: Vec::new() }
    }

    /// What is due once a second.
    pub fn tick(&mut self) {
        self.meters.hand_over();
        self.recorder.look_again();
    }

    /// Answers a request. HEAD is answered as GET would be, token included: programs that resolve links
    /// ask by HEAD and open what they are told.
    pub fn answer(&mut self, method: &Method, uri: &Uri, headers: HeaderMap, peer: IpAddr) -> Answer {
        let started = self.meters.is_timed().then(Instant::now);
        let (outcome, answer) = self.judge_and_answer(method, uri, headers, peer);
        self.meters.answered(outcome);
        if let Some(started) = started {
            self.meters.took(started.elapsed());
        }
        answer
    }

    fn judge_and_answer(
        &mut self,
        method: &Method,
        uri: &Uri,
        headers: HeaderMap,
        peer: IpAddr,
    ) -> (Outcome, Answer) {
        if method != Method::GET && method != Method::HEAD {
            return (Outcome::Method, answer::page(StatusCode::METHOD_NOT_ALLOWED, headers));
        }
        let mut buffer = [0; KEY_BYTES_MAX];
        let Ok(target) = target::read(uri, &headers, &mut buffer) else {
            return (Outcome::BadRequest, answer::page(StatusCode::BAD_REQUEST, headers));
        };
        let links = Arc::clone(&self.shared.links);
        if let Some(link) = target.link.and_then(|key| links.link(key)) {
            let rules = link.program();
            let asker = self.asker(&headers, peer);
            return match link.inactive(&rules, asker.now) {
                None => (Outcome::Redirected, self.redirect(&link, &rules, &asker, method, uri, headers)),
                Some(reason) => {
                    self.record_inactive(
                        &asker,
                        link.record_part(),
                        link.channel(),
                        link.version.max(rules.version),
                        reason,
                    );
                    away(&rules, StatusCode::GONE, headers)
                }
            };
        }
        if uri.path() == "/robots.txt" {
            return (Outcome::Robots, answer::robots(headers));
        }
        let Some(program) = links.program_of_host(target.host) else {
            return (Outcome::NotFound, answer::page(StatusCode::NOT_FOUND, headers));
        };
        let rules = program.rules();
        if let Some(link) = target.link.filter(|_| uri.path() != "/favicon.ico") {
            let asker = self.asker(&headers, peer);
            let part = record::resolved_part(&rules.id, "", link, "", Mode::Live);
            self.record_inactive(&asker, &part, "", rules.version, Reason::UnknownLink);
            return away(&rules, StatusCode::NOT_FOUND, headers);
        }
        // Not the form of a code: nobody's click.
        (Outcome::NotFound, answer::page(StatusCode::NOT_FOUND, headers))
    }

    fn asker(&mut self, headers: &HeaderMap, peer: IpAddr) -> Asker {
        let now = self.shared.clock.now();
        if !self.day.are_of(now) {
            self.day = self.shared.hasher.keys_at(now);
        }
        let client = proxies::client(peer, headers, &self.shared.trusted_proxies);
        let hashes = self.day.address(client);
        Asker { now, address: hashes.address, prefix: hashes.prefix }
    }

    fn judge(&mut self, method: &Method, headers: &HeaderMap) -> Judgement {
        verdict::of_request(method, headers).unwrap_or_else(|| self.agents.judge(verdict::agent(headers)))
    }

    fn mint(&mut self, at: UnixMs) -> ClickId {
        let mut random = [0; 10];
        self.random.fill_bytes(&mut random);
        ClickId::mint(at, &random)
    }

    fn redirect(
        &mut self,
        link: &ResolvedLink,
        rules: &ProgramRules,
        asker: &Asker,
        method: &Method,
        uri: &Uri,
        headers: HeaderMap,
    ) -> Answer {
        let (verdict, reason) = self.judge(method, &headers);
        let (visitor, cookie) = self.visitor(rules, verdict, &headers);
        let query = uri.query().unwrap_or_default();
        let (channel, channel_number) = channel(link, rules, query);
        let id = self.mint(asker.now);
        let recorded = self.recorder.record(&ClickRecord {
            id,
            resolved: link.record_part(),
            channel,
            registry_version: link.version.max(rules.version),
            verdict,
            reason,
            visitor,
            address: asker.address,
            prefix: asker.prefix,
        });
        if recorded {
            self.meters.recorded(verdict);
        }
        let location = self.location(link, query, id, channel_number);
        answer::redirect(link.status, location, cookie, headers)
    }

    fn location(
        &mut self,
        link: &ResolvedLink,
        query: &str,
        click: ClickId,
        channel: ChannelNumber,
    ) -> HeaderValue {
        self.passed.clear();
        if link.has_passthrough && !query.is_empty() {
            let is_channel_reserved = link.has_channel_override;
            let left_out = query::pass_on(query, link.own_query(), is_channel_reserved, &mut self.passed);
            self.meters.left_out(left_out);
        }
        let mut text = [0; TEXT_LEN];
        let token = ClickToken { click, link: link.number, channel };
        let token = self.shared.keys.load().mint(&token, &mut text);
        let location = link.location(&self.passed, token);
        HeaderValue::from_maybe_shared(Bytes::from(location)).expect("checked to be visible ASCII")
    }

    /// The visitor's hash, and the cookie to be set. People get one; programs keep what they bring.
    fn visitor(
        &mut self,
        rules: &ProgramRules,
        verdict: Verdict,
        headers: &HeaderMap,
    ) -> (u64, Option<HeaderValue>) {
        if !rules.has_cookie || visitor::objects(headers) {
            return (0, None);
        }
        match self.shared.cookie.read(headers) {
            Some(id) => (self.day.visitor(&rules.id, &id), None),
            None if verdict == Verdict::Human => {
                let id = visitor::mint(&mut self.random);
                (self.day.visitor(&rules.id, &id), Some(self.shared.cookie.set(&id)))
            }
            None => (0, None),
        }
    }

    /// Records a click that leads nowhere: no token, no cookie.
    fn record_inactive(
        &mut self,
        asker: &Asker,
        resolved: &[u8],
        channel: &str,
        registry_version: u64,
        reason: Reason,
    ) {
        let click = ClickRecord {
            id: self.mint(asker.now),
            resolved,
            channel,
            registry_version,
            verdict: Verdict::Inactive,
            reason,
            visitor: 0,
            address: asker.address,
            prefix: asker.prefix,
        };
        if self.recorder.record(&click) {
            self.meters.recorded(Verdict::Inactive);
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

/// The link's channel, or the one of the program's that the request names where it may.
fn channel<'l>(link: &'l ResolvedLink, rules: &'l ProgramRules, query: &str) -> (&'l str, ChannelNumber) {
    let named = if link.has_channel_override { query::channel(query) } else { None };
    named.and_then(|name| rules.channel(name)).unwrap_or((link.channel(), link.channel_number))
}
