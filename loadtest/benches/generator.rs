//! What the generator itself costs: clicks a second of one worker against a bare hyper server that answers
//! every request with the same redirect, and the worker thread's CPU time for each.
//!
//! Both share the machine's cores, as in a load test. Not a statistical benchmark: one run a setting.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // a bench prints its result

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Response, header::HeaderValue, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;
use whence_loadtest::{
    drive::{DriveSettings, Progress, Targets, drive},
    ledger::{FORMAT, Header},
    oracle::report::LoadSummary,
    plan::{arrivals::Rhythm, clicks::ClickMix, stories::StoryMix},
    wire::Target,
    world::{World, WorldSize},
};

const LOCATION: &str =
    "https://shop.example/p/0?wclid=AQcBi8_laABwAIAAAAAAAAAAkiVtfGeEl9SCJEQXozlvjS4bta6UQ1GCfts1lg";

/// A server on a thread of its own, for as long as the process lives.
fn serve() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let service = service_fn(|_request| async {
                    let mut response = Response::new(Full::new(Bytes::new()));
                    *response.status_mut() = hyper::StatusCode::FOUND;
                    response.headers_mut().insert("location", HeaderValue::from_static(LOCATION));
                    Ok::<_, Infallible>(response)
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                tokio::spawn(async move {
                    let _ended = connection.await;
                });
            }
        });
    });
    address
}

/// CPU time of this process so far, all threads.
fn cpu_ms_of_threads() -> Vec<(String, f64)> {
    let ticks_per_s = 100.0;
    let mut threads = Vec::new();
    for entry in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let (head, tail) = stat.rsplit_once(") ").unwrap();
        let fields: Vec<&str> = tail.split(' ').collect();
        let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
        threads.push((head.split_once('(').unwrap().1.to_owned(), ticks * 1000.0 / ticks_per_s));
    }
    threads
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let address = serve();
    let target = Target::resolve(&format!("http://{address}")).await.unwrap();
    for (name, rate, fresh) in
        [("kept", 200_000.0, 0.0), ("10% fresh", 200_000.0, 10.0), ("kept", 20_000.0, 0.0)]
    {
        let size = WorldSize { programs: 1, referrers: 1, links: 1, channels: 2 };
        let mut world = World::generate(1, "t", &target.authority, size);
        world.links[0].test = true;
        let header = Header { format: FORMAT, seed: 1, started_at_ms: 0, world };
        let click_mix = ClickMix { inactive: 0.0, fresh_connections: fresh, ..ClickMix::default() };
        let story_mix = StoryMix { leads: 0.0, ..StoryMix::default() };
        let clicks = (rate * 5.0f64).min(400_000.0) as u64;
        let settings = DriveSettings {
            clicks,
            rate,
            rhythm: Rhythm::Even,
            connections: 64,
            click_mix,
            story_mix,
            ..DriveSettings::default()
        };
        let targets =
            Targets { edge: target.clone(), api: target.clone(), bearer: HeaderValue::from_static("x") };
        let (progress, stop) = (Arc::new(Progress::default()), CancellationToken::new());
        let last_cpu_ms = Arc::new(std::sync::Mutex::new(0.0));
        let sampler = {
            let last = Arc::clone(&last_cpu_ms);
            async move {
                loop {
                    if let Some((_, ms)) = cpu_ms_of_threads().into_iter().find(|(name, _)| name == "load-0")
                    {
                        *last.lock().unwrap() = ms;
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        };
        let (ledger, measured) = tokio::select! {
            driven = drive(header, &settings, &targets, None, &progress, &stop) => driven.unwrap(),
            () = sampler => unreachable!("it samples until the load ends"),
        };
        let cpu_us = *last_cpu_ms.lock().unwrap() * 1000.0 / ledger.clicks.len() as f64;
        println!("{name}, {rate} clicks/s asked: {cpu_us:.1} us of the generator's CPU a click");
        println!("{}", LoadSummary::from(&measured));
    }
}
