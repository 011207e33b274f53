//! The state of `kentros top`: the latest stats, and how they are displayed.

use std::collections::BTreeMap;
use std::time::Duration;

use kentros::{ContainerStats, EngineState, EngineStatus, printable};

use crate::stats_feed::{StatsByContainer, StatsUpdate, TotalsByProject};
use crate::terminal_text::width;

use super::keys::Key;
use super::rates::{IoCounters, RateMeter, parse_timestamp};
use super::rows::SortColumn;

/// Stats are stale after this time or this many intervals, whichever is longer.
const STALE_AFTER: Duration = Duration::from_secs(5);
const STALE_AFTER_INTERVALS: u32 = 5;

#[derive(Debug)]
pub(super) struct TopState {
    /// The engine or hub, for the title.
    pub(super) target: String,
    /// The project selected by `--project`.
    project: Option<String>,
    pub(super) engine: Option<EngineStatus>,
    feed_error: Option<String>,
    /// The time between two samples, if the engine status does not report it.
    interval: Duration,
    /// The current time, since the start.
    now: Duration,
    /// The time of the latest stats, since the start.
    updated_at: Option<Duration>,
    pub(super) containers: StatsByContainer,
    pub(super) totals: TotalsByProject,
    pub(super) container_meters: BTreeMap<String, RateMeter>,
    pub(super) project_meters: BTreeMap<String, RateMeter>,
    pub(super) sort: SortColumn,
    pub(super) is_reversed: bool,
    pub(super) is_grouped: bool,
    /// Searched for in the names of containers, services and projects.
    pub(super) search: String,
    /// Whether keys are appended to the search.
    pub(super) is_typing: bool,
    /// The number of rows scrolled past.
    pub(super) scroll: usize,
}

/// Numbers for the summary line.
pub(super) struct Summary {
    pub(super) containers: usize,
    pub(super) projects: usize,
    pub(super) cpu_percent: Option<f64>,
    pub(super) memory: Option<u64>,
}

impl TopState {
    pub(super) fn new(target: String, project: Option<String>, interval: Duration) -> Self {
        Self {
            target,
            project,
            engine: None,
            feed_error: None,
            interval,
            now: Duration::ZERO,
            updated_at: None,
            containers: StatsByContainer::new(),
            totals: TotalsByProject::new(),
            container_meters: BTreeMap::new(),
            project_meters: BTreeMap::new(),
            sort: SortColumn::Cpu,
            is_reversed: false,
            is_grouped: true,
            search: String::new(),
            is_typing: false,
            scroll: 0,
        }
    }

    /// Sets the current time, since the start.
    pub(super) fn set_time(&mut self, now: Duration) {
        self.now = now;
    }

    pub(super) fn apply(&mut self, update: StatsUpdate) {
        if let Some(containers) = update.container_stats {
            self.feed_error = None;
            self.updated_at = Some(self.now);
            self.container_meters.retain(|id, _| containers.contains_key(id));
            for (id, stats) in &containers {
                let sampled_at = parse_timestamp(stats.timestamp.as_ref());
                add_sample(&mut self.container_meters, id, sampled_at, 1, counters(stats));
            }
            self.containers = containers;
        }
        if let Some(totals) = update.project_stats {
            self.project_meters.retain(|id, _| totals.contains_key(id));
            for (id, totals) in &totals {
                let members = self.containers.values().filter(|stats| stats.project_id == *id);
                let newest =
                    members.filter_map(|stats| parse_timestamp(stats.timestamp.as_ref())).max();
                let counters =
                    [totals.network_rx, totals.network_tx, totals.block_read, totals.block_write];
                add_sample(&mut self.project_meters, id, newest, totals.sampled, counters);
            }
            self.totals = totals;
        }
        if let Some(engine) = update.engine_status {
            self.engine = Some(engine);
        }
    }

    /// Marks the stats as stale until the next update.
    pub(super) fn set_feed_error(&mut self, why: String) {
        self.feed_error = Some(why);
    }

    /// Why the stats are stale, or `None` if they are current.
    pub(super) fn stale_reason(&self) -> Option<String> {
        let engine_error = || {
            let engine = self.engine.as_ref()?;
            let reason = match engine.state {
                EngineState::Connected => return None,
                EngineState::Connecting => "connecting to the engine",
                _ => engine.error.as_deref().unwrap_or("the engine is unreachable"),
            };
            Some(reason.to_owned())
        };
        self.feed_error.clone().or_else(engine_error).or_else(|| self.overdue())
    }

    fn overdue(&self) -> Option<String> {
        let reported = self.engine.as_ref().map(|engine| Duration::from_millis(engine.interval_ms));
        let interval = reported.unwrap_or(self.interval);
        let age = self.now.saturating_sub(self.updated_at.unwrap_or_default());
        (age > STALE_AFTER.max(interval.saturating_mul(STALE_AFTER_INTERVALS)))
            .then(|| format!("no update for {} s", age.as_secs()))
    }

    /// Why the table is empty, or `None` before the first stats.
    pub(super) fn empty_reason(&self) -> Option<String> {
        self.updated_at?;
        Some(match (self.search.as_str(), &self.project) {
            ("", None) => "no containers".to_owned(),
            ("", Some(project)) => format!("no containers in project {project:?}"),
            (search, _) => format!("no container matches {search:?}"),
        })
    }

    pub(super) fn summary(&self) -> Summary {
        let totals = || self.totals.values();
        Summary {
            containers: self.containers.len(),
            projects: self.totals.len(),
            cpu_percent: totals().filter_map(|totals| totals.cpu_percent).reduce(|a, b| a + b),
            memory: totals().filter_map(|totals| totals.memory_usage).reduce(|a, b| a + b),
        }
    }

    /// The width of the longest container name.
    pub(super) fn longest_name(&self) -> usize {
        self.containers.values().map(|stats| width(&printable(&stats.name))).max().unwrap_or(0)
    }

    /// Handles a key. `page` is the number of visible rows. Returns `false` to quit.
    pub(super) fn handle_key(&mut self, key: Key, page: usize) -> bool {
        let page = page.max(1);
        let last = self.rows().len().saturating_sub(page);
        let scroll = self.scroll.min(last);
        self.scroll = match key {
            Key::Up => scroll.saturating_sub(1),
            Key::Down => (scroll + 1).min(last),
            Key::PageUp => scroll.saturating_sub(page),
            Key::PageDown => (scroll + page).min(last),
            Key::Home => 0,
            Key::End => last,
            _ => scroll,
        };
        match key {
            Key::Escape => {
                self.search.clear();
                self.is_typing = false;
            }
            Key::Enter => self.is_typing = false,
            Key::Backspace if self.is_typing => {
                self.search.pop();
            }
            Key::Char(c) if self.is_typing => self.search.push(c),
            Key::Quit | Key::Char('q') => return false,
            Key::Char('/') => self.is_typing = true,
            Key::Char('g') => self.is_grouped = !self.is_grouped,
            Key::Char('k') => self.scroll = scroll.saturating_sub(1),
            Key::Char('j') => self.scroll = (scroll + 1).min(last),
            Key::Char(c) => {
                if let Some(column) = SortColumn::from_key(c) {
                    self.is_reversed = column == self.sort && !self.is_reversed;
                    self.sort = column;
                }
            }
            _ => {}
        }
        true
    }
}

fn counters(stats: &ContainerStats) -> IoCounters {
    [stats.network_rx, stats.network_tx, stats.block_read, stats.block_write]
}

/// Adds a sample to the meter of this id, if the sample has a timestamp.
fn add_sample(
    meters: &mut BTreeMap<String, RateMeter>,
    id: &str,
    sampled_at: Option<time::OffsetDateTime>,
    containers: u32,
    counters: IoCounters,
) {
    let Some(sampled_at) = sampled_at else { return };
    match meters.get_mut(id) {
        Some(meter) => meter.add_sample(sampled_at, containers, counters),
        None => {
            meters.insert(id.to_owned(), RateMeter::new(sampled_at, containers, counters));
        }
    }
}
