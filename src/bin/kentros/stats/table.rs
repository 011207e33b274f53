//! Formats the table of `kentros stats`, with the columns and units of `docker stats`.

use kentros::{ContainerStats, printable};

use crate::terminal_text::{fit, width};
use crate::units::{binary, decimal, or_dashes};

/// The length of a short container id.
const ID_LENGTH: usize = 12;
const HEADER: [&str; 8] =
    ["CONTAINER ID", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET I/O", "BLOCK I/O", "PIDS"];

/// Formats a table, sorted by container name.
pub(crate) fn render<'a>(rows: impl IntoIterator<Item = (&'a str, &'a ContainerStats)>) -> String {
    let mut rows: Vec<(&str, &ContainerStats)> = rows.into_iter().collect();
    rows.sort_by(|a, b| (&a.1.name, a.0).cmp(&(&b.1.name, b.0)));
    let mut lines = vec![HEADER.map(str::to_owned)];
    lines.extend(rows.into_iter().map(|(id, stats)| cells(id, stats)));
    let mut widths = [0; HEADER.len()];
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

fn cells(id: &str, stats: &ContainerStats) -> [String; HEADER.len()] {
    let percent = |value: Option<f64>| value.map(|value| format!("{value:.2}%"));
    [
        printable(&id.chars().take(ID_LENGTH).collect::<String>()).into_owned(),
        printable(&stats.name).into_owned(),
        or_dashes(percent(stats.cpu_percent)),
        pair(stats.memory_usage, stats.memory_limit, binary),
        or_dashes(percent(stats.memory_percent)),
        pair(stats.network_rx, stats.network_tx, decimal),
        pair(stats.block_read, stats.block_write, decimal),
        or_dashes(stats.pids.map(|pids| pids.to_string())),
    ]
}

fn pair(a: Option<u64>, b: Option<u64>, format: fn(u64) -> String) -> String {
    format!("{} / {}", or_dashes(a.map(format)), or_dashes(b.map(format)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_values_are_dashes_and_control_characters_are_escaped() {
        let stats = ContainerStats::new("shop", "a\x1b[2J");
        let table = render([("0123456789abcdef", &stats)]);
        let row = table.lines().nth(1).unwrap();
        let cells: Vec<&str> = row.split("   ").map(str::trim).filter(|c| !c.is_empty()).collect();
        assert_eq!(
            cells,
            ["0123456789ab", r"a\u001b[2J", "--", "-- / --", "--", "-- / --", "-- / --", "--"]
        );
    }

    #[test]
    fn wide_characters_keep_the_columns_aligned() {
        let named = |name: &str| ContainerStats::new("shop", name);
        let table = render([("a", &named("日本語")), ("b", &named("web"))]);
        let first_dashes: Vec<usize> =
            table.lines().skip(1).map(|line| width(line.split_once("--").unwrap().0)).collect();
        assert_eq!(first_dashes[0], first_dashes[1], "{table}");
    }
}
