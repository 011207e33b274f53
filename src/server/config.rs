//! The server's settings, their defaults and the reasons for them.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use tungstenite::Bytes;

use super::Access;
use super::auth::request_guard::RequestChecks;
use super::health::{self, HealthRoute};
use super::routes::{Route, RouteOrigin, Routes, SessionFactory};
use crate::connection::session::ClosureSession;
use crate::http::base_path::BasePath;
use crate::http::request::Request;
use crate::http::response::{CONTENT_SECURITY_POLICY, Response};
use crate::{Client, Error, Incoming, Session, limits};

/// Settings of a [`Server`](crate::Server): its routes, access and limits.
///
/// The default serves the dashboard at `/`, the stats socket at `/ws/stats`, the JSON API at
/// `/api/v1/...`, `/metrics`, `/healthz` and `/readyz`. [`bare`](Self::bare) serves only `/healthz`
/// and `/readyz`. You can add routes to either.
///
/// # Examples
///
/// ```
/// use kentros::{Response, ServerConfig};
///
/// let config = ServerConfig::bare()
///     .page("/", "text/html; charset=utf-8", "<h1>Sensors</h1>")
///     .route("/sensors.json", |_| Response::text("[21.5, 22.0]"))
///     .with_max_clients(50);
/// ```
///
/// # Paths
///
/// A path that ends in `/*` matches every path below it. An exact match takes precedence, then the
/// longest path with `/*`. A server does not start if a path lacks the leading slash, has two
/// routes, or belongs to a built-in route other than the dashboard's pages.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerConfig {
    /// Maximum number of WebSocket clients. One more is closed with 1013 (try again later).
    ///
    /// Defaults to what the process's file descriptors allow, at most 12,000: each client has a
    /// thread, and a Linux process can have about 15,000.
    pub max_clients: usize,
    /// Maximum number of WebSocket clients from one IPv4 address or one IPv6 /64 network, the
    /// smallest that a provider assigns. One more is closed with 1013.
    ///
    /// Defaults to `None`, no limit: a whole office may share one address.
    pub max_clients_per_address: Option<usize>,
    /// Maximum size of a message that a client may send, in bytes. A client that exceeds it, or
    /// sends a message whose fragments take more than eight times as many bytes, is closed with
    /// 1009.
    ///
    /// Defaults to 4,096: enough for a subscription to about two hundred projects.
    pub max_message: usize,
    /// Maximum number of messages per second that a client may send, with bursts of twice as many.
    /// A client that exceeds it is closed with 1008. `None` is no limit.
    ///
    /// Defaults to 20: more than a person can click.
    pub max_rate: Option<u32>,
    /// The time between two pings.
    ///
    /// Defaults to 25 s: proxies commonly close idle connections after 60 s, some after 30 s.
    pub ping_interval: Duration,
    /// How long a client may send nothing, not even a pong, before it is closed with 1008.
    ///
    /// Defaults to 60 s: two unanswered pings.
    pub silence_limit: Duration,
    /// Who may access the server.
    ///
    /// Defaults to [`Access::Local`]: everyone on this machine.
    pub access: Access,
    pub(crate) base: BasePath,
    pub(crate) content_security_policy: Cow<'static, str>,
    pub(crate) open_paths: Vec<String>,
    pub(crate) routes: Routes,
    pub(crate) checks: RequestChecks,
}

impl ServerConfig {
    /// Creates settings without the dashboard, the stats socket, the API and the metrics. Only
    /// `/healthz` and `/readyz` are served, and your routes can replace them.
    ///
    /// # Examples
    ///
    /// ```
    /// let config = kentros::ServerConfig::bare().page("/", "text/plain", "hello");
    /// ```
    pub fn bare() -> Self {
        let mut config = Self::without_routes();
        for (path, text) in health::PATHS.into_iter().zip(["ok", "ready"]) {
            let health = Route::Deferred(Arc::new(HealthRoute(text)));
            config.routes.add(path, health, RouteOrigin::Default);
        }
        config
    }

    pub(crate) fn without_routes() -> Self {
        Self {
            max_clients: limits::clients(),
            max_clients_per_address: None,
            max_message: 4096,
            max_rate: Some(20),
            ping_interval: Duration::from_secs(25),
            silence_limit: Duration::from_secs(60),
            access: Access::Local,
            base: BasePath::default(),
            content_security_policy: CONTENT_SECURITY_POLICY.into(),
            // Health probes have no token, and these responses reveal nothing.
            open_paths: health::PATHS.map(str::to_owned).into(),
            routes: Routes::default(),
            checks: RequestChecks::default(),
        }
    }

    /// Adds a static page. A page at `/` replaces the dashboard.
    #[must_use]
    pub fn page(
        mut self,
        path: impl Into<String>,
        content_type: impl Into<Cow<'static, str>>,
        body: impl Into<Vec<u8>>,
    ) -> Self {
        let (content_type, body) = (content_type.into(), Bytes::from(body.into()));
        self.routes.add(path, Route::Page { content_type, body }, RouteOrigin::Own);
        self
    }

    /// Adds a route whose responses are computed by `handler`, for GET and HEAD.
    ///
    /// `handler` returns a [`Response`], or a `Result` whose error is a `Response` or an [`Error`].
    /// An `Error` is logged and becomes a 500 response, as does a panic.
    ///
    /// Each call runs on a thread of its own and may block. At most 64 calls run at a time; further
    /// requests wait, and get 503 after a minute.
    ///
    /// # Examples
    ///
    /// ```
    /// use kentros::{Response, ServerConfig};
    ///
    /// let config = ServerConfig::bare()
    ///     .route("/primes.json", |_| Response::json(&[2, 3, 5, 7]))
    ///     .route("/hello", |request| match request.parameter("name") {
    ///         Some(name) => Ok(Response::text(&format!("hello {name}\n"))),
    ///         None => Err(Response::text("?name= is missing\n").with_status(400)),
    ///     });
    /// ```
    #[must_use]
    pub fn route<R: Into<Response>>(
        mut self,
        path: impl Into<String>,
        handler: impl Fn(&Request) -> R + Send + Sync + 'static,
    ) -> Self {
        let handler = Arc::new(move |request: &Request| handler(request).into());
        self.routes.add(path, Route::Handler(handler), RouteOrigin::Own);
        self
    }

    /// Adds a WebSocket endpoint that calls `on_message` for each message, on the client's own
    /// thread. To keep state per client, or to reject clients, use [`sessions`](Self::sessions).
    ///
    /// # Examples
    ///
    /// ```
    /// use kentros::{Incoming, ServerConfig};
    ///
    /// let config = ServerConfig::default().websocket("/ws/echo", |client, message| {
    ///     if let Incoming::Text(text) = message {
    ///         let _ = client.send_text(text);
    ///     }
    /// });
    /// ```
    #[must_use]
    pub fn websocket(
        mut self,
        path: impl Into<String>,
        on_message: impl Fn(&Client, Incoming<'_>) + Send + Sync + 'static,
    ) -> Self {
        let on_message = Arc::new(on_message);
        let factory = SessionFactory::Infallible(Arc::new(move |_| {
            Box::new(ClosureSession(Arc::clone(&on_message)))
        }));
        self.routes.add(path, Route::Socket(factory), RouteOrigin::Own);
        self
    }

    /// Adds a WebSocket endpoint with a [`Session`] for each client.
    ///
    /// `accept` receives the handshake's request and returns the client's session, or the response
    /// that rejects it. It runs on the client's own thread, before the handshake is answered, and
    /// may block. A panic becomes a 500 response. The server has already checked the handshake, the
    /// origin and, if there is one, the token.
    ///
    /// # Examples
    ///
    /// ```
    /// use kentros::{Client, Hub, HubConfig, HubHandle, Incoming, Interest, Response, Server,
    ///     ServerConfig, Session};
    ///
    /// struct Member { hub: HubHandle, room: String }
    ///
    /// impl Session for Member {
    ///     fn open(&mut self, client: &Client) {
    ///         let _ = self.hub.register_with(client, Interest::only([&self.room]));
    ///     }
    ///     fn message(&mut self, _: &Client, _: Incoming<'_>) {}
    /// }
    ///
    /// let hub = Hub::spawn(HubConfig::default())?;
    /// let handle = hub.handle();
    /// let config = ServerConfig::bare().sessions("/ws/rooms/*", move |request| {
    ///     if request.cookie("user").is_none() {
    ///         return Err(Response::text("log in first\n").with_status(401));
    ///     }
    ///     Ok(Member { hub: handle.clone(), room: request.tail().to_owned() })
    /// });
    /// let server = Server::bind("127.0.0.1:0", hub.handle(), config)?;
    /// # Ok::<(), kentros::Error>(())
    /// ```
    #[must_use]
    pub fn sessions<S: Session>(
        mut self,
        path: impl Into<String>,
        accept: impl Fn(&Request) -> Result<S, Response> + Send + Sync + 'static,
    ) -> Self {
        let factory =
            SessionFactory::Fallible(Arc::new(move |request| Ok(Box::new(accept(request)?))));
        self.routes.add(path, Route::Socket(factory), RouteOrigin::Own);
        self
    }

    /// Sets the path below which everything is served, for a proxy that does not strip it. With
    /// `/stats`, the dashboard is at `/stats/` and the stats socket at `/stats/ws/stats`.
    ///
    /// # Examples
    ///
    /// ```
    /// use kentros::ServerConfig;
    /// let config = ServerConfig::default().base("/stats");
    /// ```
    #[must_use]
    pub fn base(mut self, path: &str) -> Self {
        self.base = BasePath::new(path);
        self
    }

    /// Allows a host name in addition to IP addresses and `localhost`: the name in the server's
    /// URL, without a port. Requests for other names get 403, as a protection against DNS
    /// rebinding.
    ///
    /// # Errors
    ///
    /// Returns [`Invalid`](crate::ErrorKind::Invalid) if `name` is not a host name, or has a port.
    ///
    /// # Examples
    ///
    /// ```
    /// let config = kentros::ServerConfig::default().allow_host("stats.example")?;
    /// # Ok::<(), kentros::Error>(())
    /// ```
    pub fn allow_host(mut self, name: &str) -> Result<Self, Error> {
        self.checks.hosts.allow(name).map_err(|expected| invalid(name, &expected))?;
        Ok(self)
    }

    /// Allows the pages of another origin to open WebSockets, and allows its host name.
    ///
    /// # Errors
    ///
    /// Returns [`Invalid`](crate::ErrorKind::Invalid) if `origin` is not a scheme, a host and an
    /// optional port.
    ///
    /// # Examples
    ///
    /// ```
    /// let config = kentros::ServerConfig::default().allow_origin("https://portal.example")?;
    /// # Ok::<(), kentros::Error>(())
    /// ```
    pub fn allow_origin(mut self, origin: &str) -> Result<Self, Error> {
        self.checks.allow_origin(origin).map_err(|expected| invalid(origin, &expected))?;
        Ok(self)
    }

    /// Trusts the `X-Forwarded-For`, `X-Forwarded-Host` and `X-Forwarded-Proto` headers of a proxy
    /// at this address or in this network, such as `10.0.0.0/8`.
    ///
    /// The client is the last address in `X-Forwarded-For` that is not a trusted proxy. If the
    /// client used HTTPS, the login cookie is `Secure`, and `http` pages of the same host may not
    /// open WebSockets. Trust only a proxy that sets or removes all three headers.
    ///
    /// # Errors
    ///
    /// Returns [`Invalid`](crate::ErrorKind::Invalid) if `network` is neither an IP address nor a
    /// network.
    ///
    /// # Examples
    ///
    /// ```
    /// let config = kentros::ServerConfig::default().trust_proxy("10.0.0.0/8")?;
    /// # Ok::<(), kentros::Error>(())
    /// ```
    pub fn trust_proxy(mut self, network: &str) -> Result<Self, Error> {
        self.checks.proxies.trust(network).map_err(|expected| invalid(network, &expected))?;
        Ok(self)
    }

    /// Sets the Content-Security-Policy of every response except the login page. The default allows
    /// scripts, styles, images and WebSockets from this server only, and no inline code.
    ///
    /// # Examples
    ///
    /// ```
    /// let config = kentros::ServerConfig::bare()
    ///     .page("/", "text/html", "<script>document.title = 'inline'</script>")
    ///     .with_content_security_policy("default-src 'self'; script-src 'self' 'unsafe-inline'");
    /// ```
    #[must_use]
    pub fn with_content_security_policy(self, policy: impl Into<Cow<'static, str>>) -> Self {
        Self { content_security_policy: policy.into(), ..self }
    }

    /// Requires no token at this path, or below it if it ends in `/*`. For routes that check access
    /// themselves.
    ///
    /// # Examples
    ///
    /// ```
    /// let config = kentros::ServerConfig::default().with_open_path("/public/*");
    /// ```
    #[must_use]
    pub fn with_open_path(mut self, path: impl Into<String>) -> Self {
        self.open_paths.push(path.into());
        self
    }

    /// Sets [`max_clients`](Self::max_clients).
    #[must_use]
    pub fn with_max_clients(self, max_clients: usize) -> Self {
        Self { max_clients, ..self }
    }

    /// Sets [`max_clients_per_address`](Self::max_clients_per_address).
    ///
    /// # Examples
    ///
    /// ```
    /// let config = kentros::ServerConfig::default().with_max_clients_per_address(20);
    /// ```
    #[must_use]
    pub fn with_max_clients_per_address(
        self,
        max_clients_per_address: impl Into<Option<usize>>,
    ) -> Self {
        Self { max_clients_per_address: max_clients_per_address.into(), ..self }
    }

    /// Sets [`max_message`](Self::max_message).
    ///
    /// # Examples
    ///
    /// ```
    /// let config = kentros::ServerConfig::bare().with_max_message(1 << 20).with_max_rate(None);
    /// ```
    #[must_use]
    pub fn with_max_message(self, max_message: usize) -> Self {
        Self { max_message, ..self }
    }

    /// Sets [`max_rate`](Self::max_rate).
    #[must_use]
    pub fn with_max_rate(self, max_rate: impl Into<Option<u32>>) -> Self {
        Self { max_rate: max_rate.into(), ..self }
    }

    /// Sets [`ping_interval`](Self::ping_interval).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// let config = kentros::ServerConfig::default()
    ///     .with_ping_interval(Duration::from_secs(10))
    ///     .with_silence_limit(Duration::from_secs(25));
    /// ```
    #[must_use]
    pub fn with_ping_interval(self, ping_interval: Duration) -> Self {
        Self { ping_interval, ..self }
    }

    /// Sets [`silence_limit`](Self::silence_limit).
    #[must_use]
    pub fn with_silence_limit(self, silence_limit: Duration) -> Self {
        Self { silence_limit, ..self }
    }

    /// Sets [`access`](Self::access).
    ///
    /// # Examples
    ///
    /// ```
    /// use kentros::{Access, ServerConfig, Token};
    /// let token = Token::new("6f1ed002ab5595859014ebf0951522d9")?;
    /// let config = ServerConfig::default().with_access(Access::Token(token));
    /// # Ok::<(), kentros::Error>(())
    /// ```
    #[must_use]
    pub fn with_access(self, access: Access) -> Self {
        Self { access, ..self }
    }
}

fn invalid(given: &str, expected: &str) -> Error {
    Error::invalid(format!("{given:?}: {expected}"))
}
