//! Protobuf beside JSON on one click: size, encode and decode. `cargo bench -p whence-schemas`.
//!
//! Prints machine, command, sample, the median of the rounds and the ratio to JSON of the same run.

#![allow(clippy::print_stdout)] // a benchmark's output is its result

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::{fs, hint::black_box, time::Instant};
use whence_schemas::event::{self, Click, Mode, Verdict};

const ROUNDS: usize = 15;
const CLICKS_PER_ROUND: u32 = 50_000;

#[derive(Serialize, Deserialize)]
struct JsonClick {
    id: String,
    mode: String,
    program: String,
    referrer: String,
    link: String,
    channel: String,
    destination: String,
    registry_version: u64,
    verdict: String,
    reason: String,
    visitor: u64,
    address: u64,
    prefix: u64,
}

fn click() -> Click {
    Click {
        id: Bytes::from_static(&[1, 0x8b, 0xcf, 0xe5, 0x68, 0, 0x71, 2, 0x83, 4, 5, 6, 7, 8, 9, 10]),
        mode: Mode::Live.into(),
        program: "spring-campaign".into(),
        referrer: "customer-1048576".into(),
        link: "go.example.com/k3Jx9QwZ".into(),
        channel: "whatsapp".into(),
        destination: "https://shop.example.com/landing/spring?utm_source=referral".into(),
        registry_version: 123_456,
        verdict: Verdict::Human.into(),
        reason: "browser".into(),
        visitor: 0x1234_5678_9abc_def0,
        address: 0x0fed_cba9_8765_4321,
        prefix: 0x1357_9bdf_0246_8ace,
        requests: 0,
        made_by: Verdict::Unspecified.into(),
        made_by_reason: String::new(),
        reading: String::new(),
    }
}

fn json(click: &Click) -> JsonClick {
    JsonClick {
        id: uuid::Uuid::from_slice(&click.id).expect("16 bytes").to_string(),
        mode: "live".into(),
        program: click.program.clone(),
        referrer: click.referrer.clone(),
        link: click.link.clone(),
        channel: click.channel.clone(),
        destination: click.destination.clone(),
        registry_version: click.registry_version,
        verdict: "human".into(),
        reason: click.reason.clone(),
        visitor: click.visitor,
        address: click.address,
        prefix: click.prefix,
    }
}

/// Nanoseconds of one call: the median of the rounds.
fn median_ns(mut call: impl FnMut()) -> f64 {
    let mut rounds: Vec<f64> = (0..=ROUNDS)
        .map(|_| {
            let start = Instant::now();
            (0..CLICKS_PER_ROUND).for_each(|_| call());
            start.elapsed().as_nanos() as f64 / f64::from(CLICKS_PER_ROUND)
        })
        .skip(1) // the first warms up
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

fn main() {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|l| l.strip_prefix("model name")).unwrap_or(": unknown");
    println!(
        "machine: {}, {} cores",
        model.trim_start_matches(['\t', ' ', ':']),
        std::thread::available_parallelism().map_or(0, usize::from)
    );
    println!("command: cargo bench -p whence-schemas; {ROUNDS} rounds of {CLICKS_PER_ROUND} clicks, medians");

    let (click, json) = (click(), json(&click()));
    let (record, text) = (event::encode(&click), serde_json::to_vec(&json).expect("plain fields"));
    let figures = [
        ("bytes", record.len() as f64, text.len() as f64),
        (
            "encode ns",
            median_ns(|| drop(black_box(event::encode(black_box(&click))))),
            median_ns(|| drop(black_box(serde_json::to_vec(black_box(&json))))),
        ),
        (
            "decode ns",
            median_ns(|| drop(black_box(event::decode::<Click>(black_box(&record))))),
            median_ns(|| drop(black_box(serde_json::from_slice::<JsonClick>(black_box(&text))))),
        ),
    ];
    println!("{:<10} {:>10} {:>10} {:>8}", "", "protobuf", "json", "ratio");
    for (what, protobuf, json) in figures {
        println!("{what:<10} {protobuf:>10.0} {json:>10.0} {:>8.2}", protobuf / json);
    }
}
