//! Every setting of the server, each with its default and the reason.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use super::Access;
#[cfg(feature = "dashboard")]
use crate::dashboard;
use crate::http::base::Base;
use crate::http::gate::Checks;
use crate::http::route::Routes;
use crate::{Error, Handler, limits};

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
    /// Clients at a time from one address, or from one IPv6 network of 64 bits, which is what one
    /// customer has; one more is told 1013. `None`, no limit: a whole office may sit behind one
    /// address.
    pub max_clients_per_address: Option<usize>,
    /// Largest message a client may send, bytes; a larger one closes it with 1009, as does one
    /// whose fragments take more than eight times as much. 4,096: room for a subscription to some
    /// two hundred projects.
    pub max_message: usize,
    /// Messages a second a client may send, sustained, and twice as many at once; more close it
    /// with 1008. 20: more than a person can click. `None`: as many as it likes.
    pub max_rate: Option<u32>,
    /// Time between two pings. 25 s: the shortest idle limit in common use at proxies is 60 s,
    /// some have 30.
    pub ping_interval: Duration,
    /// How long a client may show no sign of life before it is dropped. 60 s: two pings unanswered.
    pub silence_limit: Duration,
    /// Who may come in. [`Access::Local`]: everyone, and the server listens on loopback only.
    pub access: Access,
    pub(crate) base: Base,
    pub(crate) routes: Routes,
    pub(crate) checks: Checks,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            max_clients: limits::clients(),
            max_clients_per_address: None,
            max_message: 4096,
            max_rate: Some(20),
            ping_interval: Duration::from_secs(25),
            silence_limit: Duration::from_secs(60),
            access: Access::Local,
            base: Base::default(),
            #[cfg(feature = "dashboard")]
            routes: dashboard::routes(),
            #[cfg(not(feature = "dashboard"))]
            routes: Routes::default(),
            checks: Checks::default(),
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

    /// Serves everything below `path`, behind a proxy that passes paths on as they come:
    /// with `/stats` the dashboard is at `/stats/`, the stats socket at `/stats/ws/stats`.
    ///
    /// ```
    /// use kentros::ServerConfig;
    /// let config = ServerConfig::default().base("/stats");
    /// ```
    #[must_use]
    pub fn base(mut self, path: &str) -> Self {
        self.base = Base::new(path);
        self
    }

    /// Answers to a host name beside addresses and `localhost`: the name under which browsers
    /// know the server, without a port. Requests for another name get 403, as a foreign page can
    /// have its own name resolve to this machine (DNS rebinding).
    ///
    /// ```
    /// let config = kentros::ServerConfig::default().allow_host("stats.example")?;
    /// # Ok::<(), kentros::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`is_invalid`](Error::is_invalid) if that is no bare name.
    pub fn allow_host(mut self, name: &str) -> Result<Self, Error> {
        self.checks.hosts.allow(name).map_err(|wanted| refused(name, &wanted))?;
        Ok(self)
    }

    /// Lets the pages of one more origin open WebSockets, beside the server's own pages; and
    /// answers to its host.
    ///
    /// ```
    /// let config = kentros::ServerConfig::default().allow_origin("https://portal.example")?;
    /// # Ok::<(), kentros::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`is_invalid`](Error::is_invalid) if that is no origin: scheme, host, and a port where it is
    /// not the scheme's own.
    pub fn allow_origin(mut self, origin: &str) -> Result<Self, Error> {
        self.checks.allow_origin(origin).map_err(|wanted| refused(origin, &wanted))?;
        Ok(self)
    }

    /// Believes a proxy at this address, or in this network (`10.0.0.0/8`), when it tells for whom
    /// it asks, under which name and whether by TLS: `X-Forwarded-For`, of which the last address
    /// that is no such proxy counts, `X-Forwarded-Host` and `X-Forwarded-Proto`. Only what sets
    /// all three, or removes them, is to be trusted.
    ///
    /// ```
    /// let config = kentros::ServerConfig::default().trust_proxy("10.0.0.0/8")?;
    /// # Ok::<(), kentros::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`is_invalid`](Error::is_invalid) if that is neither an address nor a network.
    pub fn trust_proxy(mut self, network: &str) -> Result<Self, Error> {
        self.checks.proxies.trust(network).map_err(|wanted| refused(network, &wanted))?;
        Ok(self)
    }
}

fn refused(given: &str, wanted: &str) -> Error {
    Error::invalid(format!("{given:?}: {wanted}"))
}
