//! From a link to its answer: who asks, the click into the journal, the token, the landing address. The
//! click is in the journal before there is an answer.

use std::{borrow::Cow, collections::HashMap, net::IpAddr, sync::Arc};

use arc_swap::{ArcSwap, Cache};
use bytes::Bytes;
use hyper::{HeaderMap, Method, Uri, Version, header::HeaderValue};
use ipnet::IpNet;
use rand::{Rng, rngs::StdRng};
use whence_runtime::{
    http::forwarded,
    shares::{Beyond, Prefix},
};
use whence_schemas::{
    event::{Mode, Verdict},
    ids::{ChannelNumber, ClickId},
    time::UnixMs,
    token::{ClickToken, KeyRing, TEXT_LEN},
};

use super::{
    address::{AddressHashes, DayKeys},
    agent_cache::AgentCache,
    answer::{self, Answer},
    limited::Limited,
    links::{ProgramRules, ResolvedLink},
    majority::Majority,
    meters::Meters,
    query,
    reading::Reading,
    record::{self, ClickRecord},
    recorder::Recorder,
    shared::Shared,
    verdict::{self, Judgement, Reason},
    visitor,
};

/// A request, as far as the edge looks at it.
#[derive(Debug)]
pub struct Request<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Its target.
    pub uri: &'a Uri,
    /// The protocol's version.
    pub version: Version,
    /// Its headers, whose memory the answer takes over.
    pub headers: HeaderMap,
    /// Who connected.
    pub peer: IpAddr,
    /// Whether this connection is one of TLS.
    pub is_secure: bool,
}

/// How a link was read out of a request.
#[derive(Clone, Debug, Default)]
pub struct Read {
    /// The reading.
    pub reading: Reading,
    /// Parameters that were read out of the path; empty: none.
    pub query: String,
    /// The channel that was read out of the path; empty: none.
    pub channel: String,
}

/// Who makes a request, as it goes into a record.
#[derive(Debug)]
pub struct ClickContext {
    /// When.
    pub at: UnixMs,
    /// The click's id.
    pub id: ClickId,
    /// What the request is.
    pub judgement: Judgement,
    /// The client's address.
    pub address: AddressHashes,
    /// Whether the client spoke https.
    pub is_https: bool,
    /// Its network.
    pub network: Prefix,
}

impl ClickContext {
    /// Its click on what `resolved` says, without channel and visitor.
    fn click<'r>(&self, judgement: Judgement, resolved: &'r [u8], registry_version: u64) -> ClickRecord<'r> {
        let (verdict, reason) = judgement;
        let AddressHashes { address, prefix } = self.address;
        let id = self.id;
        ClickRecord {
            id,
            resolved,
            channel: "",
            registry_version,
            verdict,
            reason,
            made_by: self.judgement,
            reading: Reading::Exact,
            visitor: 0,
            address,
            prefix,
            requests: 0,
        }
    }
}

/// All that a core needs to redirect, but the links.
pub struct Redirector {
    shared: Shared,
    /// Looks whether the keys are still the same ones, without counting a reference.
    keys: Cache<Arc<ArcSwap<KeyRing>>, Arc<KeyRing>>,
    agents: AgentCache,
    recorder: Recorder,
    random: StdRng,
    day: DayKeys,
    limited: Limited,
    majority: Majority,
    /// The core's counts.
    pub meters: Meters,
    /// Parameters to be passed on; kept for its memory.
    passed: Vec<u8>,
}

impl Redirector {
    /// A core's redirector.
    #[must_use]
    pub fn new(shared: Shared, agents: AgentCache, recorder: Recorder, random: StdRng) -> Redirector {
        let day = shared.hasher.keys_at(shared.clock.now());
        let keys = Cache::new(Arc::clone(&shared.keys));
        Redirector {
            shared,
            keys,
            agents,
            recorder,
            random,
            day,
            limited: Limited::default(),
            majority: Majority::default(),
            meters: Meters::new(),
            passed: Vec::new(),
        }
    }

    /// Networks of proxies.
    #[must_use]
    pub fn proxies(&self) -> &[IpNet] {
        &self.shared.proxies
    }

    /// Networks whose connections begin with a header of the PROXY protocol.
    #[must_use]
    pub fn proxy_protocol_from(&self) -> &Arc<[IpNet]> {
        &self.shared.proxy_protocol_from
    }

    /// What a certificate authority is answered that asks for this token.
    #[must_use]
    pub fn challenge(&self, token: &str) -> Option<String> {
        self.shared.certificates.as_ref()?.answer(token)
    }

    /// What is due once a second.
    pub fn tick(&mut self) {
        let limited = self.limited.due();
        self.record_all_limited(limited);
        if let Some((network, percent)) = self.majority.due() {
            self.shared.majority.tell(network, percent, &self.shared.trusted_proxies);
        }
        self.meters.hand_over();
        self.recorder.tick();
    }

    /// What is due when there are no more requests.
    pub fn finish(&mut self) {
        let limited = self.limited.all();
        self.record_all_limited(limited);
    }

    fn record_all_limited(&mut self, limited: HashMap<Box<str>, u64>) {
        let links = Arc::clone(&self.shared.links);
        for (host, requests) in limited {
            // A program that has given the host up meanwhile has lost nothing.
            if let Some(program) = links.program_of_host(&host) {
                self.record_limited(&host, &program.rules(), requests);
            }
        }
    }

    /// What the request is.
    pub fn judge(&mut self, request: &Request<'_>) -> Judgement {
        let Request { method, headers, .. } = request;
        verdict::of_request(method, headers)
            .unwrap_or_else(|| verdict::of_browser(headers, self.agents.judge(verdict::agent(headers))))
    }

    /// Who makes the request, and when. Reads the clock, once for each request.
    pub fn click_context(&mut self, request: &Request<'_>, judgement: Judgement) -> ClickContext {
        let at = self.shared.clock.now();
        if !self.day.are_of(at) {
            self.day = self.shared.hasher.keys_at(at);
        }
        let Shared { trusted_proxies, forwarded_header, .. } = &self.shared;
        let origin = forwarded::origin(request.peer, &request.headers, trusted_proxies, *forwarded_header);
        let mut random = [0; 10];
        self.random.fill_bytes(&mut random);
        let network = Prefix::of(origin.address);
        self.majority.note(network);
        ClickContext {
            at,
            id: ClickId::mint(at, &random, judgement.0 == Verdict::Human),
            judgement,
            address: self.day.address(origin.address),
            network,
            is_https: origin.is_https.unwrap_or(request.is_secure),
        }
    }

    /// Records a click on a link that may be followed, and answers it.
    pub fn redirect(
        &mut self,
        link: &ResolvedLink,
        rules: &ProgramRules,
        click_context: &ClickContext,
        request: Request<'_>,
        read: &Read,
    ) -> Answer {
        let Request { uri, headers, .. } = request;
        let (visitor, cookie) =
            self.visitor(rules, click_context.judgement.0, &headers, click_context.is_https);
        let query = match (read.query.as_str(), uri.query().unwrap_or_default()) {
            ("", query) => Cow::Borrowed(query),
            (of_path, "") => Cow::Borrowed(of_path),
            (of_path, query) => Cow::Owned(format!("{of_path}&{query}")),
        };
        let (channel, channel_number) = channel(link, rules, &query, &read.channel);
        let version = link.version.max(rules.version);
        let click = click_context.click(click_context.judgement, link.record_part(), version);
        self.record(&ClickRecord { channel, visitor, reading: read.reading, ..click });
        let location = self.location(link, &query, click_context.id, channel_number);
        answer::redirect(link.status, location, cookie, headers)
    }

    /// Records a click on a link that leads nowhere, and who made it: no token, no cookie.
    pub fn record_inactive(
        &mut self,
        link: &ResolvedLink,
        rules: &ProgramRules,
        click_context: &ClickContext,
        reason: Reason,
        reading: Reading,
    ) {
        let version = link.version.max(rules.version);
        let click = click_context.click((Verdict::Inactive, reason), link.record_part(), version);
        self.record(&ClickRecord { channel: link.channel(), reading, ..click });
    }

    /// Records a click on `link` (`host/code`, or `host/` where what was asked for has not the form of a code), of which
    /// the registry knows only the host.
    ///
    /// # Errors
    /// If the network has used up its share of these: it is then no click of its own, but counted.
    pub fn record_unknown(
        &mut self,
        link: &str,
        host: &str,
        rules: &ProgramRules,
        click_context: &ClickContext,
        reading: Reading,
    ) -> Result<(), Beyond> {
        if let Err(beyond) = self.shared.unknown_codes.take(click_context.network) {
            self.limited.count(host);
            return Err(beyond);
        }
        let resolved = record::resolved_part(&rules.id, "", link, "", Mode::Live);
        let judgement = (Verdict::Inactive, Reason::UnknownLink);
        let click = click_context.click(judgement, &resolved.bytes, rules.version);
        self.record(&ClickRecord { reading, ..click });
        Ok(())
    }

    /// Records how many requests on a host were beyond their network's share: one record for all of them.
    fn record_limited(&mut self, host: &str, rules: &ProgramRules, requests: u64) {
        let resolved = record::resolved_part(&rules.id, "", &format!("{host}/"), "", Mode::Live);
        let at = self.shared.clock.now();
        let mut random = [0; 10];
        self.random.fill_bytes(&mut random);
        self.record(&ClickRecord {
            id: ClickId::mint(at, &random, false),
            resolved: &resolved.bytes,
            channel: "",
            registry_version: rules.version,
            verdict: Verdict::Inactive,
            reason: Reason::UnknownLinkLimited,
            // Of many.
            made_by: (Verdict::Unspecified, Reason::UnknownLinkLimited),
            reading: Reading::Exact,
            visitor: 0,
            address: 0,
            prefix: 0,
            requests,
        });
    }

    fn record(&mut self, click: &ClickRecord<'_>) {
        if self.recorder.record(click) {
            self.meters.recorded(click.verdict);
        }
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
        let token = self.keys.load().mint(&token, &mut text);
        let location = link.location(&self.passed, token);
        HeaderValue::from_maybe_shared(Bytes::from(location)).expect("checked to be visible ASCII")
    }

    /// The visitor's hash, and the cookie to be set. People get one; programs keep what they bring.
    fn visitor(
        &mut self,
        rules: &ProgramRules,
        verdict: Verdict,
        headers: &HeaderMap,
        is_https: bool,
    ) -> (u64, Option<HeaderValue>) {
        if !rules.has_cookie || visitor::objects(headers) {
            return (0, None);
        }
        match self.shared.cookie.read(headers) {
            Some(id) => (self.day.visitor(&rules.id, &id), None),
            None if verdict == Verdict::Human => {
                let id = visitor::mint(&mut self.random);
                (self.day.visitor(&rules.id, &id), Some(self.shared.cookie.set(&id, is_https)))
            }
            None => (0, None),
        }
    }
}

/// The link's channel, or the one of the program's that the request names where it may.
fn channel<'l>(
    link: &'l ResolvedLink,
    rules: &'l ProgramRules,
    query: &str,
    of_path: &str,
) -> (&'l str, ChannelNumber) {
    let of_path = Some(of_path).filter(|name| !name.is_empty());
    let named = if link.has_channel_override { of_path.or_else(|| query::channel(query)) } else { None };
    named.and_then(|name| rules.channel(name)).unwrap_or((link.channel(), link.channel_number))
}
