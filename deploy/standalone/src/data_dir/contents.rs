//! What must be in a data folder: a note of the parts that were made in it once. A part that is noted and not there was
//! lost, and is an error; one that is not noted is made at its first use.
//!
//! The note is a text with one name a line. Whoever knows that what was in a part may be lost takes its line out.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use super::DataDirError;

const NAME: &str = "contents";
/// Parts of the folder, and within `journal` those of each journal.
const PARTS: [&str; 8] = [
    super::SECRETS,
    super::FILE_NAME,
    super::OWNER_PASSWORD,
    super::READER_PASSWORD,
    "registry.redb",
    "clickhouse/store",
    "acme",
    "journal",
];
const HEAD: &str = "\
# What must be in this folder. A part that is missing is an error at the start: put it back. If what was in it may be
# lost, delete its line and start again; it is then created again.
";

/// Refuses a folder that lacks what was in it; what is noted.
///
/// # Errors
/// [`DataDirError::Missing`], or the note can't be read.
pub(super) fn check(folder: &Path) -> Result<BTreeSet<String>, DataDirError> {
    let noted = read(folder).map_err(|source| DataDirError::Io { path: folder.join(NAME), source })?;
    let missing: Vec<&str> =
        noted.iter().map(String::as_str).filter(|part| !is_there(&folder.join(part))).collect();
    if missing.is_empty() {
        return Ok(noted);
    }
    Err(DataDirError::Missing {
        folder: folder.to_owned(),
        parts: missing.join(", "),
        note: folder.join(NAME),
    })
}

/// Notes what is there by now beside what is noted. Never takes a part out.
///
/// # Errors
/// The note can't be written.
pub(super) fn note(folder: &Path, noted: &mut BTreeSet<String>) -> io::Result<()> {
    let mut parts = noted.clone();
    parts.extend(PARTS.into_iter().filter(|part| is_there(&folder.join(part))).map(str::to_owned));
    match fs::read_dir(folder.join("journal")) {
        Ok(journals) => {
            for journal in journals {
                let journal = journal?;
                if journal.file_type()?.is_dir() {
                    parts.extend(journal.file_name().to_str().map(|name| format!("journal/{name}")));
                }
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    if parts == *noted {
        return Ok(());
    }
    let beside = folder.join("contents.new");
    let mut file = File::create(&beside)?;
    file.write_all(HEAD.as_bytes())?;
    parts.iter().try_for_each(|part| writeln!(file, "{part}"))?;
    file.sync_all()?;
    fs::rename(&beside, folder.join(NAME))?;
    // The rename itself has to survive a power cut.
    File::open(folder)?.sync_all()?;
    *noted = parts;
    Ok(())
}

/// A folder without anything in it is as good as none.
fn is_there(path: &Path) -> bool {
    match fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_some(),
        Err(_) => path.exists(),
    }
}

fn read(folder: &Path) -> io::Result<BTreeSet<String>> {
    let text = match fs::read_to_string(folder.join(NAME)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        text => text?,
    };
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(lines.map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_once_must_be_there() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path();
        let mut noted = check(folder).unwrap();
        note(folder, &mut noted).unwrap();
        assert!(!folder.join(NAME).exists(), "nothing to note");
        fs::write(folder.join("registry.redb"), "x").unwrap();
        fs::create_dir_all(folder.join("journal/clicks-0")).unwrap();
        fs::write(folder.join("journal/clicks-0/lock"), "").unwrap();
        note(folder, &mut noted).unwrap();
        assert_eq!(check(folder).unwrap(), noted);
        fs::remove_dir_all(folder.join("journal/clicks-0")).unwrap();
        fs::remove_file(folder.join("registry.redb")).unwrap();
        note(folder, &mut noted).unwrap();
        let error = check(folder).unwrap_err().to_string();
        assert!(error.contains("lacks journal, journal/clicks-0, registry.redb"), "{error}");
        let text = fs::read_to_string(folder.join(NAME)).unwrap();
        fs::write(folder.join(NAME), text.replace("registry.redb\n", "")).unwrap();
        let error = check(folder).unwrap_err().to_string();
        assert!(error.contains("lacks journal, journal/clicks-0,") && !error.contains("registry"), "{error}");
    }
}
