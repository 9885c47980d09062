//! `whence restore`: a new data folder from a backup.

use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Command, value_parser};
use whence_journal::{Checkpoint, Stored};
use whence_runtime::settings;
use whence_runtime::telemetry::start_logs;

use super::backup::Target;
use crate::backup::manifest::{JournalPosition, Manifest};
use crate::backup::{BackupError, UNFINISHED, tree};
use crate::chain::chain;
use crate::failure::Failure;
use crate::parts::journals::{self, Journal};
use crate::settings::{FolderSettings, load};

/// `whence restore`
pub fn command() -> Command {
    let folder = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name("FOLDER").value_parser(value_parser!(PathBuf)).help(help)
    };
    let from = folder("from", "The backup").required(true);
    let journals = folder(
        "journals",
        "The folder `journal` of the process that was lost, stopped: what came after the backup is taken from there",
    );
    let about =
        "Makes a new data folder from a backup; `--data` names it, and it must be empty or not exist yet";
    settings::command::<FolderSettings>(Command::new("restore").about(about)).args([from, journals])
}

/// Makes the folder.
///
/// # Errors
/// The backup is not whole, or the folder can't be made; then there is none.
pub fn run(flags: &ArgMatches) -> Result<(), Failure> {
    let settings = load::<FolderSettings>(flags)?.settings;
    start_logs(&settings.log)?;
    let from = flags.get_one::<PathBuf>("from").expect("required");
    let manifest = Manifest::read(from)?;
    let target = Target::make(&settings.data.data)?;
    let data = &target.path;
    let unfinished = data.join(UNFINISHED);
    DirBuilder::new().mode(0o700).create(&unfinished).map_err(BackupError::io(&unfinished))?;
    let wrong = tree::restore(&manifest.tree, from, &unfinished)?;
    if !wrong.is_empty() {
        return Err(BackupError::Damaged { folder: from.clone(), what: shortened(wrong) }.into());
    }
    if let Some(old) = flags.get_one::<PathBuf>("journals") {
        add_journals(old, &unfinished.join("journal"))?;
    }
    let gaps = gaps(&unfinished.join("journal"))?;
    tree::sync(&unfinished)?;
    for entry in fs::read_dir(&unfinished).map_err(BackupError::io(&unfinished))? {
        let entry = entry.map_err(BackupError::io(&unfinished))?;
        let into = data.join(entry.file_name());
        fs::rename(entry.path(), &into).map_err(BackupError::io(&into))?;
    }
    fs::remove_dir(&unfinished).map_err(BackupError::io(&unfinished))?;
    File::open(data).and_then(|folder| folder.sync_all()).map_err(BackupError::io(data))?;
    let text = told(&manifest, data, &gaps);
    target.keep();
    super::print(&text)
}

/// Differences beyond these are counted.
const TOLD_MAX: usize = 20;

fn shortened(mut wrong: Vec<String>) -> Vec<String> {
    let more = wrong.len().saturating_sub(TOLD_MAX);
    wrong.truncate(TOLD_MAX);
    if more > 0 {
        wrong.push(format!("{more} more"));
    }
    wrong
}

fn add_journals(old: &Path, into: &Path) -> Result<(), Failure> {
    let found = journals::find(old).map_err(BackupError::io(old))?;
    if found.is_empty() {
        let text = format!("{} has no journals: give the folder `journal` of a data folder", old.display());
        return Err(BackupError::Refused(text).into());
    }
    for Journal { dir, .. } in found {
        let name = dir.file_name().expect("a journal has a name");
        whence_journal::merge(&dir, &into.join(name)).map_err(BackupError::io(&dir))?;
    }
    Ok(())
}

/// What the journals lack behind the tables, of each a sentence.
fn gaps(journals: &Path) -> Result<Vec<String>, Failure> {
    let mut gaps = Vec::new();
    if !journals.is_dir() {
        return Ok(gaps);
    }
    for journal in journals::find(journals).map_err(BackupError::io(journals))? {
        let checkpoint = Checkpoint::load(&journal.checkpoint()).map_err(BackupError::io(&journal.dir))?;
        let Stored::Intact(checkpoint) = checkpoint else { continue };
        match whence_journal::missing(&journal.dir, checkpoint.position) {
            Ok(missing) => gaps.extend(missing.into_iter().map(|lacks| {
                format!(
                    "{}: records from {} to {} are in no journal",
                    journal.partition, lacks.from, lacks.to
                )
            })),
            Err(error) => gaps.push(format!("{}: {}", journal.partition, chain(&error))),
        }
    }
    Ok(gaps)
}

fn told(manifest: &Manifest, data: &Path, gaps: &[String]) -> String {
    let data = data.display();
    let mut text = format!("{} files are in {data}\n", manifest.tree.files.len());
    for JournalPosition { stream, partition, incarnation, next } in &manifest.positions {
        // Writing to a text does not fail.
        let _ = writeln!(text, "{stream} {partition} of {incarnation}: in the tables up to offset {next}");
    }
    for gap in gaps {
        let _ = writeln!(text, "{gap}: start once with --accept-loss to continue after them");
    }
    let _ = writeln!(
        text,
        "what is in the journals behind that is stored at the start: `whence up --data {data}`, then `whence verify \
         --deep --data {data}`"
    );
    text
}
