//! What a link comes to for the edge. Pure.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use arc_swap::Guard;
use hyper::StatusCode;
use whence_schemas::{
    event::{self, Click, Link, Mode},
    ids::{ChannelId, ChannelNumber, LinkCode, LinkHost, LinkNumber, NameError, ProgramId, ReferrerId},
    time::UnixMs,
    token,
};

use super::program::{ProgramPlace, ProgramRules};
use crate::{record, target::KEY_BYTES_MAX, verdict::Reason};
use whence_registry::destination;

whence_metrics::declare! {
    /// Stored links whose destination the program's hosts do not have.
    counter EDGE_DESTINATIONS_REFUSED: "whence_edge_destinations_refused_total";
}

/// A link, ready to be answered.
///
/// All of it lies in one piece of memory: a link that nobody clicked for a while is paid for in cache misses,
/// and each piece would be one more. With 100,000 links asked for at random they cost more than all the
/// rest of an answer.
#[derive(Debug)]
pub struct ResolvedLink<T: ?Sized = [u8]> {
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
    is_referrer_disabled: AtomicBool,
    is_replaced: AtomicBool,
    /// `i64::MAX`: never.
    expires_at: UnixMs,
    program: Arc<ProgramPlace>,
    /// The program version under which the destination was looked at last, times two, plus one if it may
    /// be used.
    destination_seen: AtomicU64,
    marks: Marks,
    /// The channel, the record's part (which has the key and the destination), and nothing of meaning.
    text: T,
}

/// Where in a link's text what stands.
#[derive(Clone, Copy, Debug)]
struct Marks {
    record_at: u16,
    key_at: u16,
    key_end: u16,
    destination_at: u16,
    /// Where the destination's query starts, behind its `?`; its address's end if it has none.
    query_at: u16,
    fragment_at: u16,
    end: u16,
    separator: Separator,
}

/// What goes between an address without its fragment and its first further parameter.
#[derive(Clone, Copy, Debug)]
enum Separator {
    None,
    And,
    Question,
    /// `https://shop.example`: the path that every reader supplies is put in.
    SlashQuestion,
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
        is_referrer_disabled: bool,
    ) -> Arc<ResolvedLink> {
        let key = format!("{}/{}", link.host, link.code);
        let (marks, text) = Marks::of(link, &key);
        let sized = ResolvedLink {
            version,
            number: LinkNumber::of(&key),
            channel_number: ChannelNumber::of(&link.channel),
            status: redirect_status(link.status),
            has_channel_override: link.channel_override,
            has_passthrough: link.passthrough,
            is_disabled: link.disabled,
            is_referrer_disabled: AtomicBool::new(is_referrer_disabled),
            is_replaced: AtomicBool::new(false),
            expires_at: UnixMs(if link.expires_at_ms == 0 { i64::MAX } else { link.expires_at_ms }),
            program,
            destination_seen: AtomicU64::new(0),
            marks,
            text: (),
        };
        sized.with(&text)
    }

    /// Takes note of the referrer's state.
    pub(super) fn set_referrer_disabled(&self, is_disabled: bool) {
        self.is_referrer_disabled.store(is_disabled, Ordering::Relaxed);
    }

    /// Takes note that the table has another in its place.
    pub(super) fn set_replaced(&self) {
        self.is_replaced.store(true, Ordering::Release);
    }

    /// Whether the table has another in its place.
    #[must_use]
    pub fn is_replaced(&self) -> bool {
        self.is_replaced.load(Ordering::Acquire)
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
        let destination = self.str(self.marks.destination_at, self.marks.end);
        let fits = destination::check(destination, &rules.destination_hosts);
        if let Err(error) = &fits {
            metrics::counter!(EDGE_DESTINATIONS_REFUSED).increment(1);
            let (program, link) = (&*rules.id, self.number.0);
            tracing::warn!(program, link, %error, "a stored link points where its program may not");
        }
        self.destination_seen.store(rules.version << 1 | u64::from(fits.is_ok()), Ordering::Relaxed);
        fits.is_ok()
    }

    /// `host/code`
    #[must_use]
    pub fn key(&self) -> &[u8] {
        self.part(self.marks.key_at, self.marks.key_end)
    }

    /// `program/referrer`; decoded, for rare use.
    pub(super) fn owner(&self) -> String {
        let shared: Click = event::decode(self.record_part()).expect("it was encoded here");
        format!("{}/{}", shared.program, shared.referrer)
    }

    /// The link's own channel; empty: none.
    #[must_use]
    pub fn channel(&self) -> &str {
        self.str(0, self.marks.record_at)
    }

    /// What all its clicks share; see [`record::resolved_part`].
    #[must_use]
    pub fn record_part(&self) -> &[u8] {
        self.part(self.marks.record_at, self.marks.end)
    }

    /// The destination's own query.
    #[must_use]
    pub fn own_query(&self) -> &str {
        self.str(self.marks.query_at, self.marks.fragment_at)
    }

    /// The landing address: the stored destination with the token as its last parameter, `passed` (each
    /// parameter followed by `&`) before it, and the stored fragment at the end.
    #[must_use]
    pub fn location(&self, passed: &[u8], token: &str) -> Vec<u8> {
        let marks = &self.marks;
        let address = self.part(marks.destination_at, marks.fragment_at);
        let fragment = self.part(marks.fragment_at, marks.end);
        let separator: &[u8] = match marks.separator {
            Separator::None => b"",
            Separator::And => b"&",
            Separator::Question => b"?",
            Separator::SlashQuestion => b"/?",
        };
        let parameter = token::PARAMETER.as_bytes();
        let parts = [address, separator, passed, parameter, b"=", token.as_bytes(), fragment];
        let mut location = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
        for part in parts {
            location.extend_from_slice(part);
        }
        location
    }

    fn part(&self, start: u16, end: u16) -> &[u8] {
        &self.text[usize::from(start)..usize::from(end)]
    }

    fn str(&self, start: u16, end: u16) -> &str {
        str::from_utf8(self.part(start, end)).expect("cut where the texts were joined, or at ASCII")
    }
}

impl ResolvedLink<()> {
    /// The link with its text behind it, in the smallest of a few sizes that holds it. Only an array can
    /// become a slice in place without unsafe code.
    fn with(self, text: &[u8]) -> Arc<ResolvedLink> {
        match text.len() {
            0..=128 => self.sized::<128>(text),
            129..=192 => self.sized::<192>(text),
            193..=256 => self.sized::<256>(text),
            257..=384 => self.sized::<384>(text),
            385..=512 => self.sized::<512>(text),
            513..=1024 => self.sized::<1024>(text),
            _ => self.sized::<TEXT_BYTES_MAX>(text),
        }
    }

    fn sized<const N: usize>(self, text: &[u8]) -> Arc<ResolvedLink> {
        let mut array = [0; N];
        array[..text.len()].copy_from_slice(text);
        Arc::new(ResolvedLink {
            version: self.version,
            number: self.number,
            channel_number: self.channel_number,
            status: self.status,
            has_channel_override: self.has_channel_override,
            has_passthrough: self.has_passthrough,
            is_disabled: self.is_disabled,
            is_referrer_disabled: self.is_referrer_disabled,
            is_replaced: self.is_replaced,
            expires_at: self.expires_at,
            program: self.program,
            destination_seen: self.destination_seen,
            marks: self.marks,
            text: array,
        })
    }
}

/// The longest destination, names, and the tags and lengths of a record's fields.
const TEXT_BYTES_MAX: usize = destination::DESTINATION_BYTES_MAX + KEY_BYTES_MAX + 64 + 64 + 32 + 32;

impl Marks {
    /// The text of a link, and where in it what stands.
    fn of(link: &Link, key: &str) -> (Marks, Vec<u8>) {
        let address = &link.destination;
        let mode = if link.test { Mode::Test } else { Mode::Live };
        let record = record::resolved_part(&link.program, &link.referrer, key, address, mode);
        let record_at = link.channel.len();
        let text = [link.channel.as_bytes(), &record.bytes].concat();
        let at = |at: usize| u16::try_from(at).expect("destinations and names are bounded");
        let destination_at = record_at + record.destination_at;
        let fragment_at = address.find('#').unwrap_or(address.len());
        let query_at = address[..fragment_at].find('?').map_or(fragment_at, |at| at + 1);
        let marks = Marks {
            record_at: at(record_at),
            key_at: at(record_at + record.link_at),
            key_end: at(record_at + record.link_at + key.len()),
            destination_at: at(destination_at),
            query_at: at(destination_at + query_at),
            fragment_at: at(destination_at + fragment_at),
            end: at(text.len()),
            separator: separator(&address[..fragment_at]),
        };
        (marks, text)
    }
}

fn separator(address: &str) -> Separator {
    match address.as_bytes() {
        [.., b'?' | b'&'] if address.contains('?') => Separator::None,
        _ if address.contains('?') => Separator::And,
        _ if address.matches('/').count() == 2 => Separator::SlashQuestion,
        _ => Separator::Question,
    }
}
