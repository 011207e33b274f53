//! Any JSON value in any place of a response costs at most the field in that place.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use serde_json::Value;

use super::engine::client::parse;
use super::engine::json::{ContainerInspect, EngineEvent, EngineVersion};
use super::engine::list::ContainerList;
use super::sampling::podman_sample::PodmanFrame;
use super::sampling::sample::Sample;
use crate::stats::reading::Reading;

/// Values of unexpected types, ranges and nesting.
const VALUES: &[&str] = &[
    "null",
    "true",
    "-1",
    "0.5",
    "1.5e3",
    "70000",
    "1e400",
    "-1e400",
    "18446744073709551615",
    "18446744073709552000",
    "\"text\"",
    "\"\\ud800\"",
    "[]",
    "[null]",
    "{}",
    "{\"a\":[{}]}",
];

const SAMPLE: &str =
    include_str!("../../tests/fixtures/samples/docker-20.10.24-cgroupv1-oneshot-shop-web-1.json");
const FRAME: &str =
    include_str!("../../tests/fixtures/samples/podman-4.3.1-cgroupv1-libpod-stats.json");
const LIST: &str = include_str!("../../tests/fixtures/docker-20.10-list.json");

/// Calls `check` with the path and text of each variant of `json` in which one value below the root
/// is replaced.
fn for_each_variant(json: &str, check: &mut dyn FnMut(&[String], &str, &str)) {
    const PLACEHOLDER: &str = "@value@";
    let document: Value = serde_json::from_str(json).unwrap();
    let mut paths = Vec::new();
    collect_paths(&document, &mut Vec::new(), &mut paths);
    assert!(paths.len() > 3);
    for path in paths {
        let mut variant = document.clone();
        let escape = |key: &String| key.replace('~', "~0").replace('/', "~1");
        let pointer = format!("/{}", path.iter().map(escape).collect::<Vec<_>>().join("/"));
        *variant.pointer_mut(&pointer).unwrap() = PLACEHOLDER.into();
        let text = variant.to_string();
        for value in VALUES {
            check(&path, value, &text.replace(&format!("\"{PLACEHOLDER}\""), value));
        }
    }
}

fn collect_paths(value: &Value, path: &mut Vec<String>, paths: &mut Vec<Vec<String>>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(members) => members.iter().map(|(key, v)| (key.clone(), v)).collect(),
        // The first elements stand for all.
        Value::Array(elements) => {
            elements.iter().take(3).enumerate().map(|(n, v)| (n.to_string(), v)).collect()
        }
        _ => Vec::new(),
    };
    for (key, child) in children {
        path.push(key);
        paths.push(path.clone());
        collect_paths(child, path, paths);
        path.pop();
    }
}

/// The names of the fields in which two readings differ.
fn differences(a: &Reading, b: &Reading) -> Vec<&'static str> {
    let fields = [
        ("at", a.at == b.at),
        ("host_clock", a.host_clock == b.host_clock),
        ("cpu", a.cpu == b.cpu),
        ("online_cpus", a.online_cpus == b.online_cpus),
        ("memory", a.memory == b.memory),
        ("memory_total", a.memory_total == b.memory_total),
        ("memory_limit", a.memory_limit == b.memory_limit),
        ("network", a.network == b.network),
        ("block", a.block == b.block),
        ("pids", a.pids == b.pids),
    ];
    fields.into_iter().filter(|(_, same)| !same).map(|(name, _)| name).collect()
}

#[test]
fn a_malformed_sample_costs_only_that_field() {
    let sample = SAMPLE.lines().next().unwrap();
    let expected = parse::<Sample>(sample.as_bytes()).unwrap().reading().unwrap();
    for_each_variant(sample, &mut |path, value, json| {
        let parsed = parse::<Sample>(json.as_bytes());
        let reading = parsed.unwrap_or_else(|error| panic!("{path:?} {value}: {error}")).reading();
        let affected: &[&str] = match path[0].as_str() {
            // Without a time there is no reading; with a number of processes it is one of Windows.
            "read" | "num_procs" => return,
            "cpu_stats" => &["cpu", "online_cpus", "host_clock"],
            "memory_stats" => &["memory", "memory_total", "memory_limit", "block"],
            "networks" => &["network"],
            "blkio_stats" => &["block"],
            "pids_stats" => &["pids"],
            _ => &[],
        };
        for field in differences(&expected, &reading.unwrap()) {
            assert!(affected.contains(&field), "{path:?} {value} changes {field}");
        }
    });
}

#[test]
fn a_malformed_frame_of_podman_costs_only_that_container() {
    let frame = FRAME.lines().next().unwrap();
    let containers = parse::<PodmanFrame>(frame.as_bytes()).unwrap().stats.len();
    assert_eq!(containers, 2);
    for_each_variant(frame, &mut |path, value, json| {
        let parsed = parse::<PodmanFrame>(json.as_bytes());
        let stats = parsed.unwrap_or_else(|error| panic!("{path:?} {value}: {error}")).stats;
        if path.len() > 1 {
            assert!(stats.len() >= containers - 1, "{path:?} {value}");
        }
    });
}

#[test]
fn a_malformed_element_of_the_list_costs_only_that_container() {
    let mut list: Vec<Value> = serde_json::from_str(LIST).unwrap();
    list.extend(list.clone());
    let all = list.len();
    for_each_variant(&Value::from(list).to_string(), &mut |path, value, json| {
        let parsed = parse::<ContainerList>(json.as_bytes());
        let list = parsed.unwrap_or_else(|error| panic!("{path:?} {value}: {error}"));
        let skipped = usize::from(path.len() == 1 || path.len() == 2 && path[1] == "Id");
        assert!(list.skipped <= skipped, "{path:?} {value}: {} skipped", list.skipped);
        assert_eq!(list.containers.len() + list.skipped, all, "{path:?} {value}");
    });
}

#[test]
fn other_malformed_responses_are_parsed() {
    const INSPECT: &str = r#"{"Id":"a","State":{"StartedAt":"2026-11-22T20:28:22.3Z",
        "Health":{"Status":"healthy","Log":[]}},"HostConfig":{"NanoCpus":5,"CpuQuota":0,
        "CpuPeriod":0,"CpusetCpus":"0","NetworkMode":"host"}}"#;
    const EVENT: &str = r#"{"Type":"container","Action":"start","timeNano":7,"HealthStatus":"",
        "Actor":{"ID":"a","Attributes":{"name":"web","image":"b","exitCode":"1",
        "com.docker.compose.project":"shop","com.docker.compose.service":"web"}}}"#;
    const VERSION: &str = r#"{"Version":"20.10","ApiVersion":"1.41","MinAPIVersion":"1.12",
        "Components":[{"Name":"Engine","Details":{}}]}"#;
    for_each_variant(INSPECT, &mut |path, value, json| {
        let parsed = parse::<ContainerInspect>(json.as_bytes());
        let inspect = parsed.unwrap_or_else(|error| panic!("{path:?} {value}: {error}"));
        if path[0] != "State" {
            assert_eq!(inspect.state.health(), Some("healthy"), "{path:?} {value}");
        }
    });
    for_each_variant(EVENT, &mut |path, value, json| {
        let parsed = parse::<EngineEvent>(json.as_bytes());
        let event = parsed.unwrap_or_else(|error| panic!("{path:?} {value}: {error}"));
        if path[0] != "Actor" {
            assert_eq!(event.actor.id, "a", "{path:?} {value}");
            assert_eq!(event.actor.attributes.labels.project(), Some("shop"), "{path:?} {value}");
        }
    });
    for_each_variant(VERSION, &mut |path, value, json| {
        let parsed = parse::<EngineVersion>(json.as_bytes());
        let version = parsed.unwrap_or_else(|error| panic!("{path:?} {value}: {error}"));
        if path[0] != "MinAPIVersion" {
            assert_eq!(version.min_api_version, "1.12", "{path:?} {value}");
        }
    });
}
