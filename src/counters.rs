//! What the hub counts.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// Figures of a hub since its start; see [`HubHandle::counters`](crate::HubHandle::counters).
///
/// What clients received of the hub's messages is `delivered - conflated`, less what waited for a
/// client when it was evicted or went away.
///
/// ```
/// use kentros::{Hub, HubConfig, Message};
///
/// let hub = Hub::spawn(HubConfig::default())?;
/// hub.handle().broadcast(&Message::new("greeting", "hello"))?;
/// let counters = hub.handle().counters();
/// assert_eq!((counters.clients, counters.delivered), (0, 0));
/// # Ok::<(), kentros::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Clients registered now.
    pub clients: usize,
    /// Messages taken for delivery.
    pub published: u64,
    /// Messages handed to a client: written to its socket, or waiting for it. Answers and what is
    /// newest on connecting are among them, what a handler sends itself is not.
    pub delivered: u64,
    /// Messages that waited for a slow client and were replaced by a newer one of their topic.
    pub conflated: u64,
    /// Messages that a source had and did not publish: `project_status`, where more than a hundred
    /// came in a second, or where the hub had no room for a second.
    pub left_out: u64,
    /// Clients evicted because more waited for them than the bounds allow.
    pub evicted_slow: u64,
    /// Clients evicted because one write took longer than the deadline.
    pub evicted_deadline: u64,
    /// Whether the last reading of a stats streamer succeeded.
    pub engine_up: bool,
    /// Calls the source has made to its engine.
    pub engine_calls: u64,
    /// Calls of those that failed.
    pub engine_errors: u64,
}

/// The live counters; every field may be read and written from any thread.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) clients: AtomicUsize,
    pub(crate) published: AtomicU64,
    pub(crate) delivered: AtomicU64,
    pub(crate) conflated: AtomicU64,
    pub(crate) left_out: AtomicU64,
    pub(crate) evicted_slow: AtomicU64,
    pub(crate) evicted_deadline: AtomicU64,
    pub(crate) engine_up: AtomicBool,
    pub(crate) engine_calls: AtomicU64,
    pub(crate) engine_errors: AtomicU64,
}

impl Tally {
    pub(crate) fn read(&self) -> Counters {
        Counters {
            clients: self.clients.load(Ordering::SeqCst),
            published: self.published.load(Ordering::Relaxed),
            delivered: self.delivered.load(Ordering::Relaxed),
            conflated: self.conflated.load(Ordering::Relaxed),
            left_out: self.left_out.load(Ordering::Relaxed),
            evicted_slow: self.evicted_slow.load(Ordering::Relaxed),
            evicted_deadline: self.evicted_deadline.load(Ordering::Relaxed),
            engine_up: self.engine_up.load(Ordering::Relaxed),
            engine_calls: self.engine_calls.load(Ordering::Relaxed),
            engine_errors: self.engine_errors.load(Ordering::Relaxed),
        }
    }
}

pub(crate) fn add(counter: &AtomicU64, n: u64) {
    if n > 0 {
        counter.fetch_add(n, Ordering::Relaxed);
    }
}
