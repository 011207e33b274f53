//! What a container uses, from the engine's counters: pure.
//!
//! The formulas are those of the docker CLI (`cli/command/container/stats_helpers.go`) but for the
//! CPU: the CLI divides by the host's CPU time, which Podman reports as busy time only, and takes
//! the engine's own previous sample, which one-shots lack. Here it is the change of CPU time over
//! the change of the clock, between two samples of our own.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::stats::payload::Unavailable;

/// A figure, or why there is none.
pub(crate) type Figure<T> = Result<T, Unavailable>;

/// One sample of a running container, in the units of the wire.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reading {
    /// When the engine took it.
    pub(crate) at: OffsetDateTime,
    /// CPU time used since the container's start, nanoseconds.
    pub(crate) cpu: Figure<u64>,
    pub(crate) online_cpus: Figure<u32>,
    /// Memory in use, without page cache, bytes.
    pub(crate) memory: Figure<u64>,
    /// Memory with page cache, bytes, as the kernel counts it.
    pub(crate) memory_total: Option<u64>,
    /// Bytes; the host's memory where the container has no limit.
    pub(crate) memory_limit: Figure<u64>,
    /// Bytes received and sent; `None` where the engine lists no network.
    pub(crate) network: Option<(u64, u64)>,
    /// Bytes read and written.
    pub(crate) block: Figure<(u64, u64)>,
    pub(crate) pids: Figure<u64>,
}

impl Reading {
    /// CPU used from `before` to now, one whole core is 100. `None` where the two make no pair:
    /// the clock did not advance, or the counter went back, as after a restart.
    pub(crate) fn cpu_percent(&self, before: &Self) -> Option<f64> {
        let used = self.cpu.ok()?.checked_sub(before.cpu.ok()?)?;
        let elapsed = (self.at - before.at).whole_nanoseconds();
        // Neither exceeds 2^53 ns, 104 days, by enough to show in a percentage.
        #[allow(clippy::cast_precision_loss)]
        (elapsed > 0).then(|| used as f64 / elapsed as f64 * 100.0)
    }

    /// Memory in use of its limit, percent. A limit of 0 is none, and the percentage unknown.
    pub(crate) fn memory_percent(&self) -> Figure<f64> {
        let (used, limit) = (self.memory?, self.memory_limit?);
        if limit == 0 {
            return Err(Unavailable::EngineError);
        }
        // Exact up to 8 PiB.
        #[allow(clippy::cast_precision_loss)]
        Ok(used as f64 / limit as f64 * 100.0)
    }

    /// When it was taken, RFC 3339.
    pub(crate) fn timestamp(&self) -> Option<String> {
        self.at.format(&Rfc3339).ok()
    }
}

/// Memory without page cache: `usage` less `total_inactive_file` (cgroup v1) or else
/// `inactive_file` (v2), unless that would leave nothing.
pub(crate) fn memory_used(
    usage: u64,
    total_inactive_file: Option<u64>,
    inactive_file: Option<u64>,
) -> u64 {
    [total_inactive_file, inactive_file]
        .into_iter()
        .flatten()
        .find(|cache| *cache < usage)
        .map_or(usage, |cache| usage - cache)
}

/// The moment an engine's clock shows; `None` for the year 1, which stands for "no sample".
pub(crate) fn moment(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok().filter(|at| at.year() > 1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn reading(at: &str, cpu: u64) -> Reading {
        Reading {
            at: moment(at).unwrap(),
            cpu: Ok(cpu),
            online_cpus: Ok(2),
            memory: Ok(0),
            memory_total: Some(0),
            memory_limit: Ok(0),
            network: None,
            block: Ok((0, 0)),
            pids: Ok(1),
        }
    }

    #[test]
    fn cpu_is_change_over_change() {
        // Two consecutive samples of docker-20.10.24-cgroupv1-stream-web.jsonl.
        let before = reading("2026-11-22T19:00:50.502538461Z", 118_673_210);
        let now = reading("2026-11-22T19:00:51.506812487Z", 138_954_953);
        let percent = now.cpu_percent(&before).unwrap();
        assert!((percent - 2.019_54).abs() < 0.000_1, "{percent}");
    }

    #[test]
    fn a_pair_that_tells_nothing_has_no_figure() {
        let before = reading("2026-11-22T19:00:50Z", 100);
        for (case, now, percent) in [
            ("the same sample again", reading("2026-11-22T19:00:50Z", 100), None),
            ("an older sample", reading("2026-11-22T19:00:49Z", 200), None),
            ("restarted", reading("2026-11-22T19:00:51Z", 99), None),
            ("paused", reading("2026-11-22T19:00:51Z", 100), Some(0.0)),
            ("two whole cores", reading("2026-11-22T19:00:51Z", 2_000_000_100), Some(200.0)),
        ] {
            assert_eq!(now.cpu_percent(&before), percent, "{case}");
        }
    }

    #[test]
    fn page_cache_is_not_memory_in_use() {
        for (case, usage, total_inactive, inactive, used) in [
            // docker-20.10.24-cgroupv1-oneshot-shop-web-1.json
            ("cgroup v1", 6_352_896, Some(4_194_304), Some(4_194_304), 2_158_592),
            // docker-28.5.2-cgroupv2-oneshot-web.json
            ("cgroup v2", 22_999_040, None, Some(589_824), 22_409_216),
            // podman-4.3.1-cgroupv1-oneshot.json
            ("no map", 1_486_848, None, None, 1_486_848),
            ("more cache than usage", 4_096, Some(4_096), None, 4_096),
            ("v1 nonsense, v2 sense", 4_096, Some(8_192), Some(1_024), 3_072),
        ] {
            assert_eq!(memory_used(usage, total_inactive, inactive), used, "{case}");
        }
    }

    #[test]
    fn memory_percent_needs_a_limit() {
        let mut reading = reading("2026-11-22T19:00:50Z", 0);
        reading.memory = Ok(50);
        assert_eq!(reading.memory_percent(), Err(Unavailable::EngineError));
        reading.memory_limit = Ok(200);
        assert_eq!(reading.memory_percent(), Ok(25.0));
        reading.memory = Err(Unavailable::MemoryCgroupDisabled);
        assert_eq!(reading.memory_percent(), Err(Unavailable::MemoryCgroupDisabled));
    }

    #[test]
    fn the_year_one_is_no_moment() {
        assert_eq!(moment("0001-01-01T00:00:00Z"), None);
        assert_eq!(moment("yesterday"), None);
        assert!(moment("2026-11-22T19:00:50.5+01:00").is_some());
    }
}
