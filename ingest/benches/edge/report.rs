//! What is printed: machine, command, sample, medians and ratios.

use super::{LINKS, NAMES, THREADS};

/// How clients connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    KeepAlive,
    Close,
}

impl Mode {
    pub const ALL: [Mode; 2] = [Mode::KeepAlive, Mode::Close];

    pub fn word(self) -> &'static str {
        match self {
            Mode::KeepAlive => "keep-alive",
            Mode::Close => "close",
        }
    }
}

/// One server asked for one period.
pub struct Sample {
    pub server: &'static str,
    pub mode: Mode,
    pub requests_per_second: f64,
    pub cpu_us_per_request: f64,
    /// The shipper's threads' part of it.
    pub shipping_us_per_request: f64,
}

pub fn heading(seconds: u64, rounds: u64) {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown");
    let (kernel, load) = (read("/proc/sys/kernel/osrelease"), read("/proc/loadavg"));
    println!(
        "machine: {}, {} cores, Linux {}, load before {}",
        model.trim_start_matches(['\t', ' ', ':']),
        std::thread::available_parallelism().map_or(0, usize::from),
        kernel.trim(),
        load.split(' ').next().unwrap_or_default(),
    );
    println!("command: cargo bench -p whence-ingest --bench edge -- {seconds} {rounds}");
    println!(
        "sample: {rounds} interleaved rounds of {seconds} s after one to warm up; wrk -t1 -c64, links at random \
         of {LINKS}; servers of {THREADS} threads; medians"
    );
}

fn median(samples: &[Sample], server: &str, mode: Mode, figure: impl Fn(&Sample) -> f64) -> Option<f64> {
    let of_server = samples.iter().filter(|sample| sample.server == server && sample.mode == mode);
    let mut figures: Vec<f64> = of_server.map(figure).collect();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied()
}

pub fn table(samples: &[Sample]) {
    println!(
        "{:<12}{:<10}{:>12}{:>10}{:>10}{:>10}{:>10}{:>10}{:>14}",
        "", "", "requests/s", "to bare", "to nginx", "cpu µs", "to bare", "to nginx", "of it shipper"
    );
    for mode in Mode::ALL {
        let rate = |server: &str| median(samples, server, mode, |sample| sample.requests_per_second);
        let cpu = |server: &str| median(samples, server, mode, |sample| sample.cpu_us_per_request);
        for server in NAMES {
            let (Some(own_rate), Some(own_cpu)) = (rate(server), cpu(server)) else { continue };
            // TLS is compared with TLS.
            let nginx = if server.ends_with("-tls") { "nginx-tls" } else { "nginx" };
            let ratio = |own: f64, other: Option<f64>| {
                other.map_or("-".into(), |other| format!("{:.2}", own / other))
            };
            println!(
                "{:<12}{server:<10}{own_rate:>12.0}{:>10}{:>10}{own_cpu:>10.2}{:>10}{:>10}{:>14.2}",
                mode.word(),
                ratio(own_rate, rate("bare")),
                ratio(own_rate, rate(nginx)),
                ratio(own_cpu, cpu("bare")),
                ratio(own_cpu, cpu(nginx)),
                median(samples, server, mode, |sample| sample.shipping_us_per_request).unwrap_or_default(),
            );
        }
    }
    for sample in samples {
        println!(
            "  {:<12}{:<10}{:>12.0}{:>10.2}{:>10.2}",
            sample.mode.word(),
            sample.server,
            sample.requests_per_second,
            sample.cpu_us_per_request,
            sample.shipping_us_per_request
        );
    }
}
