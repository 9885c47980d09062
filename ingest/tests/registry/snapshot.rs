//! The local copy.

use super::records::{NOW, demo, link, referrer, written};
use proptest::prelude::*;
use std::{fs, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;
use whence_ingest::registry::{
    Change, RegistryState, Shared, check,
    snapshot::{self, SnapshotError},
};
use whence_schemas::event::Referrer;

#[test]
fn no_file_is_no_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    assert!(snapshot::read(&dir.path().join("none")).unwrap().is_none());
}

#[test]
fn what_is_written_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("registry.snapshot");
    for state in [RegistryState::default(), demo()] {
        let entries = state.entries_after(0, usize::MAX);
        snapshot::write(&path, entries.iter().cloned()).unwrap();
        let read = snapshot::read(&path).unwrap().unwrap();
        assert_eq!(read.entries_after(0, usize::MAX), entries);
        assert_eq!(read.version(), state.version());
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
}

proptest! {
    #[test]
    fn a_damaged_file_is_refused_whole(at in any::<proptest::sample::Index>(), by in 1u8.., cut: bool) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("registry.snapshot");
        snapshot::write(&path, demo().entries_after(0, usize::MAX).into_iter()).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] ^= by }
        fs::write(&path, bytes).unwrap();
        let refused = snapshot::read(&path).unwrap_err();
        prop_assert!(!matches!(refused, SnapshotError::Io { .. }), "{}", refused);
    }
}

#[test]
fn what_changes_while_it_is_read_is_as_it_was_or_as_it_is() {
    let mut state = demo();
    let referrers: Vec<Change> =
        (0..3000).map(|id| Change::CreateReferrer(referrer("demo", &id.to_string()))).collect();
    written(&mut state, &referrers);
    let shared = Shared::starting_at(state);
    let change = |id: u32, name: &str| {
        let changed = Referrer { name: name.into(), ..referrer("demo", &id.to_string()) };
        let staged = check::stage(&shared.read(), &[Change::PutReferrer(changed)], NOW);
        shared.apply(staged.entries);
    };
    let read = snapshot::entries(&shared).enumerate().inspect(|(count, _)| {
        // One that has been read, one that is about to be, again and again.
        if *count < 2500 && count % 500 == 0 {
            change(0, &format!("first {count}"));
            change(2999, &format!("last {count}"));
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("registry.snapshot");
    snapshot::write(&path, read.map(|(_, entry)| entry)).unwrap();
    let read = snapshot::read(&path).unwrap().unwrap();
    assert_eq!(read.entries_after(0, usize::MAX), shared.read().entries_after(0, usize::MAX));
}

#[tokio::test]
async fn a_changed_registry_is_written_again_and_once_more_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("registry.snapshot");
    let shared = Arc::new(Shared::starting_at(demo()));
    let shutdown = CancellationToken::new();
    let every = Duration::from_millis(5);
    let keeping = tokio::spawn(snapshot::keep(Arc::clone(&shared), path.clone(), every, shutdown.clone()));
    let wait_for = async |version: u64| {
        let seen = async {
            while snapshot::read(&path).unwrap().is_none_or(|state| state.version() != version) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(120), seen).await.expect("written within the deadline");
    };
    let version = shared.read().version();
    wait_for(version).await;
    let create = |code| {
        let change = Change::CreateLink(link("demo", "go.example", code, "ann"));
        let staged = check::stage(&shared.read(), &[change], NOW);
        shared.apply(staged.entries);
    };
    create("second");
    let version = shared.read().version();
    wait_for(version).await;
    create("third");
    shutdown.cancel();
    keeping.await.unwrap();
    assert_eq!(snapshot::read(&path).unwrap().unwrap().version(), version + 1);
}
