//! Every setting of the hub, each with its default and the reason.

use std::num::NonZeroUsize;
use std::thread::available_parallelism;
use std::time::Duration;

use super::MAX_SUBSCRIPTIONS;

/// How a hub delivers.
///
/// ```
/// let config = kentros::HubConfig::default()
///     .with_queue_messages(1_000)
///     .with_queue_bytes(4 << 20)
///     .with_max_subscriptions(16);
/// let hub = kentros::Hub::spawn(config)?;
/// # Ok::<(), kentros::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HubConfig {
    /// Messages that may be queued for one slow client before it is evicted with 1008. 256: four
    /// minutes of events at one a second, for a laptop lid closed for a moment. A message that is
    /// [`latest`](crate::Message::latest) does not count: a newer one replaces it; 1,024 of
    /// different keys may be queued.
    pub queue_messages: usize,
    /// Bytes of them that may be queued. 1 MiB: 256 messages of 4 KiB. One message alone may always
    /// be queued, however large.
    pub queue_bytes: usize,
    /// How long a client may take to read one message, from its first byte to its last. 10 s:
    /// longer than a phone's radio sleeps, shorter than a person waits.
    pub write_deadline: Duration,
    /// Projects that one client may subscribe to; one more is refused. 256: more than a machine
    /// usually has.
    pub max_subscriptions: usize,
    /// Threads that the fan-out is spread over, the hub's own included. As many as there are
    /// cores: the last client then has a message soonest; one thread costs the least CPU.
    pub shards: NonZeroUsize,
}

impl Default for HubConfig {
    fn default() -> Self {
        Self {
            queue_messages: 256,
            queue_bytes: 1 << 20,
            write_deadline: Duration::from_secs(10),
            max_subscriptions: MAX_SUBSCRIPTIONS,
            shards: available_parallelism().unwrap_or(NonZeroUsize::MIN),
        }
    }
}

impl HubConfig {
    /// Sets [`queue_messages`](Self::queue_messages).
    #[must_use]
    pub fn with_queue_messages(self, queue_messages: usize) -> Self {
        Self { queue_messages, ..self }
    }

    /// Sets [`queue_bytes`](Self::queue_bytes).
    #[must_use]
    pub fn with_queue_bytes(self, queue_bytes: usize) -> Self {
        Self { queue_bytes, ..self }
    }

    /// Sets [`write_deadline`](Self::write_deadline).
    ///
    /// ```
    /// use std::time::Duration;
    /// let config = kentros::HubConfig::default().with_write_deadline(Duration::from_secs(3));
    /// ```
    #[must_use]
    pub fn with_write_deadline(self, write_deadline: Duration) -> Self {
        Self { write_deadline, ..self }
    }

    /// Sets [`max_subscriptions`](Self::max_subscriptions).
    #[must_use]
    pub fn with_max_subscriptions(self, max_subscriptions: usize) -> Self {
        Self { max_subscriptions, ..self }
    }

    /// Sets [`shards`](Self::shards).
    ///
    /// ```
    /// use std::num::NonZeroUsize;
    /// let config = kentros::HubConfig::default().with_shards(NonZeroUsize::MIN);
    /// ```
    #[must_use]
    pub fn with_shards(self, shards: NonZeroUsize) -> Self {
        Self { shards, ..self }
    }
}
