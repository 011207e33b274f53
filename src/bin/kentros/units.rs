//! Formats byte counts as the docker CLI does (docker/go-units): memory in binary units with four
//! significant digits, network and disk in decimal units with three.

/// Formats memory: `44.85MiB`.
pub(crate) fn binary(bytes: u64) -> String {
    scaled(bytes, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"], 4)
}

/// Formats network and disk bytes: `3.47GB`.
pub(crate) fn decimal(bytes: u64) -> String {
    scaled(bytes, 1000.0, &["B", "kB", "MB", "GB", "TB", "PB", "EB"], 3)
}

/// Returns the value, or two dashes if it is missing.
pub(crate) fn or_dashes(value: Option<String>) -> String {
    value.unwrap_or_else(|| "--".to_owned())
}

/// Formats the number in the largest unit that keeps it at 1 or more, with this many significant
/// digits and no trailing zeros, like Go's `%.4g`.
fn scaled(bytes: u64, base: f64, units: &[&str], digits: usize) -> String {
    // An f64 has sixteen digits, and at most four are shown.
    #[allow(clippy::cast_precision_loss)]
    let mut value = bytes as f64;
    let mut units = units.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    while value >= base {
        let Some(larger) = units.next() else { break };
        value /= base;
        unit = larger;
    }
    let integer_digits =
        (0..digits).take_while(|&n| value >= 10_f64.powi(i32::try_from(n).unwrap_or(0))).count();
    let decimals = digits.saturating_sub(integer_digits.max(1));
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
    fn units_match_docker_stats() {
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
}
