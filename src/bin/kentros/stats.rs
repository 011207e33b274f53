//! `kentros stats`: the figures in the terminal, from the engine or from a running hub.

use std::error::Error;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use kentros::{ContainerStats, Unavailable};
use serde_json::json;

use crate::feed::{Feed, From, News, Rows};
use crate::table;

/// Where the figures come from, and how they are shown.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct StatsOptions {
    pub(crate) from: From,
    pub(crate) interval: Duration,
    /// Only this project.
    pub(crate) project: Option<String>,
    /// One table, then the end.
    pub(crate) once: bool,
    /// A JSON document a line instead of a table.
    pub(crate) json: bool,
    /// Whether the terminal knows no escape codes.
    pub(crate) dumb: bool,
}

/// How long one table waits for what is missing of it. Of a container without a sample that is told
/// after five seconds.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long a hub's engine may be gone: what a hub says at first may be of an hour ago, and it asks
/// anew at once.
const TROUBLE: Duration = Duration::from_secs(4);

/// Shows figures until the output is closed, or once.
///
/// # Errors
/// Why there are none.
pub(crate) fn run(options: &StatsOptions) -> Result<(), Box<dyn Error>> {
    let StatsOptions { from, interval, project, once, .. } = options;
    let mut feed = Feed::open(from, project.as_deref(), *interval)?;
    let patience = once.then(|| Instant::now() + PATIENCE);
    let mut table = Table::default();
    let mut trouble: Option<(Instant, String)> = None;
    loop {
        let deadline = trouble.as_ref().map(|(until, _)| *until).or(patience);
        let Some(news) = feed.next(deadline)? else {
            let why = trouble.map(|(_, why)| why);
            return match table.rows {
                Some(rows) if why.is_none() => options.show(&rows).map(drop),
                _ => Err(why.unwrap_or_else(|| format!("{from} has no figures yet")).into()),
            };
        };
        if let Some(status) = &news.engine_status {
            let why = status.error.as_ref().map(|why| format!("{from} has no figures: {why}"));
            trouble = why.map(|why| (Instant::now() + TROUBLE, why));
        }
        let has_figures = news.container_stats.is_some();
        table.learn(news);
        let due = match patience {
            None => has_figures,
            Some(until) => table.is_complete() || has_figures && Instant::now() >= until,
        };
        if let Some(rows) = table.rows.as_ref().filter(|_| due)
            && !options.show(rows)?
        {
            return Ok(());
        }
    }
}

/// What has been told of a table.
#[derive(Default)]
struct Table {
    rows: Option<Rows>,
    /// Containers that run.
    running: Option<u32>,
}

impl Table {
    fn learn(&mut self, news: News) {
        if let Some(rows) = news.container_stats {
            self.rows = Some(rows);
        }
        if let Some(totals) = news.project_stats {
            self.running = Some(totals.values().map(|sums| sums.running).sum());
        }
    }

    /// Whether each container that runs has its row, and each row its rate: a rate takes two
    /// readings.
    fn is_complete(&self) -> bool {
        let (Some(rows), Some(running)) = (&self.rows, self.running) else { return false };
        let halves = |row: &ContainerStats| {
            row.unavailable.get("cpu_percent") == Some(&Unavailable::FirstSample)
        };
        rows.len() >= running as usize && !rows.values().any(halves)
    }
}

impl StatsOptions {
    /// Shows one reading; `false` where that was the last.
    fn show(&self, rows: &Rows) -> Result<bool, Box<dyn Error>> {
        let mut out = io::stdout().lock();
        let text = if self.json {
            format!("{}\n", json!(rows))
        } else {
            let table = table::render(rows.iter().map(|(id, row)| (id.as_str(), row)));
            // As docker does: on a terminal each table takes the last one's place.
            let over = !self.once && !self.dumb && out.is_terminal();
            format!("{}{table}", if over { "\x1b[H\x1b[J" } else { "" })
        };
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            // `kentros stats | head` has what it wanted.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(error.into()),
            Ok(()) => Ok(!self.once),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_complete_with_each_running_container_and_its_rate() {
        let news = |text: &str| serde_json::from_str::<News>(text).unwrap();
        let mut table = Table::default();
        table.learn(news(r#"{"container_stats":{}}"#));
        assert!(!table.is_complete(), "a hub's sums come after its rows");
        table.learn(news(r#"{"project_stats":{}}"#));
        assert!(table.is_complete(), "nothing runs");
        let sums = |running: u32| {
            let mut sums = kentros::ProjectTotals::default();
            sums.running = running;
            serde_json::from_value::<News>(json!({"project_stats": {"shop": sums}})).unwrap()
        };
        table.learn(sums(1));
        assert!(!table.is_complete(), "the one that runs has no row");
        let rows = |row: &ContainerStats| {
            serde_json::from_value::<News>(json!({"container_stats": {"c1": row}})).unwrap()
        };
        let mut row = ContainerStats::default();
        row.unavailable.insert("cpu_percent".to_owned(), Unavailable::FirstSample);
        table.learn(rows(&row));
        assert!(!table.is_complete(), "it has no rate");
        row.unavailable.insert("cpu_percent".to_owned(), Unavailable::EngineError);
        table.learn(rows(&row));
        assert!(table.is_complete(), "and will have none");
        table.learn(sums(2));
        assert!(!table.is_complete());
    }
}
