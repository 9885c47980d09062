//! The local copy.

use super::records::{NOW, demo, link};
use proptest::prelude::*;
use std::{fs, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;
use whence_ingest::registry::{
    Change, RegistryState, Shared, check,
    snapshot::{self, SnapshotError},
};

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
        snapshot::write(&path, &entries).unwrap();
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
        snapshot::write(&path, &demo().entries_after(0, usize::MAX)).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] ^= by }
        fs::write(&path, bytes).unwrap();
        let refused = snapshot::read(&path).unwrap_err();
        prop_assert!(!matches!(refused, SnapshotError::Io { .. }), "{}", refused);
    }
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
        tokio::time::timeout(Duration::from_secs(10), seen).await.expect("written within the deadline");
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
