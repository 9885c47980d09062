//! Keeps what Kafka refused for good, for somebody to look at: one file per record in `refused/` beside
//! the journal's segments, named by the record's position.
//!
//! They go after [`KEPT_FOR`]. Bounded: behind [`FILES_MAX`] files nothing more is kept; the record stays in the
//! journal, and its shipper holds.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use whence_journal::Position;

/// Beyond this many somebody has long been paged.
const FILES_MAX: usize = 1000;

/// Writes the record's bytes to its file, and that to the disk. A record that is refused again overwrites its file.
pub(super) fn keep(dir: &Path, position: Position, payload: &[u8]) -> io::Result<()> {
    let refused = dir.join("refused");
    if !refused.is_dir() {
        fs::create_dir_all(&refused)?;
        File::open(dir)?.sync_all()?;
    }
    let path = refused.join(format!("{}-{:020}.record", position.incarnation, position.offset));
    if !path.exists() && fs::read_dir(&refused)?.take(FILES_MAX).count() == FILES_MAX {
        return Err(io::Error::new(
            io::ErrorKind::QuotaExceeded,
            "too many refused records are kept already",
        ));
    }
    let mut file = File::create(path)?;
    file.write_all(payload)?;
    file.sync_all()?;
    File::open(&refused)?.sync_all()
}

/// How long a refused record is kept: whose erasure was asked for meanwhile is gone from here by then, too.
pub(super) const KEPT_FOR: Duration = Duration::from_secs(7 * 86_400);

/// Removes what was refused `age` ago or longer.
pub(super) fn forget(dir: &Path, age: Duration) -> io::Result<()> {
    let entries = match fs::read_dir(dir.join("refused")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let written = entry.metadata()?.modified()?;
        if SystemTime::now().duration_since(written).is_ok_and(|since| since >= age) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use whence_journal::Incarnation;

    #[test]
    fn no_more_are_kept_than_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        let at = |offset| Position { incarnation: Incarnation(7), offset };
        keep(dir.path(), at(0), b"record").unwrap();
        for other in 1..FILES_MAX {
            fs::write(dir.path().join("refused").join(other.to_string()), "record").unwrap();
        }
        let full = keep(dir.path(), at(FILES_MAX as u64), b"record").unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::QuotaExceeded);
        keep(dir.path(), at(0), b"again").unwrap();
        let kept = || fs::read_dir(dir.path().join("refused")).unwrap().count();
        forget(dir.path(), KEPT_FOR).unwrap();
        assert_eq!(kept(), FILES_MAX);
        forget(dir.path(), Duration::ZERO).unwrap();
        assert_eq!(kept(), 0);
    }
}
