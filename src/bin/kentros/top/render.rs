//! Renders the state as lines of styled text that fit the terminal.

use std::fmt::Write as _;

use kentros::printable;

use crate::terminal_text::{fit, prefix, width, wrap};
use crate::units::{binary, decimal, or_dashes};

use super::rows::{RowValues, SortColumn, TableRow};
use super::state::{Summary, TopState};

/// The style of a piece of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextStyle {
    Plain,
    /// The table header.
    Header,
    /// Project rows and titles.
    Bold,
    /// Stale values and help.
    Dim,
    /// A value near its limit.
    Warning,
    /// A value at its limit, or an error.
    Alert,
}

/// A line: its pieces from left to right.
pub(super) type StyledLine = Vec<(TextStyle, String)>;

/// The columns after the name: sort column, header and width.
const COLUMNS: [(Option<SortColumn>, &str, usize); 8] = [
    (Some(SortColumn::Cpu), "CPU %", 7),
    (Some(SortColumn::Memory), "MEM", 8),
    (None, "MEM %", 6),
    (Some(SortColumn::Received), "RX/s", 7),
    (Some(SortColumn::Sent), "TX/s", 7),
    (Some(SortColumn::Read), "RD/s", 7),
    (Some(SortColumn::Written), "WR/s", 7),
    (Some(SortColumn::Pids), "PIDS", 5),
];

const MIN_NAME_WIDTH: usize = 18;
const MAX_NAME_WIDTH: usize = 48;

/// Fractions of the limit from which a value is highlighted.
const WARNING_FRACTION: f64 = 0.7;
const ALERT_FRACTION: f64 = 0.9;

/// The help line, in a long and a short form.
const HELP: [&str; 2] = [
    "q quit  / search  g group  ↑↓ scroll  sort: name cpu mem rx tx disk wr pids",
    "q quit  / search  g group  ↑↓  sort: n c m r t d w p",
];

/// Lines that are always shown: title, table header and help.
const FIXED_LINES: usize = 3;

/// The maximum height of the warning about stale stats.
const MAX_WARNING_LINES: usize = 5;

/// The number of table rows that fit on the screen.
pub(super) fn table_height(state: &TopState, width: usize, height: usize) -> usize {
    height.saturating_sub(FIXED_LINES + status(state, width).len())
}

/// Renders the screen: exactly `height` lines.
pub(super) fn render(state: &TopState, width: usize, height: usize) -> Vec<StyledLine> {
    let page = table_height(state, width, height);
    let rows = state.rows();
    let name_width = name_width(state, width);
    let scroll = state.scroll.min(rows.len().saturating_sub(page));
    let end = rows.len().min(scroll + page);
    let mut lines = vec![title(state, width, (scroll, end, rows.len()))];
    lines.extend(status(state, width));
    lines.push(header(state, name_width));
    let is_stale = state.stale_reason().is_some();
    for row in rows.iter().skip(scroll).take(page) {
        let line = table_line(row, name_width);
        let dim = |(_, text)| (TextStyle::Dim, text);
        lines.push(if is_stale { line.into_iter().map(dim).collect() } else { line });
    }
    if let Some(why) = state.empty_reason().filter(|_| rows.is_empty() && page > 0) {
        lines.push(vec![(TextStyle::Dim, printable(&why).into_owned())]);
    }
    lines.resize(height.saturating_sub(1).max(lines.len()), StyledLine::new());
    lines.push(footer(state, width));
    // A terminal that is too low keeps the title.
    lines.truncate(height);
    lines.into_iter().map(|line| truncate(line, width)).collect()
}

/// The width of the name column: the space that the other columns leave, if the names need it.
fn name_width(state: &TopState, width: usize) -> usize {
    let others: usize = COLUMNS.iter().map(|(_, _, width)| width + 1).sum();
    let needed = (state.longest_name() + 2).clamp(MIN_NAME_WIDTH, MAX_NAME_WIDTH);
    width.saturating_sub(others).clamp(MIN_NAME_WIDTH, needed)
}

/// The engine or hub, and the range of visible rows unless all are visible.
fn title(state: &TopState, width: usize, (start, end, total): (usize, usize, usize)) -> StyledLine {
    const PROGRAM: &str = "kentros top";
    let mut target = format!("  {}", printable(&state.target));
    if let Some(engine) = &state.engine {
        for word in [&engine.engine, &engine.version].into_iter().flatten() {
            target.push(' ');
            target.push_str(&printable(word));
        }
    }
    let range =
        if end - start < total { format!(" {}-{end}/{total}", start + 1) } else { String::new() };
    let target = fit(&target, width.saturating_sub(PROGRAM.len() + range.len()));
    vec![
        (TextStyle::Bold, PROGRAM.to_owned()),
        (TextStyle::Plain, target),
        (TextStyle::Bold, range),
    ]
}

/// The summary, or a warning if the stats are stale.
fn status(state: &TopState, width: usize) -> Vec<StyledLine> {
    let Some(why) = state.stale_reason() else { return vec![summary(&state.summary())] };
    let lines = wrap(&printable(&format!("stats are stale: {why}")), width, MAX_WARNING_LINES);
    lines.into_iter().map(|line| vec![(TextStyle::Alert, line)]).collect()
}

fn summary(summary: &Summary) -> StyledLine {
    let count = |n: usize, noun: &str| format!("{n} {noun}{}", if n == 1 { "" } else { "s" });
    vec![(
        TextStyle::Plain,
        format!(
            "{} in {}   CPU {}   MEM {}",
            count(summary.containers, "container"),
            count(summary.projects, "project"),
            or_dashes(summary.cpu_percent.map(|cpu| format!("{cpu:.1}%"))),
            or_dashes(summary.memory.map(binary)),
        ),
    )]
}

fn header(state: &TopState, name_width: usize) -> StyledLine {
    let with_arrow = |column: Option<SortColumn>, text: &str| {
        let is_descending = (column == Some(SortColumn::Name)) == state.is_reversed;
        match column {
            Some(column) if column == state.sort => {
                format!("{text}{}", if is_descending { '↓' } else { '↑' })
            }
            _ => text.to_owned(),
        }
    };
    let mut text = fit(&with_arrow(Some(SortColumn::Name), "NAME"), name_width);
    for (column, header, width) in COLUMNS {
        // Writing to a String cannot fail.
        let _ = write!(text, " {:>width$}", with_arrow(column, header));
    }
    vec![(TextStyle::Header, text)]
}

fn table_line(row: &TableRow, name_width: usize) -> StyledLine {
    match row {
        TableRow::Project { id, totals, values } => {
            // Totals of a source other than an engine have no container counts.
            let count = match totals.containers {
                0 => String::new(),
                total => format!(" {}/{total}", totals.running),
            };
            let id = fit(&printable(id), name_width.saturating_sub(count.len()));
            let label = fit(&format!("{}{count}", id.trim_end()), name_width);
            let cells = cells(values).into_iter().map(|(_, cell)| cell).collect::<String>();
            vec![(TextStyle::Bold, label + &cells)]
        }
        TableRow::Container { name, values } => {
            let name = fit(&format!("  {}", printable(name)), name_width);
            let mut line = vec![(TextStyle::Plain, name)];
            line.extend(cells(values));
            line
        }
    }
}

fn cells(values: &RowValues) -> [(TextStyle, String); COLUMNS.len()] {
    let percent = |value: Option<f64>| value.map(|value| format!("{value:.1}"));
    let cpu_style = limit_style(values.cpu_fraction);
    let memory_style = limit_style(values.memory_percent.map(|percent| percent / 100.0));
    let [received, sent, read, written] =
        values.rates.map(|rate| (TextStyle::Plain, rate.map(decimal)));
    let cells = [
        (cpu_style, percent(values.cpu_percent)),
        (memory_style, values.memory.map(binary)),
        (memory_style, percent(values.memory_percent)),
        received,
        sent,
        read,
        written,
        (TextStyle::Plain, values.pids.map(|pids| pids.to_string())),
    ];
    let mut widths = COLUMNS.iter().map(|(_, _, width)| *width);
    cells.map(|(style, cell)| {
        let width = widths.next().unwrap_or_default();
        (style, format!(" {:>width$}", or_dashes(cell)))
    })
}

/// The style for a value at this fraction of its limit.
fn limit_style(fraction: Option<f64>) -> TextStyle {
    match fraction {
        Some(fraction) if fraction >= ALERT_FRACTION => TextStyle::Alert,
        Some(fraction) if fraction >= WARNING_FRACTION => TextStyle::Warning,
        _ => TextStyle::Plain,
    }
}

/// The search while it is typed or active, otherwise the help line.
fn footer(state: &TopState, room: usize) -> StyledLine {
    if state.is_typing {
        return vec![(TextStyle::Bold, format!("/{}", printable(&state.search)))];
    }
    let [long, short] = HELP;
    let text = match state.search.as_str() {
        "" if width(long) <= room => long.to_owned(),
        "" => short.to_owned(),
        search => format!("/{}   Esc clears the search", printable(search)),
    };
    vec![(TextStyle::Dim, fit(&text, room))]
}

fn truncate(line: StyledLine, mut room: usize) -> StyledLine {
    let mut truncated = StyledLine::new();
    for (style, text) in line {
        let text = prefix(&text, room);
        room -= width(text);
        if !text.is_empty() {
            truncated.push((style, text.to_owned()));
        }
    }
    truncated
}
