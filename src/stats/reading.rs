//! One sample of a container, and the percentages computed from it.
//!
//! The formulas are the docker CLI's (`cli/command/container/stats_helpers.go`) except for CPU. The
//! CLI divides by the host's CPU time, which Podman reports as busy time only, and uses the engine's
//! previous sample, which one-shot calls lack. Here, CPU is the change in CPU time over the change
//! in time between two of our own samples.

use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::stats::payload::Unavailable;

/// How much the arrivals of two samples may be delayed on an idle machine.
const ARRIVAL_JITTER: Duration = Duration::from_millis(150);
/// The kernel counts the host's CPU time in steps of 10 ms.
const HOST_CLOCK_RESOLUTION: Duration = Duration::from_millis(30);

/// A value, or the reason why it is missing.
pub(crate) type Measurement<T> = Result<T, Unavailable>;

/// One sample of a running container, in the units of [`ContainerStats`](crate::ContainerStats).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reading {
    /// When the engine took the sample.
    pub(crate) at: OffsetDateTime,
    /// The host's CPU time divided by its number of CPUs, nanoseconds: a clock that cannot be set.
    pub(crate) host_clock: Option<u64>,
    /// CPU time since the container's start, nanoseconds.
    pub(crate) cpu: Measurement<u64>,
    pub(crate) online_cpus: Measurement<u32>,
    /// Memory usage without page cache, bytes.
    pub(crate) memory: Measurement<u64>,
    /// Memory usage with page cache, bytes, as counted by the kernel.
    pub(crate) memory_total: Option<u64>,
    /// The memory limit, or the host's memory if there is none, bytes.
    pub(crate) memory_limit: Measurement<u64>,
    /// Memory of processes, page cache and swap, bytes.
    pub(crate) memory_anon: Measurement<u64>,
    pub(crate) memory_cache: Measurement<u64>,
    pub(crate) memory_swap: Option<u64>,
    /// How often the memory limit was hit.
    pub(crate) memory_failures: Option<u64>,
    pub(crate) throttling: Measurement<Throttling>,
    /// CPU time since the container's start in user mode and in the kernel, nanoseconds.
    pub(crate) cpu_modes: Option<(u64, u64)>,
    /// Bytes received and sent; `None` if the engine lists no network.
    pub(crate) network: Option<(u64, u64)>,
    /// Bytes read and written.
    pub(crate) block: Measurement<(u64, u64)>,
    pub(crate) pids: Measurement<u64>,
}

/// How often a container had to wait because of its CPU limit, since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Throttling {
    /// Periods in which the limit was enforced: none without a limit or without work.
    pub(crate) periods: u64,
    /// Those in which it had to wait.
    pub(crate) throttled_periods: u64,
    /// The time it waited, nanoseconds.
    pub(crate) throttled_time: u64,
}

impl Reading {
    /// A sample without any value but its time.
    pub(crate) fn not_reported(at: OffsetDateTime) -> Self {
        Self {
            at,
            host_clock: None,
            cpu: Err(Unavailable::EngineError),
            online_cpus: Err(Unavailable::EngineError),
            memory: Err(Unavailable::EngineError),
            memory_total: None,
            memory_limit: Err(Unavailable::EngineError),
            memory_anon: Err(Unavailable::NotReported),
            memory_cache: Err(Unavailable::NotReported),
            memory_swap: None,
            memory_failures: None,
            throttling: Err(Unavailable::NotReported),
            cpu_modes: None,
            network: None,
            block: Err(Unavailable::EngineError),
            pids: Err(Unavailable::EngineError),
        }
    }

    /// The throttled periods since the `before` sample, percent of all periods; `None` if there was no
    /// period.
    ///
    /// # Errors
    /// As for [`cpu_percent`](Self::cpu_percent).
    pub(crate) fn throttled_percent(&self, before: &Self) -> Measurement<Option<f64>> {
        let (now, before) = (self.throttling?, before.throttling?);
        let (Some(periods), Some(throttled)) = (
            now.periods.checked_sub(before.periods),
            now.throttled_periods.checked_sub(before.throttled_periods),
        ) else {
            return Err(Unavailable::FirstSample);
        };
        // Both counters are not read at the same instant. A container has 10 periods a second.
        #[allow(clippy::cast_precision_loss)]
        Ok((periods > 0).then(|| (throttled as f64 / periods as f64 * 100.0).min(100.0)))
    }

    /// CPU used since the `before` sample, percent of one core. `received` is the time between the
    /// arrivals of both samples.
    ///
    /// # Errors
    /// [`FirstSample`](Unavailable::FirstSample) if the counter decreased, as after a restart, and
    /// [`EngineError`](Unavailable::EngineError) if the engine's clock was set in between.
    pub(crate) fn cpu_percent(&self, before: &Self, received: Duration) -> Measurement<f64> {
        let Some(used) = self.cpu?.checked_sub(before.cpu?) else {
            return Err(Unavailable::FirstSample);
        };
        let elapsed = self.elapsed_since(before, received).ok_or(Unavailable::EngineError)?;
        // Rounding above 2^53 ns, 104 days, does not show in a percentage.
        #[allow(clippy::cast_precision_loss)]
        let percent = used as f64 / elapsed.as_nanos() as f64 * 100.0;
        // Counters and time are not read at the same instant.
        let limit = self.online_cpus.map(|cpus| f64::from(cpus) * 100.0 * 1.25);
        if limit.is_ok_and(|limit| percent > limit) {
            return Err(Unavailable::EngineError);
        }
        Ok(percent)
    }

    /// The time between two samples by the engine's clock, or `None` if the clock was set in between:
    /// it then disagrees with the time between the arrivals, and also with the host's CPU time if
    /// that is known. The arrivals alone would not do, because a busy machine delays them.
    fn elapsed_since(&self, before: &Self, received: Duration) -> Option<Duration> {
        let elapsed =
            Duration::try_from(self.at - before.at).ok().filter(|time| !time.is_zero())?;
        if elapsed.abs_diff(received) <= ARRIVAL_JITTER + received / 10 {
            return Some(elapsed);
        }
        let host = self.host_clock?.checked_sub(before.host_clock?).map(Duration::from_nanos)?;
        (elapsed.abs_diff(host) <= HOST_CLOCK_RESOLUTION + host / 10).then_some(elapsed)
    }

    /// Memory usage as a percentage of the limit. Unknown if the limit is 0, which means none.
    pub(crate) fn memory_percent(&self) -> Measurement<f64> {
        let (used, limit) = (self.memory?, self.memory_limit?);
        if limit == 0 {
            return Err(Unavailable::EngineError);
        }
        // Exact up to 8 PiB.
        #[allow(clippy::cast_precision_loss)]
        Ok(used as f64 / limit as f64 * 100.0)
    }

    /// When the sample was taken, RFC 3339.
    pub(crate) fn timestamp(&self) -> Option<String> {
        self.at.format(&Rfc3339).ok()
    }
}

/// Memory without page cache: `usage` minus `total_inactive_file` (cgroup v1) or `inactive_file`
/// (v2). A cache that is not smaller than `usage` is ignored.
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

/// Parses an engine's timestamp. `None` for the year 1, which means "no sample".
pub(crate) fn parse_timestamp(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok().filter(|at| at.year() > 1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn reading(at: &str, cpu: u64) -> Reading {
        Reading {
            at: parse_timestamp(at).unwrap(),
            host_clock: None,
            cpu: Ok(cpu),
            online_cpus: Ok(2),
            memory: Ok(0),
            memory_total: Some(0),
            memory_limit: Ok(0),
            memory_anon: Ok(0),
            memory_cache: Ok(0),
            memory_swap: None,
            memory_failures: None,
            throttling: Ok(Throttling::default()),
            cpu_modes: None,
            network: None,
            block: Ok((0, 0)),
            pids: Ok(1),
        }
    }

    #[test]
    fn cpu_is_the_change_in_cpu_time_over_the_change_in_time() {
        // Two consecutive samples of docker-20.10.24-cgroupv1-stream-web.jsonl.
        let before = reading("2026-11-22T19:00:50.502538461Z", 118_673_210);
        let now = reading("2026-11-22T19:00:51.506812487Z", 138_954_953);
        let percent = now.cpu_percent(&before, SECOND).unwrap();
        assert!((percent - 2.019_54).abs() < 0.000_1, "{percent}");
    }

    #[test]
    fn cpu_needs_two_samples_in_order() {
        let before = reading("2026-11-22T19:00:50Z", 100);
        for (case, now, percent) in [
            ("the same sample again", reading("2026-11-22T19:00:50Z", 100), None),
            ("an older sample", reading("2026-11-22T19:00:49Z", 200), None),
            ("restarted", reading("2026-11-22T19:00:51Z", 99), None),
            ("paused", reading("2026-11-22T19:00:51Z", 100), Some(0.0)),
            ("two whole cores", reading("2026-11-22T19:00:51Z", 2_000_000_100), Some(200.0)),
        ] {
            assert_eq!(now.cpu_percent(&before, SECOND).ok(), percent, "{case}");
        }
    }

    #[test]
    fn throttling_is_the_share_of_the_periods_since_the_previous_sample() {
        let with = |periods, throttled_periods| Reading {
            throttling: Ok(Throttling { periods, throttled_periods, throttled_time: 0 }),
            ..reading("2026-11-22T19:00:50Z", 0)
        };
        for (case, before, now, percent) in [
            ("a quarter", (100, 50), (108, 52), Ok(Some(25.0))),
            ("never", (100, 50), (110, 50), Ok(Some(0.0))),
            ("no limit, or idle", (100, 50), (100, 50), Ok(None)),
            ("restarted", (100, 50), (3, 1), Err(Unavailable::FirstSample)),
            ("read while it changed", (100, 50), (101, 52), Ok(Some(100.0))),
        ] {
            let (before, now) = (with(before.0, before.1), with(now.0, now.1));
            assert_eq!(now.throttled_percent(&before), percent, "{case}");
        }
    }

    #[test]
    fn page_cache_is_not_counted() {
        for (case, usage, total_inactive, inactive, used) in [
            // docker-20.10.24-cgroupv1-oneshot-shop-web-1.json
            ("cgroup v1", 6_352_896, Some(4_194_304), Some(4_194_304), 2_158_592),
            // docker-28.5.2-cgroupv2-oneshot-web.json
            ("cgroup v2", 22_999_040, None, Some(589_824), 22_409_216),
            // podman-4.3.1-cgroupv1-oneshot.json
            ("no map", 1_486_848, None, None, 1_486_848),
            ("more cache than usage", 4_096, Some(4_096), None, 4_096),
            ("only the v2 value is plausible", 4_096, Some(8_192), Some(1_024), 3_072),
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
    fn the_year_one_is_not_a_timestamp() {
        assert_eq!(parse_timestamp("0001-01-01T00:00:00Z"), None);
        assert_eq!(parse_timestamp("yesterday"), None);
        assert!(parse_timestamp("2026-11-22T19:00:50.5+01:00").is_some());
    }
}
