//! Network and disk rates, from counters.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Bytes since the start: received, sent, read, written.
pub(super) type IoCounters = [Option<u64>; 4];

/// Bytes per second: received, sent, read, written.
pub(super) type IoRates = [Option<u64>; 4];

/// Computes rates from the last two samples of a container or a project.
#[derive(Debug)]
pub(super) struct RateMeter {
    sampled_at: OffsetDateTime,
    counters: IoCounters,
    /// The number of containers in the counters. If it changes, the sums jump.
    containers: u32,
    rates: IoRates,
}

impl RateMeter {
    /// Starts with a first sample, which has no rates.
    pub(super) fn new(sampled_at: OffsetDateTime, containers: u32, counters: IoCounters) -> Self {
        Self { sampled_at, counters, containers, rates: [None; 4] }
    }

    /// Adds a sample, unless it is not newer than the last one.
    pub(super) fn add_sample(
        &mut self,
        sampled_at: OffsetDateTime,
        containers: u32,
        counters: IoCounters,
    ) {
        let seconds = (sampled_at - self.sampled_at).as_seconds_f64();
        if seconds <= 0.0 {
            return;
        }
        let mut next = Self::new(sampled_at, containers, counters);
        if containers == self.containers {
            for (rate, (new, old)) in next.rates.iter_mut().zip(counters.iter().zip(self.counters))
            {
                // A counter that decreased was reset: no rate.
                let increase = new.zip(old).and_then(|(new, old)| new.checked_sub(old));
                *rate = increase.map(|bytes| bytes_per_second(bytes, seconds));
            }
        }
        *self = next;
    }

    pub(super) fn rates(&self) -> IoRates {
        self.rates
    }
}

// At most three digits are shown, so the casts lose nothing visible.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn bytes_per_second(bytes: u64, seconds: f64) -> u64 {
    (bytes as f64 / seconds).round() as u64
}

/// Parses the timestamp of a row.
pub(super) fn parse_timestamp(timestamp: Option<&String>) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(timestamp?, &Rfc3339).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + time::Duration::milliseconds(millis)
    }

    #[test]
    fn a_rate_needs_two_samples_of_the_same_containers() {
        let mut meter = RateMeter::new(at(0), 1, [Some(1_000), Some(5), None, Some(9)]);
        assert_eq!(meter.rates(), [None; 4]);
        meter.add_sample(at(500), 1, [Some(2_000), Some(5), Some(1), Some(8)]);
        let rates = [Some(2_000), Some(0), None, None];
        assert_eq!(meter.rates(), rates);
        // A slow engine repeats its last sample.
        meter.add_sample(at(500), 1, [Some(2_000), Some(5), Some(1), Some(8)]);
        assert_eq!(meter.rates(), rates);
        meter.add_sample(at(1_500), 2, [Some(9_000), Some(5), Some(1), Some(8)]);
        assert_eq!(meter.rates(), [None; 4]);
    }

    #[test]
    fn an_invalid_timestamp_is_ignored() {
        assert_eq!(parse_timestamp(Some(&"1970-01-01T00:00:01.5Z".to_owned())), Some(at(1_500)));
        assert_eq!(parse_timestamp(Some(&"soon".to_owned())), None);
        assert_eq!(parse_timestamp(None), None);
    }
}
