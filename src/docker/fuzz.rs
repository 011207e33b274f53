//! What the bytes of a hostile or broken engine come to: fuzz targets, see [`crate::fuzz`].
#![allow(clippy::unwrap_used, clippy::missing_panics_doc)]

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use serde::de::IgnoredAny;

use crate::docker::engine::call::is_plain_id;
use crate::docker::engine::client::parse;
use crate::docker::engine::json::{ContainerInspect, ContainerSummary, EngineEvent, EngineVersion};
use crate::docker::engine::stream_response::StreamResponse;
use crate::docker::inventory::{Inventory, Target};
use crate::docker::sampling::readings::ContainerReadings;
use crate::docker::sampling::sample::{PodmanFrame, Sample};
use crate::stats::metrics;
use crate::stats::snapshot::history::History;
use crate::stats::usage::Reading;
use crate::{Counters, EngineCounters, Interest, Message, Snapshot};

/// What a real engine listed, and a sample of one of its containers.
static LIST: LazyLock<Vec<ContainerSummary>> =
    LazyLock::new(|| parse(include_bytes!("../../tests/fixtures/docker-20.10-list.json")).unwrap());
static SAMPLE: LazyLock<Option<Reading>> = LazyLock::new(|| {
    let sample = include_bytes!("../../tests/fixtures/docker-20.10-sample.json");
    parse::<Sample>(sample).unwrap().reading()
});

/// An answer of the engine, taken for each that it might be: a list, an inspection, a sample, a
/// frame of Podman's, the version.
pub fn engine_json(bytes: &[u8]) {
    let _ = parse::<EngineVersion>(bytes);
    let mut inventory = known();
    if let Ok(inspected) = parse::<ContainerInspect>(bytes) {
        for id in inventory.to_inspect(9) {
            inventory.inspected(&id, Some(&inspected));
        }
    }
    let sample = parse::<Sample>(bytes).ok();
    let frame = parse::<PodmanFrame>(bytes).ok().and_then(|frame| frame.stats);
    let readings = sample.iter().map(Sample::reading);
    let samples = frame.iter().flatten();
    readings
        .chain(samples.flat_map(|sample| [sample.reading(true), sample.reading(false)]))
        .for_each(|reading| check(&inventory, reading.as_ref()));
    if let Ok(list) = parse::<Vec<ContainerSummary>>(bytes) {
        inventory.listing();
        inventory.listed(list);
    }
    check(&inventory, None);
}

/// Lines of the engine's events, at the first empty one of which a list comes.
pub fn event_lines(bytes: &[u8]) {
    let mut inventory = known();
    for line in bytes.split(|byte| *byte == b'\n') {
        if line.is_empty() {
            inventory.listing();
        }
        let Ok(event) = parse::<EngineEvent>(line) else { continue };
        let Some((project, status)) = inventory.apply(&event) else { continue };
        let message = Message::new("project_status", status).project(&project);
        check_json(&message.to_json().unwrap());
    }
    check_list(&inventory);
    inventory.listed(LIST.clone());
    check_list(&inventory);
}

/// An answer without end, from its head on; the first byte says how many bytes come at a time.
///
/// However they come, the same lines must come of them.
pub fn engine_stream(bytes: &[u8]) {
    let Some((&size, stream)) = bytes.split_first() else { return };
    let size = usize::from(size) + 1;
    assert_eq!(read(stream, size), read(stream, stream.len().max(1)), "{size} bytes at a time");
}

/// The lines of an answer, and whether it ended; `None` where it was refused.
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

/// An inventory that knows the containers of a real engine.
fn known() -> Inventory {
    let mut inventory = Inventory::default();
    inventory.listed(LIST.clone());
    inventory
}

/// Tells of these containers; those to be sampled.
fn check_list(inventory: &Inventory) -> Vec<Target> {
    check_json(&Message::new("project_list", inventory.projects()).to_json().unwrap());
    let targets = inventory.targets(&Interest::all());
    assert!(targets.iter().all(|target| is_plain_id(&target.id)), "{targets:?}");
    targets
}

fn check_json(text: &str) {
    let _: IgnoredAny = serde_json::from_str(text).unwrap();
}

/// Tells everything there is to tell of these containers, before and after this reading.
fn check(inventory: &Inventory, reading: Option<&Reading>) {
    let targets = check_list(inventory);
    let now = Instant::now();
    let (mut rows, mut history) = (ContainerReadings::default(), History::default());
    rows.keep(&targets, now);
    for (second, reading) in [(0.0, &*SAMPLE), (1.0, &reading.cloned()), (2.0, &*SAMPLE)] {
        for target in &targets {
            assert!(rows.take(&target.id, reading.clone(), now));
        }
        let told = rows.rows(&targets, now, Duration::from_secs(1));
        let text = metrics::text(&Counters::default(), &EngineCounters::default(), &told);
        text.lines().for_each(check_metric);
        history.record(second, &told);
        for (id, row) in &told {
            let percent = row.cpu_percent.unwrap_or_default();
            assert!(percent.is_finite() && percent >= 0.0, "{id}: {percent} %");
        }
        let counts = inventory.counts(&Interest::all());
        let snapshot = Snapshot::with_counts(told, counts, Duration::MAX).unwrap();
        check_json(&snapshot.to_json());
    }
    check_json(&history.payload(300, &Interest::all()));
}

/// A line of Prometheus's text format: a comment, or a name, labels in quotes, and a number.
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
