//! Comparison of kentros's figures with those of another tool over the same seconds.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use kentros::{DockerSource, Interest, Mode, StatsSource};

use super::docker::{Reading, read_only};
use super::{GUARD, pause};

/// The least and the greatest number of rounds to compare. Both tools measure over a second, but on
/// a busy machine not over the same one. The means of several rounds agree, and a wrong figure stays
/// wrong over any number of rounds.
pub(crate) const ROUNDS: (usize, usize) = (5, 20);

/// Uses about half of a core.
pub(crate) const HALF: &str =
    "while :; do i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done; sleep 0.1; done";

pub(crate) const WHOLE: &str = "while :; do :; done";

pub(crate) const IDLE: &str = "while :; do sleep 1000; done";

/// The sums over rounds of one figure by kentros and by the other tool.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pair {
    ours: f64,
    theirs: f64,
}

impl Pair {
    /// Whether the means over this many rounds differ by at most 2 points or 5 %.
    fn is_close(self, rounds: usize) -> bool {
        #[allow(clippy::cast_precision_loss)]
        let n = rounds as f64;
        let (ours, theirs) = (self.ours / n, self.theirs / n);
        (ours - theirs).abs() <= (0.05 * f64::midpoint(ours, theirs)).max(2.0)
    }
}

/// Whether the figures differ by at most this part of `theirs`, which has few digits.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn agrees(ours: Option<u64>, theirs: f64, part: f64) -> bool {
    ours.is_some_and(|ours| (ours as f64 - theirs).abs() <= theirs * part)
}

/// Takes one reading per second. A reading of a direct engine returns at once.
pub(crate) fn read(source: &mut DockerSource, interest: &Interest) -> Reading {
    if source.engine_info().mode == Some(Mode::Direct) {
        pause(Duration::from_secs(1));
    }
    read_only(source, interest).unwrap()
}

pub(crate) fn mean(figures: impl ExactSizeIterator<Item = f64>) -> f64 {
    #[allow(clippy::cast_precision_loss)]
    let n = figures.len() as f64;
    figures.sum::<f64>() / n
}

/// Takes readings until all of these containers have a CPU usage and `condition` holds.
pub(crate) fn ready(
    source: &mut DockerSource,
    interest: &Interest,
    ids: &[&str],
    what: &str,
    condition: impl Fn(&Reading) -> bool,
) -> Reading {
    let start = Instant::now();
    loop {
        let reading = read(source, interest);
        if ids.iter().all(|id| reading.cpu(id).is_some()) && condition(&reading) {
            return reading;
        }
        assert!(start.elapsed() < GUARD, "{what}: not within {GUARD:?}: {reading:?}");
    }
}

/// Compares CPU usages until their means agree. `round` returns the readings of kentros and the
/// usages by the other tool over the same seconds.
pub(crate) fn compare_cpu(
    tool: &str,
    ids: &[(&str, &str)],
    mut round: impl FnMut() -> (Vec<Reading>, HashMap<String, f64>),
) {
    let mut sums = vec![Pair::default(); ids.len()];
    for n in 1..=ROUNDS.1 {
        let (ours, theirs) = round();
        let off = |reading: &&Reading| {
            let each = ids.iter().map(|(_, id)| {
                reading.cpu(id).map_or(f64::INFINITY, |cpu| (cpu - theirs[*id]).abs())
            });
            each.sum::<f64>()
        };
        // The tool shows one of the last two passes of the engine. Compare with the closer one.
        let last = ours.iter().rev().take(2).min_by(|a, b| off(a).total_cmp(&off(b))).unwrap();
        for (sum, (_, id)) in sums.iter_mut().zip(ids) {
            sum.ours += last.cpu(id).unwrap();
            sum.theirs += theirs[*id];
        }
        if n >= ROUNDS.0 && sums.iter().all(|sum| sum.is_close(n)) {
            for (Pair { ours, theirs }, (name, _)) in sums.iter().zip(ids) {
                #[allow(clippy::cast_precision_loss)]
                let (ours, theirs) = (ours / n as f64, theirs / n as f64);
                println!(
                    "PARITY {tool} {name}: CPU {ours:.2} % by kentros, {theirs:.2} % by the tool"
                );
            }
            return;
        }
    }
    panic!("CPU usages differ over {} rounds: {ids:?}, sums {sums:?}", ROUNDS.1);
}
