//! When each client is pinged: pure, no sockets and no clock.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Whoever is due within this part of the interval is pinged at once, so that ten thousand clients
/// wake the thread a hundred times in an interval and not ten thousand times.
const TOGETHER: u32 = 100;

/// So many may be gone and still wait for their turn.
const GONE: usize = 1024;

/// Clients in the order in which they are due: the interval is the same for all.
#[derive(Debug)]
pub(super) struct Pings {
    interval: Duration,
    due: VecDeque<(Instant, u64)>,
}

impl Pings {
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, due: VecDeque::new() }
    }

    /// A client to be pinged from now on, an interval after `now` for the first time.
    pub(super) fn add(&mut self, client: u64, now: Instant) {
        self.due.push_back((now + self.interval, client));
    }

    /// Forgets those who are gone, where they are more than the `connected` ones: where clients come
    /// and go by the thousand, those of a whole interval would wait here.
    pub(super) fn tidy(&mut self, connected: usize, is_connected: impl Fn(u64) -> bool) {
        if self.due.len() > 2 * connected + GONE {
            self.due.retain(|&(_, client)| is_connected(client));
        }
    }

    /// When [`send`](Self::send) should be called next.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.front().map(|&(due, _)| due)
    }

    /// Has `ping` called for each client that is due, once the first of them is; `false` from it
    /// means that the client is gone.
    pub(super) fn send(&mut self, now: Instant, mut ping: impl FnMut(u64) -> bool) {
        if self.next().is_none_or(|due| due > now) {
            return;
        }
        let soon = now + self.interval / TOGETHER;
        while let Some(&(due, client)) = self.due.front()
            && due <= soon
        {
            self.due.pop_front();
            if ping(client) {
                self.add(client, now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(25);

    /// Who is pinged at this moment.
    fn pinged(pings: &mut Pings, at: Instant) -> Vec<u64> {
        let mut pinged = Vec::new();
        pings.send(at, |client| {
            pinged.push(client);
            true
        });
        pinged
    }

    #[test]
    fn a_client_is_pinged_each_interval_from_its_arrival_on() {
        let start = Instant::now();
        let mut pings = Pings::new(INTERVAL);
        assert_eq!(pings.next(), None);
        pings.add(7, start);
        assert_eq!(pings.next(), Some(start + INTERVAL));
        assert!(pinged(&mut pings, start + INTERVAL / 2).is_empty());
        assert_eq!(pinged(&mut pings, start + INTERVAL), [7]);
        assert_eq!(pings.next(), Some(start + 2 * INTERVAL));
    }

    #[test]
    fn those_who_are_due_at_about_the_same_time_are_pinged_together() {
        let start = Instant::now();
        let mut pings = Pings::new(INTERVAL);
        for client in 0..1000 {
            pings.add(client, start + Duration::from_millis(client));
        }
        assert_eq!(pinged(&mut pings, start + INTERVAL).len(), 251, "a hundredth of 25 s");
        assert_eq!(pings.next(), Some(start + INTERVAL + Duration::from_millis(251)));
    }

    #[test]
    fn those_who_come_and_go_within_an_interval_do_not_pile_up() {
        let start = Instant::now();
        let mut pings = Pings::new(INTERVAL);
        for client in 0..100_000 {
            pings.add(client, start);
            pings.tidy(1, |id| id == 0);
            assert!(pings.due.len() <= 2 + GONE);
        }
        assert!(pinged(&mut pings, start + INTERVAL).contains(&0));
    }

    #[test]
    fn whoever_is_gone_is_forgotten() {
        let start = Instant::now();
        let mut pings = Pings::new(INTERVAL);
        pings.add(7, start);
        pings.send(start + INTERVAL, |_| false);
        assert_eq!(pings.next(), None);
    }
}
