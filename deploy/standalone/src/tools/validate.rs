//! `whence validate`: loads the settings of a role, prints them as they apply, and builds what the role would build;
//! with `--connect` it also tries all that the role connects to, and changes nothing there.

use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command};
use hyper::header::{AUTHORIZATION, HeaderValue};
use hyper::{Method, StatusCode};
use secrecy::ExposeSecret;
use whence_outbound::client::Caller;
use whence_runtime::settings::{self, Group, Loaded};
use whence_runtime::telemetry::{LogSettings, start_logs};

use super::table::{Align, Table};
use crate::call::Part;
use crate::chain::chain;
use crate::failure::Failure;
use crate::parts::contact::{Need, contact};
use crate::parts::{accounts, engine, kafka, store};
use crate::process;
use crate::settings::{
    AccountSettings, AggregateSettings, CallSettings, ClickHouseRoleSettings, ClickHouseSettings,
    ConsoleRoleSettings, DataSettings, EngineSettings, IngestSettings, KafkaSettings, MigrateSettings,
    TopicsSettings, TrySettings, UpSettings, load,
};

const ROLES: [&str; 8] = ["up", "ingest", "aggregate", "clickhouse", "console", "migrate", "topics", "try"];
const CONNECT: &str = "connect";
/// How long one step of a try may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

whence_runtime::compose! {
    /// Every flag of every role.
    struct Every {
        up: UpSettings,
        ingest: IngestSettings,
        aggregate: AggregateSettings,
        trial: TrySettings,
    }
}

/// What a role builds and connects to.
#[derive(Default)]
struct Parts<'a> {
    clickhouse: Option<(&'a ClickHouseSettings, &'a AccountSettings, Need)>,
    engine: Option<&'a EngineSettings>,
    kafka: Option<(&'a KafkaSettings, &'static [kafka::Client])>,
    caller: Option<Box<dyn Fn() -> Caller + 'a>>,
    api: Option<(&'a CallSettings, &'a DataSettings)>,
}

/// `whence validate`
pub fn command() -> Command {
    let role = Arg::new("role")
        .value_name("ROLE")
        .default_value("up")
        .value_parser(PossibleValuesParser::new(ROLES))
        .help("The command whose settings are checked");
    let connect = Arg::new(CONNECT)
        .long(CONNECT)
        .action(ArgAction::SetTrue)
        .help("Try what the role connects to, too: servers, certificates, passwords, rights, tables, topics");
    let about =
        "Checks settings, builds what a role would build, and prints them as they apply, secrets masked";
    settings::command::<Every>(Command::new("validate").about(about)).args([role, connect])
}

/// Checks and prints.
///
/// # Errors
/// Every mistake there is.
pub fn run(flags: &ArgMatches) -> Result<(), Failure> {
    let role = flags.get_one::<String>("role").expect("has a default");
    let check = Check { role, connects: flags.get_flag(CONNECT) };
    match role.as_str() {
        "up" => check.run(&load::<UpSettings>(flags)?, &|up| Parts {
            clickhouse: Some((&up.clickhouse, &up.account, Need::Migrate)),
            engine: up.clickhouse.clickhouse_url.is_empty().then_some(&up.engine),
            kafka: Some((&up.kafka, kafka::UP)),
            caller: Some(Box::new(|| Caller::new(up.deliveries.call_limits(up.reach.reach())))),
            api: None,
        }),
        "ingest" => check.run(&load::<IngestSettings>(flags)?, &|ingest| Parts {
            kafka: Some((&ingest.kafka, kafka::INGEST)),
            ..Parts::default()
        }),
        "aggregate" => check.run(&load::<AggregateSettings>(flags)?, &|role| Parts {
            clickhouse: Some((&role.clickhouse, &role.account, Need::Write)),
            kafka: Some((&role.kafka, kafka::AGGREGATE)),
            caller: Some(Box::new(|| Caller::new(role.deliveries.call_limits(role.reach.reach())))),
            ..Parts::default()
        }),
        "clickhouse" => check.run(&load::<ClickHouseRoleSettings>(flags)?, &|role| Parts {
            engine: Some(&role.engine),
            ..Parts::default()
        }),
        "console" => check.run(&load::<ConsoleRoleSettings>(flags)?, &|role| Parts {
            clickhouse: Some((&role.clickhouse, &role.account, Need::Read)),
            kafka: Some((&role.kafka, kafka::CONSOLE)),
            ..Parts::default()
        }),
        "migrate" => check.run(&load::<MigrateSettings>(flags)?, &|role| Parts {
            clickhouse: Some((&role.clickhouse, &role.account, Need::Migrate)),
            ..Parts::default()
        }),
        "try" => check.run(&load::<TrySettings>(flags)?, &|trial| Parts {
            clickhouse: Some((&trial.clickhouse, &trial.account, Need::Read)),
            api: Some((&trial.call, &trial.data)),
            ..Parts::default()
        }),
        _ => check.run(&load::<TopicsSettings>(flags)?, &|role| Parts {
            kafka: Some((&role.kafka, kafka::TOPICS)),
            ..Parts::default()
        }),
    }
}

struct Check<'a> {
    role: &'a str,
    connects: bool,
}

impl Check<'_> {
    fn run<G: Group>(
        &self,
        loaded: &Loaded<G>,
        parts: &dyn for<'g> Fn(&'g G) -> Parts<'g>,
    ) -> Result<(), Failure> {
        super::print(&shown(loaded))?;
        // What is found is printed; what clients log meanwhile is not asked for.
        start_logs(&LogSettings { log: "error".to_owned(), ..settings::defaults()? })?;
        let runtime = process::runtime(0)?;
        let parts = parts(&loaded.settings);
        let (table, wrong) = runtime.block_on(self.look(&parts));
        runtime.shutdown_timeout(Duration::ZERO);
        super::print(&table)?;
        match wrong.is_empty() {
            true => Ok(()),
            false => Err(Failure::Unfit { role: self.role.to_owned(), wrong }),
        }
    }

    /// What was seen, as a table, and what is wrong.
    async fn look(&self, parts: &Parts<'_>) -> (String, Vec<String>) {
        let mut wrong = Vec::new();
        let mut seen = Table::new(&[("tried", Align::Left), ("found", Align::Left)]);
        if let Some(settings) = parts.engine {
            let library = engine::library(settings).map_err(Failure::from);
            let probed = match library {
                Ok(library) => engine::probe(&library).await,
                Err(error) => Err(error),
            };
            wrong.extend(probed.err().map(|failure| chain(&failure)));
        }
        if let Some(caller) = &parts.caller {
            drop(caller());
        }
        if let Some((call, data)) = parts.api {
            match self.api(call, data).await {
                Ok(Some((address, found))) => seen.row(vec![address, found]),
                Ok(None) => {}
                Err(failure) => wrong.push(chain(&failure)),
            }
        }
        if let Some((settings, clients)) = parts.kafka {
            let mut troubles = kafka::build(settings, clients);
            if self.connects && troubles.is_empty() && !settings.kafka_brokers.is_empty() {
                troubles = kafka::attempt(settings, clients, ATTEMPT_TIMEOUT).await;
                if troubles.is_empty() {
                    seen.row(vec![
                        settings.kafka_brokers.join(","),
                        "topics and rights are there".to_owned(),
                    ]);
                }
            }
            wrong.extend(troubles);
        }
        if let Some((settings, account, need)) = parts.clickhouse
            && !settings.clickhouse_url.is_empty()
        {
            let urls = settings.clickhouse_url.clone();
            match store::servers(urls.clone(), accounts::given(account, &urls), settings) {
                Err(error) => wrong.push(chain(&error)),
                Ok(servers) if self.connects => {
                    for finding in contact(&servers, &settings.topology(), need).await.0 {
                        match finding.outcome {
                            Ok(found) => seen.row(vec![finding.what, found]),
                            Err(trouble) => wrong.push(format!("{}: {trouble}", finding.what)),
                        }
                    }
                }
                Ok(servers) => drop(servers.any()),
            }
        }
        let table = if self.connects { format!("\n{seen}") } else { String::new() };
        (table, wrong)
    }
}

impl Check<'_> {
    /// The API that tools call, and whether it knows their key; a tool also finds the one of the data folder.
    async fn api(
        &self,
        call: &CallSettings,
        data: &DataSettings,
    ) -> Result<Option<(String, String)>, Failure> {
        if !self.connects && call.api_url.is_none() {
            return Ok(None);
        }
        let address = super::address(call.api_url.as_ref(), "api-url", data, |noted| noted.api)?;
        let api = Part::at(&address, &call.tls())?;
        if !self.connects {
            return Ok(None);
        }
        let key = format!("Bearer {}", super::api_key(call, data)?.expose_secret());
        let wrong = |_| Failure::Failed("api-key has characters that none has".to_owned());
        let key = HeaderValue::try_from(key).map_err(wrong)?;
        let answer = api.call(Method::GET, "/v1/programs", &[(AUTHORIZATION, key)], None).await?;
        match answer.status {
            StatusCode::UNAUTHORIZED => {
                Err(Failure::Failed(format!("api-key: the API at {address} does not know this key")))
            }
            status => Ok(Some((address, format!("knows the key ({status})")))),
        }
    }
}

fn shown<G>(loaded: &Loaded<G>) -> String {
    let mut table = Table::new(&[("setting", Align::Left), ("value", Align::Left), ("from", Align::Left)]);
    for setting in &loaded.effective {
        table.row(vec![setting.name.clone(), setting.value.clone(), setting.origin.to_string()]);
    }
    let warnings: String = loaded.warnings.iter().map(|warning| format!("warning: {warning}\n")).collect();
    format!("{table}{warnings}")
}

#[cfg(test)]
mod tests {
    use whence_runtime::settings::Catalogue;

    use super::*;

    #[test]
    fn every_flag_of_every_role_can_be_validated() {
        let known = Catalogue::default().with::<Every>();
        let roles = Catalogue::default()
            .with::<ClickHouseRoleSettings>()
            .with::<MigrateSettings>()
            .with::<TopicsSettings>()
            .with::<TrySettings>();
        for row in roles.rows() {
            assert!(known.rows().contains(row), "{}", row.name);
        }
        assert_eq!(Every::rows().len(), known.rows().len());
    }
}
