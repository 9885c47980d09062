//! A load against the twin.

use super::twin::{Faults, KEY, Twin};
use hyper::header::HeaderValue;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use whence_loadtest::{
    drive::{DriveSettings, Measured, Progress, Targets, drive},
    ledger::{FORMAT, Header, Ledger},
    plan::stories::StoryMix,
    setup::set_up,
    wire::Target,
    world::{World, WorldSize},
};

/// A second's load with many stories.
pub fn settings() -> DriveSettings {
    let story_mix = StoryMix { leads: 20.0, delay_ms_min: 1, delay_ms_max: 50, ..StoryMix::default() };
    DriveSettings {
        clicks: 4_000,
        rate: 4_000.0,
        workers: 2,
        connections: 16,
        api_connections: 8,
        story_mix,
        ..DriveSettings::default()
    }
}

pub struct Run {
    pub twin: Twin,
    pub targets: Targets,
    pub header: Header,
}

impl Run {
    pub async fn start(faults: Faults) -> Run {
        let twin = Twin::start(faults).await;
        let target = Target::resolve(&format!("http://{}", twin.address)).await.unwrap();
        let size = WorldSize { programs: 2, referrers: 5, links: 60, channels: 4 };
        let world = World::generate(1, "t", &target.authority, size);
        let bearer = HeaderValue::from_str(&format!("Bearer {KEY}")).unwrap();
        set_up(&world, &target, &target, &bearer).await.unwrap();
        let targets = Targets { edge: target.clone(), api: target, bearer };
        Run { twin, targets, header: Header { format: FORMAT, seed: 1, started_at_ms: 0, world } }
    }

    pub async fn drive(&self, settings: &DriveSettings) -> (Ledger, Measured) {
        let (progress, stop) = (Arc::new(Progress::default()), CancellationToken::new());
        drive(self.header.clone(), settings, &self.targets, None, &progress, &stop).await.unwrap()
    }
}
