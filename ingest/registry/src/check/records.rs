//! What may stand in a record, looked at on its own. Each error names the field of the API's JSON.

use super::super::{ChangeError, destination};
use std::{collections::BTreeMap, fmt::Display, str::FromStr};
use whence_schemas::{
    event::{ApiKey, AttributionModel, ConsentMode, Link, Program, Referrer},
    ids::{ChannelId, ChannelNumber, LinkCode, LinkHost, ProgramId, ReferrerId},
    reward::mistakes,
    time::UnixMs,
};

/// Characters of a display name.
pub const NAME_CHARS_MAX: usize = 200;
/// Entries of each of a program's lists.
pub const LIST_MAX: usize = 256;
/// The longest attribution window, in days: token keys have to be kept for as long.
pub const WINDOW_DAYS_MAX: u64 = 400;
/// What an API key may allow.
pub const SCOPES: [&str; 6] =
    ["events:write", "rewards:decide", "persons:erase", "registry:write", "registry:read", "reports:read"];

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// Paths that the edge answers itself, and segments that browsers resolve away.
const RESERVED_CODES: [&str; 6] = [".", "..", "whence.js", "robots.txt", "favicon.ico", ".well-known"];
/// The end of a code in a reserved form: `/code.qr`. Links of before may have it.
const RESERVED_END: &str = ".qr";

pub(super) fn program(program: &Program) -> Result<(), ChangeError> {
    named::<ProgramId>("id", &program.id)?;
    display_name(&program.name)?;
    let hosts = &program.destination_hosts;
    if hosts.is_empty() {
        return Err(ChangeError::invalid("destination_hosts", "must have at least one host"));
    }
    list("destination_hosts", hosts, |host| {
        let is_pattern = destination::is_pattern(host);
        is_pattern.then_some(()).ok_or("must be a host in lower case without a port, or *.domain")
    })?;
    if !program.fallback.is_empty() {
        destination::check(&program.fallback, hosts)
            .map_err(|error| ChangeError::invalid("fallback", error))?;
    }
    list("link_hosts", &program.link_hosts, link_host)?;
    list("channels", &program.channels, |channel| channel.parse::<ChannelId>().map(drop))?;
    channel_numbers(&program.channels)?;
    rule(program)?;
    if let Some(mistake) = program.rewards.as_ref().and_then(|terms| mistakes(terms).into_iter().next()) {
        return Err(ChangeError::invalid(mistake.field, mistake.reason));
    }
    match ConsentMode::try_from(program.consent) {
        Ok(ConsentMode::None | ConsentMode::Cookie) => Ok(()),
        _ => Err(ChangeError::invalid("consent", "must be \"none\" or \"cookie\"")),
    }
}

fn list<E: Display>(
    field: &str,
    values: &[String],
    check: impl Fn(&str) -> Result<(), E>,
) -> Result<(), ChangeError> {
    if values.len() > LIST_MAX {
        let reason = format_args!("must have at most {LIST_MAX} entries, has {}", values.len());
        return Err(ChangeError::invalid(field, reason));
    }
    for (index, value) in values.iter().enumerate() {
        check(value).map_err(|error| ChangeError::invalid(format!("{field}[{index}]"), error))?;
        if values[..index].contains(value) {
            return Err(ChangeError::invalid(format!("{field}[{index}]"), "is in the list twice"));
        }
    }
    Ok(())
}

/// Tokens carry a channel's number.
fn channel_numbers(channels: &[String]) -> Result<(), ChangeError> {
    let mut numbers = BTreeMap::new();
    for (index, channel) in channels.iter().enumerate() {
        if let Some(other) = numbers.insert(ChannelNumber::of(channel), channel) {
            let field = format!("channels[{index}]");
            return Err(ChangeError::invalid(
                field,
                format_args!("has the same number as {other:?}: rename one"),
            ));
        }
    }
    Ok(())
}

fn rule(program: &Program) -> Result<(), ChangeError> {
    let rule = program.rule.unwrap_or_default();
    if !matches!(
        AttributionModel::try_from(rule.model),
        Ok(AttributionModel::LastTouch | AttributionModel::FirstTouch)
    ) {
        return Err(ChangeError::invalid("model", "must be \"last_touch\" or \"first_touch\""));
    }
    if !(1..=WINDOW_DAYS_MAX * DAY_MS).contains(&rule.window_ms) {
        let reason = format_args!("must be between 1 ms and {WINDOW_DAYS_MAX} days");
        return Err(ChangeError::invalid("window_ms", reason));
    }
    Ok(())
}

/// Caps and budgets of a rule add up what it has given: in one currency, for ever.
pub(super) fn rules_keep_their_currency(former: &Program, program: &Program) -> Result<(), ChangeError> {
    let rules = |program: &Program| program.rewards.clone().unwrap_or_default().rules;
    let former = rules(former);
    for (index, rule) in rules(program).iter().enumerate() {
        let was = former.iter().find(|former| former.id == rule.id);
        if let Some(was) = was.filter(|was| was.currency != rule.currency) {
            let problem = format_args!("was {}: a rule keeps its currency, use another id", was.currency);
            return Err(ChangeError::conflict(format!("rewards[{index}].currency"), problem));
        }
    }
    Ok(())
}

pub(super) fn referrer(referrer: &Referrer) -> Result<(), ChangeError> {
    named::<ReferrerId>("id", &referrer.id)?;
    display_name(&referrer.name)
}

/// A code that is to be a link's.
pub(super) fn new_code(code: &str) -> Result<(), ChangeError> {
    if RESERVED_CODES.iter().any(|reserved| reserved.eq_ignore_ascii_case(code)) {
        return Err(ChangeError::invalid("code", "is reserved, in whatever case"));
    }
    // `/code+` and `/code/channel` need no look: their characters are in no code.
    let end = code.len().saturating_sub(RESERVED_END.len());
    if code.get(end..).is_some_and(|end| end.eq_ignore_ascii_case(RESERVED_END)) {
        let reason =
            format_args!("must not end with {RESERVED_END:?}: that is another form of the code before it");
        return Err(ChangeError::invalid("code", reason));
    }
    Ok(())
}

/// A link that a caller gives or changes, against its program.
pub(super) fn link(link: &Link, program: &Program) -> Result<(), ChangeError> {
    host(&link.host)?;
    named::<LinkCode>("code", &link.code)?;
    if RESERVED_CODES.contains(&link.code.as_str()) {
        return Err(ChangeError::invalid("code", "is reserved"));
    }
    named::<ReferrerId>("referrer", &link.referrer)?;
    if !link.channel.is_empty() && !program.channels.contains(&link.channel) {
        return Err(ChangeError::invalid("channel", "is not one of the program's channels"));
    }
    destination::check(&link.destination, &program.destination_hosts)
        .map_err(|error| ChangeError::invalid("destination", error))?;
    if !UnixMs(link.expires_at_ms).is_storable() {
        return Err(ChangeError::invalid("expires_at", "must be a time from 1970 to 2299, or 0"));
    }
    if !matches!(link.status, 0 | 301 | 302 | 307 | 308) {
        return Err(ChangeError::invalid("http_status", "must be 301, 302, 307 or 308"));
    }
    Ok(())
}

pub(super) fn key(key: &ApiKey) -> Result<(), ChangeError> {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    if !(1..=32).contains(&key.id.len()) || !key.id.bytes().all(fits) {
        return Err(ChangeError::invalid("id", "must be 1 to 32 of a-z and 0-9"));
    }
    if key.hash.len() != 32 {
        return Err(ChangeError::invalid("hash", "must be a SHA-256 hash"));
    }
    display_name(&key.name)?;
    if !UnixMs(key.expires_at_ms).is_storable() {
        return Err(ChangeError::invalid("expires_at", "must be a time from 1970 to 2299, or none"));
    }
    if key.scopes.is_empty() {
        return Err(ChangeError::invalid("scopes", "must have at least one scope"));
    }
    list("scopes", &key.scopes, |scope| {
        let unknown = || format!("must be one of {}", SCOPES.join(", "));
        SCOPES.contains(&scope).then_some(()).ok_or_else(unknown)
    })
}

/// A host that a caller names.
pub(super) fn host(host: &str) -> Result<(), ChangeError> {
    link_host(host).map_err(|error| ChangeError::invalid("host", error))
}

/// A host in the one form that the edge reads out of requests: another would never be found.
fn link_host(host: &str) -> Result<(), String> {
    host.parse::<LinkHost>().map_err(|error| error.to_string())?;
    let mut read = String::new();
    match crate::host::put(host.as_bytes(), &mut read) {
        Ok(()) if read == host => Ok(()),
        Ok(()) => Err(format!("must be written {read:?}, as requests are looked up")),
        Err(_) => {
            Err("must be a host name or an address, with a port or without, that a request can name".into())
        }
    }
}

fn named<T: FromStr<Err: Display>>(field: &str, value: &str) -> Result<(), ChangeError> {
    value.parse::<T>().map(drop).map_err(|error| ChangeError::invalid(field, error))
}

fn display_name(name: &str) -> Result<(), ChangeError> {
    if name.chars().count() > NAME_CHARS_MAX {
        let reason = format_args!("must have at most {NAME_CHARS_MAX} characters");
        return Err(ChangeError::invalid("name", reason));
    }
    if name.chars().any(char::is_control) {
        return Err(ChangeError::invalid("name", "must not have control characters"));
    }
    Ok(())
}
