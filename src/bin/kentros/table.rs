//! The table of `kentros stats`: the columns and units of `docker stats`. Pure.

use kentros::ContainerStats;

use crate::text::{fit, printable, width};
use crate::units::{binary, decimal, or_missing};

/// Digits of a container's id that are shown.
const ID: usize = 12;
const HEAD: [&str; 8] =
    ["CONTAINER ID", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET I/O", "BLOCK I/O", "PIDS"];

/// The table of these rows, in the order of their names.
pub(crate) fn render<'a>(rows: impl IntoIterator<Item = (&'a str, &'a ContainerStats)>) -> String {
    let mut rows: Vec<(&str, &ContainerStats)> = rows.into_iter().collect();
    rows.sort_by(|a, b| (&a.1.name, a.0).cmp(&(&b.1.name, b.0)));
    let mut lines = vec![HEAD.map(str::to_owned)];
    lines.extend(rows.into_iter().map(|(id, stats)| cells(id, stats)));
    let mut widths = [0; HEAD.len()];
    for line in &lines {
        for (widest, cell) in widths.iter_mut().zip(line) {
            *widest = width(cell).max(*widest);
        }
    }
    let mut table = String::new();
    for line in &lines {
        let padded: Vec<String> =
            line.iter().zip(widths).map(|(cell, width)| fit(cell, width)).collect();
        table.push_str(padded.join("   ").trim_end());
        table.push('\n');
    }
    table
}

fn cells(id: &str, stats: &ContainerStats) -> [String; HEAD.len()] {
    let percent = |value: Option<f64>| value.map(|value| format!("{value:.2}%"));
    [
        id.chars().take(ID).collect(),
        printable(&stats.name),
        or_missing(percent(stats.cpu_percent)),
        pair(stats.memory_usage, stats.memory_limit, binary),
        or_missing(percent(stats.memory_percent)),
        pair(stats.network_rx, stats.network_tx, decimal),
        pair(stats.block_read, stats.block_write, decimal),
        or_missing(stats.pids.map(|pids| pids.to_string())),
    ]
}

fn pair(a: Option<u64>, b: Option<u64>, unit: fn(u64) -> String) -> String {
    format!("{} / {}", or_missing(a.map(unit)), or_missing(b.map(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_two_dashes_and_no_name_moves_the_cursor() {
        let stats = ContainerStats::new("shop", "a\x1b[2J");
        let table = render([("0123456789abcdef", &stats)]);
        let row = table.lines().nth(1).unwrap();
        let cells: Vec<&str> = row.split("   ").map(str::trim).filter(|c| !c.is_empty()).collect();
        assert_eq!(
            cells,
            ["0123456789ab", "a?[2J", "--", "-- / --", "--", "-- / --", "-- / --", "--"]
        );
    }

    #[test]
    fn wide_letters_move_no_column() {
        let named = |name: &str| ContainerStats::new("shop", name);
        let table = render([("a", &named("日本語")), ("b", &named("web"))]);
        let before: Vec<usize> =
            table.lines().skip(1).map(|line| width(line.split_once("--").unwrap().0)).collect();
        assert_eq!(before[0], before[1], "{table}");
    }
}
