//! `/metrics`: the Prometheus text format, version 0.0.4. Pure.
//!
//! Names and meanings of the containers' series are cAdvisor's (its `docs/storage/prometheus.md`),
//! so that dashboards made for it work. What is not known has no series.

use std::fmt::Write as _;
use std::time::Duration;

use super::payload::{ContainerStats, STANDALONE};
use super::state::EngineCounters;
use crate::HubHandle;
use crate::counters::Counters;
use crate::http::response::Response;
use crate::http::status;

/// One kind of series.
struct Family<'a> {
    name: &'a str,
    kind: &'a str,
    help: &'a str,
}

type Row = (String, ContainerStats);

/// The response to a scrape; `rows` where there is a snapshot.
pub(super) fn response(hub: &HubHandle, rows: &[Row]) -> Response {
    let text = text(&hub.counters(), &hub.engine_counters(), rows);
    Response::new(status::OK, "text/plain; version=0.0.4; charset=utf-8", text)
}

pub(crate) fn text(counters: &Counters, engine: &EngineCounters, rows: &[Row]) -> String {
    let mut out = String::new();
    own(&mut out, counters, engine, rows);
    containers(&mut out, rows);
    out
}

fn own(out: &mut String, counters: &Counters, engine: &EngineCounters, rows: &[Row]) {
    let mut one = |name, kind, help, value: f64| {
        Family { name, kind, help }.write(out, [(String::new(), value)]);
    };
    one(
        "kentros_clients",
        "gauge",
        "WebSocket clients registered.",
        float(counters.clients as u64),
    );
    one(
        "kentros_engine_up",
        "gauge",
        "Whether the engine answered last.",
        f64::from(u8::from(engine.up)),
    );
    let totals = [
        ("kentros_engine_calls_total", "Calls made to the engine.", engine.calls),
        ("kentros_engine_errors_total", "Calls that the engine failed.", engine.errors),
        ("kentros_messages_published_total", "Messages taken for delivery.", counters.published),
        ("kentros_messages_delivered_total", "Messages handed to a client.", counters.delivered),
        (
            "kentros_messages_conflated_total",
            "Messages replaced by a newer one before a slow client took them.",
            counters.conflated,
        ),
        (
            "kentros_messages_left_out_total",
            "project_status messages that were not published: too many in a second, or no room.",
            engine.dropped,
        ),
    ];
    for (name, help, value) in totals {
        one(name, "counter", help, float(value));
    }
    let oldest = rows.iter().filter_map(|(_, row)| row.age_ms).max();
    if let Some(age) = oldest {
        let age = Duration::from_millis(age).as_secs_f64();
        one(
            "kentros_sample_age_seconds",
            "gauge",
            "Age of the oldest sample when it was published.",
            age,
        );
    }
    Family {
        name: "kentros_clients_evicted_total",
        kind: "counter",
        help: "Clients evicted, by reason.",
    }
    .write(
        out,
        [
            ("{reason=\"slow\"}".to_owned(), float(counters.evicted_slow)),
            ("{reason=\"write_deadline\"}".to_owned(), float(counters.evicted_deadline)),
        ],
    );
    Family { name: "kentros_build_info", kind: "gauge", help: "The version." }
        .write(out, [(format!("{{version=\"{}\"}}", env!("CARGO_PKG_VERSION")), 1.0)]);
}

fn containers(out: &mut String, rows: &[Row]) {
    let mut family = |name, kind, help, value: &dyn Fn(&ContainerStats) -> Option<f64>| {
        let series = rows.iter().filter_map(|(id, row)| Some((labels(id, row), value(row)?)));
        Family { name, kind, help }.write(out, series);
    };
    family(
        "container_cpu_usage_seconds_total",
        "counter",
        "Cumulative CPU time consumed.",
        &|row| row.prometheus.cpu_total.map(|nanos| Duration::from_nanos(nanos).as_secs_f64()),
    );
    family(
        "container_memory_usage_bytes",
        "gauge",
        "Memory in use, page cache included.",
        &|row| row.prometheus.memory_total.map(float),
    );
    family(
        "container_memory_working_set_bytes",
        "gauge",
        "Memory in use, without inactive page cache.",
        &|row| row.memory_usage.map(float),
    );
    family(
        "container_spec_memory_limit_bytes",
        "gauge",
        "Memory limit; the host's memory where there is none.",
        &|row| row.memory_limit.map(float),
    );
    family(
        "container_network_receive_bytes_total",
        "counter",
        "Cumulative bytes received; a shared network stands with its owner.",
        &|row| own_network(row, row.network_rx),
    );
    family(
        "container_network_transmit_bytes_total",
        "counter",
        "Cumulative bytes sent; a shared network stands with its owner.",
        &|row| own_network(row, row.network_tx),
    );
    family("container_fs_reads_bytes_total", "counter", "Cumulative bytes read.", &|row| {
        row.block_read.map(float)
    });
    family("container_fs_writes_bytes_total", "counter", "Cumulative bytes written.", &|row| {
        row.block_write.map(float)
    });
    family("container_threads", "gauge", "Processes and threads.", &|row| row.pids.map(float));
}

/// Several containers in one network each report all of it: sums would count it several times.
fn own_network(row: &ContainerStats, bytes: Option<u64>) -> Option<f64> {
    bytes.filter(|_| row.network_of.is_none()).map(float)
}

fn labels(id: &str, row: &ContainerStats) -> String {
    let mut labels = format!(
        "{{id=\"{}\",name=\"{}\",image=\"{}\"",
        escaped(id),
        escaped(&row.name),
        escaped(&row.prometheus.image)
    );
    if row.project_id != STANDALONE {
        // Writing to a String cannot fail.
        let _ = write!(
            labels,
            ",container_label_com_docker_compose_project=\"{}\"",
            escaped(&row.project_id)
        );
    }
    if let Some(service) = &row.service_name {
        let _ =
            write!(labels, ",container_label_com_docker_compose_service=\"{}\"", escaped(service));
    }
    labels.push('}');
    labels
}

/// As the format wants label values.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Exact to 2^53, as every value in Prometheus.
#[allow(clippy::cast_precision_loss)]
fn float(value: u64) -> f64 {
    value as f64
}

impl Family<'_> {
    /// Writes the series under their head; nothing where there is none.
    fn write(&self, out: &mut String, series: impl IntoIterator<Item = (String, f64)>) {
        let Self { name, kind, help } = self;
        let mut headed = false;
        for (labels, value) in series {
            // Writing to a String cannot fail.
            if !std::mem::replace(&mut headed, true) {
                let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
            }
            let _ = writeln!(out, "{name}{labels} {value}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::payload::PrometheusFields;

    fn row() -> ContainerStats {
        ContainerStats {
            name: "we\"b\\\n".into(),
            project_id: "shop".into(),
            service_name: Some("web".into()),
            memory_usage: Some(3),
            network_rx: Some(5),
            prometheus: PrometheusFields {
                image: "nginx".into(),
                cpu_total: Some(1_500_000_000),
                memory_total: None,
            },
            ..ContainerStats::default()
        }
    }

    #[test]
    fn names_are_escaped_and_what_is_unknown_has_no_series() {
        let text = text(&Counters::default(), &EngineCounters::default(), &[("c1".into(), row())]);
        let labels = r#"{id="c1",name="we\"b\\\n",image="nginx",container_label_com_docker_compose_project="shop",container_label_com_docker_compose_service="web"}"#;
        assert!(
            text.contains(&format!("\ncontainer_cpu_usage_seconds_total{labels} 1.5\n")),
            "{text}"
        );
        assert!(text.contains(&format!("\ncontainer_memory_working_set_bytes{labels} 3\n")));
        assert!(!text.contains("container_memory_usage_bytes"));
        assert!(!text.contains("container_threads"));
    }

    #[test]
    fn a_shared_network_stands_with_its_owner() {
        let shared = ContainerStats { network_of: Some("c1".into()), ..row() };
        let text = text(
            &Counters::default(),
            &EngineCounters::default(),
            &[("c1".into(), row()), ("c2".into(), shared)],
        );
        assert_eq!(text.matches("container_network_receive_bytes_total{").count(), 1);
    }
}
