//! Whoever follows ends with what the writer has, however they fall behind.

use super::records::{NOW, demo_changes, link, program, referrer};
use proptest::prelude::*;
use std::sync::Arc;
use whence_ingest::registry::{Change, EntryKey, Kind, Order, RegistryState, Shared, check};
use whence_schemas::event::{Link, RegistryEntry};

fn change() -> impl Strategy<Value = Change> {
    let code = (0..6u8).prop_map(|n| format!("c{n}"));
    let who = (0..3u8).prop_map(|n| format!("r{n}"));
    prop_oneof![
        who.clone().prop_map(|id| Change::PutReferrer(referrer("demo", &id))),
        (code.clone(), who).prop_map(|(code, who)| Change::CreateLink(link(
            "demo",
            "h.example",
            &code,
            &who
        ))),
        (code, any::<bool>(), 0..5i64).prop_map(|(code, test, expires_at_ms)| {
            Change::PutLink(Link { test, expires_at_ms, ..link("demo", "h.example", &code, "r1") })
        }),
        any::<bool>().prop_map(|disabled| Change::SetDisabled {
            key: EntryKey::Program { id: "other".into() },
            disabled,
        }),
        any::<bool>().prop_map(|hash_lead_ids| {
            Change::PutProgram(whence_schemas::event::Program { hash_lead_ids, ..program("demo") })
        }),
    ]
}

fn all(state: &RegistryState) -> Vec<Arc<RegistryEntry>> {
    state.entries_after(0, usize::MAX)
}

proptest! {
    #[test]
    fn a_slow_follower_ends_with_the_writers_state(
        batches in proptest::collection::vec((proptest::collection::vec(change(), 0..6), any::<bool>()), 0..12),
        page in 1usize..4,
    ) {
        let (writer, follower) = (Shared::default(), Shared::default());
        let follow = || loop {
            let version = follower.read().version();
            let entries = writer.read().entries_after(version, page);
            if entries.is_empty() {
                break;
            }
            assert_eq!(follower.apply(entries), 0);
        };
        let staged = check::stage(&writer.read(), &demo_changes(), NOW);
        writer.apply(staged.entries);
        for (changes, follows_now) in batches {
            let staged = check::stage(&writer.read(), &changes, NOW);
            let first = writer.read().version() + 1;
            let versions: Vec<u64> = staged.entries.iter().map(|entry| entry.version).collect();
            prop_assert!(versions.iter().copied().eq(first..first + versions.len() as u64));
            writer.apply(staged.entries);
            if follows_now {
                follow();
            }
        }
        follow();
        prop_assert_eq!(all(&writer.read()), all(&follower.read()));
        prop_assert_eq!(writer.read().counts(), follower.read().counts());
        let links = |state: &RegistryState| -> Vec<_> {
            state.scan(Kind::Link, "demo", Order::default(), "").unwrap().cloned().collect()
        };
        prop_assert_eq!(links(&writer.read()), links(&follower.read()));
    }
}

#[tokio::test]
async fn followers_are_woken_by_the_newest_version() {
    let shared = Shared::default();
    let mut versions = shared.versions();
    assert_eq!(*versions.borrow_and_update(), 0);
    let staged = check::stage(&shared.read(), &demo_changes(), NOW);
    shared.apply(staged.entries);
    versions.changed().await.unwrap();
    assert_eq!(*versions.borrow_and_update(), shared.read().version());
}
