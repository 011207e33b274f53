//! Every setting of the server, each with its default and the reason.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use crate::http::route::Routes;
use crate::{Handler, dashboard, limits};

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
