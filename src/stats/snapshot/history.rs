//! The last five minutes of every container, in columns.
//!
//! At most one point per second: a container takes at most [`MAX_POINTS`] points of 48 bytes, 14 KiB.
//! It is removed after [`MAX_GAP`] snapshots without it.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;

use crate::Interest;
use crate::stats::payload::ContainerStats;

/// Five minutes at one point per second.
const MAX_POINTS: usize = 300;
/// Points by which a queue's capacity grows: seven times this is [`MAX_POINTS`] plus one.
const GROWTH: usize = 43;
/// The shortest time between two points, seconds. Snapshots in between are skipped.
const MIN_SPACING: f64 = 0.9;
/// Snapshots without a container after which it is removed.
const MAX_GAP: u64 = 10;

/// The stats of every container over time.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// The time of each snapshot, Unix seconds.
    times: VecDeque<f64>,
    /// The number of the first snapshot in `times`; snapshots are numbered consecutively.
    first: u64,
    containers: HashMap<String, Track>,
}

#[derive(Clone, Debug)]
struct Track {
    project: String,
    /// The number of the first point's snapshot.
    first: u64,
    points: VecDeque<Option<Point>>,
    /// The number of the last snapshot with this container.
    last_seen: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Point {
    cpu_percent: Option<f32>,
    bytes: [u64; 5],
}

/// The columns other than CPU, in the order of [`Point::bytes`].
const COLUMNS: [&str; 5] =
    ["memory_usage", "network_rx", "network_tx", "block_read", "block_write"];
/// An unknown value. No counter reaches it.
const UNKNOWN: u64 = u64::MAX;

impl History {
    /// Adds a snapshot taken at `now`, Unix seconds.
    pub(crate) fn record(&mut self, now: f64, rows: &[(String, ContainerStats)]) {
        match self.times.back() {
            // The clock was set back.
            Some(&last) if now < last => self.clear(),
            Some(&last) if now - last < MIN_SPACING => return,
            _ => {}
        }
        let number = self.first + self.times.len() as u64;
        self.times.push_back(now);
        for (id, row) in rows {
            let track = self.containers.entry(id.clone()).or_insert_with(|| Track {
                project: row.project_id.clone(),
                first: number,
                points: VecDeque::new(),
                last_seen: number,
            });
            track.fill_gap(number);
            track.push(Some(Point::new(row)));
            track.last_seen = number;
        }
        self.containers.retain(|_, track| number - track.last_seen <= MAX_GAP);
        if self.times.len() > MAX_POINTS {
            self.times.pop_front();
            self.first += 1;
            for track in self.containers.values_mut() {
                track.remove_before(self.first);
            }
        }
    }

    /// Removes everything.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Encodes the payload of a `history` message: the last `seconds` of the projects that
    /// `interest` includes.
    pub(crate) fn payload(&self, seconds: u64, interest: &Interest) -> String {
        let mut times = self.times.iter();
        let newest = self.times.back().copied().unwrap_or_default();
        // `seconds` is at most 300.
        #[allow(clippy::cast_precision_loss)]
        let since = newest - seconds as f64;
        let skipped = times.by_ref().take_while(|&&t| t <= since).count() as u64;
        let begin = self.first + skipped;
        let end = self.first + self.times.len() as u64;
        let mut json = String::from("{\"t\":");
        let kept = self.times.iter().skip(usize::try_from(skipped).unwrap_or(usize::MAX));
        write_array(&mut json, kept.map(|t| Some(format!("{t:.1}"))));
        json.push_str(",\"containers\":{");
        let mut separator = "";
        for (id, track) in &self.containers {
            if interest.includes(&track.project) {
                // Encoding a string cannot fail.
                let id = serde_json::to_string(id).unwrap_or_default();
                let _ = write!(json, "{separator}{id}:");
                track.write(&mut json, begin, end);
                separator = ",";
            }
        }
        json.push_str("}}");
        json
    }
}

impl Point {
    fn new(row: &ContainerStats) -> Self {
        let bytes =
            [row.memory_usage, row.network_rx, row.network_tx, row.block_read, row.block_write]
                .map(|value| value.unwrap_or(UNKNOWN));
        // Only two decimals are sent.
        #[allow(clippy::cast_possible_truncation)]
        let cpu_percent = row.cpu_percent.map(|cpu| cpu as f32);
        Self { cpu_percent, bytes }
    }
}

impl Track {
    /// Adds gaps for the snapshots without this container, up to `number`.
    fn fill_gap(&mut self, number: u64) {
        while self.first + (self.points.len() as u64) < number {
            self.push(None);
        }
    }

    /// Adds a point, growing the queue in small steps instead of doubling it.
    fn push(&mut self, point: Option<Point>) {
        if self.points.len() == self.points.capacity() {
            self.points.reserve_exact(GROWTH);
        }
        self.points.push_back(point);
    }

    fn remove_before(&mut self, first: u64) {
        if self.first < first {
            self.first = first;
            self.points.pop_front();
        }
    }

    fn at(&self, number: u64) -> Option<Point> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        *self.points.get(index)?
    }

    fn write(&self, json: &mut String, begin: u64, end: u64) {
        json.push_str("{\"cpu_percent\":");
        let cpu = |n| self.at(n)?.cpu_percent.map(|cpu| format!("{cpu:.2}"));
        write_array(json, (begin..end).map(cpu));
        for (index, name) in COLUMNS.into_iter().enumerate() {
            let _ = write!(json, ",\"{name}\":");
            let bytes = |n| {
                let bytes = *self.at(n)?.bytes.get(index)?;
                (bytes != UNKNOWN).then(|| bytes.to_string())
            };
            write_array(json, (begin..end).map(bytes));
        }
        json.push('}');
    }
}

/// Writes a JSON array, with `null` for `None`.
fn write_array(json: &mut String, values: impl Iterator<Item = Option<String>>) {
    json.push('[');
    let mut separator = "";
    for value in values {
        json.push_str(separator);
        json.push_str(value.as_deref().unwrap_or("null"));
        separator = ",";
    }
    json.push(']');
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn row(id: &str, project: &str, memory: u64) -> (String, ContainerStats) {
        let stats = ContainerStats {
            project_id: project.into(),
            cpu_percent: Some(1.5),
            memory_usage: Some(memory),
            ..ContainerStats::default()
        };
        (id.into(), stats)
    }

    fn payload(history: &History, seconds: u64, projects: &[&str]) -> Value {
        let interest = if projects.is_empty() {
            Interest::all()
        } else {
            Interest::only(projects.iter().copied())
        };
        serde_json::from_str(&history.payload(seconds, &interest)).unwrap()
    }

    #[test]
    fn a_point_takes_48_bytes() {
        assert_eq!(size_of::<Option<Point>>(), 48);
    }

    #[test]
    fn a_new_container_has_nulls_before_its_first_point() {
        let mut history = History::default();
        history.record(100.0, &[row("a", "shop", 1)]);
        history.record(101.0, &[row("a", "shop", 2), row("b", "blog", 7)]);
        let all = payload(&history, 300, &[]);
        assert_eq!(all["t"], json!([100.0, 101.0]));
        assert_eq!(all["containers"]["a"]["memory_usage"], json!([1, 2]));
        assert_eq!(all["containers"]["a"]["network_rx"], json!([null, null]));
        assert_eq!(all["containers"]["b"]["memory_usage"], json!([null, 7]));
        assert_eq!(all["containers"]["b"]["cpu_percent"], json!([null, 1.5]));
        let blog = payload(&history, 300, &["blog"]);
        assert_eq!(blog["containers"].as_object().unwrap().len(), 1);
    }

    #[test]
    fn one_point_per_second() {
        let mut history = History::default();
        for n in 0..20 {
            history.record(100.0 + f64::from(n), &[row("a", "shop", 1)]);
        }
        assert_eq!(payload(&history, 5, &[])["t"].as_array().unwrap().len(), 5);
        assert_eq!(payload(&history, 300, &[])["t"].as_array().unwrap().len(), 20);
    }

    #[test]
    fn history_is_limited_to_five_minutes() {
        let mut history = History::default();
        for n in 0..10_000_u32 {
            history.record(f64::from(n) * 0.1, &[row("a", "shop", n.into())]);
        }
        assert_eq!(history.times.len(), MAX_POINTS);
        let all = payload(&history, 300, &[]);
        let memory = all["containers"]["a"]["memory_usage"].as_array().unwrap();
        assert_eq!(memory.len(), MAX_POINTS);
        assert!(memory.iter().all(Value::is_u64), "no point is missing");
        let capacity = history.containers["a"].points.capacity();
        assert!(capacity <= MAX_POINTS + 1, "{capacity}");
    }

    #[test]
    fn setting_the_clock_back_clears_the_history() {
        let mut history = History::default();
        history.record(1000.0, &[row("a", "shop", 1)]);
        history.record(400.0, &[row("a", "shop", 2)]);
        let all = payload(&history, 300, &[]);
        assert_eq!(
            (&all["t"], &all["containers"]["a"]["memory_usage"]),
            (&json!([400.0]), &json!([2]))
        );
    }

    #[test]
    fn gaps_are_null_and_missing_containers_are_removed() {
        let mut history = History::default();
        history.record(1.0, &[row("a", "shop", 1)]);
        history.record(2.0, &[]);
        history.record(3.0, &[row("a", "shop", 3)]);
        let all = payload(&history, 300, &[]);
        assert_eq!(all["containers"]["a"]["memory_usage"], json!([1, null, 3]));
        for n in 0..=MAX_GAP {
            #[allow(clippy::cast_precision_loss)]
            history.record(4.0 + n as f64, &[]);
        }
        assert!(history.containers.is_empty());
    }
}
