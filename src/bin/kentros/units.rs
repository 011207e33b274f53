//! Figures as the docker CLI writes them. Pure.
//!
//! Units as in docker/go-units: memory binary with four significant digits, network and disk
//! decimal with three.

/// Memory: `44.85MiB`.
pub(crate) fn binary(bytes: u64) -> String {
    scaled(bytes, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"], 4)
}

/// Network and disk: `3.47GB`.
pub(crate) fn decimal(bytes: u64) -> String {
    scaled(bytes, 1000.0, &["B", "kB", "MB", "GB", "TB", "PB", "EB"], 3)
}

/// A figure, or two dashes where there is none.
pub(crate) fn or_missing(value: Option<String>) -> String {
    value.unwrap_or_else(|| "--".to_owned())
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
}
