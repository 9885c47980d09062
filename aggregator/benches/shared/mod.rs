//! What the benches have in common: the machine, CPU, and an engine with the tables in it.

use clickhouse::Client;
use std::fs;
use whence_aggregator::clickhouse::migrate::{TableSettings, migrate, set_tables};
use whence_clickhouse_embedded::testing::EngineProcess;
use whence_schemas::sql::Topology;

/// Processor and cores.
pub fn machine() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{}, {cores} cores", model.trim_start_matches(['\t', ' ', ':']))
}

/// User and system seconds of a process so far.
pub fn cpu_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks / 100.0 // USER_HZ, fixed at 100 on Linux
}

/// A client of this engine, which has the tables now, as the program sets them.
pub async fn with_tables(engine: &EngineProcess) -> Client {
    let client = Client::default()
        .with_url(engine.url())
        .with_user("default")
        .with_password(engine.password())
        .with_database("whence");
    migrate(&client, "whence", &Topology::Single).await.unwrap();
    let tables = TableSettings {
        sync: true,
        blocks_remembered: TableSettings::BLOCKS_REMEMBERED,
        remembered_for: std::time::Duration::MAX,
    };
    set_tables(std::slice::from_ref(&client), &Topology::Single, tables).await.unwrap();
    client
}
