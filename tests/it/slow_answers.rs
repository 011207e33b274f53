//! HTTP responses to clients that do not read.

use std::io::{Read, Write};
use std::net::TcpStream;

use kentros::{ContainerStats, HubConfig, HubHandle, Request, Response, ServerConfig};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::harness::{
    Served, descriptors_and_threads, dial_narrow, in_own_process, memory, retry_interrupted,
    snapshot, until,
};

const MIB: usize = 1 << 20;
/// Memory that the allocator may keep after it is freed, in bytes.
const RETAINED: usize = 60 * MIB;

/// Publishes a snapshot of this many containers, in projects of ten.
fn publish(hub: &HubHandle, containers: usize, generation: u64) {
    let row = |n: usize| {
        let project = format!("project-{:04}", n / 10);
        let mut row = ContainerStats::new(project, format!("project-{:04}-web-{}", n / 10, n % 10));
        row.service_name = Some("web".to_owned());
        row.cpu_percent = Some(12.5);
        row.online_cpus = Some(8);
        row.cpu_limit = Some(2.0);
        row.memory_usage = Some(100_000_000 + generation);
        row.memory_limit = Some(1_000_000_000);
        row.memory_percent = Some(10.0);
        row.network_rx = Some(123_456_789);
        row.network_tx = Some(123_456_789);
        row.block_read = Some(123_456_789);
        row.block_write = Some(123_456_789);
        row.pids = Some(17);
        row.timestamp = Some("2026-01-01T00:00:00.123456789Z".to_owned());
        row.age_ms = Some(400);
        "registry.example/team/web:1.2.3".clone_into(&mut row.prometheus.image);
        row.prometheus.cpu_total = Some(3_000_000_000 + generation);
        row.prometheus.memory_total = Some(150_000_000);
        (format!("{n:064x}"), row)
    };
    hub.publish_snapshot(snapshot((0..containers).map(row).collect())).unwrap();
}

/// Sends a request and does not read the response.
fn request_unread(served: &Served, path: &str) -> TcpStream {
    let mut stream = dial_narrow(served.addr());
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).unwrap();
    stream
}

/// Clients request `path` for eight snapshots and do not read. Meanwhile other clients are served and
/// memory is bounded. Later it is freed, although the clients are still connected.
fn attack(path: &str, containers: usize, clients: usize) {
    const SNAPSHOTS: usize = 8;
    let served = Served::new();
    let hub = served.handle();
    publish(&hub, containers, 0);
    assert_eq!(served.get(path).status, 200);
    let (before, (descriptors, _)) = (memory(), descriptors_and_threads());
    let mut unread = Vec::new();
    let mut peak = before;
    for generation in 1..=SNAPSHOTS {
        publish(&hub, containers, generation as u64);
        for _ in 0..clients / SNAPSHOTS {
            unread.push(request_unread(&served, path));
        }
        for path in ["/healthz", "/readyz", path] {
            assert_eq!(served.get(path).status, 200, "{path}");
        }
        peak = peak.max(memory());
    }
    assert!(peak < before + 100 * MIB, "{} MiB, then {} MiB", before / MIB, peak / MIB);
    let disconnected = || descriptors_and_threads().0 < descriptors + unread.len() + 10;
    until("the clients have had their time", disconnected);
    until("the memory returns", || memory() < before + RETAINED);
}

#[test]
fn unread_metrics_of_a_thousand_containers_cost_bounded_memory() {
    let name = "slow_answers::unread_metrics_of_a_thousand_containers_cost_bounded_memory";
    if in_own_process(name, &[]) {
        attack("/metrics", 1_000, 1_200);
    }
}

#[test]
fn unread_stats_of_five_thousand_containers_cost_bounded_memory() {
    let name = "slow_answers::unread_stats_of_five_thousand_containers_cost_bounded_memory";
    if in_own_process(name, &[]) {
        attack("/api/v1/stats", 5_000, 2_400);
    }
}

/// Reads the first line of a response and no more.
fn status_line(stream: &mut TcpStream) -> String {
    let mut line = String::new();
    while !line.ends_with("\r\n") {
        let mut byte = [0];
        retry_interrupted(|| stream.read(&mut byte)).unwrap();
        line.push(char::from(byte[0]));
    }
    line
}

#[test]
fn responses_beyond_64_mib_get_503_until_slow_clients_are_disconnected() {
    let name = "slow_answers::responses_beyond_64_mib_get_503_until_slow_clients_are_disconnected";
    if !in_own_process(name, &[]) {
        return;
    }
    // Each response has a body of its own.
    let large = |_: &Request| Response::new(200, "text/plain", vec![b'x'; 16 * MIB]);
    let config = ServerConfig::default().route("/large", large);
    let served = Served::with(HubConfig::default(), config);
    let before = memory();
    let mut unread = Vec::new();
    let mut rejected = loop {
        assert!(unread.len() < 100, "no request is rejected with 503");
        let mut stream = request_unread(&served, "/large");
        if status_line(&mut stream).contains("503") {
            break stream;
        }
        unread.push(stream);
        assert!(memory() < before + 130 * MIB, "from {before} to {} bytes", memory());
    };
    assert!(unread.len() >= 4, "64 MiB fit: {}", unread.len());
    let mut rest = String::new();
    rejected.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("\r\nRetry-After: 2\r\n"), "{rest}");
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(served.get(path).status, 200, "{path}");
    }
    let counted = "kentros_http_rejected_total{limit=\"response_memory\"} ";
    let metrics = served.get("/metrics").body;
    let count = metrics.lines().find_map(|line| line.strip_prefix(counted)).unwrap();
    assert!(count.parse::<usize>().unwrap() >= 1, "{count}");
    until("a slow client makes room", || served.get("/large").body.len() == 16 * MIB);
    drop(unread);
    until("the memory returns", || memory() < before + RETAINED);
}

/// Fails if a health check is rejected because of the limit of concurrent requests.
#[test]
fn health_checks_are_answered_when_slow_clients_reach_the_limit_of_requests() {
    let name =
        "slow_answers::health_checks_are_answered_when_slow_clients_reach_the_limit_of_requests";
    if !in_own_process(name, &[]) {
        return;
    }
    // With 512 descriptors, the server handles 64 requests at a time.
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(512), maximum }).unwrap();
    let config = ServerConfig::default().page("/large", "text/plain", vec![b'x'; 16 * MIB]);
    let served = Served::with(HubConfig::default(), config);
    // Requests may be dropped for new ones after half a second; these are younger.
    let unread: Vec<_> = (0..64).map(|_| request_unread(&served, "/large")).collect();
    for path in ["/healthz", "/readyz", "/healthz?again"] {
        assert_eq!(served.get(path).status, 200, "{path}");
    }
    drop(unread);
}
