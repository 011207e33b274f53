//! Every setting of the hub and the server, each with its default and the reason.

use std::borrow::Cow;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use crate::http::route::Routes;
use crate::{Handler, dashboard, limits};

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
    /// minutes of events at one a second, for a laptop lid closed for a moment.
    pub queue_messages: usize,
    /// Bytes that may wait for one slow client. 1 MiB: some three snapshots of 1,000 containers.
    /// One message alone may always wait, however large.
    pub queue_bytes: usize,
    /// How long a client may take to read one message, from its first byte to its last. 10 s:
    /// longer than a phone's radio sleeps, shorter than a person waits.
    pub write_deadline: Duration,
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
            shards: available_parallelism().unwrap_or(NonZeroUsize::MIN),
        }
    }
}

/// What a server serves and to how many. The default serves the dashboard, the stats socket and
/// the JSON endpoints; pages and sockets of your own come beside them or in their place.
///
/// ```
/// use kentros::ServerConfig;
/// let mut config = ServerConfig::default().page("/about", "text/plain", "a page of mine");
/// config.max_clients = 50;
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerConfig {
    /// WebSocket clients at a time; one more is told 1013, try again later. The default is what
    /// the process's descriptors allow, at most 12,000: each client is a thread, and a Linux
    /// process has room for some 15,000.
    pub max_clients: usize,
    /// Largest message a client may send, bytes; a larger one closes it with 1009. 4,096: room
    /// for a subscription to some two hundred projects.
    pub max_message: usize,
    /// Messages a second a client may send, sustained, and twice as many at once; more close it
    /// with 1008. 20: more than a person can click. `None`: as many as it likes.
    pub max_rate: Option<u32>,
    /// Time between two pings. 25 s: the shortest idle limit in common use at proxies is 60 s,
    /// some have 30.
    pub ping_interval: Duration,
    /// How long a client may show no sign of life before it is dropped. 60 s: two pings unanswered.
    pub silence_limit: Duration,
    pub(crate) routes: Routes,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            max_clients: limits::clients(),
            max_message: 4096,
            max_rate: Some(20),
            ping_interval: Duration::from_secs(25),
            silence_limit: Duration::from_secs(60),
            routes: dashboard::routes(),
        }
    }
}

impl ServerConfig {
    /// Serves `body` at `path`. A page at `/` takes the dashboard's place.
    ///
    /// The content security policy lets a page load scripts, styles and images, and open
    /// WebSockets, from this server only, and none that stand inline in it.
    #[must_use]
    pub fn page(
        mut self,
        path: impl Into<String>,
        content_type: impl Into<Cow<'static, str>>,
        body: impl Into<Vec<u8>>,
    ) -> Self {
        self.routes.page(path.into(), content_type.into(), body.into());
        self
    }

    /// Serves a WebSocket at `path`, whose clients' messages go to `handler`.
    #[must_use]
    pub fn websocket(mut self, path: impl Into<String>, handler: impl Handler) -> Self {
        self.routes.socket(path.into(), Arc::new(handler));
        self
    }
}
