//! The form of a user agent (RFC 9110, 10.1.5): products, comments, and the parts of them that name a device or a
//! build and so say nothing about who asks. Pure; one walk over the agent.

use std::ops::Range;

/// Bytes of an agent that are looked at. Real ones have 100 to 400.
pub const AGENT_BYTES_MAX: usize = 512;

/// Nearly every browser since the nineties starts like this, and many a program.
const BROWSERS_CLAIM: &[u8] = b"mozilla/";

/// The start of an agent, with the names of devices and builds blanked out: people own phones that are called
/// `Spider 8`, `Expanse` and `Fever`, with builds like `AP3A.240617.008`.
pub struct Blanked {
    bytes: [u8; AGENT_BYTES_MAX],
    len: usize,
}

impl Blanked {
    /// Blanks `agent`'s first [`AGENT_BYTES_MAX`] bytes.
    pub fn new(agent: &[u8]) -> Blanked {
        let len = agent.len().min(AGENT_BYTES_MAX);
        let mut bytes = [0; AGENT_BYTES_MAX];
        bytes[..len].copy_from_slice(&agent[..len]);
        let mut blanked = Blanked { bytes, len };
        blanked.blank_devices(&agent[..len]);
        blanked
    }

    /// The bytes, each where it stands in the agent.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn blank_devices(&mut self, agent: &[u8]) {
        let mut names_left: u8 = 0;
        let mut has_language = false;
        let mut at = 0;
        for segment in agent.split_inclusive(|byte| b";()[]".contains(byte)) {
            let (text, end) = match segment.split_last() {
                Some((end, text)) if b";()[]".contains(end) => (text, *end),
                _ => (segment, b';'),
            };
            let from = at;
            at += segment.len();
            if let Some(build) = find(text, b"build/").or_else(|| find(text, b"miui/")) {
                // `CPH2655 Build/AP3A.240617.008`, to the end of the segment.
                let start = if names_left > 0 && is_name(&text[..build]) { from } else { from + build };
                self.blank(start, from + text.len());
                names_left = 0;
            } else if end == b'(' && (ends_with(text, b"android ") || find(text, b"hbbtv/").is_some()) {
                // `Instagram 94.0.0.22.116 Android (22/5.1; 320dpi; 720x1280; CUBOT; S550 Pro; …)`.
                names_left = u8::MAX;
                has_language = true;
            } else if let Some(names) = names_after(text) {
                names_left = names;
                has_language = false;
            } else if text.starts_with(b"FB") && text.get(4) == Some(&b'/') && !text.starts_with(b"FBAN") {
                // Of Meta's apps: `FBCR/` is the carrier, `FBDV/` the device.
                self.blank(from + 5, from + text.len());
            } else if names_left > 0 && !has_language && is_language(text) {
                has_language = true;
            } else if names_left > 0 && !is_setting(text) {
                names_left -= 1;
                if is_name(text) {
                    self.blank(from, from + text.len());
                }
            }
            if end == b')' {
                names_left = 0;
            }
        }
    }

    fn blank(&mut self, from: usize, to: usize) {
        self.bytes[from..to].fill(b' ');
    }
}

/// Whether the agent claims to be a browser.
#[must_use]
pub fn claims_browser(agent: &[u8]) -> bool {
    starts_with(agent, BROWSERS_CLAIM)
}

/// Of an agent that claims to be a browser, what stands behind `compatible;` up to the end of the comment.
pub fn compatible_with(agent: &[u8]) -> Option<Range<usize>> {
    if !claims_browser(agent) {
        return None;
    }
    let at = find(agent, b"compatible;")? + b"compatible;".len();
    let end = agent[at..].iter().position(|byte| *byte == b')').map_or(agent.len(), |end| at + end);
    Some(at..end)
}

/// Whether the name stands as a product's (RFC 9110, 10.1.5: with a version), or where the agent says first what it is.
#[must_use]
pub fn is_product(agent: &[u8], name: Range<usize>) -> bool {
    let before = agent[..name.start].trim_ascii_end();
    before.is_empty() || agent.get(name.end) == Some(&b'/') || ends_with(before, b"compatible;")
}

/// Whether the address of a mailbox stands in it: `android@88.0.4324` is none.
#[must_use]
pub fn has_mailbox(agent: &[u8]) -> bool {
    memchr::memchr_iter(b'@', agent).any(|at| {
        let is_named = at > 0 && agent[at - 1].is_ascii_alphanumeric();
        let host = &agent[at + 1..];
        let label = host.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'-').count();
        is_named
            && label > 0
            && host.get(label) == Some(&b'.')
            && host.get(label + 1).is_some_and(u8::is_ascii_alphabetic)
    })
}

/// How many names stand behind the segment that names the system.
fn names_after(segment: &[u8]) -> Option<u8> {
    let segment = segment.trim_ascii_start();
    // Vendor and model.
    if starts_with(segment, b"windows phone") || starts_with(segment, b"tizen") {
        return Some(2);
    }
    let systems: [&[u8]; 3] = [b"android", b"adr ", b"midp"];
    let is_system = systems.iter().any(|system| starts_with(segment, system));
    // Firefox of telephones names no system.
    (is_system || segment.eq_ignore_ascii_case(b"mobile")).then_some(1)
}

/// Whether a segment behind the system's is a language: `en`, `en-us`, `zh_Hans`.
fn is_language(segment: &[u8]) -> bool {
    match segment.trim_ascii() {
        [a, b] | [a, b, b'-' | b'_', _, ..] | [a, b, b'-'] if segment.len() <= 8 => {
            [a, b].iter().all(|byte| byte.is_ascii_alphabetic())
        }
        _ => false,
    }
}

/// Whether it is the strength of encryption, or what the system runs on.
fn is_setting(segment: &[u8]) -> bool {
    let segment = segment.trim_ascii();
    let words: [&[u8]; 5] = [b"", b"u", b"arm", b"arm_64", b"tablet"];
    words.iter().any(|word| segment.eq_ignore_ascii_case(word))
}

/// Whether a segment may name a device: a program that puts itself there says what it is.
fn is_name(segment: &[u8]) -> bool {
    let says_so: [&[u8]; 4] = [b"compatible", b"http", b"@", b"bot/"];
    !says_so.iter().any(|word| find(segment, word).is_some())
}

fn starts_with(text: &[u8], word: &[u8]) -> bool {
    text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
}

fn ends_with(text: &[u8], word: &[u8]) -> bool {
    text.len() >= word.len() && text[text.len() - word.len()..].eq_ignore_ascii_case(word)
}

/// Where `word` stands in `text`, in any case.
fn find(text: &[u8], word: &[u8]) -> Option<usize> {
    text.windows(word.len()).position(|part| part.eq_ignore_ascii_case(word))
}
