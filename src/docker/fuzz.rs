//! Fuzz targets that handle the bytes of a hostile or broken engine. See [`crate::fuzz`].
#![allow(clippy::unwrap_used, clippy::missing_panics_doc)]

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use serde::de::IgnoredAny;

use crate::docker::engine::call::is_plain_id;
use crate::docker::engine::client::parse;
use crate::docker::engine::json::{ContainerInspect, ContainerSummary, EngineEvent, EngineVersion};
use crate::docker::engine::list::ContainerList;
use crate::docker::engine::stream_response::StreamResponse;
use crate::docker::inventory::{Inventory, Target};
use crate::docker::sampling::podman_sample::PodmanFrame;
use crate::docker::sampling::readings::ContainerReadings;
use crate::docker::sampling::sample::Sample;
use crate::stats::metrics;
use crate::stats::reading::Reading;
use crate::stats::snapshot::history::History;
use crate::{Interest, Message, Snapshot};

/// The list of a real engine, and a sample of one of its containers.
static LIST: LazyLock<Vec<ContainerSummary>> = LazyLock::new(|| {
    let list = include_bytes!("../../tests/fixtures/docker-20.10-list.json");
    parse::<ContainerList>(list).unwrap().containers
});
static SAMPLE: LazyLock<Option<Reading>> = LazyLock::new(|| {
    let sample = include_bytes!("../../tests/fixtures/docker-20.10-sample.json");
    parse::<Sample>(sample).unwrap().reading()
});

/// A response of the engine, parsed as each kind in turn: a list, an inspection, a sample, a frame
/// of Podman, the version.
pub fn engine_json(bytes: &[u8]) {
    let _ = parse::<EngineVersion>(bytes);
    let mut inventory = inventory();
    if let Ok(inspected) = parse::<ContainerInspect>(bytes) {
        for id in inventory.uninspected(9) {
            inventory.begin_inspection(&id);
            inventory.apply_inspection(&id, Some(&inspected));
        }
    }
    let sample = parse::<Sample>(bytes).ok();
    let frame = parse::<PodmanFrame>(bytes).ok().map(|frame| frame.stats);
    let readings = sample.iter().map(Sample::reading);
    let samples = frame.iter().flatten();
    readings
        .chain(samples.flat_map(|sample| [sample.reading(true), sample.reading(false)]))
        .for_each(|reading| check(&inventory, reading.as_ref()));
    if let Ok(list) = parse::<ContainerList>(bytes) {
        inventory.begin_list();
        inventory.apply_full_list(list.containers);
    }
    check(&inventory, None);
}

/// Lines of the event stream. An empty line starts a list call.
pub fn event_lines(bytes: &[u8]) {
    let mut inventory = inventory();
    for line in bytes.split(|byte| *byte == b'\n') {
        if line.is_empty() {
            inventory.begin_list();
        }
        let Ok(event) = parse::<EngineEvent>(line) else { continue };
        let Some((project, status)) = inventory.apply(&event) else { continue };
        let message = Message::new("project_status", status).project(&project);
        check_json(&message.to_json().unwrap());
    }
    check_list(&inventory);
    inventory.apply_full_list(LIST.clone());
    check_list(&inventory);
}

/// A streaming response. The first byte is the number of bytes per piece; the pieces must not change
/// the lines.
pub fn engine_stream(bytes: &[u8]) {
    let Some((&size, stream)) = bytes.split_first() else { return };
    let size = usize::from(size) + 1;
    assert_eq!(read(stream, size), read(stream, stream.len().max(1)), "{size} bytes at a time");
}

/// The lines of a response, and whether it ended; `None` if it was rejected.
fn read(stream: &[u8], size: usize) -> (Vec<Vec<u8>>, Option<bool>) {
    let (mut response, mut lines) = (StreamResponse::default(), Vec::new());
    for piece in stream.chunks(size) {
        let fed = response.feed(piece, &mut |line| {
            lines.push(line.to_vec());
            Ok(())
        });
        if fed.is_err() {
            return (lines, None);
        }
    }
    (lines, Some(response.has_ended()))
}

/// An inventory with the containers of a real engine.
fn inventory() -> Inventory {
    let mut inventory = Inventory::default();
    inventory.apply_full_list(LIST.clone());
    inventory
}

/// Encodes the list and returns the containers to sample.
fn check_list(inventory: &Inventory) -> Vec<Target> {
    check_json(&Message::new("project_list", inventory.projects()).to_json().unwrap());
    let targets = inventory.targets(&Interest::all());
    assert!(targets.iter().all(|target| is_plain_id(&target.id)), "{targets:?}");
    targets
}

fn check_json(text: &str) {
    let _: IgnoredAny = serde_json::from_str(text).unwrap();
}

/// Encodes everything about these containers, before and after this reading.
fn check(inventory: &Inventory, reading: Option<&Reading>) {
    let targets = check_list(inventory);
    let now = Instant::now();
    let (mut readings, mut history) = (ContainerReadings::default(), History::default());
    readings.set_targets(&targets, now);
    for (second, reading) in [(0.0, &*SAMPLE), (1.0, &reading.cloned()), (2.0, &*SAMPLE)] {
        for target in &targets {
            assert!(readings.update(&target.id, reading.clone(), now));
        }
        let stats = readings.container_stats(&targets, now, Duration::from_secs(1));
        metrics::of_containers(&stats, &inventory.stopped(&Interest::all()))
            .lines()
            .for_each(check_metric);
        history.record(second, &stats);
        for (id, row) in &stats {
            let percent = row.cpu_percent.unwrap_or_default();
            assert!(percent.is_finite() && percent >= 0.0, "{id}: {percent} %");
        }
        let counts = inventory.counts(&Interest::all());
        let snapshot = Snapshot::with_counts(stats, counts, Duration::MAX).unwrap();
        check_json(&snapshot.to_json());
    }
    check_json(&history.payload(300, &Interest::all()));
}

/// Checks a line of Prometheus's text format: a comment, or a name, quoted labels and a number.
fn check_metric(line: &str) {
    if line.starts_with('#') {
        return;
    }
    let (series, value) = line.rsplit_once(' ').unwrap();
    assert!(value.parse::<f64>().is_ok_and(f64::is_finite), "{line}");
    let Some((_, labels)) = series.split_once('{') else { return };
    let mut characters = labels.chars();
    let mut quoted = false;
    while let Some(character) = characters.next() {
        match character {
            '"' => quoted = !quoted,
            '\\' if quoted => {
                assert!(matches!(characters.next(), Some('\\' | '"' | 'n')), "{line}");
            }
            '}' if !quoted => assert_eq!(characters.next(), None, "{line}"),
            _ => {}
        }
    }
    assert!(!quoted, "{line}");
}
