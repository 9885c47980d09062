//! How much of what is sent.

use crate::plan::{arrivals::Rhythm, clicks::ClickMix, stories::StoryMix};
use std::time::Duration;

/// A load.
#[derive(Clone, Debug, PartialEq)]
pub struct DriveSettings {
    /// Clicks altogether.
    pub clicks: u64,
    /// Clicks a second, above 0.
    pub rate: f64,
    /// How they are spaced.
    pub rhythm: Rhythm,
    /// Threads, each with a runtime and connections of its own.
    pub workers: usize,
    /// Connections to the edge at a time, for each worker; also how many clicks may be open.
    pub connections: usize,
    /// Connections to the events API at a time, for each worker.
    pub api_connections: usize,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How often an event is sent again that got no answer, or the answer to come again.
    pub retries_max: u32,
    /// Visitors who may come back, for each worker.
    pub visitors: usize,
    /// Who clicks.
    pub click_mix: ClickMix,
    /// What follows.
    pub story_mix: StoryMix,
}

impl Default for DriveSettings {
    fn default() -> DriveSettings {
        DriveSettings {
            clicks: 200_000,
            rate: 5_000.0,
            rhythm: Rhythm::Poisson,
            workers: 1,
            connections: 128,
            api_connections: 32,
            timeout: Duration::from_secs(10),
            retries_max: 12,
            visitors: 4_096,
            click_mix: ClickMix::default(),
            story_mix: StoryMix::default(),
        }
    }
}
