//! What is stored and its account, on the real engine: each way in which they can differ is found, and told as what it is.

use crate::{
    events::{START, click},
    world::World,
};
use uuid::Uuid;
use whence_aggregator::{
    account::{Committed, Difference, deep, quick},
    click::{self, ClickDedup, DedupSettings},
    position::{BlockRange, Partition},
    source::Record,
    store::{Rows, Store},
};
use whence_schemas::{ids::Incarnation, rows::ClickRow, topics::Stream};

const BLOCK: u64 = 500;
const BLOCKS: u64 = 6;
const ALL_MONTHS: (u32, u32) = (0, u32::MAX);

fn range(number: u32, first: u64) -> BlockRange {
    let partition = Partition { stream: Stream::Clicks, number };
    BlockRange { incarnation: Incarnation(Uuid::from_u128(7)), partition, first, end: first + BLOCK }
}

async fn rows_of(world: &World, range: &BlockRange) -> Vec<Rows> {
    // Every tenth is not a click and becomes a reject; ids differ between partitions.
    let payload = |offset: u64| {
        let number = offset + u64::from(range.partition.number) * 1_000_000;
        if offset % 10 == 3 { b"no click".as_slice().into() } else { click(number) }
    };
    let record = |offset| Record { offset, timestamp: START, payload: Some(payload(offset)) };
    let records: Vec<_> = (range.first..range.end).map(record).collect();
    let mut dedup = ClickDedup::new(DedupSettings::default());
    click::process(range, &records, &mut dedup, &world.store).await.unwrap()
}

async fn insert(world: &World, range: &BlockRange, rows: &Rows) {
    if !rows.is_empty() {
        world.store.insert(&range.token(), rows).await.unwrap();
    }
}

/// What becomes of a block on its way into the tables.
#[derive(Clone, Copy, Default)]
struct Fault {
    /// The block, or none: all is well.
    block: Option<u64>,
    /// Done to the rows of clicks that are inserted.
    clicks: Option<fn(&mut Vec<ClickRow>)>,
    /// Neither rows nor account of it are there.
    is_lost: bool,
    /// The block's rows are there, its account is not.
    has_no_account: bool,
    /// Its rejects are not there.
    has_no_rejects: bool,
}

/// Blocks of two partitions; of the first, one suffers a fault.
async fn stored(fault: Fault) -> World {
    let world = World::new().await;
    for number in [0, 1] {
        for block in 0..BLOCKS {
            let range = range(number, block * BLOCK);
            let is_faulty = number == 0 && fault.block == Some(block);
            if is_faulty && fault.is_lost {
                continue;
            }
            let tables = rows_of(&world, &range).await;
            let account = Rows::account(&range, &tables);
            for mut rows in tables {
                match &mut rows {
                    Rows::Clicks(clicks) if is_faulty => {
                        fault.clicks.iter().for_each(|change| change(clicks));
                    }
                    Rows::Rejects(rejects) if is_faulty && fault.has_no_rejects => rejects.clear(),
                    _ => {}
                }
                insert(&world, &range, &rows).await;
            }
            if !(is_faulty && fault.has_no_account) {
                insert(&world, &range, &account).await;
            }
        }
    }
    world
}

fn committed(number: u32) -> Committed {
    let incarnation = Uuid::from_u128(7).to_string();
    Committed { stream: "clicks".into(), partition: number, incarnation, next: BLOCKS * BLOCK }
}

async fn look(world: &World) -> (Vec<Difference>, Vec<Difference>) {
    let committed = [committed(0), committed(1)];
    let found = quick(&world.client, &committed).await.unwrap();
    (found, deep(&world.client, ALL_MONTHS).await.unwrap())
}

fn place() -> String {
    format!("clicks 0 of {}", Uuid::from_u128(7))
}

fn named(offset: u64, rows: u64, tables: &str) -> Difference {
    Difference::Record { place: place(), offset, rows, tables: tables.into() }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_adds_up_and_does_so_when_merges_have_folded_it() {
    let world = stored(Fault::default()).await;
    assert_eq!(look(&world).await, (vec![], vec![]));
    let rows = world.count("SELECT count() FROM blocks").await;
    world.client.query("OPTIMIZE TABLE blocks FINAL").execute().await.unwrap();
    let folded = world.count("SELECT count() FROM blocks").await;
    // The block itself, clicks of two months at most, rejects.
    assert!(folded <= 2 * 4 && rows > folded, "{rows} rows became {folded}");
    assert_eq!(look(&world).await, (vec![], vec![]));
    // A replay changes nothing of it.
    let again = range(1, 0);
    let account = Rows::account(&again, &rows_of(&world, &again).await);
    insert(&world, &again, &account).await;
    assert_eq!(look(&world).await.0, vec![]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_gone_is_found_and_named() {
    let gone: fn(&mut Vec<ClickRow>) = |rows| rows.retain(|row| row.offset != 1042);
    let world = stored(Fault { block: Some(2), clicks: Some(gone), ..Fault::default() }).await;
    let (quick, deep) = look(&world).await;
    assert!(
        matches!(&quick[..], [Difference::Rows { table, said, stands, .. }] if table == "clicks" && said - stands == 1),
        "{quick:?}"
    );
    assert!(deep.contains(&named(1042, 0, "")), "{deep:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_there_twice_is_found_and_named() {
    let twice: fn(&mut Vec<ClickRow>) = |rows| rows.push(rows[40].clone());
    let world = stored(Fault { block: Some(2), clicks: Some(twice), ..Fault::default() }).await;
    let (quick, deep) = look(&world).await;
    assert!(
        matches!(&quick[..], [Difference::Rows { table, said, stands, .. }] if table == "clicks" && stands - said == 1),
        "{quick:?}"
    );
    let doubled = deep
        .iter()
        .find(|found| matches!(found, Difference::Record { rows: 2, tables, .. } if tables == "clicks"));
    assert!(doubled.is_some(), "{deep:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_was_exchanged_for_another_is_found_by_the_deep_look() {
    let exchanged: fn(&mut Vec<ClickRow>) = |rows| {
        let stranger = ClickRow { offset: 1000, ..rows[0].clone() };
        let at = rows.iter().position(|row| row.offset == 1042).unwrap();
        rows[at] = ClickRow { ts: rows[at].ts, ..stranger };
    };
    let world = stored(Fault { block: Some(2), clicks: Some(exchanged), ..Fault::default() }).await;
    let (quick, deep) = look(&world).await;
    assert_eq!(quick, vec![], "as many rows as there were");
    assert!(
        deep.iter().any(|found| matches!(found, Difference::Exchanged { table, .. } if table == "clicks")),
        "{deep:?}"
    );
    assert!(deep.contains(&named(1042, 0, "")) && deep.contains(&named(1000, 2, "clicks")), "{deep:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_head_middle_and_tail_are_told_apart() {
    let lost = |block| Fault { block: Some(block), is_lost: true, ..Fault::default() };
    let (head, _) = look(&stored(lost(0)).await).await;
    assert_eq!(head, [Difference::Head { place: place(), first: BLOCK }]);
    let (middle, deep) = look(&stored(lost(3)).await).await;
    assert!(matches!(&middle[..], [Difference::Chain { .. }]), "{middle:?}");
    assert!(deep.contains(&named(3 * BLOCK, 0, "")), "{deep:?}");
    let (tail, _) = look(&stored(lost(BLOCKS - 1)).await).await;
    let (end, committed) = ((BLOCKS - 1) * BLOCK, BLOCKS * BLOCK);
    assert_eq!(tail, [Difference::Tail { place: place(), end, committed }]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_without_an_account_and_a_table_without_its_rows_are_found() {
    let (account, _) =
        look(&stored(Fault { block: Some(2), has_no_account: true, ..Fault::default() }).await).await;
    assert!(account.iter().any(|found| matches!(found, Difference::Chain { .. })), "{account:?}");
    assert!(account.iter().any(|found| matches!(found, Difference::Rows { .. })), "{account:?}");
    let (rejects, deep) =
        look(&stored(Fault { block: Some(2), has_no_rejects: true, ..Fault::default() }).await).await;
    assert!(
        matches!(&rejects[..], [Difference::Rows { table, said, stands, .. }] if table == "rejects" && said - stands == 50),
        "{rejects:?}"
    );
    assert!(deep.contains(&named(1003, 0, "")), "{deep:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_is_under_way_is_no_difference() {
    let world = stored(Fault::default()).await;
    let next = range(0, BLOCKS * BLOCK);
    for rows in rows_of(&world, &next).await {
        insert(&world, &next, &rows).await;
    }
    assert_eq!(look(&world).await, (vec![], vec![]));
}
