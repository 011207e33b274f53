//! The picture on the terminal: lines of styled text, each as wide as the terminal at most. Pure.

use std::fmt::Write as _;

use crate::text::{beginning, fit, printable, width, wrap};
use crate::units::{binary, decimal, or_missing};

use super::state::{Column, Figures, Item, State};

/// How a part of a line looks, where there are colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    /// The head of the table.
    Head,
    /// Projects and titles.
    Strong,
    /// What is not fresh.
    Faint,
    /// Near its limit.
    High,
    /// At its limit, or a fault.
    Alarm,
}

/// One line: parts, from left to right.
pub(super) type Line = Vec<(Style, String)>;

/// The columns beside the name: what sorts by them, their heads, and how wide they are.
const COLUMNS: [(Option<Column>, &str, usize); 8] = [
    (Some(Column::Cpu), "CPU %", 7),
    (Some(Column::Memory), "MEM", 8),
    (None, "MEM %", 6),
    (Some(Column::Received), "RX/s", 7),
    (Some(Column::Sent), "TX/s", 7),
    (Some(Column::Read), "RD/s", 7),
    (Some(Column::Written), "WR/s", 7),
    (Some(Column::Pids), "PIDS", 5),
];

/// The least room for a name, and the most where more is free.
const NAME: usize = 18;
const LONG_NAME: usize = 48;

/// Parts of its limit from which a figure stands out.
const HIGH: f64 = 0.7;
const FULL: f64 = 0.9;

/// The keys, in as many words as there is room for.
const HELP: [&str; 2] = [
    "q quit  / search  g group  ↑↓ scroll  sort: name cpu mem rx tx disk wr pids",
    "q quit  / search  g group  ↑↓  sort: n c m r t d w p",
];

/// Lines that are always there: title, the head of the table, help.
const FIXED: usize = 3;

/// The most lines for why there are no fresh figures.
const TROUBLE: usize = 5;

/// The lines of the table that there is room for.
pub(super) fn page(state: &State, width: usize, height: usize) -> usize {
    height.saturating_sub(FIXED + about(state, width).len())
}

/// The picture: exactly `height` lines where there are as many or more.
pub(super) fn frame(state: &State, width: usize, height: usize) -> Vec<Line> {
    let page = page(state, width, height);
    let items = state.items();
    let name = name_width(state, width);
    let scrolled = state.scrolled.min(items.len().saturating_sub(page));
    let shown = items.len().min(scrolled + page);
    let mut lines = vec![title(state, width, (scrolled, shown, items.len()))];
    lines.extend(about(state, width));
    lines.push(head(state, name));
    let faint = state.trouble().is_some();
    for item in items.iter().skip(scrolled).take(page) {
        let line = row(item, name);
        let dulled = |(_, text)| (Style::Faint, text);
        lines.push(if faint { line.into_iter().map(dulled).collect() } else { line });
    }
    if let Some(why) = state.nothing().filter(|_| items.is_empty() && page > 0) {
        lines.push(vec![(Style::Faint, printable(&why))]);
    }
    lines.resize(height.saturating_sub(1).max(lines.len()), Line::new());
    lines.push(foot(state, width));
    // On a terminal of two lines the figures go first, not the title.
    lines.truncate(height);
    lines.into_iter().map(|line| cut(line, width)).collect()
}

/// The name's column takes what the others leave, as far as names need it.
fn name_width(state: &State, width: usize) -> usize {
    let others: usize = COLUMNS.iter().map(|(_, _, width)| width + 1).sum();
    let needed = (state.longest() + 2).clamp(NAME, LONG_NAME);
    width.saturating_sub(others).clamp(NAME, needed)
}

/// Whose figures, and at the right which lines of the table, where that is not all.
fn title(state: &State, width: usize, (from, to, of): (usize, usize, usize)) -> Line {
    const NAME: &str = "kentros top";
    let mut about = format!("  {}", printable(&state.source));
    if let Some(engine) = &state.engine {
        for word in [&engine.engine, &engine.version].into_iter().flatten() {
            about.push(' ');
            about.push_str(&printable(word));
        }
    }
    let place = if to - from < of { format!(" {}-{to}/{of}", from + 1) } else { String::new() };
    let room = width.saturating_sub(NAME.len() + place.len());
    let about = fit(&about, room);
    vec![(Style::Strong, NAME.to_owned()), (Style::Plain, about), (Style::Strong, place)]
}

/// The sums, or why there are no fresh ones.
fn about(state: &State, width: usize) -> Vec<Line> {
    let Some(trouble) = state.trouble() else { return vec![sums(state)] };
    let lines = wrap(&printable(&format!("no fresh figures: {trouble}")), width, TROUBLE);
    lines.into_iter().map(|line| vec![(Style::Alarm, line)]).collect()
}

fn sums(state: &State) -> Line {
    let (containers, projects, cpu, memory) = state.sums();
    let several = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    vec![(
        Style::Plain,
        format!(
            "{} in {}   CPU {}   MEM {}",
            several(containers, "container"),
            several(projects, "project"),
            or_missing(cpu.map(|cpu| format!("{cpu:.1}%"))),
            or_missing(memory.map(binary)),
        ),
    )]
}

fn head(state: &State, name: usize) -> Line {
    let titled = |column: Option<Column>, text: &str| {
        let falling = (column == Some(Column::Name)) == state.reversed;
        match column {
            Some(column) if column == state.sort => {
                format!("{text}{}", if falling { '↓' } else { '↑' })
            }
            _ => text.to_owned(),
        }
    };
    let mut text = fit(&titled(Some(Column::Name), "NAME"), name);
    for (column, head, width) in COLUMNS {
        // Writing to a String cannot fail.
        let _ = write!(text, " {:>width$}", titled(column, head));
    }
    vec![(Style::Head, text)]
}

fn row(item: &Item, name: usize) -> Line {
    match item {
        Item::Project { id, totals, figures } => {
            // A source of other things than containers says nothing of their number.
            let count = match totals.containers {
                0 => String::new(),
                all => format!(" {}/{all}", totals.running),
            };
            let id = fit(&printable(id), name.saturating_sub(count.len()));
            let label = fit(&format!("{}{count}", id.trim_end()), name);
            let cells = cells(figures).into_iter().map(|(_, cell)| cell).collect::<String>();
            vec![(Style::Strong, label + &cells)]
        }
        Item::Container { name: text, figures } => {
            let mut line = vec![(Style::Plain, fit(&format!("  {}", printable(text)), name))];
            line.extend(cells(figures));
            line
        }
    }
}

fn cells(figures: &Figures) -> [(Style, String); COLUMNS.len()] {
    let percent = |value: Option<f64>| value.map(|value| format!("{value:.1}"));
    let memory_share = figures.memory_percent.map(|percent| percent / 100.0);
    let (cpu, memory) = (standing_out(figures.cpu_share), standing_out(memory_share));
    let [received, sent, read, written] =
        figures.rates.map(|rate| (Style::Plain, rate.map(decimal)));
    let cells = [
        (cpu, percent(figures.cpu)),
        (memory, figures.memory.map(binary)),
        (memory, percent(figures.memory_percent)),
        received,
        sent,
        read,
        written,
        (Style::Plain, figures.pids.map(|pids| pids.to_string())),
    ];
    let mut widths = COLUMNS.iter().map(|(_, _, width)| *width);
    cells.map(|(style, cell)| {
        let width = widths.next().unwrap_or_default();
        (style, format!(" {:>width$}", or_missing(cell)))
    })
}

fn standing_out(share: Option<f64>) -> Style {
    match share {
        Some(share) if share >= FULL => Style::Alarm,
        Some(share) if share >= HIGH => Style::High,
        _ => Style::Plain,
    }
}

fn foot(state: &State, room: usize) -> Line {
    if state.typing {
        return vec![(Style::Strong, format!("/{}", printable(&state.filter)))];
    }
    let [long, short] = HELP;
    let words = match state.filter.as_str() {
        "" if width(long) <= room => long.to_owned(),
        "" => short.to_owned(),
        filter => format!("/{}   Esc shows all again", printable(filter)),
    };
    vec![(Style::Faint, fit(&words, room))]
}

/// The line as far as there is room.
fn cut(line: Line, mut room: usize) -> Line {
    let mut cut = Line::new();
    for (style, text) in line {
        let text = beginning(&text, room);
        room -= width(text);
        if !text.is_empty() {
            cut.push((style, text.to_owned()));
        }
    }
    cut
}
