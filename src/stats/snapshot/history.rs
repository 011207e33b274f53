//! The last five minutes in columns: pure.
//!
//! One point a second at most, so a container takes at most [`POINTS`] points of 48 bytes, 14 KiB,
//! and is forgotten once it has had none for [`GRACE`] readings.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;

use crate::Interest;
use crate::stats::payload::ContainerStats;

/// The most points: five minutes at one a second.
const POINTS: usize = 300;
/// Points for which room is made at a time; seven times this is one more than the most there are.
const GROWTH: usize = 43;
/// Less than this after the last point, seconds, a reading adds none.
const SPACING: f64 = 0.9;
/// Readings without a figure after which a container is forgotten.
const GRACE: u64 = 10;

/// Figures of every container over time.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// When each reading was, Unix seconds; the first is reading number `first`.
    times: VecDeque<f64>,
    first: u64,
    containers: HashMap<String, Track>,
}

#[derive(Clone, Debug)]
struct Track {
    project: String,
    /// The number of the reading that the first point belongs to.
    from: u64,
    points: VecDeque<Option<Point>>,
    /// The last reading with a figure.
    seen: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Point {
    cpu_percent: Option<f32>,
    bytes: [u64; 5],
}

/// The columns beside the CPU's, in the order of [`Point::bytes`].
const COLUMNS: [&str; 5] =
    ["memory_usage", "network_rx", "network_tx", "block_read", "block_write"];
/// Stands for what is not known: no counter gets that far.
const UNKNOWN: u64 = u64::MAX;

impl History {
    /// Adds a reading made at `now`, Unix seconds.
    pub(crate) fn record(&mut self, now: f64, rows: &[(String, ContainerStats)]) {
        match self.times.back() {
            // The clock was set back: what was after this moment never was.
            Some(&last) if now < last => self.clear(),
            Some(&last) if now - last < SPACING => return,
            _ => {}
        }
        let number = self.first + self.times.len() as u64;
        self.times.push_back(now);
        for (id, row) in rows {
            let track = self.containers.entry(id.clone()).or_insert_with(|| Track {
                project: row.project_id.clone(),
                from: number,
                points: VecDeque::new(),
                seen: number,
            });
            track.fill(number);
            track.push(Some(Point::of(row)));
            track.seen = number;
        }
        self.containers.retain(|_, track| number - track.seen <= GRACE);
        if self.times.len() > POINTS {
            self.times.pop_front();
            self.first += 1;
            for track in self.containers.values_mut() {
                track.forget_before(self.first);
            }
        }
    }

    /// Forgets everything: nobody listens, so nothing is read.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The payload of a `history` message: the last `seconds`, of what the interest includes.
    pub(crate) fn payload(&self, seconds: u64, interest: &Interest) -> String {
        let mut times = self.times.iter();
        let newest = self.times.back().copied().unwrap_or_default();
        // Precise for as long as anyone may ask: 1 to 300.
        #[allow(clippy::cast_precision_loss)]
        let since = newest - seconds as f64;
        let skipped = times.by_ref().take_while(|&&t| t <= since).count() as u64;
        let begin = self.first + skipped;
        let end = self.first + self.times.len() as u64;
        let mut json = String::from("{\"t\":");
        let kept = self.times.iter().skip(usize::try_from(skipped).unwrap_or(usize::MAX));
        column(&mut json, kept.map(|t| Some(format!("{t:.1}"))));
        json.push_str(",\"containers\":{");
        let mut comma = "";
        for (id, track) in &self.containers {
            if interest.includes(&track.project) {
                // A string is always JSON.
                let id = serde_json::to_string(id).unwrap_or_default();
                let _ = write!(json, "{comma}{id}:");
                track.write(&mut json, begin, end);
                comma = ",";
            }
        }
        json.push_str("}}");
        json
    }
}

impl Point {
    fn of(row: &ContainerStats) -> Self {
        let bytes =
            [row.memory_usage, row.network_rx, row.network_tx, row.block_read, row.block_write]
                .map(|value| value.unwrap_or(UNKNOWN));
        // Two decimals are shown.
        #[allow(clippy::cast_possible_truncation)]
        let cpu_percent = row.cpu_percent.map(|cpu| cpu as f32);
        Self { cpu_percent, bytes }
    }
}

impl Track {
    /// Puts gaps for the readings that had no figure, up to number `number`.
    fn fill(&mut self, number: u64) {
        while self.from + (self.points.len() as u64) < number {
            self.push(None);
        }
    }

    /// Adds a point. Left to itself, the queue would take room for twice as many each time.
    fn push(&mut self, point: Option<Point>) {
        if self.points.len() == self.points.capacity() {
            self.points.reserve_exact(GROWTH);
        }
        self.points.push_back(point);
    }

    fn forget_before(&mut self, first: u64) {
        if self.from < first {
            self.from = first;
            self.points.pop_front();
        }
    }

    fn at(&self, number: u64) -> Option<Point> {
        let index = usize::try_from(number.checked_sub(self.from)?).ok()?;
        *self.points.get(index)?
    }

    fn write(&self, json: &mut String, begin: u64, end: u64) {
        json.push_str("{\"cpu_percent\":");
        let cpu = |n| self.at(n)?.cpu_percent.map(|cpu| format!("{cpu:.2}"));
        column(json, (begin..end).map(cpu));
        for (index, name) in COLUMNS.into_iter().enumerate() {
            let _ = write!(json, ",\"{name}\":");
            let bytes = |n| {
                let bytes = *self.at(n)?.bytes.get(index)?;
                (bytes != UNKNOWN).then(|| bytes.to_string())
            };
            column(json, (begin..end).map(bytes));
        }
        json.push('}');
    }
}

/// A JSON array; what is `None` is `null`.
fn column(json: &mut String, values: impl Iterator<Item = Option<String>>) {
    json.push('[');
    let mut comma = "";
    for value in values {
        json.push_str(comma);
        json.push_str(value.as_deref().unwrap_or("null"));
        comma = ",";
    }
    json.push(']');
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn figures(id: &str, project: &str, memory: u64) -> (String, ContainerStats) {
        let row = ContainerStats {
            project_id: project.into(),
            cpu_percent: Some(1.5),
            memory_usage: Some(memory),
            ..ContainerStats::default()
        };
        (id.into(), row)
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
    fn a_container_that_comes_later_has_nothing_before() {
        let mut history = History::default();
        history.record(100.0, &[figures("a", "shop", 1)]);
        history.record(101.0, &[figures("a", "shop", 2), figures("b", "blog", 7)]);
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
    fn so_many_seconds_are_so_many_points() {
        let mut history = History::default();
        for n in 0..20 {
            history.record(100.0 + f64::from(n), &[figures("a", "shop", 1)]);
        }
        assert_eq!(payload(&history, 5, &[])["t"].as_array().unwrap().len(), 5);
        assert_eq!(payload(&history, 300, &[])["t"].as_array().unwrap().len(), 20);
    }

    #[test]
    fn it_holds_five_minutes_however_long_it_runs_and_however_fast() {
        let mut history = History::default();
        for n in 0..10_000_u32 {
            history.record(f64::from(n) * 0.1, &[figures("a", "shop", n.into())]);
        }
        assert_eq!(history.times.len(), POINTS);
        let all = payload(&history, 300, &[]);
        let memory = all["containers"]["a"]["memory_usage"].as_array().unwrap();
        assert_eq!(memory.len(), POINTS);
        assert!(memory.iter().all(Value::is_u64), "no point is missing");
        let room = history.containers["a"].points.capacity();
        assert!(room <= POINTS + 1, "room for {room}");
    }

    #[test]
    fn a_clock_that_was_set_back_begins_anew() {
        let mut history = History::default();
        history.record(1000.0, &[figures("a", "shop", 1)]);
        history.record(400.0, &[figures("a", "shop", 2)]);
        let all = payload(&history, 300, &[]);
        assert_eq!(
            (&all["t"], &all["containers"]["a"]["memory_usage"]),
            (&json!([400.0]), &json!([2]))
        );
    }

    #[test]
    fn a_gap_is_null_and_a_container_long_gone_is_forgotten() {
        let mut history = History::default();
        history.record(1.0, &[figures("a", "shop", 1)]);
        history.record(2.0, &[]);
        history.record(3.0, &[figures("a", "shop", 3)]);
        let all = payload(&history, 300, &[]);
        assert_eq!(all["containers"]["a"]["memory_usage"], json!([1, null, 3]));
        for n in 0..=GRACE {
            #[allow(clippy::cast_precision_loss)]
            history.record(4.0 + n as f64, &[]);
        }
        assert!(history.containers.is_empty());
    }
}
