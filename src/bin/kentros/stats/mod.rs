//! `kentros stats`: prints the stats as a table or as JSON.

mod table;

use std::error::Error;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use kentros::{ContainerStats, EngineState, Unavailable, printable};
use serde_json::json;

use crate::stats_feed::{FeedTarget, StatsByContainer, StatsFeed, StatsUpdate};

/// The options of `kentros stats`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct StatsOptions {
    pub(crate) target: FeedTarget,
    pub(crate) interval: Duration,
    /// Show only this project.
    pub(crate) project: Option<String>,
    /// Print one table and exit.
    pub(crate) once: bool,
    /// Print JSON instead of a table.
    pub(crate) json: bool,
    /// Whether the terminal does not support escape sequences.
    pub(crate) is_dumb: bool,
}

/// How long `--once` waits for the values that are still missing. A hub reports a container
/// without a sample as unavailable after five seconds.
const ONCE_TIMEOUT: Duration = Duration::from_secs(8);
/// How long `--once` waits for an engine that is connecting: a list may take 15 seconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// How long an engine error of a hub is tolerated. The status that a hub sends first may be old,
/// and the hub retries at once.
const ENGINE_ERROR_GRACE: Duration = Duration::from_secs(4);

/// Prints tables until the output is closed, or one table with `--once`.
///
/// # Errors
/// There are no stats.
pub(crate) fn run(options: &StatsOptions) -> Result<(), Box<dyn Error>> {
    let StatsOptions { target, interval, project, once, .. } = options;
    let start = Instant::now();
    let mut once_deadline = once.then(|| start + ONCE_TIMEOUT);
    let mut feed = StatsFeed::open(target, project.as_deref(), *interval, once_deadline)?;
    let mut stats = LatestStats::default();
    let mut was_connecting = false;
    let mut engine_error: Option<(Instant, String)> = None;
    loop {
        let until = engine_error.as_ref().map(|(until, _)| *until);
        let deadline = until.into_iter().chain(once_deadline).min();
        let Some(update) = feed.next(deadline)? else {
            return match (engine_error, stats.rows) {
                (Some((_, error)), _) => Err(error.into()),
                (None, Some(rows)) => options.print(&rows).map(drop),
                (None, None) => {
                    let limit = if was_connecting { CONNECT_TIMEOUT } else { ONCE_TIMEOUT };
                    let seconds = limit.as_secs();
                    Err(format!(
                        "{target} sent no stats within {seconds} s. Check the log of that server"
                    )
                    .into())
                }
            };
        };
        if let Some(status) = &update.engine_status {
            // Another error does not extend the time.
            let until = until.unwrap_or_else(|| Instant::now() + ENGINE_ERROR_GRACE);
            let error = status.error.as_ref().filter(|_| status.state == EngineState::Unreachable);
            engine_error = error.map(|error| (until, format!("{target} has no stats: {error}")));
            if was_connecting || status.state == EngineState::Connecting {
                was_connecting = status.state == EngineState::Connecting;
                let latest = start + CONNECT_TIMEOUT;
                let connected = latest.min(Instant::now()) + ONCE_TIMEOUT;
                once_deadline = once.then_some(if was_connecting { latest } else { connected });
            }
        }
        let has_new_rows = update.container_stats.is_some();
        stats.apply(update);
        let is_due = match once_deadline {
            None => has_new_rows,
            Some(deadline) => stats.is_complete() || has_new_rows && Instant::now() >= deadline,
        };
        if let Some(rows) = stats.rows.as_ref().filter(|_| is_due)
            && !options.print(rows)?
        {
            return Ok(());
        }
    }
}

/// The latest stats of all containers.
#[derive(Default)]
struct LatestStats {
    rows: Option<StatsByContainer>,
    /// The number of running containers.
    running: Option<u32>,
}

impl LatestStats {
    fn apply(&mut self, update: StatsUpdate) {
        if let Some(rows) = update.container_stats {
            self.rows = Some(rows);
        }
        if let Some(totals) = update.project_stats {
            self.running = Some(totals.values().map(|totals| totals.running).sum());
        }
    }

    /// Whether every running container has a row with its CPU usage, which takes two samples.
    fn is_complete(&self) -> bool {
        let (Some(rows), Some(running)) = (&self.rows, self.running) else { return false };
        let needs_second_sample = |row: &ContainerStats| {
            row.unavailable.get("cpu_percent") == Some(&Unavailable::FirstSample)
        };
        rows.len() >= running as usize && !rows.values().any(needs_second_sample)
    }
}

impl StatsOptions {
    /// Prints one table. Returns `false` if it was the last.
    fn print(&self, rows: &StatsByContainer) -> Result<bool, Box<dyn Error>> {
        let mut out = io::stdout().lock();
        let text = if self.json {
            format!("{}\n", printable(&json!(rows).to_string()))
        } else {
            let table = table::render(rows.iter().map(|(id, row)| (id.as_str(), row)));
            // On a terminal each table replaces the last one, as in docker stats.
            let replace = !self.once && !self.is_dumb && out.is_terminal();
            format!("{}{table}", if replace { "\x1b[H\x1b[J" } else { "" })
        };
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            // A closed pipe is not a failure: `kentros stats | head`.
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
    fn stats_are_complete_once_every_running_container_has_its_cpu_usage() {
        let update = |text: &str| serde_json::from_str::<StatsUpdate>(text).unwrap();
        let mut stats = LatestStats::default();
        stats.apply(update(r#"{"container_stats":{}}"#));
        assert!(!stats.is_complete(), "a hub sends totals after the rows");
        stats.apply(update(r#"{"project_stats":{}}"#));
        assert!(stats.is_complete(), "no container is running");
        let totals = |running: u32| {
            let mut totals = kentros::ProjectTotals::default();
            totals.running = running;
            let update = json!({"project_stats": {"shop": totals}});
            serde_json::from_value::<StatsUpdate>(update).unwrap()
        };
        stats.apply(totals(1));
        assert!(!stats.is_complete(), "the running container has no row");
        let rows = |row: &ContainerStats| {
            let update = json!({"container_stats": {"c1": row}});
            serde_json::from_value::<StatsUpdate>(update).unwrap()
        };
        let mut row = ContainerStats::default();
        row.unavailable.insert("cpu_percent".to_owned(), Unavailable::FirstSample);
        stats.apply(rows(&row));
        assert!(!stats.is_complete(), "its CPU usage is not known yet");
        row.unavailable.insert("cpu_percent".to_owned(), Unavailable::EngineError);
        stats.apply(rows(&row));
        assert!(stats.is_complete(), "its CPU usage will not be known");
        stats.apply(totals(2));
        assert!(!stats.is_complete());
    }
}
