//! `/metrics`, parsed by the Prometheus project's own Python client.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use kentros::DockerSource;
use serde::Deserialize;
use serde_json::Value;

use crate::demo::DemoSource;
use crate::harness::real_engine::{RealEngine, unique};
use crate::harness::{Served, Ws, until};

/// Parses the exposition text on standard input and prints the families as JSON.
const PARSE: &str = "
import json, sys
from prometheus_client.parser import text_string_to_metric_families as parse
print(json.dumps([
    {'type': f.type, 'help': f.documentation,
     'samples': [[s.name, s.labels, s.value] for s in f.samples]}
    for f in parse(sys.stdin.read())
]))
";

/// The series of containers and their types, from cAdvisor's `docs/storage/prometheus.md` and
/// `metrics/prometheus.go`.
const CADVISOR: [(&str, &str); 26] = [
    ("container_cpu_usage_seconds_total", "counter"),
    ("container_memory_usage_bytes", "gauge"),
    ("container_memory_working_set_bytes", "gauge"),
    ("container_spec_memory_limit_bytes", "gauge"),
    ("container_network_receive_bytes_total", "counter"),
    ("container_network_transmit_bytes_total", "counter"),
    ("container_fs_reads_bytes_total", "counter"),
    ("container_fs_writes_bytes_total", "counter"),
    ("container_threads", "gauge"),
    ("container_cpu_user_seconds_total", "counter"),
    ("container_cpu_system_seconds_total", "counter"),
    ("container_cpu_cfs_periods_total", "counter"),
    ("container_cpu_cfs_throttled_periods_total", "counter"),
    ("container_cpu_cfs_throttled_seconds_total", "counter"),
    ("container_spec_cpu_quota", "gauge"),
    ("container_spec_cpu_period", "gauge"),
    ("container_memory_cache", "gauge"),
    ("container_memory_rss", "gauge"),
    ("container_memory_swap", "gauge"),
    // The parser adds `_total` to the name of a counter.
    ("container_memory_failcnt_total", "counter"),
    ("container_oom_events_total", "counter"),
    ("container_start_time_seconds", "gauge"),
    ("container_last_seen", "gauge"),
    ("container_health_state", "gauge"),
    ("machine_cpu_cores", "gauge"),
    ("machine_memory_bytes", "gauge"),
];
/// Those of containers that cAdvisor does not have.
const OWN_OF_CONTAINERS: [(&str, &str); 4] = [
    ("kentros_container_oom_killed", "gauge"),
    ("kentros_container_exit_code", "gauge"),
    ("kentros_container_restarts_total", "counter"),
    ("kentros_container_restart_loop", "gauge"),
];
const OWN: [(&str, &str); 13] = [
    ("kentros_clients", "gauge"),
    ("kentros_queued_bytes", "gauge"),
    ("kentros_engine_up", "gauge"),
    ("kentros_engine_calls_total", "counter"),
    ("kentros_engine_errors_total", "counter"),
    ("kentros_messages_published_total", "counter"),
    ("kentros_messages_delivered_total", "counter"),
    ("kentros_messages_conflated_total", "counter"),
    ("kentros_messages_left_out_total", "counter"),
    ("kentros_clients_evicted_total", "counter"),
    ("kentros_auth_failures_total", "counter"),
    ("kentros_http_rejected_total", "counter"),
    ("kentros_build_info", "gauge"),
];
const PROJECT: &str = "container_label_com_docker_compose_project";
const SERVICE: &str = "container_label_com_docker_compose_service";

#[derive(Debug, Deserialize)]
struct Family {
    r#type: String,
    help: String,
    samples: Vec<(String, BTreeMap<String, String>, f64)>,
}

/// The parsed response of `/metrics`.
#[derive(Debug)]
struct Scrape(Vec<Family>);

/// A Python that has the parser. If there is none, the test is skipped, or fails if it is required.
fn find_python(test: &str) -> Option<&'static str> {
    let has_parser = |python: &&str| {
        let mut command = Command::new(python);
        command.args(["-c", "import prometheus_client.parser"]).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let found = ["python3", "/usr/bin/python3"].into_iter().find(has_parser);
    if found.is_none() {
        let required = std::env::var("KENTROS_TEST_PROMETHEUS").is_ok_and(|v| v == "require");
        assert!(!required, "{test} needs Python's package prometheus-client");
        crate::harness::report_skipped(test, "no Python with the package prometheus-client");
    }
    found
}

impl Scrape {
    fn of(served: &Served, python: &str) -> Self {
        let answer = served.get("/metrics");
        assert_eq!(answer.status, 200);
        let kind = answer.field("content-type");
        assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
        let mut command = Command::new(python);
        command.args(["-c", PARSE]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut parser = command.stderr(Stdio::piped()).spawn().unwrap();
        parser.stdin.take().unwrap().write_all(answer.body.as_bytes()).unwrap();
        let output = parser.wait_with_output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{complaint}\n{}", answer.body);
        Self(serde_json::from_slice(&output.stdout).unwrap())
    }

    /// Checks names, types, help texts and labels, and that no series comes twice.
    fn check(&self) {
        let known: BTreeMap<&str, &str> =
            CADVISOR.into_iter().chain(OWN_OF_CONTAINERS).chain(OWN).collect();
        let mut seen = BTreeSet::new();
        for family in &self.0 {
            assert!(!family.help.is_empty(), "{family:?}");
            assert!(!family.samples.is_empty(), "a family without samples: {family:?}");
            for (name, labels, value) in &family.samples {
                assert!(seen.insert((name, labels)), "duplicate series: {name} {labels:?}");
                assert!(value.is_finite(), "{name} {value}");
                // -1 means that there is no health check.
                assert!(*value >= 0.0 || name == "container_health_state", "{name} {value}");
                if name == "kentros_sample_age_seconds" {
                    continue;
                }
                assert_eq!(known.get(name.as_str()), Some(&family.r#type.as_str()), "{name}");
                if name.starts_with("container_") || name.starts_with("kentros_container_") {
                    let labels: Vec<&str> = labels.keys().map(String::as_str).collect();
                    let (own, compose): (Vec<&str>, Vec<&str>) = labels
                        .into_iter()
                        .partition(|label| ["id", "image", "name"].contains(label));
                    assert_eq!(own, ["id", "image", "name"]);
                    assert!(compose.iter().all(|label| [PROJECT, SERVICE].contains(label)));
                }
            }
        }
        for (name, _) in OWN {
            assert!(
                self.0.iter().any(|f| f.samples.iter().any(|s| s.0 == name)),
                "{name} is missing"
            );
        }
    }

    /// The value of a container's series, if it is present.
    fn value(&self, name: &str, id: &str) -> Option<f64> {
        self.samples().find(|s| s.0 == name && s.1.get("id").is_some_and(|i| i == id)).map(|s| s.2)
    }

    fn samples(&self) -> impl Iterator<Item = &(String, BTreeMap<String, String>, f64)> {
        self.0.iter().flat_map(|family| &family.samples)
    }

    /// Checks that no counter is lower than in `before`, except those of a service that restarts.
    /// Returns the number of counters compared.
    fn check_counters_since(&self, before: &Self, restarting: &str) -> usize {
        let counters = self.0.iter().filter(|family| family.r#type == "counter");
        let mut compared = 0;
        for (name, labels, value) in counters.flat_map(|family| &family.samples) {
            if labels.get(SERVICE).is_some_and(|service| service == restarting) {
                continue;
            }
            let old = before.samples().find(|s| (&s.0, &s.1) == (name, labels));
            if let Some((_, _, old)) = old {
                assert!(value >= old, "{name} {labels:?}: {old}, then {value}");
                compared += 1;
            }
        }
        compared
    }
}

/// Checks that a container has a series exactly where its WebSocket row has a value.
fn assert_matches_row(page: &Scrape, id: &str, row: &Value) {
    for (series, field) in [
        ("container_memory_working_set_bytes", "memory_usage"),
        ("container_spec_memory_limit_bytes", "memory_limit"),
        ("container_network_receive_bytes_total", "network_rx"),
        ("container_network_transmit_bytes_total", "network_tx"),
        ("container_fs_reads_bytes_total", "block_read"),
        ("container_fs_writes_bytes_total", "block_write"),
        ("container_threads", "pids"),
    ] {
        let shared = row["network_of"].is_string() && field.starts_with("network");
        let known = row[field].is_number() && !shared;
        assert_eq!(page.value(series, id).is_some(), known, "{series} of {row}");
    }
}

fn rows(client: &mut Ws) -> serde_json::Map<String, Value> {
    client.find("container_stats")["payload"].as_object().unwrap().clone()
}

#[test]
fn prometheus_parses_the_metrics_of_the_demo() {
    let Some(python) = find_python("prometheus_parses_the_metrics_of_the_demo") else { return };
    let served = Served::new();
    served.handle().start_stats_streamer(Duration::from_secs(1), DemoSource::new(20)).unwrap();
    let mut client = served.client();
    rows(&mut client);
    let first = Scrape::of(&served, python);
    first.check();
    let rows = rows(&mut client);
    let second = Scrape::of(&served, python);
    second.check();
    // The demo restarts this service now and then, which resets its counters.
    let restarts = "importer";
    assert!(second.check_counters_since(&first, restarts) >= 17 * 4);
    assert!(
        rows.values().any(|row| row["network_rx"].is_null()),
        "one container uses the host's network"
    );
    for (id, row) in rows.iter().filter(|(_, row)| row["service_name"] != restarts) {
        assert_matches_row(&second, id, row);
    }
}

#[test]
fn prometheus_parses_the_metrics_of_a_real_engine() {
    const TEST: &str = "prometheus_parses_the_metrics_of_a_real_engine";
    let (Some(engine), Some(python)) = (RealEngine::find(TEST), find_python(TEST)) else { return };
    let project = unique("scraped");
    let burn = ["/bin/sh", "-c", "while :; do sleep 0.01; done"];
    let burner = engine.start(&project, "burner", &burn);
    let host = ["--network", "host"];
    let host = engine.start_with(&project, "host", &host, &["/bin/sleep", "1000"]);
    let served = Served::new();
    let source = DockerSource::new(engine.host.clone());
    served.handle().start_stats_streamer(Duration::from_secs(1), source).unwrap();
    let mut client = served.client();
    client.subscribe(project.as_str());
    let both = [burner.id.as_str(), host.id.as_str()];
    while !both.iter().all(|id| rows(&mut client).contains_key(*id)) {}
    let first = Scrape::of(&served, python);
    first.check();
    let cpu = "container_cpu_usage_seconds_total";
    let mut second = Scrape::of(&served, python);
    until("the CPU time rises", || {
        rows(&mut client);
        second = Scrape::of(&served, python);
        second.value(cpu, &burner.id) > first.value(cpu, &burner.id)
    });
    second.check();
    assert!(second.check_counters_since(&first, "none") >= 2 * 3);
    let rows = rows(&mut client);
    for id in both {
        assert_matches_row(&second, id, &rows[id]);
        assert!(second.value("container_memory_usage_bytes", id).is_some());
        for series in [
            "container_cpu_user_seconds_total",
            "container_cpu_system_seconds_total",
            "container_cpu_cfs_periods_total",
            "container_memory_rss",
            "container_memory_cache",
            "container_memory_failcnt_total",
            "container_oom_events_total",
            "container_start_time_seconds",
            "container_last_seen",
            "kentros_container_restarts_total",
            "kentros_container_restart_loop",
        ] {
            assert!(second.value(series, id).is_some(), "{series}");
        }
        assert_eq!(second.value("container_health_state", id), Some(-1.0));
    }
    assert_eq!(
        second.value("container_network_receive_bytes_total", &host.id),
        None,
        "unknown on the host's network"
    );
    let labels = second.samples().find(|s| s.0 == cpu && s.1["id"] == burner.id).map(|s| &s.1);
    let labels = labels.unwrap();
    assert_eq!(labels["name"], burner.name);
    assert_eq!(labels["image"], "kentros-busybox:test");
    assert_eq!((labels[PROJECT].as_str(), labels[SERVICE].as_str()), (project.as_str(), "burner"));
    let up = second.samples().find(|s| s.0 == "kentros_engine_up").map(|s| s.2);
    assert_eq!(up, Some(1.0));
}
