//! The checks that every request must pass before it is routed: host, origin, token.

use std::io;
use std::net::SocketAddr;

use super::authenticator::{Authenticator, Credentials, challenge};
use super::login::{self, LOGIN_PATH, LoginForm};
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
    /// It is routed. `origin_allowed` is false for a page that may not open WebSockets.
    Allow { origin_allowed: bool },
    /// It gets this response.
    Respond(Response),
    /// It carries a wrong token and gets this response.
    WrongToken(Response),
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
    ) -> io::Result<Self> {
        let authenticator = token.map(Authenticator::new).transpose()?;
        Ok(Self { checks, authenticator, open_paths })
    }

    /// Returns the client's address and the decision about its request.
    pub(crate) fn check(&self, peer: SocketAddr, head: &RequestHead) -> (SocketAddr, Decision) {
        let client = self.checks.proxies.client_info(peer, head);
        (client.addr, self.decide(&client, head).unwrap_or_else(Decision::Respond))
    }

    fn decide(&self, client: &ClientInfo<'_>, head: &RequestHead) -> Result<Decision, Response> {
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
        let origin_allowed = self.checks.origins.allows(head.header("origin"), &host);
        let allow = Decision::Allow { origin_allowed };
        let Some(authenticator) = &self.authenticator else { return Ok(allow) };
        let path = head.path();
        if self.open_paths.iter().any(|open| path_matches(open, path)) {
            return Ok(allow);
        }
        if path == LOGIN_PATH {
            return match head.method() {
                "GET" | "HEAD" => Err(login::login_page()),
                "POST" if origin_allowed => {
                    LoginForm::from_head(head, client.https).map(Decision::ReadLoginForm)
                }
                "POST" => Err(Response::line(
                    status::FORBIDDEN,
                    "cross-origin login rejected: log in from this server's own page",
                )),
                _ => Err(Response::line(status::METHOD_NOT_ALLOWED, "use POST to log in")
                    .with_header("Allow", "GET, HEAD, POST")),
            };
        }
        match authenticator.check(head) {
            Credentials::Valid => Ok(allow),
            Credentials::Missing => Err(challenge(head, Credentials::Missing)),
            Credentials::Invalid => Ok(Decision::WrongToken(challenge(head, Credentials::Invalid))),
        }
    }

    /// Responds to a login form.
    ///
    /// # Errors
    /// The response to a wrong token.
    pub(crate) fn log_in(
        &self,
        form: &LoginForm,
        body: &[u8],
        base: &BasePath,
    ) -> Result<Response, Response> {
        match &self.authenticator {
            Some(authenticator) => authenticator.log_in(form, body, base),
            None => Ok(Response::line(status::NOT_FOUND, "not found")),
        }
    }
}

#[cfg(test)]
#[path = "request_guard_tests.rs"]
mod tests;
