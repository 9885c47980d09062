//! The redb file.

use super::records::{NOW, demo_changes, link};
use std::{path::Path, sync::Arc};
use whence_ingest::registry::{
    CHANGES_MAX, Change, ChangeError, Registry, RegistryError,
    embedded::{EmbeddedRegistry, OpenError},
};

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
    assert_eq!(registry.shared().read().version(), outcome.version);
    assert!(registry.shared().read().program("demo").unwrap().disabled);
    let next = registry
        .write(vec![Change::CreateLink(link("demo", "go.example", "next", "ann"))])
        .await
        .unwrap()
        .remove(0);
    assert_eq!(next.unwrap().version, outcome.version + 1, "versions go on");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_take_one_code_at_once_one_gets_it() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Arc::new(open(&dir.path().join("registry.redb")).unwrap());
    registry.write(demo_changes()).await.unwrap();
    let creating: Vec<_> = (0..16)
        .map(|_| {
            let registry = Arc::clone(&registry);
            let change = Change::CreateLink(link("demo", "go.example", "wanted", "ann"));
            tokio::spawn(async move { registry.write(vec![change]).await.unwrap().remove(0) })
        })
        .collect();
    let mut created = 0;
    for outcome in creating {
        match outcome.await.unwrap() {
            Ok(_) => created += 1,
            Err(ChangeError::Conflict { field, .. }) => assert_eq!(field, "code"),
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
    assert_eq!(open(&path).unwrap().shared().read().entries_after(0, usize::MAX), shown);
}
