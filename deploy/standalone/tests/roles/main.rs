//! The roles as processes: what each does, over real brokers and the real engine, and with each other.
//!
//! One binary, so that it is linked once; nextest runs each test in a process of its own (`.config/nextest.toml`).

#![allow(clippy::unwrap_used, reason = "helpers of tests are no tests to the lint")]
#![allow(clippy::print_stdout, reason = "how long something took")]

#[path = "../../../../ingest/tests/api/webhooks/cases/mod.rs"]
mod cases;
#[path = "../../../../aggregator/tests/real/consistent.rs"]
mod consistent;
mod providers;
mod support;

mod absence;
mod backup;
mod cli;
mod complete;
mod erasure;
mod files;
mod finance;
mod generated;
mod https;
mod identity;
mod idle;
mod import;
mod kafka;
mod late;
mod lights;
mod listeners;
mod matrix;
mod metrics;
mod outbound;
mod read;
mod replay;
mod retained;
mod rewards_killed;
mod risk;
mod secured;
mod settings;
mod tls;
mod trial;
mod up;
mod webhooks;
