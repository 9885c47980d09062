//! What the shipper needs of a record: its Kafka key and its age, read from the Protobuf bytes without
//! decoding the rest.
//!
//! Field numbers are those of `schemas/proto/whence/v1/whence.proto`, which are never reused. A record
//! that cannot be read here is shipped all the same, without a key: the aggregator is who gives it a
//! verdict.
//!
//! Pure: knows no Kafka and no journal.

use whence_schemas::ids::ClickId;
use whence_schemas::topics::Stream;

/// `Click.id` and `Event.id`.
const ID: u64 = 1;
/// `Event.program`.
const PROGRAM: u64 = 3;
/// `Event.received_at_ms`.
const RECEIVED_AT_MS: u64 = 6;

/// What was found in a record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fields<'a> {
    /// The record's key: click id or program. `None` where the record has none.
    pub key: Option<&'a [u8]>,
    /// When it was received, in milliseconds since the epoch; 0 where it does not say.
    pub received_at_ms: i64,
}

impl<'a> Fields<'a> {
    /// Reads a record of `stream`.
    #[must_use]
    pub fn of(stream: Stream, record: &'a [u8]) -> Fields<'a> {
        let fields = match stream {
            Stream::Clicks => of_click(record),
            Stream::Conversions => of_event(record),
        };
        fields.unwrap_or_default()
    }
}

fn of_click(record: &[u8]) -> Option<Fields<'_>> {
    let mut fields = Fields::default();
    each_field(record, |number, value| {
        if let (ID, Value::Bytes(id)) = (number, value) {
            fields.key = (!id.is_empty()).then_some(id);
        }
    })?;
    fields.received_at_ms = fields.key.and_then(ClickId::from_bytes).map_or(0, |id| id.at().0);
    Some(fields)
}

fn of_event(record: &[u8]) -> Option<Fields<'_>> {
    let mut fields = Fields::default();
    each_field(record, |number, value| match (number, value) {
        (PROGRAM, Value::Bytes(program)) => fields.key = (!program.is_empty()).then_some(program),
        (RECEIVED_AT_MS, Value::Varint(at)) => fields.received_at_ms = at.cast_signed(),
        _ => {}
    })?;
    Some(fields)
}

#[derive(Clone, Copy)]
enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    Fixed,
}

/// Calls `take` with every field of a message, in order: of a field that occurs twice the last counts,
/// as Protobuf requires. `None` if the bytes are not a message.
fn each_field<'a>(mut rest: &'a [u8], mut take: impl FnMut(u64, Value<'a>)) -> Option<()> {
    while !rest.is_empty() {
        let tag = varint(&mut rest)?;
        let value = match tag & 7 {
            0 => Value::Varint(varint(&mut rest)?),
            1 => fixed(&mut rest, 8)?,
            2 => {
                let len = usize::try_from(varint(&mut rest)?).ok()?;
                let (bytes, behind) = rest.split_at_checked(len)?;
                rest = behind;
                Value::Bytes(bytes)
            }
            5 => fixed(&mut rest, 4)?,
            // Groups (3 and 4) are of Protobuf's past and in none of our messages.
            _ => return None,
        };
        take(tag >> 3, value);
    }
    Some(())
}

fn fixed<'a>(rest: &mut &'a [u8], len: usize) -> Option<Value<'a>> {
    *rest = rest.get(len..)?;
    Some(Value::Fixed)
}

#[inline]
fn varint(rest: &mut &[u8]) -> Option<u64> {
    let (&first, behind) = rest.split_first()?;
    if first < 0x80 {
        *rest = behind;
        return Some(u64::from(first));
    }
    let mut value = 0u64;
    for (index, byte) in rest.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            *rest = &rest[index + 1..];
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use whence_schemas::event::{self, Click, Event, Lead, Subject, event::Body};
    use whence_schemas::ids::EventId;
    use whence_schemas::time::UnixMs;

    #[test]
    fn garbage_and_cut_records_have_no_key() {
        let id = ClickId::mint(UnixMs(1), &[7; 10], true);
        let click = Click { id: id.0.as_bytes().to_vec().into(), program: "demo".into(), ..Click::default() };
        let record = event::encode(&click);
        assert_eq!(Fields::of(Stream::Clicks, &[]), Fields::default());
        assert_eq!(Fields::of(Stream::Clicks, &[0xff; 40]), Fields::default());
        assert_eq!(Fields::of(Stream::Clicks, &record[..10]), Fields::default(), "cut inside the id");
        assert_eq!(Fields::of(Stream::Clicks, &record[..record.len() - 1]), Fields::default());
    }

    #[test]
    fn an_empty_program_is_no_key() {
        let record = event::encode(&Event { id: vec![1; 16].into(), received_at_ms: 5, ..Event::default() });
        assert_eq!(Fields::of(Stream::Conversions, &record), Fields { key: None, received_at_ms: 5 });
    }

    #[test]
    fn of_a_field_that_occurs_twice_the_last_counts() {
        let mut record = event::encode(&Event { program: "first".into(), ..Event::default() }).to_vec();
        record.extend_from_slice(&event::encode(&Event { program: "last".into(), ..Event::default() }));
        assert_eq!(Fields::of(Stream::Conversions, &record).key, Some(b"last".as_slice()));
    }

    proptest! {
        #[test]
        fn a_clicks_fields_are_those_of_the_decoded_click(
            ms in 0i64..1 << 47, random: [u8; 10], link in ".{0,300}", visitor: u64, version: u64,
        ) {
            let id = ClickId::mint(UnixMs(ms), &random, true);
            let click = Click {
                id: id.0.as_bytes().to_vec().into(), link, visitor, registry_version: version, ..Click::default()
            };
            let record = event::encode(&click);
            let fields = Fields::of(Stream::Clicks, &record);
            prop_assert_eq!(fields, Fields { key: Some(id.0.as_bytes()), received_at_ms: ms });
        }

        #[test]
        fn an_events_fields_are_those_of_the_decoded_event(
            program in "[a-z]{1,64}", at: i64, lead in ".{0,200}", key: String,
        ) {
            let id = EventId::of(&program.parse().unwrap(), "api", &key);
            let event = Event {
                id: id.0.as_bytes().to_vec().into(), program: program.clone(), received_at_ms: at,
                body: Some(Body::Lead(Lead {
                    subject: Some(Subject { lead, keys: vec![vec![6; 16].into()], ..Subject::default() }), touches: Vec::new(), ..Lead::default() })),
                ..Event::default()
            };
            let record = event::encode(&event);
            let fields = Fields::of(Stream::Conversions, &record);
            prop_assert_eq!(fields, Fields { key: Some(program.as_bytes()), received_at_ms: at });
        }

        #[test]
        fn no_bytes_make_it_panic(record: Vec<u8>) {
            let _ = Fields::of(Stream::Clicks, &record);
            let _ = Fields::of(Stream::Conversions, &record);
        }
    }
}
