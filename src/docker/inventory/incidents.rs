//! How often containers have restarted and run out of memory in the last hour, from the events that
//! kentros saw.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::Instant;

use crate::docker::engine::list::MAX_CONTAINERS;

/// The minutes that are counted.
const HOUR: u64 = 60;
/// The same as a number of slots.
const SLOTS: usize = 60;
/// A container is in a restart loop after this many restarts in ten minutes, unless it has not
/// restarted for three minutes. Docker waits up to a minute before a restart.
const LOOP_RESTARTS: u64 = 3;
const LOOP_MINUTES: u64 = 3;

/// The number of minutes since the first call.
pub(crate) fn minute() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed().as_secs() / 60
}

/// The incidents of all containers. They outlast a session, so that a client that returns sees those
/// of before.
#[derive(Debug, Default)]
pub(crate) struct Incidents(HashMap<String, ContainerIncidents>);

impl Incidents {
    pub(super) fn count_restart(&mut self, id: &str, minute: u64) {
        if let Some(container) = self.of(id) {
            container.restarts.add(minute);
        }
    }

    pub(super) fn count_oom_kill(&mut self, id: &str, minute: u64) {
        if let Some(container) = self.of(id) {
            container.oom_kills.add(minute);
            container.total_oom_kills += 1;
        }
    }

    /// The incidents of a container, unless too many others have some.
    fn of(&mut self, id: &str) -> Option<&mut ContainerIncidents> {
        if self.0.len() >= MAX_CONTAINERS && !self.0.contains_key(id) {
            return None;
        }
        Some(self.0.entry(id.to_owned()).or_default())
    }

    pub(super) fn get(&self, id: &str) -> ContainerIncidents {
        self.0.get(id).cloned().unwrap_or_default()
    }

    pub(super) fn total_oom_kills(&self, id: &str) -> u64 {
        self.0.get(id).map_or(0, |container| container.total_oom_kills)
    }

    pub(super) fn remove(&mut self, id: &str) {
        self.0.remove(id);
    }

    /// Removes the containers without an incident in the last hour.
    pub(super) fn prune(&mut self, minute: u64) {
        self.0.retain(|_, container| {
            container.restarts.last(minute, HOUR) + container.oom_kills.last(minute, HOUR) > 0
        });
    }
}

/// The incidents of one container.
#[derive(Clone, Debug, Default)]
pub(super) struct ContainerIncidents {
    restarts: LastHour,
    oom_kills: LastHour,
    total_oom_kills: u64,
}

impl ContainerIncidents {
    pub(super) fn restarts(&self, minute: u64, minutes: u64) -> u64 {
        self.restarts.last(minute, minutes)
    }

    pub(super) fn oom_kills(&self, minute: u64, minutes: u64) -> u64 {
        self.oom_kills.last(minute, minutes)
    }

    pub(super) fn is_restart_loop(&self, minute: u64) -> bool {
        self.restarts(minute, 10) >= LOOP_RESTARTS && self.restarts(minute, LOOP_MINUTES) > 0
    }
}

/// Counts of the last hour by minute, in a ring.
#[derive(Clone, Debug)]
struct LastHour {
    counts: [u16; SLOTS],
    /// The minute counted last.
    newest: u64,
}

impl Default for LastHour {
    fn default() -> Self {
        Self { counts: [0; SLOTS], newest: 0 }
    }
}

impl LastHour {
    fn add(&mut self, minute: u64) {
        for skipped in (self.newest + 1..=minute).rev().take(SLOTS) {
            self.change(skipped, |count| *count = 0);
        }
        self.newest = self.newest.max(minute);
        self.change(minute, |count| *count = count.saturating_add(1));
    }

    /// The sum of the last minutes up to `minute`, which has only begun.
    fn last(&self, minute: u64, minutes: u64) -> u64 {
        let first = (minute + 1).saturating_sub(minutes);
        let kept = self.newest.saturating_sub(HOUR - 1).max(first)..=self.newest.min(minute);
        kept.map(|minute| u64::from(self.counts.get(slot(minute)).copied().unwrap_or(0))).sum()
    }

    fn change(&mut self, minute: u64, change: impl Fn(&mut u16)) {
        self.counts.get_mut(slot(minute)).into_iter().for_each(change);
    }
}

/// Where a minute is in the ring.
#[allow(clippy::cast_possible_truncation)]
fn slot(minute: u64) -> usize {
    (minute % HOUR) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(minutes: &[u64]) -> ContainerIncidents {
        let mut incidents = Incidents::default();
        for minute in minutes {
            incidents.count_restart("a", *minute);
        }
        incidents.get("a")
    }

    #[test]
    fn a_window_slides_by_the_minute() {
        let a = counted(&[0, 0, 5, 9]);
        for (minute, ten, hour) in [
            (9, 4, 4),
            (10, 2, 4),
            (14, 2, 4),
            (15, 1, 4),
            (18, 1, 4),
            (19, 0, 4),
            (60, 0, 2),
            (65, 0, 1),
            (69, 0, 0),
            (1_000, 0, 0),
        ] {
            assert_eq!((a.restarts(minute, 10), a.restarts(minute, 60)), (ten, hour), "{minute}");
        }
        let a = counted(&[0, 59, 60, 61]);
        assert_eq!(a.restarts(61, 60), 3, "a minute takes the place of the one an hour before");
        let a = counted(&[3, 200]);
        assert_eq!(a.restarts(200, 60), 1, "hours later");
        let many = counted(&vec![7; 70_000]);
        assert_eq!(many.restarts(7, 10), u64::from(u16::MAX), "a bound");
    }

    #[test]
    fn a_loop_is_three_restarts_in_ten_minutes() {
        for (case, restarts, minute, is_loop) in [
            ("two", &[0, 0][..], 0, false),
            ("three", &[0, 0, 0], 0, true),
            ("once a minute", &[5, 6, 7], 8, true),
            ("every four minutes", &[0, 4, 8], 8, true),
            ("every five minutes", &[0, 5, 10], 10, false),
            ("stable for two minutes", &[0, 0, 0], 2, true),
            ("stable for three minutes", &[0, 0, 0], 3, false),
        ] {
            assert_eq!(counted(restarts).is_restart_loop(minute), is_loop, "{case}");
        }
    }

    #[test]
    fn memory_is_bounded() {
        let mut incidents = Incidents::default();
        for n in 0..2 * MAX_CONTAINERS {
            incidents.count_restart(&format!("c{n}"), 1);
        }
        incidents.count_oom_kill("c0", 30);
        assert_eq!(incidents.0.len(), MAX_CONTAINERS);
        incidents.prune(60);
        assert_eq!(incidents.0.len(), MAX_CONTAINERS);
        incidents.prune(61);
        assert_eq!(incidents.0.len(), 1, "the others had no incident for an hour");
        incidents.count_restart("new", 61);
        assert_eq!(incidents.get("new").restarts(61, 10), 1);
        assert_eq!(incidents.total_oom_kills("c0"), 1);
        incidents.remove("c0");
        assert_eq!(incidents.total_oom_kills("c0"), 0);
    }
}
