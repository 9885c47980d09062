//! The generator: wrk with a script that asks for links at random, as browsers ask.

use super::{
    LINKS,
    report::{Mode, Sample},
    servers::Server,
};
use std::{process::Command, time::Duration};

/// Requests are made before the first is sent, so that the script costs a look into a table. `Host` has no
/// port, as links have none.
const SCRIPT: &str = r#"
local agents = {
  "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/129.0.0.0 Safari/537.36",
  "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1",
  "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/129.0.0.0 Mobile Safari/537.36",
  "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15",
  "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:131.0) Gecko/20100101 Firefox/131.0",
  "Mozilla/5.0 (Linux; Android 14; SAMSUNG SM-S918B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/26.0 Chrome/122.0.0.0 Mobile Safari/537.36",
  "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
  "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
}
local requests, count = {}, LINKS
function init(args)
  math.randomseed(args[1])
  for i = 1, count do
    requests[i] = "GET /l" .. (i - 1) .. " HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: " .. agents[i % #agents + 1]
      .. "\r\nAccept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: en-US,en;q=0.5"
      .. "\r\nAccept-Encoding: gzip, deflate, br\r\nReferer: https://social.example/\r\nCONNECTION\r\n"
  end
end
function request() return requests[math.random(count)] end
"#;

pub struct Generator {
    duration: Duration,
    dir: tempfile::TempDir,
}

impl Generator {
    pub fn new(duration: Duration) -> Generator {
        let dir = tempfile::TempDir::new().expect("a directory");
        for mode in Mode::ALL {
            let connection = if mode == Mode::Close { r"Connection: close\r\n" } else { "" };
            let script = SCRIPT.replace("LINKS", &LINKS.to_string()).replace("CONNECTION", connection);
            std::fs::write(dir.path().join(mode.word()), script).expect("a file");
        }
        Generator { duration, dir }
    }

    /// Asks as fast as it can.
    pub fn ask(&self, server: &mut Server, mode: Mode) -> Sample {
        let before = cpu_seconds(&server.pids, "");
        let shipped_before = cpu_seconds(&server.pids, "ship") + cpu_seconds(&server.pids, "rdk");
        let output = Command::new("wrk")
            .args(["-t1", "-c64", "-d", &format!("{}s", self.duration.as_secs()), "-s"])
            .arg(self.dir.path().join(mode.word()))
            .args([&format!("{}://127.0.0.1:{}/", server.scheme, server.port), "--", "7"])
            .output()
            .expect("wrk is installed");
        server.finish_work();
        let cpu = cpu_seconds(&server.pids, "") - before;
        let shipping = cpu_seconds(&server.pids, "ship") + cpu_seconds(&server.pids, "rdk") - shipped_before;
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        assert!(!text.contains("Non-2xx") && !text.contains("Socket errors"), "{text}");
        let word = |marker: &str, at: usize| -> f64 {
            let line =
                text.lines().find(|line| line.contains(marker)).unwrap_or_else(|| panic!("{marker}: {text}"));
            line.split_whitespace().nth(at).and_then(|word| word.parse().ok()).expect("a number")
        };
        Sample {
            server: server.name,
            mode,
            requests_per_second: word("Requests/sec:", 1),
            cpu_us_per_request: cpu * 1e6 / word(" requests in ", 0),
            shipping_us_per_request: shipping * 1e6 / word(" requests in ", 0),
        }
    }
}

/// User and system time of the threads of these processes whose names begin so. All of the benchmark's
/// servers keep their threads.
fn cpu_seconds(pids: &[u32], name: &str) -> f64 {
    let threads = pids.iter().flat_map(|pid| {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the server runs");
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("stat")).ok())
    });
    let ticks = |stat: String| -> Option<f64> {
        let (head, fields) = stat.rsplit_once(") ")?;
        head.split_once(" (")?.1.starts_with(name).then_some(())?;
        fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<f64>().ok()).sum()
    };
    // A tick is 1/100 s on every Linux of today (USER_HZ).
    threads.filter_map(ticks).sum::<f64>() / 100.0
}
