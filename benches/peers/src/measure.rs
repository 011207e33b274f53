//! One measurement of a server with its clients.

use std::io;
use std::time::{Duration, Instant};

use crate::load::{Load, Record};
use crate::peer::Peer;
use crate::publish::{self, Plan};
use crate::stamp;

/// The time for the server to settle after the last client has connected.
const SETTLE: Duration = Duration::from_millis(500);
/// After this time without a delivery, missing messages are lost.
const SILENCE: Duration = Duration::from_secs(2);
const NANOS_PER_MS: f64 = 1e6;

/// The load on a server.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// The clients that read.
    pub clients: usize,
    /// The clients that connect and never read.
    pub stopped: usize,
    /// The time without publishing.
    pub idle: Duration,
    pub plan: Plan,
    /// Further connections, tried while all clients are connected.
    pub attempts: usize,
}

/// The results. Those that a run does not have are NaN.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub connect_s: f64,
    /// The server's memory, threads and descriptors per connected client.
    pub rss_kib: f64,
    pub threads: f64,
    pub descriptors: f64,
    /// The CPU usage while nothing is published, percent of one core.
    pub idle_percent: f64,
    /// The server's CPU time per delivery.
    pub cpu_us: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// From the stamp of a message to its last delivery: the median of all messages.
    pub last_ms: f64,
    /// Deliveries per second, from the first stamp of a burst to its last delivery.
    pub rate: f64,
    pub lost: f64,
    pub duplicates: f64,
    /// The growth of the server's memory, from the first connection to the end.
    pub growth_mib: f64,
    /// The further connections: rejected with 1013, with 503, accepted, and others.
    pub code_1013: f64,
    pub status_503: f64,
    pub broken: f64,
}

pub fn measure(peer: Peer, spec: &Spec) -> io::Result<Outcome> {
    let mut server = peer.start()?;
    let process = server.process();
    let before = process.held();
    let mut load = Load::new(server.target.clone())?;
    let all = spec.clients + spec.stopped;
    let connect = load.connect(all)?;
    if load.open() < all {
        return Err(io::Error::other(format!(
            "{} of {all} clients connected, the others: {:?}",
            load.open(),
            load.record.ends
        )));
    }
    let projects = spec.plan.projects;
    if projects > 0 {
        load.say(|n| {
            format!(r#"{{"type":"subscribe","payload":"{}"}}"#, publish::project(n % projects))
        });
    }
    load.run(Instant::now() + SETTLE, |_| false)?;
    load.stop_reading(spec.stopped)?;
    let connected = process.held();
    load.record.clear();

    let cpu = process.cpu();
    let start = Instant::now();
    load.run(start + spec.idle, |_| false)?;
    let idle = (process.cpu() - cpu).as_secs_f64() / start.elapsed().as_secs_f64();

    let cpu = process.cpu();
    let expected = spec.plan.messages() * spec.clients as u64;
    if let Some(sink) = server.sink.take() {
        let publisher = publish::spawn(sink, spec.plan);
        let start = stamp::now();
        let done = |record: &Record| {
            let last_message = record.last.max(start);
            let silent = Duration::from_nanos(stamp::now().saturating_sub(last_message)) > SILENCE;
            record.latencies.len() as u64 >= expected || (publisher.is_finished() && silent)
        };
        load.run(Instant::now() + spec.plan.interval * 10_000 + Duration::from_secs(60), done)?;
        // The end of its input would end the server.
        server.sink = Some(publisher.join().map_err(|_| io::Error::other("it panicked"))??);
    }
    let cpu = process.cpu() - cpu;
    let after = process.held();

    let ends = load.record.ends.clone();
    if spec.attempts > 0 {
        load.connect(spec.attempts)?;
        load.run(Instant::now() + SILENCE, |record| {
            let ended: u64 = record.ends.values().sum();
            ended - ends.values().sum::<u64>() >= spec.attempts as u64
        })?;
    }
    let ended = |how: &str| {
        let of = |ends: &std::collections::BTreeMap<String, u64>| ends.get(how).copied();
        (of(&load.record.ends).unwrap_or(0) - of(&ends).unwrap_or(0)) as f64
    };
    if !server.is_running() {
        return Err(io::Error::other("the server has ended"));
    }

    let per_client = |after: u64, before: u64| {
        if all == 0 { f64::NAN } else { (after as f64 - before as f64) / all as f64 }
    };
    let (code_1013, status_503) = (ended("1013"), ended("503"));
    let record = &mut load.record;
    record.latencies.sort_unstable();
    let got = record.latencies.len() as f64;
    Ok(Outcome {
        connect_s: connect.as_secs_f64(),
        rss_kib: per_client(connected.rss_kib, before.rss_kib),
        threads: per_client(connected.threads, before.threads),
        descriptors: per_client(connected.descriptors, before.descriptors),
        idle_percent: if spec.idle.is_zero() { f64::NAN } else { idle * 100.0 },
        cpu_us: cpu.as_secs_f64() * 1e6 / got,
        p50_ms: percentile(&record.latencies, 0.50) / 1e3,
        p99_ms: percentile(&record.latencies, 0.99) / 1e3,
        last_ms: last_ms(record, spec.clients as u64),
        rate: rate(record, spec.plan.burst as usize),
        lost: expected as f64 - got,
        duplicates: record.duplicates as f64,
        growth_mib: (after.rss_kib as f64 - connected.rss_kib as f64) / 1024.0,
        code_1013,
        status_503,
        broken: spec.attempts as f64 - code_1013 - status_503,
    })
}

fn percentile(sorted: &[u32], part: f64) -> f64 {
    let index = (sorted.len() as f64 * part) as usize;
    sorted.get(index.min(sorted.len().saturating_sub(1))).map_or(f64::NAN, |&us| f64::from(us))
}

/// The median of the messages that all clients received.
fn last_ms(record: &Record, clients: u64) -> f64 {
    let whole = record.messages.iter().filter(|message| message.clients == clients);
    median(whole.map(|message| (message.last - message.stamp) as f64 / NANOS_PER_MS).collect())
}

/// The median of the bursts.
fn rate(record: &Record, burst: usize) -> f64 {
    let of = |messages: &[crate::load::Arrival]| {
        let deliveries: u64 = messages.iter().map(|message| message.clients).sum();
        let first = messages.iter().map(|message| message.stamp).min().unwrap_or(0);
        let last = messages.iter().map(|message| message.last).max().unwrap_or(0);
        deliveries as f64 / (last.saturating_sub(first).max(1) as f64 / 1e9)
    };
    median(record.messages.chunks(burst.max(1)).map(of).collect())
}

/// The median; NaN without values.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.retain(|value| value.is_finite());
    values.sort_unstable_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}
