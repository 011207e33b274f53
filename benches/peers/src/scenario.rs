//! The scenarios, and the columns of their tables.

use std::time::Duration;

use crate::measure::{Outcome, Spec};
use crate::peer::Peer;
use crate::publish::Plan;

const SECOND: Duration = Duration::from_secs(1);

/// Runs that take turns, and their table.
pub struct Scenario {
    pub name: &'static str,
    pub about: String,
    pub runs: Vec<Run>,
    pub columns: Vec<Column>,
}

/// One row of the table.
pub struct Run {
    pub label: &'static str,
    pub peer: Peer,
    pub spec: Spec,
}

pub struct Column {
    pub title: &'static str,
    pub value: fn(&Outcome) -> f64,
    pub decimals: usize,
    /// The row of the same round that this one is divided by.
    pub over: Option<&'static str>,
}

/// The choices on the command line.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    pub quick: bool,
    pub clients: Option<usize>,
    pub size: Option<usize>,
    pub rate: Option<f64>,
    pub seconds: Option<f64>,
}

/// All scenarios, the quick ones first.
pub fn all(peers: &[Peer], choice: &Choice) -> Vec<Scenario> {
    if choice.clients.or(choice.size).is_some() || choice.rate.or(choice.seconds).is_some() {
        let clients = choice.clients.unwrap_or(1000);
        let (rate, seconds) = (choice.rate.unwrap_or(10.0), choice.seconds.unwrap_or(3.0));
        return vec![steady("steady", peers, clients, choice.size.unwrap_or(200), rate, seconds)];
    }
    if choice.quick {
        return vec![steady("steady", peers, 1000, 200, 10.0, 1.5), burst(peers, 1)];
    }
    vec![
        steady("1k-200", peers, 1000, 200, 10.0, 3.0),
        steady("1k-4k", peers, 1000, 4096, 10.0, 3.0),
        steady("10k-200", peers, 10_000, 200, 1.0, 5.0),
        steady("10k-4k", peers, 10_000, 4096, 1.0, 5.0),
        burst(peers, 3),
        sustained(peers),
        projects(peers),
        idle(peers),
        slow(peers),
        stall(peers),
        limit(peers),
    ]
}

fn plan(size: usize, rate: f64, seconds: f64) -> Plan {
    Plan {
        size,
        ticks: (rate * seconds).round() as u64,
        interval: SECOND.div_f64(rate),
        burst: 1,
        projects: 0,
        snapshot: false,
    }
}

fn spec(clients: usize, plan: Plan) -> Spec {
    Spec { clients, stopped: 0, idle: Duration::ZERO, plan, attempts: 0 }
}

fn rows(peers: &[Peer], spec: &Spec) -> Vec<Run> {
    peers.iter().map(|&peer| Run { label: peer.name(), peer, spec: *spec }).collect()
}

fn only(peers: &[Peer], these: &[Peer]) -> Vec<Peer> {
    peers.iter().copied().filter(|peer| these.contains(peer)).collect()
}

fn column(title: &'static str, decimals: usize, value: fn(&Outcome) -> f64) -> Column {
    Column { title, value, decimals, over: None }
}

fn ratio(title: &'static str, value: fn(&Outcome) -> f64, over: &'static str) -> Column {
    Column { title, value, decimals: 2, over: Some(over) }
}

fn losses() -> [Column; 2] {
    [column("lost", 0, |o| o.lost), column("twice", 0, |o| o.duplicates)]
}

fn steady(
    name: &'static str,
    peers: &[Peer],
    clients: usize,
    size: usize,
    rate: f64,
    seconds: f64,
) -> Scenario {
    let mut columns = vec![
        column("CPU µs", 2, |o| o.cpu_us),
        ratio("/floor-1", |o| o.cpu_us, "floor-1"),
        column("last ms", 1, |o| o.last_ms),
        ratio("/floor-2", |o| o.last_ms, "floor-2"),
        column("p50 ms", 1, |o| o.p50_ms),
        column("p99 ms", 1, |o| o.p99_ms),
        column("KiB", 1, |o| o.rss_kib),
        column("thr", 1, |o| o.threads),
        column("fds", 1, |o| o.descriptors),
        column("connect s", 2, |o| o.connect_s),
    ];
    columns.extend(losses());
    Scenario {
        name,
        about: format!("{clients} clients, {size} B, {rate} messages/s"),
        runs: rows(peers, &spec(clients, plan(size, rate, seconds))),
        columns,
    }
}

fn burst(peers: &[Peer], bursts: u64) -> Scenario {
    let plan = Plan { ticks: bursts, interval: 2 * SECOND, burst: 200, ..plan(200, 1.0, 0.0) };
    let mut columns = vec![
        column("deliveries/s", 0, |o| o.rate),
        ratio("/bun", |o| o.rate, "bun"),
        ratio("/gorilla", |o| o.rate, "gorilla"),
        column("CPU µs", 2, |o| o.cpu_us),
    ];
    columns.extend(losses());
    Scenario {
        name: "burst",
        about: "1000 clients, 200 messages of 200 B at once".into(),
        runs: rows(peers, &spec(1000, plan)),
        columns,
    }
}

fn sustained(peers: &[Peer]) -> Scenario {
    // The others cannot do this: the result would show what they lose.
    let able = only(peers, &[Peer::Kentros(None), Peer::Kentros(Some(1)), Peer::Bun]);
    let mut columns = vec![
        column("CPU µs", 2, |o| o.cpu_us),
        column("p50 ms", 1, |o| o.p50_ms),
        column("p99 ms", 1, |o| o.p99_ms),
        column("MiB more", 1, |o| o.growth_mib),
    ];
    columns.extend(losses());
    Scenario {
        name: "sustained",
        about: "1000 clients, 200 B, 1000 messages/s".into(),
        runs: rows(&able, &spec(1000, plan(200, 1000.0, 5.0))),
        columns,
    }
}

fn projects(peers: &[Peer]) -> Scenario {
    let plain = spec(1000, plan(200, 10.0, 5.0));
    let mut subscribed = plain;
    subscribed.plan.projects = 50;
    let mut runs = Vec::new();
    if peers.contains(&Peer::Kentros(None)) {
        runs.push(Run { label: "plain", peer: Peer::Kentros(None), spec: plain });
        runs.push(Run { label: "50 projects", peer: Peer::Kentros(None), spec: subscribed });
        let mut snapshot = subscribed;
        snapshot.plan.snapshot = true;
        runs.push(Run { label: "a snapshot of 50", peer: Peer::Kentros(None), spec: snapshot });
    }
    let mut columns = vec![
        column("CPU µs", 2, |o| o.cpu_us),
        ratio("/plain", |o| o.cpu_us, "plain"),
        column("last ms", 1, |o| o.last_ms),
    ];
    columns.extend(losses());
    Scenario {
        name: "projects",
        about: "1000 clients, 200 B, 10 messages/s: to all, to the subscribers of 50 projects one \
                by one, and as one snapshot of them"
            .into(),
        runs,
        columns,
    }
}

fn idle(peers: &[Peer]) -> Scenario {
    let mut spec = spec(10_000, plan(200, 1.0, 0.0));
    // Two pings per client: one every 25 s.
    spec.idle = 50 * SECOND;
    Scenario {
        name: "idle",
        about: "10000 clients that get nothing for 50 s but pings".into(),
        runs: rows(peers, &spec),
        columns: vec![
            column("connect s", 2, |o| o.connect_s),
            column("KiB", 1, |o| o.rss_kib),
            column("thr", 2, |o| o.threads),
            column("fds", 2, |o| o.descriptors),
            column("% of a core", 2, |o| o.idle_percent),
        ],
    }
}

/// The same with and without clients that never read.
fn beside(peer: Peer, clients: usize, stopped: usize, plan: Plan) -> Vec<Run> {
    let all = spec(clients, plan);
    let some = Spec { clients: clients - stopped, stopped, ..all };
    vec![Run { label: "all read", peer, spec: all }, Run { label: "not all", peer, spec: some }]
}

fn slow_columns() -> Vec<Column> {
    let mut columns = vec![
        column("p50 ms", 1, |o| o.p50_ms),
        column("p99 ms", 1, |o| o.p99_ms),
        ratio("/all read", |o| o.p99_ms, "all read"),
        column("MiB more", 1, |o| o.growth_mib),
    ];
    columns.extend(losses());
    columns
}

fn slow(peers: &[Peer]) -> Scenario {
    let peers = only(peers, &[Peer::Kentros(None)]);
    Scenario {
        name: "slow",
        about: "1000 clients, 4 KiB, 20 messages/s: one never reads".into(),
        runs: peers.iter().flat_map(|&p| beside(p, 1000, 1, plan(4096, 20.0, 5.0))).collect(),
        columns: slow_columns(),
    }
}

fn stall(peers: &[Peer]) -> Scenario {
    let peers = only(peers, &[Peer::Kentros(None)]);
    Scenario {
        name: "stall",
        about: "1000 clients, 64 KiB, 2 messages/s: five never read".into(),
        runs: peers.iter().flat_map(|&p| beside(p, 1000, 5, plan(65_536, 2.0, 10.0))).collect(),
        columns: slow_columns(),
    }
}

fn limit(peers: &[Peer]) -> Scenario {
    let peers = only(peers, &[Peer::Kentros(None)]);
    let mut spec = spec(12_000, plan(200, 1.0, 0.0));
    spec.attempts = 20_000;
    Scenario {
        name: "limit",
        about: "20000 attempts beyond the 12000 clients that there may be".into(),
        runs: rows(&peers, &spec),
        columns: vec![
            column("connect s", 2, |o| o.connect_s),
            column("1013", 0, |o| o.code_1013),
            column("503", 0, |o| o.status_503),
            column("broken", 0, |o| o.broken),
        ],
    }
}
