//! The command line. Tables go to standard output, progress and errors to standard error.
//!
//! Exit status: 0 if everything is as it should be, 1 if there is a difference, 2 if it could not be found
//! out.

#![allow(clippy::print_stdout)] // this is the command line: its tables are its output

mod args;
mod faults;
mod progress;
mod values;

pub use args::Cli;

use crate::{
    drive::{DriveSettings, Measured, Targets, drive},
    ledger::{self, FORMAT, Header, Ledger, LedgerFile},
    oracle::{
        Strictness, compare,
        report::{LoadSummary, Summary, difference_list, funnel_table, people_words},
        store::Store,
        wait::{expected, wait},
    },
    setup::set_up,
    wire::Target,
    world::World,
};
use args::{CheckArgs, Command, DriveArgs, LedgerArg, RegistryArgs, WorldArgs};
use hyper::header::HeaderValue;
use std::{
    path::Path,
    process::ExitCode,
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};
use tokio_util::sync::CancellationToken;

/// Whatever ends a command: it is only shown.
pub type Failed = Box<dyn std::error::Error>;

/// Runs a command.
///
/// # Errors
/// If it could not be found out whether everything is as it should be.
pub async fn run(cli: Cli) -> Result<ExitCode, Failed> {
    match cli.command {
        Command::Setup { registry, world, out } => {
            let (world, _) = set_up_world(&registry, &world).await?;
            println!("{} programs, {} links, tag {}", world.programs.len(), world.links.len(), world.tag);
            if let Some(out) = out {
                std::fs::write(out, serde_json::to_vec(&world)?)?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Drive { registry, world, world_file, drive, ledger: LedgerArg { ledger } } => {
            let (world, targets) = match world_file {
                Some(file) => (read_world(&file)?, registry.targets().await?),
                None => set_up_world(&registry, &world).await?,
            };
            let (_, measured) = drive_world(world, &targets, &drive, Some(&ledger)).await?;
            print!("{}", LoadSummary::from(&measured));
            Ok(ExitCode::SUCCESS)
        }
        Command::Check { check, ledger: LedgerArg { ledger } } => {
            let ledger = ledger::read(&ledger)?;
            if !ledger.is_complete {
                eprintln!("the ledger has no end: what the generator sent last may be missing from it");
            }
            check_ledger(&ledger, &check, None).await
        }
        Command::Run { registry, world, drive, check, ledger } => {
            let (world, targets) = set_up_world(&registry, &world).await?;
            let (ledger, measured) = drive_world(world, &targets, &drive, ledger.as_deref()).await?;
            check_ledger(&ledger, &check, Some(&measured)).await
        }
        Command::Faults(args) => faults::run(args).await,
        Command::Hold { to, connections, first, networks } => {
            crate::faults::hold::hold(to, connections, (first, networks), |held| println!("{held}"));
            Ok(ExitCode::SUCCESS)
        }
    }
}

impl RegistryArgs {
    async fn targets(&self) -> Result<Targets, Failed> {
        let key = std::fs::read_to_string(&self.admin_key_file)
            .map_err(|error| format!("cannot read {}: {error}", self.admin_key_file.display()))?;
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", key.trim()))?;
        bearer.set_sensitive(true);
        let (edge, api) = (Target::resolve(&self.edge).await?, Target::resolve(&self.api).await?);
        Ok(Targets { edge, api, bearer })
    }
}

async fn set_up_world(registry: &RegistryArgs, args: &WorldArgs) -> Result<(World, Targets), Failed> {
    let targets = registry.targets().await?;
    let host = args.link_host.as_deref().unwrap_or(&targets.edge.authority);
    let tag = args.tag.clone().unwrap_or_else(tag_of_now);
    let world = World::generate(args.seed, &tag, host, args.size());
    let bar = progress::Bar::start("setting up");
    set_up(&world, &targets.api, &targets.edge, &targets.bearer).await?;
    bar.finish(&format!("{} links", world.links.len()));
    Ok((world, targets))
}

/// Runs are told apart by the second at which they start.
fn tag_of_now() -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut seconds = now_ms() / 1000;
    let mut tag = Vec::new();
    while seconds > 0 {
        tag.push(DIGITS[usize::try_from(seconds % 36).expect("less than 36")]);
        seconds /= 36;
    }
    tag.reverse();
    String::from_utf8(tag).expect("digits are ASCII")
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn read_world(file: &Path) -> Result<World, Failed> {
    Ok(serde_json::from_slice(&std::fs::read(file)?)?)
}

async fn drive_world(
    world: World,
    targets: &Targets,
    args: &DriveArgs,
    ledger: Option<&Path>,
) -> Result<(Ledger, Measured), Failed> {
    let settings: DriveSettings = args.settings();
    let header = Header { format: FORMAT, seed: args.load_seed, started_at_ms: now_ms(), world };
    let file = ledger.map(|path| LedgerFile::create(path, &header)).transpose()?;
    let progress = Arc::default();
    let stop = CancellationToken::new();
    let driving =
        drive(header, &settings, targets, file.as_ref().map(LedgerFile::appender), &progress, &stop);
    let watching = progress::watch_load(&progress, settings.clicks);
    let interrupted = async {
        // Without a handler for interrupts the load simply cannot be cut short in an orderly way.
        if tokio::signal::ctrl_c().await.is_ok() {
            eprintln!("ending the load early");
            stop.cancel();
        }
        std::future::pending::<()>().await;
    };
    let driven = tokio::select! {
        driven = driving => driven?,
        () = watching => unreachable!("it watches until the load ends"),
        () = interrupted => unreachable!("it waits until the load ends"),
    };
    if let Some(file) = file {
        file.finish()?;
    }
    Ok(driven)
}

async fn check_ledger(
    ledger: &Ledger,
    args: &CheckArgs,
    measured: Option<&Measured>,
) -> Result<ExitCode, Failed> {
    let programs = ledger.header.world.programs.iter().map(|program| program.id.clone()).collect();
    let store = Store::new(&args.store_address()?, programs);
    let bar = progress::Bar::start("waiting for ClickHouse");
    let waited = wait(&store, expected(ledger), args.wait_limits(), |stored, expected| {
        bar.say(&format!(
            "{}/{} clicks, {}/{} leads, {}/{} qualifications, {}/{} other events",
            stored.clicks,
            expected.clicks,
            stored.leads,
            expected.leads,
            stored.qualifications,
            expected.qualifications,
            stored.other_events,
            expected.other_events
        ));
    })
    .await?;
    bar.finish(&format!("all stored: {}", waited.is_complete));

    let started = Instant::now();
    let stored = store.read().await?;
    let strictness = Strictness { is_lossy: args.lossy, kept_max: args.print };
    let findings = compare(ledger, &stored, strictness);
    let summary = Summary {
        is_exact: findings.differences.total() == 0,
        is_complete: waited.is_complete,
        totals: findings.totals,
        differences: findings.differences.clone(),
        load: measured.map(LoadSummary::from),
        stored_after_s: waited.took.as_secs_f64(),
        compared_in_s: started.elapsed().as_secs_f64(),
    };
    print!("{}", funnel_table(&findings, &stored, args.rows));
    println!();
    if let Some(load) = &summary.load {
        println!("{load}");
    }
    print_totals(&summary);
    if let Some(json) = &args.json {
        std::fs::write(json, serde_json::to_vec_pretty(&summary)?)?;
    }
    Ok(if summary.is_exact { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print_totals(summary: &Summary) {
    let totals = &summary.totals;
    println!(
        "compared in {:.1} s: {} clicks, {} offsets",
        summary.compared_in_s,
        totals.clicks_answered + totals.clicks_stored_without_id,
        totals.offsets
    );
    print!("{}", people_words(totals));
    if totals.clicks_unanswered_and_absent + totals.events_unanswered_and_absent + totals.reshipped > 0 {
        println!(
            "unanswered and not stored: {} clicks, {} events; sent to the topic again: {} records",
            totals.clicks_unanswered_and_absent, totals.events_unanswered_and_absent, totals.reshipped
        );
    }
    println!("differences: {}", summary.differences.total());
    print!("{}", difference_list(&summary.differences));
}
