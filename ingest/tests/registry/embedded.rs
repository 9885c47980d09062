//! The redb file.

use super::records::{NOW, demo_changes, link};
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use whence_ingest::registry::{
    CHANGES_MAX, Change, ChangeError, Registry, RegistryError,
    embedded::{EmbeddedRegistry, OpenError},
};
use whence_schemas::event::{self, RegistryEntry};

fn open(path: &Path) -> Result<EmbeddedRegistry, OpenError> {
    EmbeddedRegistry::open(path, Arc::new(|| NOW))
}

#[tokio::test]
async fn a_file_that_is_no_registry_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("registry.redb");
    std::fs::write(&path, b"something else entirely").unwrap();
    let refused = open(&path).err().unwrap();
    assert!(matches!(refused, OpenError::Database { path: at, .. } if at == path));
}

#[tokio::test]
async fn a_second_process_is_kept_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("registry.redb");
    let first = open(&path).unwrap();
    assert!(matches!(open(&path).err().unwrap(), OpenError::Database { .. }));
    drop(first);
    open(&path).unwrap();
}

#[tokio::test]
async fn too_many_changes_write_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let registry = open(&dir.path().join("registry.redb")).unwrap();
    let changes = vec![demo_changes().remove(0); CHANGES_MAX + 1];
    assert!(matches!(registry.write(changes).await, Err(RegistryError::TooMany(_))));
    assert_eq!(registry.shared().read().version(), 0);
}

#[tokio::test]
async fn a_restart_keeps_entries_and_versions() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("registry.redb");
    let registry = open(&path).unwrap();
    registry.write(demo_changes()).await.unwrap();
    let disabled = Change::SetDisabled {
        key: whence_ingest::registry::EntryKey::Program { id: "demo".into() },
        disabled: true,
    };
    let outcome = registry.write(vec![disabled]).await.unwrap().remove(0).unwrap();
    let before = registry.shared().read().entries_after(0, usize::MAX);
    drop(registry);

    let registry = open(&path).unwrap();
    assert_eq!(registry.shared().read().entries_after(0, usize::MAX), before);
    assert_eq!(registry.shared().read().version(), outcome.entry.version);
    assert!(registry.shared().read().program("demo").unwrap().disabled);
    let next = registry
        .write(vec![Change::CreateLink(link("demo", "go.example", "next", "ann"))])
        .await
        .unwrap()
        .remove(0);
    assert_eq!(next.unwrap().entry.version, outcome.entry.version + 1, "versions go on");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_take_one_code_at_once_one_gets_it() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Arc::new(open(&dir.path().join("registry.redb")).unwrap());
    registry.write(demo_changes()).await.unwrap();
    let creating: Vec<_> = (0..16)
        .map(|n| {
            let registry = Arc::clone(&registry);
            let wanted = link("demo", "go.example", "wanted", "ann");
            let destination = format!("https://shop.example/{n}");
            let change = Change::CreateLink(event::Link { destination, ..wanted });
            tokio::spawn(async move { registry.write(vec![change]).await.unwrap().remove(0) })
        })
        .collect();
    let mut created = 0;
    for outcome in creating {
        match outcome.await.unwrap() {
            Ok(_) => created += 1,
            Err(ChangeError::Exists { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(created, 1);
}

#[tokio::test]
async fn a_caller_who_goes_away_leaves_file_and_state_in_step() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("registry.redb");
    let registry = open(&path).unwrap();
    registry.write(demo_changes()).await.unwrap();
    for n in 0..20 {
        let change = Change::CreateLink(link("demo", "go.example", &format!("gone{n}"), "ann"));
        let write = registry.write(vec![change]);
        // Polled once, then dropped: the write may have begun.
        tokio::select! { biased; _ = write => {}, () = std::future::ready(()) => {} }
    }
    // Waits for what was begun.
    registry.write(vec![Change::CreateLink(link("demo", "go.example", "last", "ann"))]).await.unwrap();
    let shown = registry.shared().read().entries_after(0, usize::MAX);
    drop(registry);
    // The threads that have written let go of the file a moment later.
    let deadline = Instant::now() + Duration::from_secs(60);
    let again = loop {
        match open(&path) {
            Ok(registry) => break registry,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert_eq!(again.shared().read().entries_after(0, usize::MAX), shown);
}

/// A file of some size, and what is in it.
async fn written(path: &Path) -> Vec<Arc<RegistryEntry>> {
    let registry = open(path).unwrap();
    registry.write(demo_changes()).await.unwrap();
    let links = (0..300).map(|n| Change::CreateLink(link("demo", "go.example", &format!("link{n}"), "ann")));
    registry.write(links.collect()).await.unwrap();
    let read = registry.shared().read();
    read.entries_after(0, usize::MAX)
}

#[tokio::test]
async fn a_damaged_file_is_refused_or_whole_and_never_a_panic() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("registry.redb");
    let entries = written(&path).await;
    let whole = std::fs::read(&path).unwrap();
    let mut outcomes = [0, 0];
    let mut try_with = |bytes: &[u8], what: &str| {
        std::fs::write(&path, bytes).unwrap();
        let is_whole = match open(&path) {
            Ok(registry) => {
                assert_eq!(registry.shared().read().entries_after(0, usize::MAX), entries, "{what}");
                true
            }
            Err(error) => {
                assert!(error.to_string().contains("registry.redb"), "{what}: {error}");
                false
            }
        };
        outcomes[usize::from(is_whole)] += 1;
    };
    // A prime step visits every place within a page sooner or later.
    for at in (0..whole.len()).step_by(4099).chain(0..512) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        try_with(&bytes, &format!("byte {at}"));
    }
    for at in (4096..whole.len()).step_by(9 * 4096) {
        let mut bytes = whole.clone();
        bytes[at..at + 4096].fill(0);
        try_with(&bytes, &format!("page at {at}"));
        try_with(&whole[..at], &format!("cut at {at}"));
    }
    assert!(outcomes[0] > 50 && outcomes[1] > 50, "{outcomes:?}");
}

#[tokio::test]
async fn each_byte_of_a_record_is_guarded() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("registry.redb");
    let entries = written(&path).await;
    let whole = std::fs::read(&path).unwrap();
    // Where a record's bytes are, in whichever page redb has them.
    let record = event::encode(entries[entries.len() / 2].as_ref());
    let places: Vec<usize> = whole
        .windows(record.len())
        .enumerate()
        .filter(|(_, at)| *at == &record[..])
        .map(|(at, _)| at)
        .collect();
    assert!(!places.is_empty());
    let mut refused = 0;
    for offset in (0..record.len()).step_by(3) {
        let mut bytes = whole.clone();
        places.iter().for_each(|place| bytes[place + offset] ^= 1);
        std::fs::write(&path, &bytes).unwrap();
        refused += usize::from(open(&path).is_err());
    }
    assert_eq!(refused, record.len().div_ceil(3));
}
