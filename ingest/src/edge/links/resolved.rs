//! What a link and a program come to for the edge. Pure.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use arc_swap::{ArcSwap, Guard};
use hyper::{StatusCode, header::HeaderValue};
use whence_schemas::{
    event::{ConsentMode, Link, Mode, Program},
    ids::{ChannelId, ChannelNumber, LinkCode, LinkHost, LinkNumber, NameError, ProgramId, ReferrerId},
    time::UnixMs,
    token,
};

use crate::{
    edge::{record, verdict::Reason},
    registry::destination,
};

/// What the edge must know of a program.
#[derive(Debug)]
pub struct ProgramRules {
    /// The program.
    pub id: Box<str>,
    /// The registry version this comes from; 0: nothing has been heard of the program yet.
    pub version: u64,
    /// Its links are answered by the fallback.
    pub is_disabled: bool,
    /// Whether the visitor cookie may be read and set.
    pub has_cookie: bool,
    /// Where visitors go that no link can take; `None`: an error page.
    pub fallback: Option<HeaderValue>,
    /// What `?c=` may name. A handful, looked through one by one.
    pub channels: Vec<(Box<str>, ChannelNumber)>,
    /// See [`destination::check`].
    pub destination_hosts: Vec<String>,
}

impl ProgramRules {
    /// A program that is only known by name.
    pub(super) fn unheard(id: &str) -> ProgramRules {
        ProgramRules {
            id: id.into(),
            version: 0,
            is_disabled: false,
            has_cookie: false,
            fallback: None,
            channels: Vec::new(),
            destination_hosts: Vec::new(),
        }
    }

    /// The rules in a record; a fallback that no link of the program could point at is none.
    pub(super) fn of(program: &Program, version: u64) -> Result<ProgramRules, NameError> {
        program.id.parse::<ProgramId>()?;
        let channels = program.channels.iter();
        let channels = channels.map(|name| {
            name.parse::<ChannelId>().map(|name| (name.as_str().into(), ChannelNumber::of(name.as_str())))
        });
        Ok(ProgramRules {
            id: program.id.as_str().into(),
            version,
            is_disabled: program.disabled,
            has_cookie: program.consent() == ConsentMode::Cookie,
            fallback: fallback(program),
            channels: channels.collect::<Result<_, _>>()?,
            destination_hosts: program.destination_hosts.clone(),
        })
    }

    /// A channel of this name.
    #[must_use]
    pub fn channel(&self, name: &str) -> Option<(&str, ChannelNumber)> {
        let found = self.channels.iter().find(|(channel, _)| **channel == *name);
        found.map(|(name, number)| (&**name, *number))
    }
}

fn fallback(program: &Program) -> Option<HeaderValue> {
    let address = &program.fallback;
    let fits = !address.is_empty() && destination::check(address, &program.destination_hosts).is_ok();
    if fits { HeaderValue::from_str(address).ok() } else { None }
}

/// A program's place: its links hold the place, so that a change of the program reaches all of them at
/// once.
#[derive(Debug)]
pub struct ProgramPlace(ArcSwap<ProgramRules>);

impl ProgramPlace {
    pub(super) fn new(rules: ProgramRules) -> ProgramPlace {
        ProgramPlace(ArcSwap::from_pointee(rules))
    }

    pub(super) fn put(&self, rules: ProgramRules) {
        self.0.store(Arc::new(rules));
    }

    /// The rules as they are now.
    #[must_use]
    pub fn rules(&self) -> Guard<Arc<ProgramRules>> {
        self.0.load()
    }
}

/// A link, ready to be answered.
#[derive(Debug)]
pub struct ResolvedLink {
    /// The registry version of the link's record.
    pub version: u64,
    /// The link in tokens.
    pub number: LinkNumber,
    /// The link's own channel in tokens.
    pub channel_number: ChannelNumber,
    /// The redirect's status.
    pub status: StatusCode,
    /// `?c=` may name another channel.
    pub has_channel_override: bool,
    /// Parameters of the request are passed on.
    pub has_passthrough: bool,
    is_disabled: bool,
    /// `i64::MAX`: never.
    expires_at: UnixMs,
    program: Arc<ProgramPlace>,
    is_referrer_disabled: Arc<AtomicBool>,
    /// The program version under which the destination was looked at last, times two, plus one if it may
    /// be used.
    destination_seen: AtomicU64,
    text: LinkText,
}

/// The link's texts in one piece of memory: a link that nobody clicked for a while is paid for in cache
/// misses, one for each piece.
#[derive(Debug)]
struct LinkText {
    /// The address up to where parameters go, the address's fragment, the channel, the record's part.
    bytes: Box<[u8]>,
    fragment_at: u16,
    channel_at: u16,
    record_at: u16,
    /// Where the address's own query starts, behind its `?`; the address's end if it has none.
    query_at: u16,
    separator: &'static [u8],
}

/// The statuses that redirects may have.
fn redirect_status(number: u32) -> StatusCode {
    match number {
        301 => StatusCode::MOVED_PERMANENTLY,
        307 => StatusCode::TEMPORARY_REDIRECT,
        308 => StatusCode::PERMANENT_REDIRECT,
        _ => StatusCode::FOUND,
    }
}

/// Whether a record's names are names, and its destination of a length that can be stored.
pub(super) fn check(link: &Link) -> Result<(), NameError> {
    link.host.parse::<LinkHost>()?;
    link.code.parse::<LinkCode>()?;
    link.program.parse::<ProgramId>()?;
    if !link.referrer.is_empty() {
        link.referrer.parse::<ReferrerId>()?;
    }
    if !link.channel.is_empty() {
        link.channel.parse::<ChannelId>()?;
    }
    let length = link.destination.len();
    if length > destination::DESTINATION_BYTES_MAX {
        return Err(NameError::TooLong { max: destination::DESTINATION_BYTES_MAX, found: length });
    }
    Ok(())
}

impl ResolvedLink {
    /// The link in a record that [`check`] found good.
    pub(super) fn of(
        link: &Link,
        version: u64,
        program: Arc<ProgramPlace>,
        is_referrer_disabled: Arc<AtomicBool>,
    ) -> ResolvedLink {
        ResolvedLink {
            version,
            number: LinkNumber::of(&format!("{}/{}", link.host, link.code)),
            channel_number: ChannelNumber::of(&link.channel),
            status: redirect_status(link.status),
            has_channel_override: link.channel_override,
            has_passthrough: link.passthrough,
            is_disabled: link.disabled,
            expires_at: UnixMs(if link.expires_at_ms == 0 { i64::MAX } else { link.expires_at_ms }),
            program,
            is_referrer_disabled,
            destination_seen: AtomicU64::new(0),
            text: LinkText::of(link),
        }
    }

    /// The link's program.
    #[must_use]
    pub fn program(&self) -> Guard<Arc<ProgramRules>> {
        self.program.rules()
    }

    /// Why the link takes nobody anywhere now, if so. `rules` are its program's.
    #[must_use]
    pub fn inactive(&self, rules: &ProgramRules, now: UnixMs) -> Option<Reason> {
        if rules.version == 0 {
            Some(Reason::ProgramUnknown)
        } else if rules.is_disabled {
            Some(Reason::ProgramDisabled)
        } else if self.is_disabled {
            Some(Reason::LinkDisabled)
        } else if now >= self.expires_at {
            Some(Reason::LinkExpired)
        } else if self.is_referrer_disabled.load(Ordering::Relaxed) {
            Some(Reason::ReferrerDisabled)
        } else if !self.has_destination_of(rules) {
            Some(Reason::DestinationRefused)
        } else {
            None
        }
    }

    /// Whether the program's hosts have the destination; looked at once for each version of the program.
    fn has_destination_of(&self, rules: &ProgramRules) -> bool {
        let seen = self.destination_seen.load(Ordering::Relaxed);
        if seen >> 1 == rules.version {
            return seen & 1 == 1;
        }
        let fits = destination::check(&self.destination(), &rules.destination_hosts);
        if let Err(error) = &fits {
            metrics::counter!("whence_edge_destinations_refused_total").increment(1);
            let (program, link) = (&*rules.id, self.number.0);
            tracing::warn!(program, link, %error, "a stored link points where its program may not");
        }
        self.destination_seen.store(rules.version << 1 | u64::from(fits.is_ok()), Ordering::Relaxed);
        fits.is_ok()
    }

    fn destination(&self) -> String {
        self.text.str(0, self.text.channel_at).to_owned()
    }

    /// The link's own channel; empty: none.
    #[must_use]
    pub fn channel(&self) -> &str {
        self.text.str(self.text.channel_at, self.text.record_at)
    }

    /// What all its clicks share; see [`record::resolved_part`].
    #[must_use]
    pub fn record_part(&self) -> &[u8] {
        &self.text.bytes[usize::from(self.text.record_at)..]
    }

    /// The landing address: the stored destination with the token as its last parameter, `passed` (each
    /// parameter followed by `&`) before it, and the stored fragment at the end.
    #[must_use]
    pub fn location(&self, passed: &[u8], token: &str) -> Vec<u8> {
        let text = &self.text;
        let (head, fragment) = (text.part(0, text.fragment_at), text.part(text.fragment_at, text.channel_at));
        let parameter = token::PARAMETER.as_bytes();
        let parts = [head, text.separator, passed, parameter, b"=", token.as_bytes(), fragment];
        let mut location = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
        for part in parts {
            location.extend_from_slice(part);
        }
        location
    }

    /// The destination's own query.
    #[must_use]
    pub fn own_query(&self) -> &str {
        self.text.str(self.text.query_at, self.text.fragment_at)
    }
}

impl LinkText {
    fn of(link: &Link) -> LinkText {
        let address = &link.destination;
        let fragment_at = address.find('#').unwrap_or(address.len());
        let query_at = address[..fragment_at].find('?').map_or(fragment_at, |at| at + 1);
        let mode = if link.test { Mode::Test } else { Mode::Live };
        let name = format!("{}/{}", link.host, link.code);
        let record = record::resolved_part(&link.program, &link.referrer, &name, address, mode);
        let mut bytes = Vec::with_capacity(address.len() + link.channel.len() + record.len());
        bytes.extend_from_slice(address.as_bytes());
        bytes.extend_from_slice(link.channel.as_bytes());
        bytes.extend_from_slice(&record);
        let at = |at: usize| u16::try_from(at).expect("destinations and names are bounded");
        LinkText {
            bytes: bytes.into(),
            fragment_at: at(fragment_at),
            channel_at: at(address.len()),
            record_at: at(address.len() + link.channel.len()),
            query_at: at(query_at),
            separator: separator(&address[..fragment_at]),
        }
    }

    fn part(&self, start: u16, end: u16) -> &[u8] {
        &self.bytes[usize::from(start)..usize::from(end)]
    }

    fn str(&self, start: u16, end: u16) -> &str {
        str::from_utf8(self.part(start, end)).expect("cut where the texts were joined, or at ASCII")
    }
}

/// What goes between an address without its fragment and its first further parameter.
fn separator(address: &str) -> &'static [u8] {
    match address.as_bytes() {
        [.., b'?' | b'&'] if address.contains('?') => b"",
        _ if address.contains('?') => b"&",
        // `https://shop.example`: the path that every reader supplies is put in.
        _ if address.matches('/').count() == 2 => b"/?",
        _ => b"?",
    }
}
