//! How long the comparison takes for a million clicks that all fit.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // a bench prints its result

use std::time::Instant;
use whence_loadtest::{
    ledger::{Class, ClickEntry, ClickOutcome, FORMAT, Header, Id, Ledger},
    oracle::{
        Strictness, compare,
        stored::{ClickRow, Counts, RollupRow, StoredFacts},
    },
    world::{World, WorldSize},
};

const CLICKS: u128 = 1_000_000;
const START_MS: i64 = 1_800_000_000_000;

fn main() {
    let world = World::generate(
        1,
        "t",
        "go.example",
        WorldSize { programs: 1, referrers: 50, links: 500, channels: 8 },
    );
    let mut ledger = Ledger::new(Header { format: FORMAT, seed: 1, started_at_ms: START_MS, world });
    let mut stored = StoredFacts::default();
    let (program, human) = (stored.names.of(&ledger.header.world.programs[0].id), stored.names.of("human"));
    for n in 0..CLICKS {
        let at_ms = START_MS + (n / 40) as i64;
        // Spread like the random bits of real ids: rows come in another order than requests.
        let id = Id((u128::try_from(at_ms).unwrap() << 80)
            | (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) & ((1 << 62) - 1)));
        let link_at = (n % 50) as u32 * 10;
        let link = ledger.header.world.links[link_at as usize].clone();
        let names = &mut stored.names;
        let program_spec = &ledger.header.world.programs[0];
        let row = ClickRow {
            id,
            at_ms,
            program,
            referrer: names.of(&program_spec.referrers[link.referrer as usize]),
            link: names.of(&link.name()),
            channel: names.of(&program_spec.channels[usize::from(link.channel)]),
            verdict: human,
            live: !link.test,
            sign: 1,
        };
        stored.clicks.push(row);
        stored.quarter_hourly.push(RollupRow {
            program,
            referrer: row.referrer,
            channel: row.channel,
            period: at_ms / 3_600_000,
            verdict: human,
            currency: stored.names.of(""),
            counts: Counts::click(true),
        });
        ledger.clicks.push(ClickEntry {
            link: link_at,
            channel: link.channel,
            class: Class::Human,
            sent_at_ms: at_ms,
            took_ms: 1,
            status: 302,
            outcome: ClickOutcome::Redirected(id),
        });
    }
    let started = Instant::now();
    let findings = compare(&ledger, &stored, Strictness { is_lossy: false, kept_max: 3 });
    println!("{CLICKS} clicks compared in {:.2?}", started.elapsed());
    println!("{:?}", findings.differences.counts);
    let started = Instant::now();
    stored.clicks.clear();
    let findings = compare(&ledger, &stored, Strictness { is_lossy: false, kept_max: 3 });
    println!("{} missing counted in {:.2?}", findings.differences.total(), started.elapsed());
}
