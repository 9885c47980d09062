//! `sync` reaches the segments of a range, and only needs those to be there.

use whence_journal::{JournalConfig, Quota, SEGMENT_BYTES_MIN, Writer, sync};

#[test]
fn a_range_over_several_segments_is_synced_and_a_retired_or_foreign_one_is_no_error() {
    let dir = tempfile::tempdir().unwrap();
    let config = JournalConfig {
        dir: dir.path().to_owned(),
        segment_bytes: SEGMENT_BYTES_MIN,
        quota: Quota::bytes(1 << 30),
    };
    let mut writer = Writer::open(config).unwrap();
    let first = writer.append(&[1; 1000]).unwrap();
    let last = (0..500).map(|_| writer.append(&[2; 1000]).unwrap()).last().unwrap();
    let segments = || {
        std::fs::read_dir(dir.path())
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|ending| ending == "seg"))
    };
    assert!(segments().count() > 2, "the range must span segments");

    sync(dir.path(), first, last.offset + 1).unwrap();
    sync(dir.path(), last.plus(10), last.offset + 20).unwrap();
    let oldest = segments().map(|entry| entry.unwrap().path()).min().unwrap();
    std::fs::remove_file(oldest).unwrap();
    sync(dir.path(), first, last.offset + 1).unwrap();
}
