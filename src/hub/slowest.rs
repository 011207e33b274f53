//! Selects the clients to evict when the queues of all clients take too much memory. No threads or
//! sockets.

use std::time::Instant;

/// Maximum size of the queues of all clients together, in bytes. A message in several queues counts
/// once. A thousand clients that have each fallen behind by 256 KiB fit.
pub(super) const MAX_QUEUED_BYTES: usize = 256 << 20;

/// A client with a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClientBacklog {
    pub(super) client: u64,
    /// When the first message of its queue became the first.
    pub(super) since: Instant,
    /// Its share of the bytes in all queues.
    pub(super) share: usize,
}

/// Returns the clients to evict so that at least `excess` bytes are freed: first those that have
/// read nothing for the longest time. Clients with less than the average share are spared as long
/// as there are others, because evicting clients that share their messages with many others frees
/// little.
pub(super) fn slowest(mut backlogs: Vec<ClientBacklog>, excess: usize) -> Vec<u64> {
    backlogs.sort_by_key(|backlog| backlog.since);
    let (mut evicted, mut freed) = (Vec::new(), 0);
    while freed < excess && !backlogs.is_empty() {
        let all: usize = backlogs.iter().map(|backlog| backlog.share).sum();
        if all == 0 {
            break;
        }
        let average = all / backlogs.len();
        backlogs.retain(|backlog| {
            let evict = freed < excess && backlog.share >= average.max(1);
            if evict {
                evicted.push(backlog.client);
                freed += backlog.share;
            }
            !evict
        });
    }
    evicted
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn backlogs(of: &[(u64, usize)]) -> Vec<ClientBacklog> {
        let start = Instant::now();
        let backlog = |(client, &(seconds, share)): (usize, &(u64, usize))| ClientBacklog {
            client: client as u64,
            since: start + Duration::from_secs(seconds),
            share,
        };
        of.iter().enumerate().map(backlog).collect()
    }

    #[test]
    fn the_slowest_go_first_and_no_more_than_needed() {
        let all = backlogs(&[(3, 100), (1, 100), (2, 100), (4, 100)]);
        assert!(slowest(all.clone(), 0).is_empty());
        assert_eq!(slowest(all.clone(), 1), [1]);
        assert_eq!(slowest(all.clone(), 150), [1, 2]);
        assert_eq!(slowest(all, 1000), [1, 2, 0, 3]);
    }

    #[test]
    fn clients_that_share_their_messages_are_spared() {
        let all = backlogs(&[(1, 1), (2, 1), (3, 1), (5, 600), (4, 500)]);
        assert_eq!(slowest(all.clone(), 1000), [4, 3]);
        assert_eq!(slowest(all, 1102), [4, 3, 0, 1]);
        assert!(slowest(backlogs(&[(1, 0), (2, 0)]), 10).is_empty());
    }
}
