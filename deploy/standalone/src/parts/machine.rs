//! What every process needs of its machine, in readiness: room on the disk, and a clock that goes on.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use metrics::{counter, gauge};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use whence_runtime::disk::free_bytes;
use whence_runtime::health::{Component, Health};
use whence_runtime::settings::ByteSize;

whence_metrics::declare! {
    /// Free disk in the file system of the data folder.
    gauge DISK_FREE_BYTES: "whence_disk_free_bytes";
    /// Times that the machine's clock was set by more than a second at once, by direction.
    counter CLOCK_STEPS: "whence_clock_steps_total" { direction: ["back", "forward"] };
}

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// What a clock may be set by at once: time services move it by less, or by degrees.
const STEP_MAX: Duration = Duration::from_secs(1);

/// Keeps `disk` and `clock` true, until `stop`.
pub fn watch(folder: PathBuf, free_min: ByteSize, health: &Health, stop: CancellationToken) {
    whence_metrics::begin(module_path!());
    let (disk, clock) = (health.advisory("disk"), health.advisory("clock"));
    let mut steady = Steady::new(SystemTime::now(), Instant::now());
    tokio::spawn(async move {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            show(&clock, steady.look(SystemTime::now(), Instant::now()));
            let folder = folder.clone();
            // A disk that hangs must not hold a thread of everybody's.
            let room = tokio::task::spawn_blocking(move || free_bytes(&folder));
            let Ok(room) = room.await else { return };
            show(
                &disk,
                match room {
                    Err(error) => Some(format!("the data folder's file system can't be asked: {error}")),
                    Ok(free) => {
                        gauge!(DISK_FREE_BYTES).set(free as f64);
                        let is_short = free < free_min.as_u64();
                        is_short.then(|| {
                            format!(
                                "{} MiB are free where the data folder is, less than {free_min} (disk-free-min): make room, \
                                 or clicks are lost and events refused once it is full",
                                free >> 20
                            )
                        })
                    }
                },
            );
        }
    });
}

fn show(component: &Component, trouble: Option<String>) {
    match trouble {
        None => component.ready(),
        Some(reason) => component.not_ready(reason),
    }
}

/// The machine's time beside a clock that nobody sets.
struct Steady {
    last: (SystemTime, Instant),
    /// The latest time that was ever shown.
    latest: SystemTime,
}

impl Steady {
    fn new(wall: SystemTime, steady: Instant) -> Self {
        Self { last: (wall, steady), latest: wall }
    }

    /// Whether the machine shows times that it has shown before: what happens now would be told as earlier than what
    /// happened then.
    fn look(&mut self, wall: SystemTime, steady: Instant) -> Option<String> {
        let expected = self.last.0 + steady.duration_since(self.last.1);
        let step = |direction| counter!(CLOCK_STEPS, "direction" => direction).increment(1);
        if wall.duration_since(expected).is_ok_and(|ahead| ahead > STEP_MAX) {
            step("forward");
            let seconds = wall.duration_since(expected).unwrap_or_default().as_secs_f64();
            tracing::warn!(seconds, "the machine's clock was set forward");
        }
        if expected.duration_since(wall).is_ok_and(|behind| behind > STEP_MAX) {
            step("back");
            self.latest = self.latest.max(expected);
        }
        self.last = (wall, steady);
        let behind = self.latest.duration_since(wall).unwrap_or_default();
        self.latest = self.latest.max(wall);
        (behind > STEP_MAX).then(|| {
            format!(
                "the machine's clock was set back and shows times that were before: {} s to go until what happens is \
                 later than what happened",
                behind.as_secs()
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_back_is_in_trouble_until_it_shows_what_it_never_showed() {
        let (wall, steady) = (SystemTime::now(), Instant::now());
        let at = |seconds: f64| wall + Duration::from_secs_f64(seconds);
        let then = |seconds: f64| steady + Duration::from_secs_f64(seconds);
        let mut clock = Steady::new(wall, steady);
        assert_eq!(clock.look(at(10.0), then(10.0)), None);
        assert_eq!(clock.look(at(19.5), then(20.0)), None, "time services do that");
        let told = clock.look(at(0.5), then(21.0)).unwrap();
        assert!(told.contains("set back") && told.contains("20 s to go"), "{told}");
        let told = clock.look(at(10.5), then(31.0)).unwrap();
        assert!(told.contains("10 s to go"), "{told}");
        assert_eq!(clock.look(at(21.0), then(41.5)), None);
        assert_eq!(clock.look(at(1000.0), then(42.5)), None, "what comes is later than all before");
        assert!(clock.look(at(500.0), then(43.5)).is_some());
    }
}
