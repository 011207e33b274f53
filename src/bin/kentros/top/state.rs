//! What `kentros top` knows, and how the reader wants to see it. Pure.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::time::Duration;

use kentros::{ContainerStats, EngineState, EngineStatus, ProjectTotals, STANDALONE};

use crate::feed::{News, Rows, Totals};
use crate::text::{printable, width};

use super::keys::Key;
use super::rates::{Counters, Meter, Rates, moment};

/// How long no figures may come before those there are count as old: so long, or so many intervals.
const LATE: Duration = Duration::from_secs(5);
const LATE_INTERVALS: u32 = 5;

/// What rows are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Name,
    Cpu,
    Memory,
    Received,
    Sent,
    Read,
    Written,
    Pids,
}

impl Column {
    /// The column of this key.
    fn of(key: char) -> Option<Self> {
        Some(match key {
            'n' => Self::Name,
            'c' => Self::Cpu,
            'm' => Self::Memory,
            'r' => Self::Received,
            't' => Self::Sent,
            'd' => Self::Read,
            'w' => Self::Written,
            'p' => Self::Pids,
            _ => return None,
        })
    }
}

/// The figures of one line, of a container or of a project.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    pub(super) cpu: Option<f64>,
    /// CPU of what may be used, 0 to 1.
    pub(super) cpu_share: Option<f64>,
    pub(super) memory: Option<u64>,
    /// Memory of its limit, percent.
    pub(super) memory_percent: Option<f64>,
    pub(super) rates: Rates,
    pub(super) pids: Option<u64>,
}

/// One line of the table.
#[derive(Clone, Debug)]
pub(super) enum Item {
    Project { id: String, totals: ProjectTotals, figures: Figures },
    Container { name: String, figures: Figures },
}

/// Everything that is shown, and how.
#[derive(Debug)]
pub(super) struct State {
    /// Whom the figures are from.
    pub(super) source: String,
    /// The one project that was asked for.
    project: Option<String>,
    pub(super) engine: Option<EngineStatus>,
    /// Why there are no fresh figures.
    trouble: Option<String>,
    /// Time between two readings, where the source does not say.
    interval: Duration,
    /// The time since the start: now, and when the last figures came.
    now: Duration,
    fresh: Option<Duration>,
    rows: Rows,
    totals: Totals,
    meters: BTreeMap<String, Meter>,
    project_meters: BTreeMap<String, Meter>,
    pub(super) sort: Column,
    pub(super) reversed: bool,
    grouped: bool,
    /// Only what has this in its name, its service's or its project's.
    pub(super) filter: String,
    /// Whether the filter is being typed.
    pub(super) typing: bool,
    /// Lines that have been scrolled past.
    pub(super) scrolled: usize,
}

impl State {
    pub(super) fn new(source: String, project: Option<String>, interval: Duration) -> Self {
        Self {
            source,
            project,
            engine: None,
            trouble: None,
            interval,
            now: Duration::ZERO,
            fresh: None,
            rows: Rows::new(),
            totals: Totals::new(),
            meters: BTreeMap::new(),
            project_meters: BTreeMap::new(),
            sort: Column::Cpu,
            reversed: false,
            grouped: true,
            filter: String::new(),
            typing: false,
            scrolled: 0,
        }
    }

    /// It is so long after the start.
    pub(super) fn tick(&mut self, now: Duration) {
        self.now = now;
    }

    /// Takes in what is new.
    pub(super) fn learn(&mut self, news: News) {
        if let Some(rows) = news.container_stats {
            self.trouble = None;
            self.fresh = Some(self.now);
            self.meters.retain(|id, _| rows.contains_key(id));
            for (id, row) in &rows {
                meter(&mut self.meters, id, moment(row.timestamp.as_ref()), 1, counters(row));
            }
            self.rows = rows;
        }
        if let Some(totals) = news.project_stats {
            self.project_meters.retain(|id, _| totals.contains_key(id));
            for (id, sums) in &totals {
                let of_project = self.rows.values().filter(|row| row.project_id == *id);
                let newest = of_project.filter_map(|row| moment(row.timestamp.as_ref())).max();
                let counters =
                    [sums.network_rx, sums.network_tx, sums.block_read, sums.block_write];
                meter(&mut self.project_meters, id, newest, sums.sampled, counters);
            }
            self.totals = totals;
        }
        if let Some(engine) = news.engine_status {
            self.engine = Some(engine);
        }
    }

    /// There are no figures for now.
    pub(super) fn lose(&mut self, why: String) {
        self.trouble = Some(why);
    }

    /// Why the figures are not fresh.
    pub(super) fn trouble(&self) -> Option<String> {
        let engine = || {
            let engine = self.engine.as_ref()?;
            let gone = engine.state == EngineState::Unreachable;
            let why = || engine.error.as_deref().unwrap_or("the engine does not answer").to_owned();
            gone.then(why)
        };
        self.trouble.clone().or_else(engine).or_else(|| self.late())
    }

    /// That none have come for long, though nothing says why.
    fn late(&self) -> Option<String> {
        let said = self.engine.as_ref().map(|engine| Duration::from_millis(engine.interval_ms));
        let silence = self.now.saturating_sub(self.fresh.unwrap_or_default());
        let late = silence > LATE.max(said.unwrap_or(self.interval).saturating_mul(LATE_INTERVALS));
        late.then(|| format!("none have come for {} s", silence.as_secs()))
    }

    /// Why the table is empty; nothing where it is so because no figures have come.
    pub(super) fn nothing(&self) -> Option<String> {
        self.fresh?;
        Some(match (self.filter.as_str(), &self.project) {
            ("", None) => "no containers".to_owned(),
            ("", Some(project)) => format!("no containers of the project {project:?}"),
            (filter, _) => format!("no container matches {filter:?}"),
        })
    }

    /// The number of containers and of projects; CPU and memory of all projects.
    pub(super) fn sums(&self) -> (usize, usize, Option<f64>, Option<u64>) {
        let totals = || self.totals.values();
        (
            self.rows.len(),
            totals().len(),
            totals().filter_map(|sums| sums.cpu_percent).reduce(|a, b| a + b),
            totals().filter_map(|sums| sums.memory_usage).reduce(|a, b| a + b),
        )
    }

    /// Columns of the longest name.
    pub(super) fn longest(&self) -> usize {
        self.rows.values().map(|row| width(&printable(&row.name))).max().unwrap_or(0)
    }

    /// Does what a key means, where so many lines of the table are seen. `false`: quit.
    pub(super) fn press(&mut self, key: Key, page: usize) -> bool {
        let page = page.max(1);
        let last = self.items().len().saturating_sub(page);
        let at = self.scrolled.min(last);
        self.scrolled = match key {
            Key::Up => at.saturating_sub(1),
            Key::Down => (at + 1).min(last),
            Key::PageUp => at.saturating_sub(page),
            Key::PageDown => (at + page).min(last),
            Key::Home => 0,
            Key::End => last,
            _ => at,
        };
        match key {
            Key::Escape => {
                self.filter.clear();
                self.typing = false;
            }
            Key::Enter => self.typing = false,
            Key::Backspace if self.typing => {
                self.filter.pop();
            }
            Key::Char(c) if self.typing => self.filter.push(c),
            Key::Quit | Key::Char('q') => return false,
            Key::Char('/') => self.typing = true,
            Key::Char('g') => self.grouped = !self.grouped,
            Key::Char('k') => self.scrolled = at.saturating_sub(1),
            Key::Char('j') => self.scrolled = (at + 1).min(last),
            Key::Char(c) => {
                if let Some(column) = Column::of(c) {
                    self.reversed = column == self.sort && !self.reversed;
                    self.sort = column;
                }
            }
            _ => {}
        }
        true
    }

    /// The lines of the table, in order.
    pub(super) fn items(&self) -> Vec<Item> {
        let wanted = self.filter.to_lowercase();
        let has = |text: &str| text.to_lowercase().contains(&wanted);
        let mut projects: BTreeMap<&str, Vec<(&str, Figures)>> = BTreeMap::new();
        for (id, row) in &self.rows {
            if has(&row.name)
                || has(&row.project_id)
                || row.service_name.as_deref().is_some_and(has)
            {
                let project = if self.grouped { row.project_id.as_str() } else { "" };
                projects.entry(project).or_default().push((&row.name, self.of_container(id, row)));
            }
        }
        let mut groups: Vec<_> = projects
            .into_iter()
            .map(|(id, mut rows)| {
                rows.sort_by(|(a, x), (b, y)| self.compare((a, x), (b, y)));
                (id, self.of_project(id), rows)
            })
            .collect();
        groups.sort_by(|(a, x, _), (b, y, _)| {
            // What belongs to no project stands last, where names decide.
            let by_name = self.sort == Column::Name;
            let loose = |id: &str| by_name && id == STANDALONE;
            loose(a).cmp(&loose(b)).then_with(|| self.compare((a, x), (b, y)))
        });
        let mut items = Vec::new();
        for (id, figures, rows) in groups {
            if self.grouped {
                let totals = self.totals.get(id).cloned().unwrap_or_default();
                items.push(Item::Project { id: id.to_owned(), totals, figures });
            }
            items.extend(
                rows.into_iter()
                    .map(|(name, figures)| Item::Container { name: name.to_owned(), figures }),
            );
        }
        items
    }

    /// By the chosen column: names upwards, figures downwards, what is missing last.
    fn compare(&self, (a, x): (&str, &Figures), (b, y): (&str, &Figures)) -> Ordering {
        let names = a.cmp(b);
        let turned = |order: Ordering| if self.reversed { order.reverse() } else { order };
        let Some((x, y)) = self.key(x).zip(self.key(y)) else {
            let missing = (self.key(x).is_none(), self.key(y).is_none());
            return match self.sort {
                Column::Name => turned(names),
                _ => missing.0.cmp(&missing.1).then(names),
            };
        };
        turned(y.total_cmp(&x)).then(names)
    }

    /// The figure that is sorted by; none where names are.
    #[allow(clippy::cast_precision_loss)] // For an order, sixteen digits will do.
    fn key(&self, figures: &Figures) -> Option<f64> {
        let [received, sent, read, written] = figures.rates;
        let count = match self.sort {
            Column::Name => return None,
            Column::Cpu => return figures.cpu,
            Column::Memory => figures.memory,
            Column::Received => received,
            Column::Sent => sent,
            Column::Read => read,
            Column::Written => written,
            Column::Pids => figures.pids,
        };
        count.map(|count| count as f64)
    }

    fn of_container(&self, id: &str, row: &ContainerStats) -> Figures {
        Figures {
            cpu: row.cpu_percent,
            cpu_share: row
                .cpu_percent
                .zip(row.cpu_limit)
                .map(|(percent, cores)| percent / (cores * 100.0)),
            memory: row.memory_usage,
            memory_percent: row.memory_percent,
            rates: self.meters.get(id).map(Meter::rates).unwrap_or_default(),
            pids: row.pids,
        }
    }

    fn of_project(&self, id: &str) -> Figures {
        let Some(sums) = self.totals.get(id) else { return Figures::default() };
        Figures {
            cpu: sums.cpu_percent,
            memory: sums.memory_usage,
            rates: self.project_meters.get(id).map(Meter::rates).unwrap_or_default(),
            pids: sums.pids,
            ..Figures::default()
        }
    }
}

fn counters(row: &ContainerStats) -> Counters {
    [row.network_rx, row.network_tx, row.block_read, row.block_write]
}

/// Takes a reading where there is one.
fn meter(
    meters: &mut BTreeMap<String, Meter>,
    id: &str,
    at: Option<time::OffsetDateTime>,
    over: u32,
    counters: Counters,
) {
    let Some(at) = at else { return };
    match meters.get_mut(id) {
        Some(meter) => meter.read(at, over, counters),
        None => {
            meters.insert(id.to_owned(), Meter::new(at, over, counters));
        }
    }
}
