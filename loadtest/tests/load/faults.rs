//! The fault scenarios, small: real processes of the binary, killed for good.
//!
//! Need the binary (`cargo build -p whence`, with the test's profile), the engine
//! (`deploy/clickhouse/fetch-engine`), a broker in `WHENCE_TEST_KAFKA_BROKERS`, and Java for the broker that is
//! taken away. Without them these tests fail.

use std::{
    path::{Path, PathBuf},
    sync::Mutex,
    time::Duration,
};
use tempfile::TempDir;
use whence_loadtest::faults::{
    Absence, Brokers, FaultError, Ground, Outcome, aggregator, brokers, edge, find_whence,
    idle::{self, Flood},
    kafka,
    outcome::BlockStage,
    replicas::{self, Times},
};

/// One at a time: each is half a dozen processes, and a load besides.
static TURN: Mutex<()> = Mutex::new(());

/// Plays a scenario and tells what came of it.
fn play<F: Future<Output = Result<Outcome, FaultError>>>(scenario: impl FnOnce(Ground) -> F) -> Outcome {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let whence = find_whence().unwrap_or_else(|error| panic!("{error}"));
    let dir = TempDir::with_prefix("whence-faults.").unwrap();
    let ground = Ground { whence, dir: dir.path().to_owned(), clicks: 4_000, rate: 250.0, seed: 7 };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    match runtime.block_on(scenario(ground)) {
        Ok(outcome) if outcome.is_right() => outcome,
        wrong => {
            let kept = dir.keep();
            match wrong {
                Ok(outcome) => panic!("data and logs stay in {}\n{outcome}", kept.display()),
                Err(error) => panic!("data and logs stay in {}\n{error}\n{error:?}", kept.display()),
            }
        }
    }
}

#[test]
fn a_client_that_has_a_token_has_a_stored_click_however_often_the_process_is_killed() {
    let outcome = play(async |ground| edge::run(&ground, 3).await);
    assert_eq!(outcome.kills.len(), 3);
    assert!(outcome.verdict.requests.redirected > 3_000, "{outcome}");
}

#[test]
fn aggregators_killed_in_the_middle_of_blocks_lose_nothing_and_count_nothing_twice() {
    let brokers = std::env::var("WHENCE_TEST_KAFKA_BROKERS")
        .expect("WHENCE_TEST_KAFKA_BROKERS names a broker for tests; `make test` starts one");
    let outcome = play(async |ground| aggregator::run(&ground, &Brokers::Running(brokers), 4).await);
    assert!(outcome.kills.len() == 4 && outcome.replayed_by_log > 0, "{outcome}");
    assert!(outcome.places().keys().any(|place| *place != BlockStage::AtCommit), "{outcome}");
}

#[test]
fn three_replicas_have_every_click_once_whatever_of_them_is_killed_or_frozen() {
    let brokers = std::env::var("WHENCE_TEST_KAFKA_BROKERS")
        .expect("WHENCE_TEST_KAFKA_BROKERS names a broker for tests; `make test` starts one");
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let whence = find_whence().unwrap_or_else(|error| panic!("{error}"));
    let dir = TempDir::with_prefix("whence-faults.").unwrap();
    let ground = Ground { whence, dir: dir.path().to_owned(), clicks: 4_000, rate: 250.0, seed: 7 };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let [healthy, away, between] = [6, 6, 6].map(Duration::from_secs);
    let times = Times { healthy, away, between };
    let came = runtime.block_on(replicas::run(&ground, &Brokers::Running(brokers), times));
    match came {
        Ok(came) if came.is_right() && came.restarts() == 0 => println!("{came}"),
        wrong => {
            let kept = dir.keep();
            match wrong {
                Ok(came) => panic!("data and logs stay in {}\n{came}", kept.display()),
                Err(error) => panic!("data and logs stay in {}\n{error}\n{error:?}", kept.display()),
            }
        }
    }
}

#[test]
fn redirects_go_on_without_a_broker_and_are_counted_once_when_it_is_back() {
    let script = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/kafka/kafka"));
    let outcome =
        play(async |ground| kafka::run(&ground, script, Absence::Kill, Duration::from_secs(5)).await);
    let outage = outcome.outage.unwrap();
    assert!(outage.answered > 0 && outage.unanswered == 0, "{outcome}");
}

#[test]
fn over_secured_brokers_nothing_is_missed_while_one_and_two_die_and_each_is_restarted() {
    let script = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/kafka/kafka"));
    let outcome = play(async |ground| brokers::run(&ground, script, Duration::from_secs(5)).await);
    let outage = outcome.outage.unwrap();
    assert!(outage.answered > 0 && outage.unanswered == 0, "{outcome}");
}

#[test]
fn idle_connections_of_strangers_cost_the_others_no_click_and_no_listener() {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let whence = find_whence().unwrap_or_else(|error| panic!("{error}"));
    let holder = Path::new(env!("CARGO_BIN_EXE_whence-loadtest"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for (descriptors, connections, networks) in [(256, 600, 1), (1024, 1_500, 200)] {
        let dir = TempDir::with_prefix("whence-faults.").unwrap();
        let ground =
            Ground { whence: whence.clone(), dir: dir.path().to_owned(), clicks: 0, rate: 500.0, seed: 7 };
        let flood = Flood { descriptors, connections, networks, clients: 6, phase: Duration::from_secs(8) };
        let came =
            runtime.block_on(idle::run(&ground, holder, flood, &["--journal-segment", "1MiB"])).unwrap();
        println!("{came}");
        assert!(came.is_unharmed() && came.answered > 6_000 && came.held > 0, "{came}");
    }
}
