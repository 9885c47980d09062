//! `/v1/programs/P/links`: a link's form.

use super::{LinkScheme, form::Form, problem::Problem};
use rand::RngExt;
use serde_json::Value;
use whence_schemas::event::Link;

/// Letters and digits that nobody takes for one another, in one case: they are read aloud and typed.
const CODE_ALPHABET: &[u8; 31] = b"23456789abcdefghjkmnpqrstuvwxyz";
/// 64 bits: nobody finds a link by trying.
const CODE_CHARS: usize = 13;
/// What a link that names no status is answered with.
const STATUS_DEFAULT: u32 = 302;

/// A link of which nothing is said.
pub(super) fn new(program: &str, host: &str, code: &str) -> Link {
    Link { program: program.to_owned(), host: host.to_owned(), code: code.to_owned(), ..Link::default() }
}

/// A link as callers write and see it.
pub(super) fn form(form: &mut Form<'_, '_>, link: &mut Link, scheme: LinkScheme) {
    form.of_path("program", &link.program);
    form.of_path("host", &link.host);
    form.of_path("code", &link.code);
    form.made_here("url", || format!("{}://{}/{}", scheme.word(), link.host, link.code).into());
    form.required_text("referrer", &mut link.referrer);
    form.text("channel", &mut link.channel);
    form.required_text("destination", &mut link.destination);
    form.optional_moment("expires_at", &mut link.expires_at_ms);
    form.flag("passthrough", &mut link.passthrough);
    form.flag("channel_override", &mut link.channel_override);
    form.flag("test", &mut link.test);
    let mut status = if link.status == 0 { STATUS_DEFAULT } else { link.status };
    form.number("http_status", &mut status);
    // The registry stores 0 for "no status"; as a given value it is not a valid status, and the registry refuses it.
    link.status = match status {
        STATUS_DEFAULT => 0,
        0 => 1,
        status => status,
    };
    form.flag("disabled", &mut link.disabled);
}

/// A new link of the program. Without a code it gets one, and without a host the program's first.
pub(super) fn read_new(
    body: Value,
    program: &str,
    host_default: Option<&str>,
    scheme: LinkScheme,
) -> Result<Link, Problem> {
    let mut link = new(program, host_default.unwrap_or_default(), "");
    super::form::read(body, "a link", |form| {
        match host_default {
            Some(_) => form.text("host", &mut link.host),
            None => form.required_text("host", &mut link.host),
        }
        link.code = new_code();
        form.text("code", &mut link.code);
        self::form(form, &mut link, scheme);
    })?;
    Ok(link)
}

fn new_code() -> String {
    let mut random = rand::rng();
    (0..CODE_CHARS).map(|_| char::from(CODE_ALPHABET[random.random_range(0..CODE_ALPHABET.len())])).collect()
}
