//! What a request shows to be let in, and the login by which a browser gets something to show.

use std::fmt::Write as _;
use std::io;

use percent_encoding::percent_decode_str;
use rustix::rand::{GetRandomFlags, getrandom};

use super::token::{Secret, Token, base64url};
use crate::http::base::Base;
use crate::http::head::Head;
use crate::http::response::Response;
use crate::http::status;
use crate::http::upgrade::TOKEN_SUBPROTOCOL;

/// Where the login form is.
pub(crate) const LOGIN: &str = "/login";
/// The cookie of those who have logged in.
const COOKIE: &str = "kentros_session";
/// The largest form: a token, percent-encoded, has at most 1,536 bytes.
const MAX_FORM: usize = 4096;

const FORM: &str = include_str!("login.html");
/// The policy of the form, which stands alone, with its own style (by its SHA-256) and no script.
const FORM_POLICY: &str = "default-src 'none'; \
    style-src 'sha256-cM2p7slgd0x3rBjcNyPZLzMIrCOm+8RDtjgIit2yf34='; img-src data:; \
    base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
/// Where the form says that it did not work.
const SAID: &str = "<!-- said -->";

/// What the token is compared with wherever it may stand.
pub(crate) struct Lock {
    token: Secret,
    subprotocol: Secret,
    session: Secret,
    /// The cookie's value: random, the same for all, and of this server alone. Whoever reads it
    /// somewhere does not have the token.
    cookie: String,
}

/// What a request shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    Right,
    Wrong,
    Nothing,
}

/// A login form on its way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Form {
    /// Bytes of it.
    pub(crate) length: usize,
    /// Whether the browser came by TLS.
    pub(crate) secure: bool,
    /// Of the page that was asked for first.
    pub(crate) query: String,
}

impl Lock {
    /// # Errors
    /// If the operating system has no random bytes to give.
    pub(crate) fn new(token: &Token) -> io::Result<Self> {
        let mut random = [0; 32];
        if getrandom(&mut random, GetRandomFlags::empty())? != random.len() {
            return Err(io::Error::other("too few random bytes"));
        }
        let cookie = base64url(&random);
        Ok(Self {
            token: Secret::new(token.expose()),
            subprotocol: Secret::new(&base64url(token.expose().as_bytes())),
            session: Secret::new(&cookie),
            cookie,
        })
    }

    /// Whether a request may pass.
    pub(crate) fn shown(&self, head: &Head) -> Shown {
        let bearer = head.field("authorization").and_then(bearer).map(|t| self.token.is(t));
        let subprotocols = head
            .tokens("sec-websocket-protocol")
            .filter_map(|name| name.strip_prefix(TOKEN_SUBPROTOCOL))
            .map(|token| self.subprotocol.is(token.trim_end_matches('=')));
        let tokens: Vec<bool> = bearer.into_iter().chain(subprotocols).collect();
        if tokens.contains(&true) || head.cookies(COOKIE).any(|value| self.session.is(value)) {
            Shown::Right
        } else if tokens.is_empty() {
            // A cookie of before the last start is no guess.
            Shown::Nothing
        } else {
            Shown::Wrong
        }
    }

    /// The login form of a `POST`, which is still to come.
    ///
    /// # Errors
    /// The answer to a form that cannot be read.
    pub(crate) fn form(head: &Head, secure: bool) -> Result<Form, Response> {
        if head.field("transfer-encoding").is_some() {
            return Err(Response::line(status::LENGTH_REQUIRED, "a form comes with its length"));
        }
        let length = head
            .field("content-length")
            .filter(|length| length.bytes().all(|b| b.is_ascii_digit()))
            .ok_or_else(|| {
                Response::line(status::LENGTH_REQUIRED, "a form comes with its length")
            })?;
        match length.parse() {
            Ok(length) if length <= MAX_FORM => {
                Ok(Form { length, secure, query: head.query().to_owned() })
            }
            _ => Err(Response::line(
                status::CONTENT_TOO_LARGE,
                &format!("a login is of at most {MAX_FORM} bytes"),
            )),
        }
    }

    /// The answer to a login form that is there; `Err` where the token is not the right one.
    pub(crate) fn login(
        &self,
        form: &Form,
        body: &[u8],
        base: &Base,
    ) -> Result<Response, Response> {
        let token = token_in(body).unwrap_or_default();
        if !self.token.is(&token) {
            let said = "<p class=\"wrong\" role=\"alert\">That is not the token.</p>";
            return Err(unauthorized(page(status::UNAUTHORIZED, said)));
        }
        let secure = if form.secure { "; Secure" } else { "" };
        // What else is on this host need not have it.
        let (value, path) = (&self.cookie, base.as_str());
        let cookie = format!("{COOKIE}={value}; Path={path}/; HttpOnly; SameSite=Strict{secure}");
        // Relative, as a proxy may have the page in a folder.
        Ok(Response::line(status::SEE_OTHER, "logged in")
            .with_header("Location", format!("./{}", form.query))
            .with_header("Set-Cookie", cookie))
    }
}

/// The login form.
pub(crate) fn login_page() -> Response {
    page(status::OK, "")
}

/// The answer to who shows nothing, or the wrong thing, and asks for `path`: a browser is sent to
/// the form.
pub(crate) fn refusal(head: &Head, path: &str, shown: Shown) -> Response {
    if head.method() == "GET" && head.accepts("text/html") {
        // Relative, as a proxy may have the page in a folder.
        let depth = path.matches('/').count().saturating_sub(1);
        return Response::line(status::SEE_OTHER, "the login is at /login")
            .with_header("Location", format!("{}login{}", "../".repeat(depth), head.query()));
    }
    let why = match shown {
        Shown::Nothing => {
            "a token is needed: send it as Authorization: Bearer, or log in at /login"
        }
        _ => "that is not the token",
    };
    unauthorized(Response::line(status::UNAUTHORIZED, why))
}

fn unauthorized(response: Response) -> Response {
    response.with_header("WWW-Authenticate", "Bearer realm=\"kentros\"")
}

fn page(status: u16, said: &str) -> Response {
    Response::new(status, "text/html; charset=utf-8", FORM.replace(SAID, said))
        .with_header("Content-Security-Policy", FORM_POLICY)
        // Under `no-referrer` a browser would send the form with the origin `null`.
        .with_header("Referrer-Policy", "same-origin")
}

/// The token of `Authorization: Bearer` (RFC 6750, section 2.1).
fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start_matches(' '))
}

/// The field `token` of a form (`application/x-www-form-urlencoded`).
fn token_in(body: &[u8]) -> Option<String> {
    let body = std::str::from_utf8(body).ok()?;
    let value = body.split('&').find_map(|field| field.strip_prefix("token="))?;
    let mut token = String::new();
    // A token is often pasted with a blank at its end.
    let text = value.replace('+', " ");
    write!(token, "{}", percent_decode_str(&text).decode_utf8().ok()?.trim()).ok()?;
    Some(token)
}
