//! The edge beside a bare hyper server and nginx, in one run on one machine.
//!
//! `cargo bench -p whence-ingest --bench edge [-- SECONDS [ROUNDS]]`. Needs `wrk`; nginx is left out if it
//! is not installed (Debian: `apt-get install wrk nginx-light`).
//!
//! - *bare*: hyper with the edge's threads and listeners, answering every request with one constant 302;
//! - *edge*: 100,000 links, a new token and a verdict for each click, each click in the journal before its
//!   answer, and the journals shipped to a Kafka broker of the run. A sample ends when Kafka has
//!   acknowledged every click of it, and the CPU of the shipper's threads counts;
//! - *edge-ship*: the same without the shipper;
//! - *edge+thp*: the same with `GLIBC_TUNABLES=glibc.malloc.hugetlb=1`: links asked for at random are paid
//!   for in misses of the address translation as much as of the caches;
//! - *nginx*: `return 302` with an access log, as many workers as the others have threads;
//! - *edge-tls*, *nginx-tls*: *edge-ship* and *nginx* over TLS 1.3 with one certificate (ECDSA, P-256), HTTP/1.1. With
//!   `Connection: close` each request is a whole handshake.
//!
//! Servers are processes of their own, asked in turn, keep-alive and `Connection: close`. The generator
//! shares the cores with them and takes a whole one, so requests a second flatter slow servers: CPU per
//! request (utime and stime of the server's processes) is the steadier figure.

#![allow(clippy::print_stdout, clippy::print_stderr)] // a benchmark's output is its result

#[allow(dead_code, clippy::unwrap_used, reason = "made for tests, which freeze it, too")]
#[path = "../../tests/kafka/ship_support/broker.rs"]
mod broker;
mod load;
mod report;
mod servers;

use load::Generator;
use report::{Mode, Sample};
use servers::Server;
use std::time::Duration;

/// As many as the machine that the targets were set on has cores.
const THREADS: usize = 2;
const LINKS: usize = 100_000;
/// What is compared.
const NAMES: [&str; 7] = ["bare", "edge", "edge-ship", "edge+thp", "nginx", "edge-tls", "nginx-tls"];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if let [flag, name] = args.as_slice()
        && flag == servers::CHILD
    {
        return servers::be(name);
    }
    let number = |at: usize, default: u64| args.get(at).map_or(default, |arg| arg.parse().expect("a number"));
    let (seconds, rounds) = (number(0, 5), number(1, 3));
    let generator = Generator::new(Duration::from_secs(seconds));
    let broker = broker::Broker::start();
    let address = broker.address.as_str();
    servers::make_topics(address);
    let [bare, edge, no_ship, thp, nginx, edge_tls, nginx_tls] = NAMES;
    let mut servers: Vec<Server> = [
        Server::child(bare, None),
        Server::child(edge, Some(address)),
        Server::child(no_ship, None),
        Server::child(thp, Some(address)),
        Server::nginx(nginx),
        Server::child(edge_tls, None),
        Server::nginx(nginx_tls),
    ]
    .into_iter()
    .flatten()
    .collect();
    report::heading(seconds, rounds);
    let mut samples: Vec<Sample> = Vec::new();
    for round in 0..=rounds {
        for mode in Mode::ALL {
            for server in &mut servers {
                let sample = generator.ask(server, mode);
                // The first round warms up: caches, recycled memory, the links' pages.
                if round > 0 {
                    samples.push(sample);
                }
            }
        }
    }
    report::table(&samples);
}
