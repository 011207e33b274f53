//! The rows of the table: search, grouping and sorting.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use kentros::{ContainerStats, ProjectTotals, STANDALONE};

use super::rates::{IoRates, RateMeter};
use super::state::TopState;

/// The column that the rows are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SortColumn {
    Name,
    Cpu,
    Memory,
    Received,
    Sent,
    Read,
    Written,
    Pids,
}

impl SortColumn {
    pub(super) fn from_key(key: char) -> Option<Self> {
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

/// The values of a row.
#[derive(Clone, Debug, Default)]
pub(super) struct RowValues {
    pub(super) cpu_percent: Option<f64>,
    /// CPU usage as a fraction of the limit, 0 to 1.
    pub(super) cpu_fraction: Option<f64>,
    pub(super) memory: Option<u64>,
    /// Memory usage in percent of the limit.
    pub(super) memory_percent: Option<f64>,
    pub(super) rates: IoRates,
    pub(super) pids: Option<u64>,
}

/// A row of the table.
#[derive(Clone, Debug)]
pub(super) enum TableRow {
    Project { id: String, totals: ProjectTotals, values: RowValues },
    Container { name: String, values: RowValues },
}

impl TopState {
    /// The rows that match the search, in display order.
    pub(super) fn rows(&self) -> Vec<TableRow> {
        let search = self.search.to_lowercase();
        let matches = |text: &str| text.to_lowercase().contains(&search);
        let mut projects: BTreeMap<&str, Vec<(&str, RowValues)>> = BTreeMap::new();
        for (id, stats) in &self.containers {
            if matches(&stats.name)
                || matches(&stats.project_id)
                || stats.service_name.as_deref().is_some_and(matches)
            {
                let project = if self.is_grouped { stats.project_id.as_str() } else { "" };
                let values = self.container_values(id, stats);
                projects.entry(project).or_default().push((&stats.name, values));
            }
        }
        let mut groups: Vec<_> = projects
            .into_iter()
            .map(|(id, mut rows)| {
                rows.sort_by(|(a, x), (b, y)| self.compare((a, x), (b, y)));
                (id, self.project_values(id), rows)
            })
            .collect();
        groups.sort_by(|(a, x, _), (b, y, _)| {
            // Sorted by name, containers without a project come last.
            let is_last = |id: &str| self.sort == SortColumn::Name && id == STANDALONE;
            is_last(a).cmp(&is_last(b)).then_with(|| self.compare((a, x), (b, y)))
        });
        let mut table = Vec::new();
        for (id, values, rows) in groups {
            if self.is_grouped {
                let totals = self.totals.get(id).cloned().unwrap_or_default();
                table.push(TableRow::Project { id: id.to_owned(), totals, values });
            }
            table.extend(
                rows.into_iter()
                    .map(|(name, values)| TableRow::Container { name: name.to_owned(), values }),
            );
        }
        table
    }

    /// Compares by the sort column: names ascending, values descending, missing values last.
    fn compare(&self, (a, x): (&str, &RowValues), (b, y): (&str, &RowValues)) -> Ordering {
        let names = a.cmp(b);
        let directed = |order: Ordering| if self.is_reversed { order.reverse() } else { order };
        let (x, y) = (self.sort_value(x), self.sort_value(y));
        match (x, y) {
            (Some(x), Some(y)) => directed(y.total_cmp(&x)).then(names),
            _ if self.sort == SortColumn::Name => directed(names),
            _ => x.is_none().cmp(&y.is_none()).then(names),
        }
    }

    /// The value in the sort column, or `None` for names.
    #[allow(clippy::cast_precision_loss)] // Sixteen digits are enough to sort by.
    fn sort_value(&self, values: &RowValues) -> Option<f64> {
        let [received, sent, read, written] = values.rates;
        let count = match self.sort {
            SortColumn::Name => return None,
            SortColumn::Cpu => return values.cpu_percent,
            SortColumn::Memory => values.memory,
            SortColumn::Received => received,
            SortColumn::Sent => sent,
            SortColumn::Read => read,
            SortColumn::Written => written,
            SortColumn::Pids => values.pids,
        };
        count.map(|count| count as f64)
    }

    fn container_values(&self, id: &str, stats: &ContainerStats) -> RowValues {
        RowValues {
            cpu_percent: stats.cpu_percent,
            cpu_fraction: stats
                .cpu_percent
                .zip(stats.cpu_limit)
                .map(|(percent, cores)| percent / (cores * 100.0)),
            memory: stats.memory_usage,
            memory_percent: stats.memory_percent,
            rates: self.container_meters.get(id).map(RateMeter::rates).unwrap_or_default(),
            pids: stats.pids,
        }
    }

    fn project_values(&self, id: &str) -> RowValues {
        let Some(totals) = self.totals.get(id) else { return RowValues::default() };
        RowValues {
            cpu_percent: totals.cpu_percent,
            memory: totals.memory_usage,
            rates: self.project_meters.get(id).map(RateMeter::rates).unwrap_or_default(),
            pids: totals.pids,
            ..RowValues::default()
        }
    }
}
