//! `/metrics` in the Prometheus text format, version 0.0.4.
//!
//! The container metrics have cAdvisor's names and meanings (its `docs/storage/prometheus.md`), so
//! that dashboards made for cAdvisor work. An unknown value has no series.

mod facts;

use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tungstenite::Bytes;

use super::payload::{ContainerStats, STANDALONE};
use super::state::EngineCounters;
use crate::HubHandle;
use crate::counters::Counters;
use crate::http::response::Response;
use crate::server::auth::authenticator::AuthCounters;
use crate::server::rejections::RejectedRequests;

/// A metric and its series, which differ in their labels.
struct MetricFamily<'a> {
    name: &'a str,
    kind: &'a str,
    help: &'a str,
}

/// The response to a scrape: the hub's metrics, which are made for each response, and those of the
/// containers, which are shared.
pub(super) fn response(hub: &HubHandle, containers: Bytes) -> Response {
    let (rejected, auth) = (hub.extension::<RejectedRequests>(), hub.extension::<AuthCounters>());
    let start = of_hub(&hub.counters(), &hub.engine_counters(), &rejected, &auth);
    Response::shared("text/plain; version=0.0.4; charset=utf-8", containers).with_start(start)
}

fn of_hub(
    counters: &Counters,
    engine: &EngineCounters,
    rejected: &RejectedRequests,
    auth: &AuthCounters,
) -> String {
    let mut out = String::new();
    let mut metric = |name, kind, help, value: f64| {
        MetricFamily { name, kind, help }.write(&mut out, [("", value)]);
    };
    metric(
        "kentros_clients",
        "gauge",
        "Connected WebSocket clients.",
        float(counters.clients as u64),
    );
    metric(
        "kentros_queued_bytes",
        "gauge",
        "Bytes of messages in the queues of slow clients.",
        float(counters.queued_bytes as u64),
    );
    metric(
        "kentros_engine_up",
        "gauge",
        "Whether the last collection from the engine succeeded.",
        f64::from(u8::from(engine.up)),
    );
    let totals = [
        ("kentros_engine_calls_total", "Total calls to the engine.", engine.calls),
        ("kentros_engine_errors_total", "Total failed calls to the engine.", engine.errors),
        ("kentros_messages_published_total", "Total messages published.", counters.published),
        (
            "kentros_messages_delivered_total",
            "Total messages delivered to clients.",
            counters.delivered,
        ),
        (
            "kentros_messages_conflated_total",
            "Total messages replaced by a newer one before a slow client received them.",
            counters.conflated,
        ),
        (
            "kentros_messages_left_out_total",
            "Total project_status messages dropped by the rate limit or a full hub.",
            engine.dropped,
        ),
    ];
    for (name, help, value) in totals {
        metric(name, "counter", help, float(value));
    }
    MetricFamily {
        name: "kentros_clients_evicted_total",
        kind: "counter",
        help: "Total clients evicted, by reason.",
    }
    .write(
        &mut out,
        [
            ("{reason=\"slow\"}", float(counters.evicted_slow)),
            ("{reason=\"write_deadline\"}", float(counters.evicted_deadline)),
            ("{reason=\"memory\"}", float(counters.evicted_memory)),
        ],
    );
    let count = |counter: &AtomicU64| float(counter.load(Ordering::Relaxed));
    MetricFamily {
        name: "kentros_auth_failures_total",
        kind: "counter",
        help: "Total tokens rejected, by reason: wrong, or not checked after too many wrong ones.",
    }
    .write(
        &mut out,
        [
            ("{reason=\"wrong_token\"}".to_owned(), count(&auth.wrong)),
            ("{reason=\"too_many\"}".to_owned(), count(&auth.unchecked)),
        ],
    );
    MetricFamily {
        name: "kentros_http_rejected_total",
        kind: "counter",
        help: "Total HTTP requests rejected or disconnected because of a limit, by limit.",
    }
    .write(
        &mut out,
        rejected.by_limit().map(|(limit, count)| (format!("{{limit=\"{limit}\"}}"), float(count))),
    );
    MetricFamily {
        name: "kentros_build_info",
        kind: "gauge",
        help: "The version of kentros, as a label.",
    }
    .write(&mut out, [(format!("{{version=\"{}\"}}", env!("CARGO_PKG_VERSION")), 1.0)]);
    out
}

/// The metrics of the containers: megabytes for thousands of them. `stopped` are those without a
/// sample.
pub(crate) fn of_containers(
    rows: &[(String, ContainerStats)],
    stopped: &[(String, ContainerStats)],
) -> String {
    let mut out = String::new();
    let oldest = rows.iter().filter_map(|(_, row)| row.age_ms).max();
    if let Some(age) = oldest {
        let age = Duration::from_millis(age).as_secs_f64();
        MetricFamily {
            name: "kentros_sample_age_seconds",
            kind: "gauge",
            help: "Age of the oldest sample at the time of publication.",
        }
        .write(&mut out, [("", age)]);
    }
    let labels: Vec<String> = rows.iter().map(|(id, row)| labels(id, row)).collect();
    let mut family = |name, kind, help, value: &dyn Fn(&ContainerStats) -> Option<f64>| {
        let values = rows.iter().zip(&labels).map(|((_, row), labels)| (labels, value(row)));
        let series = values.filter_map(|(labels, value)| Some((labels, value?)));
        MetricFamily { name, kind, help }.write(&mut out, series);
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
        "Memory usage, including page cache.",
        &|row| row.prometheus.memory_total.map(float),
    );
    family(
        "container_memory_working_set_bytes",
        "gauge",
        "Memory usage, excluding inactive page cache.",
        &|row| row.memory_usage.map(float),
    );
    family(
        "container_spec_memory_limit_bytes",
        "gauge",
        "Memory limit, or the host's memory if there is none.",
        &|row| row.memory_limit.map(float),
    );
    family(
        "container_network_receive_bytes_total",
        "counter",
        "Cumulative bytes received; a shared network is counted for its owner only.",
        &|row| owned_network(row, row.network_rx),
    );
    family(
        "container_network_transmit_bytes_total",
        "counter",
        "Cumulative bytes sent; a shared network is counted for its owner only.",
        &|row| owned_network(row, row.network_tx),
    );
    family("container_fs_reads_bytes_total", "counter", "Cumulative bytes read.", &|row| {
        row.block_read.map(float)
    });
    family("container_fs_writes_bytes_total", "counter", "Cumulative bytes written.", &|row| {
        row.block_write.map(float)
    });
    family("container_threads", "gauge", "Number of processes and threads.", &|row| {
        row.pids.map(float)
    });
    facts::write(&mut out, rows, stopped);
    out
}

/// `None` for a container that shares another's network: each reports the whole traffic, so sums
/// would count it more than once.
fn owned_network(row: &ContainerStats, bytes: Option<u64>) -> Option<f64> {
    bytes.filter(|_| row.network_of.is_none()).map(float)
}

fn labels(id: &str, row: &ContainerStats) -> String {
    let mut labels = format!(
        "{{id=\"{}\",name=\"{}\",image=\"{}\"",
        escape(id),
        escape(&row.name),
        escape(&row.prometheus.image)
    );
    if row.project_id != STANDALONE {
        // Writing to a String cannot fail.
        let _ = write!(
            labels,
            ",container_label_com_docker_compose_project=\"{}\"",
            escape(&row.project_id)
        );
    }
    if let Some(service) = &row.service_name {
        let _ =
            write!(labels, ",container_label_com_docker_compose_service=\"{}\"", escape(service));
    }
    labels.push('}');
    labels
}

/// Escapes a label value.
fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Exact up to 2^53, like all values in Prometheus.
#[allow(clippy::cast_precision_loss)]
fn float(value: u64) -> f64 {
    value as f64
}

impl MetricFamily<'_> {
    /// Writes the series with their header, or nothing without any series.
    fn write(&self, out: &mut String, series: impl IntoIterator<Item = (impl fmt::Display, f64)>) {
        let Self { name, kind, help } = self;
        let mut has_header = false;
        for (labels, value) in series {
            // Writing to a String cannot fail.
            if !std::mem::replace(&mut has_header, true) {
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
                ..PrometheusFields::default()
            },
            ..ContainerStats::default()
        }
    }

    #[test]
    fn labels_are_escaped_and_unknown_values_have_no_series() {
        let text = of_containers(&[("c1".into(), row())], &[]);
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
    fn a_shared_network_is_counted_for_its_owner_only() {
        let shared = ContainerStats { network_of: Some("c1".into()), ..row() };
        let text = of_containers(&[("c1".into(), row()), ("c2".into(), shared)], &[]);
        assert_eq!(text.matches("container_network_receive_bytes_total{").count(), 1);
    }
}
