//! `whence up` alone, killed whole at random moments and started again at the same addresses.
//!
//! Recorded before answered: every token that a client received leads to a stored click. What is stored
//! beyond was in flight.

use super::{
    FaultError, Ground, Outcome,
    blocks::BlockLog,
    load::{Load, judge, until_answered},
    outcome::Kill,
    roles::{Roles, Until, free_address},
};
use rand::{RngExt as _, SeedableRng as _, rngs::Xoshiro256PlusPlus};

const NAME: &str = "up";

/// Plays it with so many kills.
///
/// # Errors
/// If it cannot be played to its end; differences are an outcome.
pub async fn run(ground: &Ground, kills: u32) -> Result<Outcome, FaultError> {
    let mut roles = Roles::new(&ground.whence, &ground.dir)?;
    let addresses: [String; 3] = std::array::from_fn(|_| free_address());
    let [edge, api, clickhouse] = addresses.each_ref().map(String::as_str);
    let listen = ["--edge-listen", edge, "--api-listen", api, "--clickhouse-listen", clickhouse];
    // The load has wrong keys on purpose, more than one network may send.
    let unused = ["--console-listen", "127.0.0.1:0", "--share-wrong-keys", "1000000"];
    // Small blocks, so that kills find some open.
    let blocks = ["--linger", "200ms", "--block-records-max", "2000"];
    roles.add(NAME, "up", &[&listen[..], &unused, &blocks].concat())?;
    roles.wait(NAME, Until::Ready).await?;
    let urls = addresses.each_ref().map(|address| format!("http://{address}"));
    let key = roles.data(NAME).join("admin-key");
    let load = Load::prepare(ground, &urls[0], &urls[1], &key).await?;

    let mut random = Xoshiro256PlusPlus::seed_from_u64(ground.seed);
    let mut log = BlockLog::new(roles.log_path(NAME));
    let path = roles.log_path(NAME);
    let failed = |source| FaultError::File { path: path.clone(), source };
    let mut replayed_by_metric = 0;
    let (ledger, kills) = load
        .during(async |progress| {
            let mut done = Vec::new();
            for number in 0..u64::from(kills) {
                let share = (number as f64 + random.random::<f64>()) / f64::from(kills);
                until_answered(progress, (share * ground.clicks as f64) as u64).await?;
                replayed_by_metric += roles.counter(NAME, "whence_blocks_replayed_total").await.unwrap_or(0);
                roles.kill(NAME).await?;
                roles.start(NAME)?;
                log.read_on().map_err(failed)?;
                let open = log.blocks.died();
                done.push(Kill { name: NAME.to_owned(), aim: "at random", open });
                roles.wait(NAME, Until::Edge).await?;
            }
            Ok(done)
        })
        .await?;
    roles.wait(NAME, Until::Ready).await?;
    let verdict = judge(&ledger, &urls[2], true).await?;
    replayed_by_metric += roles.counter(NAME, "whence_blocks_replayed_total").await?;
    log.read_on().map_err(failed)?;
    Ok(Outcome {
        scenario: "edge",
        kills,
        outage: None,
        replayed_by_metric,
        replayed_by_log: log.blocks.replays,
        tables_of_replayed: log.blocks.tables_of_replayed,
        verdict,
        broken: Vec::new(),
    })
}
