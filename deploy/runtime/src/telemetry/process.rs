//! The `process_*` metrics every Prometheus client offers, read from `/proc/self` when they are asked for.
//! Rendered directly rather than through the recorder: its counters are whole numbers, CPU time is not.

use std::fmt::Write;
use std::fs;

/// `USER_HZ`, the unit of CPU times in `/proc`: part of Linux's ABI and 100 on every architecture
/// we build for, whatever the kernel's own tick (proc(5), time(7)).
const TICKS_PER_SECOND: f64 = 100.0;

/// What `/proc/self` says; a field that cannot be read is left out of the text.
#[derive(Debug, Default, PartialEq)]
struct Process {
    cpu_seconds: Option<f64>,
    threads: Option<u64>,
    start_time_seconds: Option<f64>,
    resident_bytes: Option<u64>,
    resident_bytes_peak: Option<u64>,
    fds_open: Option<u64>,
    fds_max: Option<u64>,
}

/// Appends the metrics of this process.
pub(super) fn render(text: &mut String) {
    Process::read().write(text);
}

impl Process {
    fn read() -> Self {
        let file = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let mut process = Self::parse(
            &file("/proc/self/stat"),
            &file("/proc/self/status"),
            &file("/proc/self/limits"),
            &file("/proc/stat"),
        );
        // The listing holds one descriptor itself.
        process.fds_open =
            fs::read_dir("/proc/self/fd").ok().map(|entries| (entries.count() as u64).saturating_sub(1));
        process
    }

    fn parse(stat: &str, status: &str, limits: &str, system: &str) -> Self {
        // The command name, in parentheses, may hold spaces and parentheses itself: count after the last.
        let fields: Vec<&str> =
            stat.rsplit_once(')').map_or_else(Vec::new, |(_, rest)| rest.split_whitespace().collect());
        // Numbers of proc(5) minus 3: the first field after the name is the third.
        let ticks = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        let boot_seconds = number_after(system, "btime ");
        Self {
            cpu_seconds: ticks(14).zip(ticks(15)).map(|(user, kernel)| (user + kernel) / TICKS_PER_SECOND),
            threads: fields.get(20 - 3).and_then(|text| text.parse().ok()),
            start_time_seconds: boot_seconds
                .zip(ticks(22))
                .map(|(boot, after)| boot as f64 + after / TICKS_PER_SECOND),
            resident_bytes: number_after(status, "VmRSS:").map(|kib| kib * 1024),
            resident_bytes_peak: number_after(status, "VmHWM:").map(|kib| kib * 1024),
            fds_open: None,
            fds_max: number_after(limits, "Max open files"),
        }
    }

    fn write(&self, text: &mut String) {
        let whole = |number: Option<u64>| number.map(|number| number as f64);
        let families = [
            ("process_cpu_seconds_total", "counter", "User and system CPU time", self.cpu_seconds),
            ("process_threads", "gauge", "Threads", whole(self.threads)),
            ("process_start_time_seconds", "gauge", "Start, in Unix time", self.start_time_seconds),
            ("process_resident_memory_bytes", "gauge", "Resident memory", whole(self.resident_bytes)),
            (
                "process_resident_memory_peak_bytes",
                "gauge",
                "Largest resident memory since the start",
                whole(self.resident_bytes_peak),
            ),
            ("process_open_fds", "gauge", "Open file descriptors", whole(self.fds_open)),
            ("process_max_fds", "gauge", "Limit of open file descriptors", whole(self.fds_max)),
        ];
        for (name, kind, help, value) in families {
            if let Some(value) = value {
                // Writing to a `String` cannot fail.
                let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
            }
        }
    }
}

/// The first number after a line's beginning; "unlimited" is not a number.
fn number_after(text: &str, beginning: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(beginning))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "42 (a) b (c) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 7 0 1000 0 0 0";
    const STATUS: &str = "Name:\ta\nVmHWM:\t   2048 kB\nVmRSS:\t    1024 kB\n";
    const LIMITS: &str = "Limit Soft Hard Units\nMax open files            1024                 4096 files\n";

    #[test]
    fn reads_the_fields_behind_a_command_name_with_spaces_and_parentheses() {
        let process = Process::parse(STAT, STATUS, LIMITS, "cpu 1 2\nbtime 1700000000\n");
        assert_eq!(
            process,
            Process {
                cpu_seconds: Some(3.0),
                threads: Some(7),
                start_time_seconds: Some(1_700_000_010.0),
                resident_bytes: Some(1 << 20),
                resident_bytes_peak: Some(2 << 20),
                fds_open: None,
                fds_max: Some(1024),
            }
        );
    }

    #[test]
    fn what_cannot_be_read_is_left_out() {
        let mut text = String::new();
        Process::parse("", "", "Max open files unlimited unlimited files", "").write(&mut text);
        assert_eq!(text, "");
    }

    #[test]
    fn this_process_has_memory_descriptors_and_a_start() {
        let process = Process::read();
        assert!(process.resident_bytes > Some(0) && process.fds_open > Some(0), "{process:?}");
        assert!(process.start_time_seconds > Some(0.0) && process.cpu_seconds.is_some(), "{process:?}");
    }
}
