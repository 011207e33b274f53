//! Every setting of the server, each with its default and the reason.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use super::Access;
use super::auth::gate::Checks;
use super::health::HealthRoute;
use super::routes::{Route, RouteOrigin, Routes, SessionFactory};
use crate::connection::session::Callback;
use crate::http::base::Base;
use crate::http::request::Request;
use crate::http::response::{CONTENT_SECURITY_POLICY, Response};
use crate::{Client, Error, Incoming, Session, limits};

/// What a server serves, to whom and to how many.
///
/// The default serves the dashboard at `/` and its files, the stats socket at `/ws/stats`, the
/// JSON API at `/api/v1/...`, `/metrics`, `/healthz` and `/readyz`. [`bare`](Self::bare) serves
/// `/healthz` and `/readyz` alone. Routes of your own are added to either:
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
/// A path that ends in `/*` matches every path below it. An exact path comes first, then the
/// longest such path. A server refuses to start with a path that does not begin with a slash, that
/// has two routes, or that belongs to a built-in route; only the dashboard's pages may be replaced.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerConfig {
    /// WebSocket clients at a time; one more is closed with 1013, try again later. The default is
    /// what the process's descriptors allow, at most 12,000: each client is a thread, and a Linux
    /// process has room for some 15,000.
    pub max_clients: usize,
    /// Clients at a time from one address, or from one IPv6 network of 64 bits, which is what one
    /// customer has; one more is closed with 1013. `None`, no limit: a whole office may be behind
    /// one address.
    pub max_clients_per_address: Option<usize>,
    /// Largest message a client may send, bytes; a larger one closes it with 1009, as does one
    /// whose fragments take more than eight times as much. 4,096: room for a subscription to some
    /// two hundred projects.
    pub max_message: usize,
    /// Messages a second a client may send, sustained, and twice as many at once; more close it
    /// with 1008. 20: more than a person can click. `None`: no limit.
    pub max_rate: Option<u32>,
    /// Time between two pings. 25 s: the shortest idle limit in common use at proxies is 60 s,
    /// some have 30.
    pub ping_interval: Duration,
    /// How long a client may show no sign of life before it is dropped. 60 s: two pings unanswered.
    pub silence_limit: Duration,
    /// Who may come in. [`Access::Local`]: everyone, and the server listens on loopback only.
    pub access: Access,
    pub(crate) base: Base,
    pub(crate) content_security_policy: Cow<'static, str>,
    pub(crate) open_paths: Vec<String>,
    pub(crate) routes: Routes,
    pub(crate) checks: Checks,
}

impl ServerConfig {
    /// A server without the page, the stats socket, the API and the metrics: `/healthz` and
    /// `/readyz` are all it answers, and routes of your own may replace those.
    ///
    /// ```
    /// let config = kentros::ServerConfig::bare().page("/", "text/plain", "hello");
    /// ```
    pub fn bare() -> Self {
        let mut config = Self::without_routes();
        for (path, word) in [("/healthz", "ok"), ("/readyz", "ready")] {
            let health = Route::Deferred(Arc::new(HealthRoute(word)));
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
            base: Base::default(),
            content_security_policy: CONTENT_SECURITY_POLICY.into(),
            // Probes have no token, and these two say nothing of what is served.
            open_paths: vec!["/healthz".to_owned(), "/readyz".to_owned()],
            routes: Routes::default(),
            checks: Checks::default(),
        }
    }

    /// Serves `body` at `path`. A page at `/` replaces the dashboard.
    #[must_use]
    pub fn page(
        mut self,
        path: impl Into<String>,
        content_type: impl Into<Cow<'static, str>>,
        body: impl Into<Vec<u8>>,
    ) -> Self {
        let (content_type, body) = (content_type.into(), body.into().into());
        self.routes.add(path, Route::Page { content_type, body }, RouteOrigin::Own);
        self
    }

    /// Serves what `compute` returns at `path`, to GET and HEAD: a [`Response`], or a `Result` of
    /// one, whose error is a `Response` too or an [`Error`], which gives 500.
    ///
    /// `compute` runs on a thread of its own and may wait: no other connection waits for it. 64
    /// run at a time; more wait for one of them to end, and get 503 after a minute. A panic gives
    /// 500.
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
        compute: impl Fn(&Request) -> R + Send + Sync + 'static,
    ) -> Self {
        let compute = Arc::new(move |request: &Request| compute(request).into());
        self.routes.add(path, Route::Computed(compute), RouteOrigin::Own);
        self
    }

    /// Serves a WebSocket at `path` and calls `on_message` with each message, on the client's own
    /// thread. For state per client, or to decide who may connect, use
    /// [`sessions`](Self::sessions).
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
        let accept = SessionFactory::Everyone(Arc::new(move |_| {
            Box::new(Callback(Arc::clone(&on_message)))
        }));
        self.routes.add(path, Route::Socket(accept), RouteOrigin::Own);
        self
    }

    /// Serves a WebSocket at `path` whose clients each have a [`Session`] of their own.
    ///
    /// `accept` sees the handshake's request and returns the session, or the response that refuses
    /// it. It runs on the client's own thread, before the handshake is answered, and may wait: no
    /// other connection waits for it. A panic gives 500. The server has checked the handshake, the
    /// `Origin` and, where it has one, the token.
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
        let accept =
            SessionFactory::Decide(Arc::new(move |request| Ok(Box::new(accept(request)?))));
        self.routes.add(path, Route::Socket(accept), RouteOrigin::Own);
        self
    }

    /// Serves everything below `path`, behind a proxy that passes paths on unchanged: with
    /// `/stats` the dashboard is at `/stats/`, the stats socket at `/stats/ws/stats`.
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

    /// Answers to one more host name, beside addresses and `localhost`: the name under which
    /// browsers know the server, without a port. Requests for other names get 403, as a foreign
    /// page can have its own name resolve to this machine (DNS rebinding).
    ///
    /// ```
    /// let config = kentros::ServerConfig::default().allow_host("stats.example")?;
    /// # Ok::<(), kentros::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) if that is no bare name.
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
    /// [`Invalid`](crate::ErrorKind::Invalid) if that is no origin: scheme, host, and a port where
    /// it is not the scheme's own.
    pub fn allow_origin(mut self, origin: &str) -> Result<Self, Error> {
        self.checks.allow_origin(origin).map_err(|wanted| refused(origin, &wanted))?;
        Ok(self)
    }

    /// Believes a proxy at this address, or in this network (`10.0.0.0/8`), about its visitors:
    /// `X-Forwarded-For`, of which the last address that is no such proxy counts,
    /// `X-Forwarded-Host` and `X-Forwarded-Proto`. Trust only a proxy that sets all three, or
    /// removes them.
    ///
    /// ```
    /// let config = kentros::ServerConfig::default().trust_proxy("10.0.0.0/8")?;
    /// # Ok::<(), kentros::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) if that is neither an address nor a network.
    pub fn trust_proxy(mut self, network: &str) -> Result<Self, Error> {
        self.checks.proxies.trust(network).map_err(|wanted| refused(network, &wanted))?;
        Ok(self)
    }

    /// Sends this Content-Security-Policy with every response but the login form. The default lets
    /// a page load scripts, styles and images and open WebSockets from this server only, and run
    /// nothing inline.
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

    /// Asks for no token at this path, or below it with `/*`: for a route that checks its visitors
    /// itself.
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

fn refused(given: &str, wanted: &str) -> Error {
    Error::invalid(format!("{given:?}: {wanted}"))
}
