//! Where the token is checked: in the `Authorization` header, the WebSocket subprotocol and the
//! session cookie.

use std::io;

use data_encoding::BASE64URL_NOPAD;

use super::login::{self, LoginForm};
use super::secret::Secret;
use super::session_cookie::SessionCookie;
use super::token::Token;
use crate::http::base_path::BasePath;
use crate::http::head::RequestHead;
use crate::http::response::Response;
use crate::http::status;

/// The prefix of a subprotocol that carries the token: the only WebSocket header that a script in
/// a page can set is `Sec-WebSocket-Protocol`.
pub(crate) const TOKEN_SUBPROTOCOL: &str = "kentros.bearer.";

/// Checks the token of requests and logins.
pub(crate) struct Authenticator {
    token: Secret,
    /// The token in base64url, as it appears in the subprotocol.
    encoded_token: Secret,
    session_cookie: SessionCookie,
}

/// The credentials of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Credentials {
    Valid,
    /// A wrong token.
    Invalid,
    Missing,
}

impl Authenticator {
    /// # Errors
    /// If the operating system has no random bytes for the cookie.
    pub(crate) fn new(token: &Token) -> io::Result<Self> {
        Ok(Self {
            token: Secret::new(token.expose()),
            encoded_token: Secret::new(&BASE64URL_NOPAD.encode(token.expose().as_bytes())),
            session_cookie: SessionCookie::generate()?,
        })
    }

    pub(crate) fn check(&self, head: &RequestHead) -> Credentials {
        let bearer = head
            .header("authorization")
            .and_then(bearer_token)
            .map(|token| self.token.matches(token));
        let subprotocols = head
            .list_items("sec-websocket-protocol")
            .filter_map(|name| name.strip_prefix(TOKEN_SUBPROTOCOL))
            .map(|token| self.encoded_token.matches(token.trim_end_matches('=')));
        let tokens: Vec<bool> = bearer.into_iter().chain(subprotocols).collect();
        if tokens.contains(&true) || self.session_cookie.is_in(head) {
            Credentials::Valid
        } else if tokens.is_empty() {
            // A wrong cookie does not count as a wrong token: it is usually one from before a
            // restart.
            Credentials::Missing
        } else {
            Credentials::Invalid
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
        let token = login::token_field(body).unwrap_or_default();
        if !self.token.matches(&token) {
            return Err(unauthorized(login::wrong_token_page()));
        }
        let cookie = self.session_cookie.set_cookie(base, form.https);
        Ok(login::redirect_after_login(form).with_header("Set-Cookie", cookie))
    }
}

/// The response to a request with missing or invalid credentials. Browsers are redirected to the
/// login page.
pub(crate) fn challenge(head: &RequestHead, credentials: Credentials) -> Response {
    if head.method() == "GET" && head.accepts("text/html") {
        return login::redirect_to_login(head);
    }
    let why = match credentials {
        Credentials::Missing => {
            "authentication required: send the token as \"Authorization: Bearer TOKEN\", or log \
             in at /login"
        }
        _ => "wrong token",
    };
    unauthorized(Response::line(status::UNAUTHORIZED, why))
}

fn unauthorized(response: Response) -> Response {
    response.with_header("WWW-Authenticate", "Bearer realm=\"kentros\"")
}

/// The token of `Authorization: Bearer` (RFC 6750, section 2.1).
fn bearer_token(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start_matches(' '))
}
