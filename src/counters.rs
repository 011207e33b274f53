//! The hub's counters.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::lock::lock;

/// The counters of a hub since its start. See [`HubHandle::counters`](crate::HubHandle::counters).
///
/// The clients have received `delivered - conflated` messages, except for messages still queued for a
/// client when it was evicted or disconnected.
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
    /// Registered clients and listeners.
    pub clients: usize,
    /// Messages accepted for delivery.
    pub published: u64,
    /// Messages written to a client's socket or queued for it, including retained messages and
    /// acknowledgements, but not those that a session sends itself.
    pub delivered: u64,
    /// Queued messages that were replaced by a newer one with the same key.
    pub conflated: u64,
    /// Clients evicted because their queue was full.
    pub evicted_slow: u64,
    /// Clients evicted because one write took longer than the write deadline.
    pub evicted_deadline: u64,
    /// Clients evicted because the queues of all clients together were full.
    pub evicted_memory: u64,
    /// Bytes of messages in the queues of clients now. A message in several queues counts once.
    pub queued_bytes: usize,
}

/// The live counters, shared by the hub's threads.
#[derive(Debug, Default)]
pub(crate) struct AtomicCounters {
    pub(crate) clients: ClientCount,
    pub(crate) published: AtomicU64,
    pub(crate) delivered: AtomicU64,
    pub(crate) conflated: AtomicU64,
    pub(crate) evicted_slow: AtomicU64,
    pub(crate) evicted_deadline: AtomicU64,
    pub(crate) evicted_memory: AtomicU64,
    pub(crate) queued_bytes: Arc<QueuedBytes>,
}

impl AtomicCounters {
    pub(crate) fn read(&self) -> Counters {
        Counters {
            clients: self.clients.get(),
            published: self.published.load(Ordering::Relaxed),
            delivered: self.delivered.load(Ordering::Relaxed),
            conflated: self.conflated.load(Ordering::Relaxed),
            evicted_slow: self.evicted_slow.load(Ordering::Relaxed),
            evicted_deadline: self.evicted_deadline.load(Ordering::Relaxed),
            evicted_memory: self.evicted_memory.load(Ordering::Relaxed),
            queued_bytes: self.queued_bytes.get(),
        }
    }
}

pub(crate) fn add(counter: &AtomicU64, n: u64) {
    if n > 0 {
        counter.fetch_add(n, Ordering::Relaxed);
    }
}

/// The bytes of a hub's messages in queues. A message in several queues counts once, because they
/// share its memory.
#[derive(Debug, Default)]
pub(crate) struct QueuedBytes(AtomicUsize);

impl QueuedBytes {
    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn subtract(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The number of registered clients, which threads can wait for.
#[derive(Debug, Default)]
pub(crate) struct ClientCount {
    /// Briefly negative if a connection ends while the client is being registered.
    count: Mutex<isize>,
    changed: Condvar,
}

impl ClientCount {
    pub(crate) fn get(&self) -> usize {
        usize::try_from(*self.lock()).unwrap_or(0)
    }

    pub(crate) fn increment(&self) {
        *self.lock() += 1;
        self.changed.notify_all();
    }

    pub(crate) fn decrement(&self) {
        *self.lock() -= 1;
        self.changed.notify_all();
    }

    /// Waits until the count is `n`. Returns false after the timeout.
    pub(crate) fn wait_for(&self, n: usize, timeout: Duration) -> bool {
        let waited = self
            .changed
            .wait_timeout_while(self.lock(), timeout, |count| usize::try_from(*count) != Ok(n));
        let result = waited.unwrap_or_else(PoisonError::into_inner).1;
        !result.timed_out()
    }

    fn lock(&self) -> MutexGuard<'_, isize> {
        lock(&self.count)
    }
}
