//! Whether the engine says of a partition's blocks what their ranges say: hundreds of partitions, by the same sums as the
//! account is made of, against the ranges one after the other.

use crate::world::World;
use std::{collections::BTreeMap, fmt::Write as _};
use uuid::Uuid;
use whence_aggregator::account::{Committed, Difference, quick};
use whence_schemas::{ids::Incarnation, rows::BlockRow};

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

type Range = (u64, u64);
/// Stream, partition, incarnation.
type LogIncarnation = (&'static str, u32, Incarnation);

/// Blocks one behind the other; most begin at 0, some anywhere below 2^48.
fn chain(random: &mut Random) -> Vec<Range> {
    let mut at = if random.below(5) == 0 { random.below(1 << 48) } else { 0 };
    let blocks = 1 + random.below(12);
    let most = [1, 3, 1000, 1 << 40][usize::try_from(random.below(4)).unwrap()];
    let mut ranges = Vec::new();
    for _ in 0..blocks {
        let end = at + 1 + random.below(most);
        ranges.push((at, end));
        at = end;
    }
    ranges
}

/// What may become of them: half of all stay as they are.
fn spoilt(mut ranges: Vec<Range>, random: &mut Random) -> Vec<Range> {
    let at = usize::try_from(random.below(ranges.len() as u64)).unwrap();
    match random.below(12) {
        // Lost; of one block nothing would be left.
        0 if ranges.len() > 1 => _ = ranges.remove(at),
        // Stored twice.
        1 => ranges.push(ranges[at]),
        // Longer than the next one's beginning.
        2 => ranges[at].1 += 1 + random.below(3),
        // Begins later.
        3 if ranges[at].1 - ranges[at].0 > 1 => ranges[at].0 += 1,
        // As many records as there should be, of others: one too many here, one too few there.
        4 if ranges.len() > 1 => {
            let other = (at + 1) % ranges.len();
            ranges[at].1 += 1;
            ranges[other].1 = (ranges[other].1 - 1).max(ranges[other].0);
        }
        // Moved behind the end.
        5 => {
            let behind = ranges.iter().map(|range| range.1).max().unwrap() + 1 + random.below(9);
            let (first, end) = ranges.remove(at);
            ranges.push((behind, behind + end - first));
        }
        _ => {}
    }
    ranges
}

/// Whether each range begins where the one before it ends.
fn follow_each_other(ranges: &[Range]) -> bool {
    let mut ranges: Vec<Range> = ranges.iter().copied().filter(|range| range.0 < range.1).collect();
    ranges.sort_unstable();
    ranges.windows(2).all(|two| two[0].1 == two[1].0)
}

fn value(row: &BlockRow) -> String {
    format!(
        "('{}', {}, '{}', '{}', {}, {}, {}, {}, {}, {})",
        row.stream.0,
        row.partition,
        row.incarnation.0,
        row.table.0,
        row.month,
        row.first.0,
        row.end.0,
        row.records.0,
        row.rows.0,
        row.positions.0
    )
}

async fn insert(world: &World, rows: &[BlockRow]) {
    let mut sql = "INSERT INTO blocks (stream, partition, incarnation, table, month, first, end, records, rows, positions) VALUES ".to_owned();
    for (at, row) in rows.iter().enumerate() {
        write!(sql, "{}{}", if at == 0 { "" } else { ", " }, value(row)).unwrap();
    }
    world.client.query(&sql).execute().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_hundreds_of_partitions_those_are_told_whose_blocks_do_not_follow_each_other() {
    let world = World::new().await;
    let mut random = Random(12);
    let mut places: BTreeMap<String, (LogIncarnation, Vec<Range>)> = BTreeMap::new();
    for partition in 0..200 {
        // Several lives of a topic or journal, each a chain of its own.
        for _ in 0..=random.below(3) {
            let stream = ["clicks", "conversions"][usize::try_from(random.below(2)).unwrap()];
            let incarnation = Incarnation(Uuid::from_u64_pair(random.next(), random.next()));
            let ranges = spoilt(chain(&mut random), &mut random);
            let ranges: Vec<Range> = ranges.into_iter().filter(|range| range.0 < range.1).collect();
            let name = format!("{stream} {partition} of {}", incarnation.0);
            places.insert(name, ((stream, partition, incarnation), ranges));
        }
    }
    // Each block's account, with a table in which each of its records stands, in any order and in many inserts.
    let mut rows: Vec<BlockRow> = Vec::new();
    for (place, ranges) in places.values() {
        for range in ranges {
            let records = i64::try_from(range.1 - range.0).unwrap();
            rows.extend(BlockRow::of(
                *place,
                *range,
                [("elsewhere", BTreeMap::from([(202_601, (records, records, 0))]))],
            ));
        }
    }
    for at in (1..rows.len()).rev() {
        let other = usize::try_from(random.below(at as u64 + 1)).unwrap();
        rows.swap(at, other);
    }
    let (half, rest) = rows.split_at(rows.len() / 2);
    for (number, rows) in half.chunks(100).chain(rest.chunks(70)).enumerate() {
        insert(&world, rows).await;
        if number % 5 == 4 {
            world.client.query("OPTIMIZE TABLE blocks FINAL").execute().await.unwrap();
        }
    }
    let committed: Vec<Committed> = places
        .values()
        .map(|((stream, partition, incarnation), ranges)| Committed {
            stream: (*stream).into(),
            partition: *partition,
            incarnation: incarnation.0.to_string(),
            next: ranges.iter().map(|range| range.1).max().unwrap(),
        })
        .collect();
    let found = quick(&world.client, &committed).await.unwrap();
    let told = |is: fn(&Difference) -> bool| -> Vec<String> {
        let places = found.iter().filter(|found| is(found)).map(|found| match found {
            Difference::Chain { place, .. } | Difference::Head { place, .. } => place.clone(),
            other => format!("{other:?}"),
        });
        let mut places: Vec<_> = places.collect();
        places.sort();
        places
    };
    let wanted = |is: fn(&[Range]) -> bool| -> Vec<String> {
        places.iter().filter(|(_, (_, ranges))| is(ranges)).map(|(name, _)| name.clone()).collect()
    };
    let broken = wanted(|ranges| !follow_each_other(ranges));
    assert!(broken.len() > 40 && broken.len() < places.len() * 2 / 3, "{} of {}", broken.len(), places.len());
    assert_eq!(told(|found| matches!(found, Difference::Chain { .. })), broken);
    let headless = wanted(|ranges| ranges.iter().all(|range| range.0 != 0));
    assert_eq!(told(|found| matches!(found, Difference::Head { .. })), headless);
    let others = found.iter().filter(|found| {
        !matches!(found, Difference::Chain { .. } | Difference::Head { .. } | Difference::Rows { .. })
    });
    assert_eq!(others.count(), 0, "{found:?}");
}
