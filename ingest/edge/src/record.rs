//! A click's Protobuf bytes, written straight into the journal.
//!
//! What a link resolves to is the same for every click on it, so it is encoded once, when the registry
//! changes ([`resolved_part`]), and copied behind the few fields that differ. Protobuf gives the
//! concatenation of two messages the meaning of their merger (encoding guide, "Last One Wins"), and no
//! field stands in both parts. Any decoder reads it as one `Click`; `whence_schemas::event` is the
//! reference in the tests.

use prost::Message;
use whence_schemas::{
    event::{Click, Mode, Verdict},
    ids::ClickId,
};

use super::{
    reading::Reading,
    verdict::{Judgement, Reason},
};

/// What differs from click to click.
#[derive(Clone, Copy, Debug)]
pub struct ClickRecord<'a> {
    /// The id, and with it the time.
    pub id: ClickId,
    /// What [`resolved_part`] gave for the link.
    pub resolved: &'a [u8],
    /// The link's channel, or the one that the request named; empty: none.
    pub channel: &'a str,
    /// The newest registry version among what the link was resolved from.
    pub registry_version: u64,
    /// Who asked, or that the link leads nowhere.
    pub verdict: Verdict,
    /// Why this verdict.
    pub reason: Reason,
    /// Who asked, wherever the link leads; said where it is not the verdict. Unspecified: several.
    pub made_by: Judgement,
    /// How the link was read out of the request.
    pub reading: Reading,
    /// Keyed hash of the visitor cookie; 0: none.
    pub visitor: u64,
    /// Keyed hash of the client's address; 0: none.
    pub address: u64,
    /// Keyed hash of its /24 or /48; 0: none.
    pub prefix: u64,
    /// How many requests it stands for; 0: one.
    pub requests: u64,
}

/// The fields that every click on a link shares, encoded.
///
/// `link` and `destination` stand in it as they are, and where is said: who keeps this part needs to keep
/// neither text a second time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedPart {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Where the link's text starts.
    pub link_at: usize,
    /// Where the destination's text starts; it is the last one.
    pub destination_at: usize,
}

/// Encodes what a link resolves to.
#[must_use]
pub fn resolved_part(
    program: &str,
    referrer: &str,
    link: &str,
    destination: &str,
    mode: Mode,
) -> ResolvedPart {
    let (program, referrer) = (program.into(), referrer.into());
    let mut bytes = Click { mode: mode.into(), program, referrer, ..Click::default() }.encode_to_vec();
    bytes.extend(Click { link: link.into(), ..Click::default() }.encode_to_vec());
    let link_at = bytes.len() - link.len();
    bytes.extend(Click { destination: destination.into(), ..Click::default() }.encode_to_vec());
    let destination_at = bytes.len() - destination.len();
    ResolvedPart { bytes, link_at, destination_at }
}

// Tags: field number << 3 | wire type (0 varint, 1 eight bytes, 2 length and bytes).
const ID: u8 = 1 << 3 | 2;
const CHANNEL: u8 = 6 << 3 | 2;
const REGISTRY_VERSION: u8 = 8 << 3;
const VERDICT: u8 = 9 << 3;
const REASON: u8 = 10 << 3 | 2;
const VISITOR: u8 = 11 << 3 | 1;
const ADDRESS: u8 = 12 << 3 | 1;
const PREFIX: u8 = 13 << 3 | 1;
const REQUESTS: u8 = 14 << 3;
const MADE_BY: u8 = 15 << 3;
/// 16 << 3 | 2, as the varint that it is.
const MADE_BY_REASON: [u8; 2] = [0x82, 1];
/// 17 << 3 | 2, likewise.
const READING: [u8; 2] = [0x8a, 1];

const ID_BYTES: usize = 16;
/// Channels and reasons have at most 64 bytes and verdicts are below 128, so that one byte says each.
const SHORT_MAX: usize = 127;

impl ClickRecord<'_> {
    /// Bytes of the record.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        let hashes = [self.visitor, self.address, self.prefix];
        2 + ID_BYTES
            + text_len(self.channel)
            + if self.registry_version == 0 { 0 } else { 1 + varint_len(self.registry_version) }
            + 2
            + text_len(self.reason.word())
            + 9 * hashes.iter().filter(|hash| **hash != 0).count()
            + if self.requests == 0 { 0 } else { 1 + varint_len(self.requests) }
            + self.made_by_said().map_or(0, |(_, reason)| 2 + 1 + text_len(reason.word()))
            + if self.reading == Reading::Exact { 0 } else { 1 + text_len(self.reading.word()) }
            + self.resolved.len()
    }

    /// Who asked, if the verdict does not say it.
    fn made_by_said(&self) -> Option<Judgement> {
        Some(self.made_by).filter(|(verdict, _)| *verdict != self.verdict && *verdict != Verdict::Unspecified)
    }

    /// Writes the record over the whole of `out`, which is [`ClickRecord::encoded_len`] bytes long.
    pub fn write(&self, out: &mut [u8]) {
        let mut out = Out { bytes: out, at: 0 };
        out.text(ID, self.id.0.as_bytes());
        out.text(CHANNEL, self.channel.as_bytes());
        if self.registry_version != 0 {
            out.put(&[REGISTRY_VERSION]);
            out.varint(self.registry_version);
        }
        out.put(&[VERDICT, self.verdict as u8]);
        out.text(REASON, self.reason.word().as_bytes());
        for (tag, hash) in [(VISITOR, self.visitor), (ADDRESS, self.address), (PREFIX, self.prefix)] {
            if hash != 0 {
                out.put(&[tag]);
                out.put(&hash.to_le_bytes());
            }
        }
        if self.requests != 0 {
            out.put(&[REQUESTS]);
            out.varint(self.requests);
        }
        if let Some((verdict, reason)) = self.made_by_said() {
            out.put(&[MADE_BY, verdict as u8, MADE_BY_REASON[0]]);
            out.text(MADE_BY_REASON[1], reason.word().as_bytes());
        }
        if self.reading != Reading::Exact {
            out.put(&[READING[0]]);
            out.text(READING[1], self.reading.word().as_bytes());
        }
        out.put(self.resolved);
        debug_assert_eq!(out.at, out.bytes.len(), "a record fills what it asked for");
    }
}

fn text_len(text: &str) -> usize {
    if text.is_empty() { 0 } else { 2 + text.len() }
}

fn varint_len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

struct Out<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl Out<'_> {
    fn put(&mut self, part: &[u8]) {
        self.bytes[self.at..self.at + part.len()].copy_from_slice(part);
        self.at += part.len();
    }

    /// Proto3 leaves empty fields out.
    fn text(&mut self, tag: u8, text: &[u8]) {
        debug_assert!(text.len() <= SHORT_MAX, "one byte says the length");
        if !text.is_empty() {
            self.put(&[tag, text.len() as u8]);
            self.put(text);
        }
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.put(&[value as u8 | 0x80]);
            value >>= 7;
        }
        self.put(&[value as u8]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use whence_schemas::{event, time::UnixMs};

    proptest! {
        #[test]
        fn every_click_decodes_to_what_was_written(
            random: [u8; 10], channel in "[a-z]{0,32}", registry_version: u64, reason in 0..Reason::ALL.len(),
            is_dead: bool, reading in 0..Reading::ALL.len(), requests: u64, hashes: [u64; 3], is_hashed: [bool; 3], referrer in "[!-~]{0,64}", destination in "[!-~]{0,2048}",
        ) {
            let at = |n: usize| if is_hashed[n] { hashes[n] } else { 0 };
            let resolved = resolved_part("demo", &referrer, "go.example/a", &destination, Mode::Test);
            let id = ClickId::mint(UnixMs(1_700_000_000_000), &random, true);
            let record = ClickRecord {
                id, resolved: &resolved.bytes, channel: &channel, registry_version,
                verdict: if is_dead { Verdict::Inactive } else { Verdict::Preview },
                reason: Reason::ALL[reason], made_by: (Verdict::Preview, Reason::PreviewAgent), reading: Reading::ALL[reading], visitor: at(0), address: at(1), prefix: at(2),
                requests,
            };
            let mut bytes = vec![0xee; record.encoded_len()];
            record.write(&mut bytes);
            let expected = Click {
                id: id.0.as_bytes().to_vec().into(), mode: Mode::Test.into(), program: "demo".into(),
                referrer, link: "go.example/a".into(), channel, destination, registry_version,
                verdict: if is_dead { Verdict::Inactive.into() } else { Verdict::Preview.into() },
                reason: Reason::ALL[reason].word().into(),
                made_by: if is_dead { Verdict::Preview.into() } else { Verdict::Unspecified.into() },
                made_by_reason: if is_dead { "preview_agent".into() } else { String::new() },
                reading: Reading::ALL[reading].word().into(),
                visitor: at(0), address: at(1), prefix: at(2), requests,
            };
            prop_assert_eq!(bytes.len(), expected.encoded_len(), "no field is written twice");
            prop_assert!(resolved.bytes[resolved.link_at..].starts_with(b"go.example/a"));
            prop_assert_eq!(&resolved.bytes[resolved.destination_at..], expected.destination.as_bytes());
            prop_assert_eq!(event::decode::<Click>(&bytes).unwrap(), expected);
        }
    }
}
