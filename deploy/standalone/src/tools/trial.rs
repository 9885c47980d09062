//! `whence try PROGRAM`: one referral in test mode through the running system, step by step, with the
//! time each step takes and what shows that it worked. Reports count nothing of it.

mod steps;

use std::time::{Duration, Instant};

use clap::{Arg, ArgMatches, Command, value_parser};
use secrecy::SecretString;
use whence_runtime::settings;
use whence_schemas::ids::ProgramId;

use super::table::{Align, Table};
use crate::call::Part;
use crate::failure::Failure;
use crate::settings::{TrySettings, load};

/// What the steps work with.
struct Trial {
    program: ProgramId,
    edge: Part,
    api: Part,
    key: SecretString,
    client: clickhouse::Client,
    keys: whence_schemas::token::KeyRing,
    /// How long a step is waited for.
    timeout: Duration,
}

/// A step that was done.
struct Step {
    name: &'static str,
    took: Duration,
    /// What shows that it worked.
    evidence: String,
}

/// `whence try`
pub fn command() -> Command {
    let program = Arg::new("program").value_name("PROGRAM").required(true).help("The program");
    let wait = Arg::new("wait")
        .long("wait")
        .value_name("SECONDS")
        .default_value("60")
        .value_parser(value_parser!(u64).range(1..=3600))
        .help("How long to wait for a step");
    let about = "Sends one referral in test mode through the running system and reports every step";
    settings::command::<TrySettings>(Command::new("try").about(about)).args([program, wait])
}

/// Does the steps and prints them, those before a failure too.
///
/// # Errors
/// A step did not work, or whence does not run.
pub fn run(flags: &ArgMatches) -> Result<(), Failure> {
    let settings = load::<TrySettings>(flags)?.settings;
    let program = super::parameters::program(flags.get_one::<String>("program").expect("required"))?;
    let trial = Trial {
        program,
        timeout: Duration::from_secs(*flags.get_one::<u64>("wait").expect("has a default")),
        ..trial(&settings)?
    };
    let mut report = Report::default();
    let outcome = super::ask(&settings.log, async { steps::all(&trial, &mut report).await });
    super::print(&report.to_string())?;
    outcome
}

fn trial(settings: &TrySettings) -> Result<Trial, Failure> {
    let (call, data) = (&settings.call, &settings.data);
    let edge = super::address(call.edge_url.as_ref(), "edge-url", data, |noted| noted.edge)?;
    let api = super::address(call.api_url.as_ref(), "api-url", data, |noted| noted.api)?;
    Ok(Trial {
        program: "try".parse().expect("it is a name"),
        edge: Part::at(&edge, &call.tls())?,
        api: Part::at(&api, &call.tls())?,
        key: super::api_key(call, data)?,
        client: super::reader(&settings.clickhouse, &settings.account, &settings.answer, &settings.data)?,
        keys: super::secrets(&settings.secrets, &settings.data)?.keys,
        timeout: Duration::ZERO,
    })
}

/// The steps so far.
#[derive(Default)]
struct Report(Vec<Step>);

impl Report {
    /// Does a step, and keeps it if it worked.
    async fn step<T>(
        &mut self,
        name: &'static str,
        step: impl Future<Output = Result<(T, String), Failure>>,
    ) -> Result<T, Failure> {
        let started = Instant::now();
        let failed = |failure: Failure| Failure::Step { name, source: failure.into() };
        let (outcome, evidence) = step.await.map_err(failed)?;
        self.0.push(Step { name, took: started.elapsed(), evidence });
        Ok(outcome)
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut table = Table::new(&[("step", Align::Left), ("ms", Align::Right), ("evidence", Align::Left)]);
        for step in &self.0 {
            let took = format!("{:.1}", step.took.as_secs_f64() * 1000.0);
            table.row(vec![step.name.to_owned(), took, super::report::cell(&step.evidence.clone().into())]);
        }
        table.fmt(f)
    }
}
