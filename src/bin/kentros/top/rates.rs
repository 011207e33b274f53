//! Bytes a second, from counters that only grow. Pure.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Received, sent, read, written: counters since a start, bytes.
pub(super) type Counters = [Option<u64>; 4];

/// The same, bytes a second.
pub(super) type Rates = [Option<u64>; 4];

/// The counters of one container or of one project, and their pace between the last two readings.
#[derive(Debug)]
pub(super) struct Meter {
    at: OffsetDateTime,
    counters: Counters,
    /// How many containers they are over: with others, the sums jump.
    over: u32,
    rates: Rates,
}

impl Meter {
    /// A first reading: there is no pace yet.
    pub(super) fn new(at: OffsetDateTime, over: u32, counters: Counters) -> Self {
        Self { at, counters, over, rates: [None; 4] }
    }

    /// Takes one more reading, unless it is the last one again.
    pub(super) fn read(&mut self, at: OffsetDateTime, over: u32, counters: Counters) {
        let seconds = (at - self.at).as_seconds_f64();
        if seconds <= 0.0 {
            return;
        }
        let mut next = Self::new(at, over, counters);
        if over == self.over {
            for (rate, (new, old)) in next.rates.iter_mut().zip(counters.iter().zip(self.counters))
            {
                // One that shrinks has begun anew.
                *rate = new.zip(old).and_then(|(new, old)| new.checked_sub(old)).map(per(seconds));
            }
        }
        *self = next;
    }

    pub(super) fn rates(&self) -> Rates {
        self.rates
    }
}

/// So many bytes in so many seconds. Three digits of it are shown.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn per(seconds: f64) -> impl Fn(u64) -> u64 {
    move |bytes| (bytes as f64 / seconds).round() as u64
}

/// A timestamp of the wire.
pub(super) fn moment(timestamp: Option<&String>) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(timestamp?, &Rfc3339).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + time::Duration::milliseconds(millis)
    }

    #[test]
    fn a_pace_takes_two_readings_of_the_same_containers() {
        let mut meter = Meter::new(at(0), 1, [Some(1_000), Some(5), None, Some(9)]);
        assert_eq!(meter.rates(), [None; 4]);
        meter.read(at(500), 1, [Some(2_000), Some(5), Some(1), Some(8)]);
        let rates = [Some(2_000), Some(0), None, None];
        assert_eq!(meter.rates(), rates);
        // The same reading again, as where the engine is slower than the ticks.
        meter.read(at(500), 1, [Some(2_000), Some(5), Some(1), Some(8)]);
        assert_eq!(meter.rates(), rates);
        meter.read(at(1_500), 2, [Some(9_000), Some(5), Some(1), Some(8)]);
        assert_eq!(meter.rates(), [None; 4]);
    }

    #[test]
    fn what_is_no_timestamp_is_no_moment() {
        assert_eq!(moment(Some(&"1970-01-01T00:00:01.5Z".to_owned())), Some(at(1_500)));
        assert_eq!(moment(Some(&"soon".to_owned())), None);
        assert_eq!(moment(None), None);
    }
}
