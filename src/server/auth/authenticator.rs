//! Where the token is checked: in the `Authorization` header, the WebSocket subprotocol, the session
//! cookie and the login form.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use data_encoding::BASE64URL_NOPAD;

use super::guess_limiter::GuessLimiter;
use super::login::{self, LoginForm};
use super::secret::Secret;
use super::session_cookie::SessionCookie;
use super::token::Token;
use crate::counters;
use crate::http::base_path::BasePath;
use crate::http::head::RequestHead;
use crate::http::response::Response;
use crate::http::status;
use crate::rate_limited::RateLimitedWarning;

/// The prefix of a subprotocol that carries the token: the only WebSocket header that a script in
/// a page can set is `Sec-WebSocket-Protocol`.
pub(crate) const TOKEN_SUBPROTOCOL: &str = "kentros.bearer.";

/// The number of rejected tokens, for all servers of a hub. Shared as an
/// [extension](crate::HubHandle::extension).
#[derive(Debug, Default)]
pub(crate) struct AuthCounters {
    /// Wrong tokens.
    pub(crate) wrong: AtomicU64,
    /// Tokens that were not checked, because too many before them were wrong.
    pub(crate) unchecked: AtomicU64,
}

/// Checks the token of requests and logins.
pub(crate) struct Authenticator {
    token: Secret,
    /// The token in base64url, as it appears in the subprotocol.
    encoded_token: Secret,
    session_cookie: SessionCookie,
    base: BasePath,
    guess_limiter: GuessLimiter,
    counters: Arc<AuthCounters>,
    wrong_token_warning: RateLimitedWarning,
    guessing_warning: RateLimitedWarning,
}

/// Why a token was rejected.
enum Rejected {
    Wrong,
    /// It was not checked. The client may try again after this time.
    NotBefore(Duration),
}

impl Authenticator {
    /// # Errors
    /// If the operating system has no random bytes for the cookie.
    pub(crate) fn new(
        token: &Token,
        base: BasePath,
        counters: Arc<AuthCounters>,
    ) -> io::Result<Self> {
        Ok(Self {
            token: Secret::new(token.expose()),
            encoded_token: Secret::new(&BASE64URL_NOPAD.encode(token.expose().as_bytes())),
            session_cookie: SessionCookie::generate()?,
            base,
            guess_limiter: GuessLimiter::new(Instant::now()),
            counters,
            wrong_token_warning: RateLimitedWarning::default(),
            guessing_warning: RateLimitedWarning::default(),
        })
    }

    /// Checks the cookie and the token of a request.
    ///
    /// # Errors
    /// The response to a request with neither.
    pub(crate) fn check(
        &mut self,
        client: SocketAddr,
        head: &RequestHead,
        now: Instant,
    ) -> Result<(), Response> {
        if self.session_cookie.is_in(head) {
            return Ok(());
        }
        let bearer = head.header("authorization").and_then(bearer_token);
        // Only the first: a request with a hundred of them would be a hundred guesses.
        let subprotocol = head
            .list_items("sec-websocket-protocol")
            .find_map(|name| name.strip_prefix(TOKEN_SUBPROTOCOL));
        if bearer.is_none() && subprotocol.is_none() {
            // A wrong cookie does not count as a wrong token: it is usually one from before a
            // restart, and too long to guess.
            return Err(challenge(
                head,
                "authentication required: send the token as \"Authorization: Bearer TOKEN\", or log \
                 in at /login",
            ));
        }
        let checked = self.check_token(client, now, |this| {
            bearer.is_some_and(|token| this.token.matches(token))
                || subprotocol
                    .is_some_and(|token| this.encoded_token.matches(token.trim_end_matches('=')))
        });
        checked.map_err(|why| match why {
            Rejected::Wrong => challenge(head, "wrong token"),
            Rejected::NotBefore(delay) => {
                let seconds = seconds(delay);
                let why =
                    format!("too many wrong tokens from this address: try again in {seconds} s");
                too_many(Response::line(status::TOO_MANY_REQUESTS, &why), delay)
            }
        })
    }

    /// Responds to a login form.
    pub(crate) fn log_in(
        &mut self,
        client: SocketAddr,
        form: &LoginForm,
        body: &[u8],
        now: Instant,
    ) -> Response {
        let token = login::token_field(body).unwrap_or_default();
        match self.check_token(client, now, |this| this.token.matches(&token)) {
            Ok(()) => {
                let response = login::redirect_after_login(form);
                self.session_cookie.set(response, &self.base, form.https)
            }
            Err(Rejected::Wrong) => unauthorized(login::wrong_token_page()),
            Err(Rejected::NotBefore(delay)) => {
                too_many(login::too_many_wrong_tokens_page(seconds(delay)), delay)
            }
        }
    }

    /// Responds to a logout: the browser forgets the cookie.
    pub(crate) fn log_out(&self, https: bool) -> Response {
        SessionCookie::clear(login::redirect_after_logout(), &self.base, https)
    }

    /// Compares a token, unless too many from this client's network were wrong.
    fn check_token(
        &mut self,
        client: SocketAddr,
        now: Instant,
        matches: impl FnOnce(&Self) -> bool,
    ) -> Result<(), Rejected> {
        if let Some(delay) = self.guess_limiter.delay(client, now) {
            counters::add(&self.counters.unchecked, 1);
            return Err(Rejected::NotBefore(delay));
        }
        if matches(self) {
            return Ok(());
        }
        counters::add(&self.counters.wrong, 1);
        self.guess_limiter.add_wrong_token(client, now);
        let ip = client.ip();
        if let Some(delay) = self.guess_limiter.delay(client, now) {
            self.guessing_warning.warn(|| {
                format!(
                    "rejected {ip} with 401: too many wrong tokens. All its tokens are rejected with \
                     429 for {} s, longer after each further wrong one. If {ip} is a reverse proxy, \
                     trust its X-Forwarded-For header",
                    seconds(delay)
                )
            });
        } else {
            self.wrong_token_warning.warn(|| format!("rejected {ip} with 401: wrong token"));
        }
        Err(Rejected::Wrong)
    }
}

/// The response to a request with a missing or wrong token. Browsers are redirected to the login
/// page.
fn challenge(head: &RequestHead, why: &str) -> Response {
    if head.method() == "GET"
        && head.accepts("text/html")
        && let Some(redirect) = login::redirect_to_login(head)
    {
        return redirect;
    }
    unauthorized(Response::line(status::UNAUTHORIZED, why))
}

fn too_many(response: Response, delay: Duration) -> Response {
    response.with_header("Retry-After", seconds(delay).to_string())
}

/// Whole seconds, rounded up.
fn seconds(delay: Duration) -> u128 {
    delay.as_millis().div_ceil(1000).max(1)
}

fn unauthorized(response: Response) -> Response {
    response.with_header("WWW-Authenticate", "Bearer realm=\"kentros\"")
}

/// The token of `Authorization: Bearer` (RFC 6750, section 2.1).
fn bearer_token(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start_matches(' '))
}
