//! The bytes of records that are already in somebody's topics: they must decode for ever.

use bytes::Bytes;
use proptest::prelude::*;
use whence_schemas::event::{
    self, AttributionModel, AttributionRule, Click, Event, Lead, Mode, Subject, Touch, Verdict, event as body,
};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn click() -> Click {
    Click {
        id: Bytes::from_static(&[1, 0x8b, 0xcf, 0xe5, 0x68, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, 1]),
        mode: Mode::Live.into(),
        program: "p".into(),
        referrer: "r".into(),
        link: "h/c".into(),
        channel: "email".into(),
        destination: "https://d.example/".into(),
        registry_version: 7,
        verdict: Verdict::Human.into(),
        reason: "browser".into(),
        visitor: 1,
        address: 2,
        prefix: 3,
        requests: 0,
        made_by: Verdict::Unspecified.into(),
        made_by_reason: String::new(),
        reading: String::new(),
    }
}

fn lead() -> Event {
    Event {
        id: Bytes::from_static(&[5; 16]),
        mode: Mode::Test.into(),
        program: "p".into(),
        source: "api".into(),
        occurred_at_ms: 1000,
        received_at_ms: 2000,
        registry_version: 7,
        rule: Some(AttributionRule {
            model: AttributionModel::FirstTouch.into(),
            window_ms: 86_400_000,
            ..AttributionRule::default()
        }),
        digest: 0,
        body: Some(body::Body::Lead(Lead {
            subject: Some(Subject {
                lead: "l".into(),
                keys: vec![Bytes::from_static(&[9; 16])],
                ..Subject::default()
            }),
            touches: vec![Touch {
                token: "t".into(),
                link: "h/c".into(),
                referrer: "r".into(),
                channel: "email".into(),
            }],
            ..Lead::default()
        })),
    }
}

const CLICK: &str = "0a10018bcfe568007000800000000000000110011a01702201722a03682f633205656d61696c3a1268747470733a2f2f642e6578616d706c652f40074801520762726f77736572590100000000000000610200000000000000690300000000000000";
const LEAD: &str = "0a100505050505050505050505050505050510021a0170220361706928e80730d00f3807420708021080b8992982012b0a150a016c12100909090909090909090909090909090912120a01741203682f631a01722205656d61696c";

#[test]
fn a_click_has_its_golden_bytes() {
    assert_eq!(hex(&event::encode(&click())), CLICK);
    assert_eq!(event::decode::<Click>(&event::encode(&click())).unwrap(), click());
}

#[test]
fn a_lead_has_its_golden_bytes() {
    assert_eq!(hex(&event::encode(&lead())), LEAD);
    assert_eq!(event::decode::<Event>(&event::encode(&lead())).unwrap(), lead());
}

#[test]
fn an_oversized_record_is_refused() {
    let error = event::decode::<Click>(&vec![0; event::RECORD_BYTES_MAX + 1]).unwrap_err();
    assert!(error.to_string().contains("262145 bytes"), "{error}");
}

#[test]
fn a_field_of_a_later_version_is_passed_over() {
    let mut record = event::encode(&click()).to_vec();
    record.extend([0xfa, 0x07, 1, b'x']); // field 127, text "x"
    assert_eq!(event::decode::<Click>(&record).unwrap(), click());
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = event::decode::<Click>(&bytes);
        let _ = event::decode::<Event>(&bytes);
    }

    #[test]
    fn a_cut_record_is_no_click_with_all_fields(cut in 1usize..100) {
        let record = event::encode(&click());
        let cut = cut.min(record.len());
        let decoded = event::decode::<Click>(&record[..record.len() - cut]);
        prop_assert!(decoded.is_err() || decoded.unwrap() != click());
    }
}
