//! When each client is pinged. Pure: no sockets, no clock.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Clients due within this fraction of the interval are pinged together: ten thousand clients wake
/// the thread a hundred times per interval, not ten thousand times.
const BATCHES_PER_INTERVAL: u32 = 100;

/// Maximum number of disconnected clients in the queue, beyond the number of connected ones.
const MAX_STALE: usize = 1024;

/// Clients in the order in which they are due: all have the same interval.
#[derive(Debug)]
pub(super) struct Pings {
    interval: Duration,
    due: VecDeque<(Instant, u64)>,
}

impl Pings {
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, due: VecDeque::new() }
    }

    /// Adds a client, whose first ping is due one interval after `now`.
    pub(super) fn add(&mut self, client: u64, now: Instant) {
        self.due.push_back((now + self.interval, client));
    }

    /// Removes disconnected clients if there are too many: with thousands of short connections,
    /// those of a whole interval would accumulate.
    pub(super) fn compact(&mut self, connected: usize, is_connected: impl Fn(u64) -> bool) {
        if self.due.len() > 2 * connected + MAX_STALE {
            self.due.retain(|&(_, client)| is_connected(client));
        }
    }

    /// When to call [`send`](Self::send) next.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.front().map(|&(due, _)| due)
    }

    /// Once the first client is due, calls `ping` for each client in its batch. `ping` returns
    /// `false` if the client has disconnected.
    pub(super) fn send(&mut self, now: Instant, mut ping: impl FnMut(u64) -> bool) {
        if self.next().is_none_or(|due| due > now) {
            return;
        }
        let batch_end = now + self.interval / BATCHES_PER_INTERVAL;
        while let Some(&(due, client)) = self.due.front()
            && due <= batch_end
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

    /// The clients that are pinged at this moment.
    fn pinged(pings: &mut Pings, at: Instant) -> Vec<u64> {
        let mut pinged = Vec::new();
        pings.send(at, |client| {
            pinged.push(client);
            true
        });
        pinged
    }

    #[test]
    fn a_client_is_pinged_once_per_interval() {
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
    fn clients_due_at_about_the_same_time_are_pinged_together() {
        let start = Instant::now();
        let mut pings = Pings::new(INTERVAL);
        for client in 0..1000 {
            pings.add(client, start + Duration::from_millis(client));
        }
        assert_eq!(pinged(&mut pings, start + INTERVAL).len(), 251, "a hundredth of 25 s");
        assert_eq!(pings.next(), Some(start + INTERVAL + Duration::from_millis(251)));
    }

    #[test]
    fn short_connections_do_not_accumulate() {
        let start = Instant::now();
        let mut pings = Pings::new(INTERVAL);
        for client in 0..100_000 {
            pings.add(client, start);
            pings.compact(1, |id| id == 0);
            assert!(pings.due.len() <= 2 + MAX_STALE);
        }
        assert!(pinged(&mut pings, start + INTERVAL).contains(&0));
    }

    #[test]
    fn a_disconnected_client_is_removed() {
        let start = Instant::now();
        let mut pings = Pings::new(INTERVAL);
        pings.add(7, start);
        pings.send(start + INTERVAL, |_| false);
        assert_eq!(pings.next(), None);
    }
}
