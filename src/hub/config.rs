//! The settings of a hub, each with its default and the reason for it.

use std::num::NonZeroUsize;
use std::thread::available_parallelism;
use std::time::Duration;

use super::MAX_SUBSCRIPTIONS;

/// Settings of a [`Hub`](crate::Hub).
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
    /// Maximum number of messages queued for a slow client before it is evicted with 1008. Default:
    /// 256, four minutes of events at one per second, enough for a laptop that sleeps briefly.
    /// [`latest`](crate::Message::latest) messages do not count, because newer ones replace them;
    /// up to 1,024 with different keys are queued.
    pub queue_messages: usize,
    /// Maximum size of these messages, in bytes. Default: 1 MiB, or 256 messages of 4 KiB. A single
    /// message may be larger.
    pub queue_bytes: usize,
    /// How long a client may take to read one message, from its first byte to its last. Default:
    /// 10 s, longer than a phone's radio sleeps and shorter than users are willing to wait.
    pub write_deadline: Duration,
    /// Maximum number of projects that a client may subscribe to. Default: 256, more than most
    /// machines have.
    pub max_subscriptions: usize,
    /// The number of threads that send messages, the hub's own included. Default: the number of
    /// cores, which gives the lowest latency. One thread uses the least CPU.
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
