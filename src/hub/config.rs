//! Every setting of the hub, each with its default and the reason.

use std::num::NonZeroUsize;
use std::thread::available_parallelism;
use std::time::Duration;

use crate::registry::MAX_SUBSCRIPTIONS;

/// How a hub delivers. The default suits most; change a field of it:
///
/// ```
/// let mut config = kentros::HubConfig::default();
/// config.queue_messages = 1_000;
/// let hub = kentros::Hub::spawn(config)?;
/// # Ok::<(), kentros::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HubConfig {
    /// Messages that may wait for one slow client before it is evicted with 1008. 256: four
    /// minutes of events at one a second, for a laptop lid closed for a moment. A message that is
    /// [`latest`](crate::Message::latest) does not count: a newer one takes its place.
    pub queue_messages: usize,
    /// Bytes of them that may wait. 1 MiB: 256 messages of 4 KiB. One message alone may always
    /// wait, however large.
    pub queue_bytes: usize,
    /// How long a client may take to read one message, from its first byte to its last. 10 s:
    /// longer than a phone's radio sleeps, shorter than a person waits.
    pub write_deadline: Duration,
    /// Projects that one client may subscribe to; a request for more is refused with an `error`,
    /// and nothing changes. 256: more than a machine usually has.
    pub max_subscriptions: usize,
    /// Threads the fan-out is spread over, the hub's own included. As many as there are cores:
    /// the last client then has a message soonest; one thread costs the least CPU.
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
