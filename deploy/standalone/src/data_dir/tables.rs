//! Whether each table of the embedded engine has its folder: the engine would create an empty one and say nothing.
//!
//! The engine keeps what a table is as a statement in a file and what is in it in a folder that the statement names.

use std::fs;
use std::io;
use std::path::Path;

use super::DataDirError;

/// Refuses a folder in which a table has lost its own.
///
/// # Errors
/// [`DataDirError::Tables`], or something can't be read.
pub(super) fn check(folder: &Path) -> Result<(), DataDirError> {
    let engine = folder.join("clickhouse/store");
    let lost = lost(&engine).map_err(|source| DataDirError::Io { path: engine.clone(), source })?;
    let Some((_, first)) = lost.first() else { return Ok(()) };
    let tables: Vec<&str> = lost.iter().map(|(name, _)| name.as_str()).collect();
    Err(DataDirError::Tables {
        folder: folder.to_owned(),
        tables: tables.join(", "),
        table: engine.join(first),
    })
}

/// Tables with the folders that they lack.
fn lost(engine: &Path) -> io::Result<Vec<(String, String)>> {
    let mut lost = Vec::new();
    for (database, path) in entries(&engine.join("metadata"))? {
        if let Some(database) = database.strip_suffix(".sql") {
            // What a database has is in a folder of its own, to which a link beside leads; none is there without tables.
            let tables = engine.join("metadata").join(database);
            let is_lost = tables.is_symlink() && !tables.exists();
            if let (Some(id), true) = (id(&fs::read_to_string(&path)?), is_lost) {
                lost.push((format!("all tables of {database}"), id));
            }
            continue;
        }
        for (table, path) in entries(&path)? {
            let Some(table) = table.strip_suffix(".sql") else { continue };
            let statement = fs::read_to_string(&path)?;
            let keeps_rows = statement.lines().any(|line| {
                line.strip_prefix("ENGINE = ").is_some_and(|engine| {
                    engine
                        .split(|sign: char| !sign.is_ascii_alphanumeric())
                        .next()
                        .is_some_and(|name| name.ends_with("MergeTree"))
                })
            });
            let Some(id) = id(&statement).filter(|_| keeps_rows) else { continue };
            if !engine.join(&id).join("format_version.txt").exists() {
                lost.push((format!("{database}.{table}"), id));
            }
        }
    }
    lost.sort();
    Ok(lost)
}

/// The folder of what a statement made: `store/abc/abcdef…`.
fn id(statement: &str) -> Option<String> {
    let (_, id) = statement.lines().next()?.split_once(" UUID '")?;
    let (id, _) = id.split_once('\'')?;
    Some(format!("store/{}/{id}", id.get(..3)?))
}

fn entries(folder: &Path) -> io::Result<Vec<(String, std::path::PathBuf)>> {
    match fs::read_dir(folder) {
        // A link that leads nowhere, too.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(Vec::new())
        }
        entries => entries?
            .map(|entry| entry.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path())))
            .collect(),
    }
}
