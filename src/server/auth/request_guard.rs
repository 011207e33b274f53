//! The checks that every request must pass before it is routed: host, origin, token.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::authenticator::{AuthCounters, Authenticator};
use super::login::{self, LOGIN_PATH, LOGOUT_PATH, LoginForm};
use super::token::Token;
use crate::http::base_path::BasePath;
use crate::http::head::RequestHead;
use crate::http::host::{AllowedHosts, Authority};
use crate::http::origin::{AllowedOrigins, Origin};
use crate::http::proxy::{ClientInfo, TrustedProxies};
use crate::http::response::Response;
use crate::http::status;
use crate::server::routes::path_matches;

/// The allowed hosts and origins and the trusted proxies of a server.
#[derive(Clone, Debug, Default)]
pub(crate) struct RequestChecks {
    pub(crate) hosts: AllowedHosts,
    pub(crate) origins: AllowedOrigins,
    pub(crate) proxies: TrustedProxies,
}

/// Decides which requests are served.
pub(crate) struct RequestGuard {
    checks: RequestChecks,
    /// `None` if no token is needed.
    authenticator: Option<Authenticator>,
    /// Paths that need no token.
    open_paths: Vec<String>,
}

/// What happens to a request.
pub(crate) enum Decision {
    /// It is routed. `origin_allowed` is false for a page that may not open WebSockets, `authorized`
    /// for a client without the token at a path that needs none.
    Allow { origin_allowed: bool, authorized: bool },
    /// This response is sent.
    Respond(Response),
    /// Its body is a login form, for [`RequestGuard::log_in`].
    ReadLoginForm(LoginForm),
}

impl RequestChecks {
    /// Allows this origin and its host.
    ///
    /// # Errors
    /// The form that an origin has.
    pub(crate) fn allow_origin(&mut self, text: &str) -> Result<(), String> {
        let origin = Origin::parse(text).ok_or(
            "expected an origin: scheme, host and optional port, such as https://portal.example",
        )?;
        self.hosts.allow_host_of(origin.authority());
        self.origins.allow(origin);
        Ok(())
    }
}

impl RequestGuard {
    /// # Errors
    /// If the operating system has no random bytes.
    pub(crate) fn new(
        checks: RequestChecks,
        token: Option<&Token>,
        open_paths: Vec<String>,
        base: &BasePath,
        counters: Arc<AuthCounters>,
    ) -> io::Result<Self> {
        let authenticator =
            token.map(|token| Authenticator::new(token, base.clone(), counters)).transpose()?;
        Ok(Self { checks, authenticator, open_paths })
    }

    /// Returns the client's address and the decision about its request.
    pub(crate) fn check(
        &mut self,
        peer: SocketAddr,
        head: &RequestHead,
        now: Instant,
    ) -> (SocketAddr, Decision) {
        let client = self.checks.proxies.client_info(peer, head);
        (client.addr, self.decide(&client, head, now).unwrap_or_else(Decision::Respond))
    }

    fn decide(
        &mut self,
        client: &ClientInfo<'_>,
        head: &RequestHead,
        now: Instant,
    ) -> Result<Decision, Response> {
        let host = Authority::parse(client.host)
            .ok_or_else(|| Response::line(status::BAD_REQUEST, "invalid Host header"))?;
        if !self.checks.hosts.allows(&host) {
            return Err(Response::line(
                status::FORBIDDEN,
                &format!(
                    "host {:?} is not allowed: add {} to the server's allowed hosts",
                    client.host,
                    host.name()
                ),
            ));
        }
        let origin = head.header("origin");
        let origin_allowed = self.checks.origins.allows(origin, &host, client.https);
        let allow = Decision::Allow { origin_allowed, authorized: true };
        let Some(authenticator) = &mut self.authenticator else { return Ok(allow) };
        let path = head.path();
        if self.open_paths.iter().any(|open| path_matches(open, path)) {
            let authorized = authenticator.check(client.addr, head, now).is_ok();
            return Ok(Decision::Allow { origin_allowed, authorized });
        }
        let https = client.https == Some(true);
        match (path, head.method()) {
            (LOGIN_PATH, "GET" | "HEAD") => Err(login::login_page()),
            (LOGIN_PATH | LOGOUT_PATH, "POST") if !origin_allowed => Err(Response::line(
                status::FORBIDDEN,
                "cross-origin request rejected: log in and out on this server's own page",
            )),
            (LOGIN_PATH, "POST") => LoginForm::from_head(head, https).map(Decision::ReadLoginForm),
            (LOGIN_PATH, _) => {
                Err(Response::line(status::METHOD_NOT_ALLOWED, "use POST to log in")
                    .with_header("Allow", "GET, HEAD, POST"))
            }
            (LOGOUT_PATH, "POST") => Err(authenticator.log_out(https)),
            (LOGOUT_PATH, _) => {
                Err(Response::line(status::METHOD_NOT_ALLOWED, "use POST to log out")
                    .with_header("Allow", "POST"))
            }
            _ => authenticator.check(client.addr, head, now).map(|()| allow),
        }
    }

    /// Responds to a login form.
    pub(crate) fn log_in(
        &mut self,
        client: SocketAddr,
        form: &LoginForm,
        body: &[u8],
        now: Instant,
    ) -> Response {
        match &mut self.authenticator {
            Some(authenticator) => authenticator.log_in(client, form, body, now),
            None => Response::line(status::NOT_FOUND, "not found"),
        }
    }
}

#[cfg(test)]
#[path = "request_guard_tests.rs"]
mod tests;
