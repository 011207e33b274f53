//! The table of `kentros stats`: the columns and units of `docker stats`. Pure.
//!
//! Units as in docker/go-units: memory binary with four significant digits, network and disk
//! decimal with three.

use kentros::ContainerStats;

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
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut table = String::new();
    for line in &lines {
        let padded: Vec<String> =
            line.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
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

/// A name as it may go to a terminal: control characters could move its cursor.
fn printable(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn pair(a: Option<u64>, b: Option<u64>, unit: fn(u64) -> String) -> String {
    format!("{} / {}", or_missing(a.map(unit)), or_missing(b.map(unit)))
}

fn or_missing(value: Option<String>) -> String {
    value.unwrap_or_else(|| "--".to_owned())
}

fn binary(bytes: u64) -> String {
    scaled(bytes, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"], 4)
}

fn decimal(bytes: u64) -> String {
    scaled(bytes, 1000.0, &["B", "kB", "MB", "GB", "TB", "PB", "EB"], 3)
}

/// The number in the largest unit that leaves at least 1, with so many significant digits and no
/// zeros behind: Go's `%.4g`.
fn scaled(bytes: u64, base: f64, units: &[&str], digits: usize) -> String {
    // Four digits are shown, 2^53 keeps sixteen.
    #[allow(clippy::cast_precision_loss)]
    let mut value = bytes as f64;
    let mut units = units.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    while value >= base {
        let Some(larger) = units.next() else { break };
        value /= base;
        unit = larger;
    }
    let before = (0..digits).take_while(|&n| value >= 10_f64.powi(i32::try_from(n).unwrap_or(0)));
    let decimals = digits.saturating_sub(before.count().max(1));
    let number = format!("{value:.decimals$}");
    let number = if number.contains('.') {
        number.trim_end_matches('0').trim_end_matches('.')
    } else {
        &number
    };
    format!("{number}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_those_of_docker_stats() {
        let cases =
            [(0, "0B"), (999, "999B"), (1_023, "1023B"), (1_024, "1KiB"), (47_028_634, "44.85MiB")];
        for (bytes, text) in cases {
            assert_eq!(binary(bytes), text);
        }
        let cases = [
            (0, "0B"),
            (999, "999B"),
            (1_000, "1kB"),
            (1_549, "1.55kB"),
            (3_470_000_000, "3.47GB"),
            (126_000, "126kB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(decimal(bytes), text);
        }
    }

    #[test]
    fn what_is_missing_is_two_dashes_and_no_name_moves_the_cursor() {
        let stats = ContainerStats { name: "a\x1b[2J".into(), ..ContainerStats::default() };
        let table = render([("0123456789abcdef", &stats)]);
        let row = table.lines().nth(1).unwrap();
        let cells: Vec<&str> = row.split("   ").map(str::trim).filter(|c| !c.is_empty()).collect();
        assert_eq!(
            cells,
            ["0123456789ab", "a?[2J", "--", "-- / --", "--", "-- / --", "-- / --", "--"]
        );
    }
}
