//! The login page and its form.

use percent_encoding::percent_decode_str;

use crate::http::head::RequestHead;
use crate::http::response::Response;
use crate::http::status;

/// The path of the login page.
pub(crate) const LOGIN_PATH: &str = "/login";
/// The path that ends a login.
pub(crate) const LOGOUT_PATH: &str = "/logout";
/// Maximum size of the form, in bytes: a percent-encoded token has at most 1,536.
const MAX_FORM: usize = 4096;

/// Maximum depth of a path that is redirected to the login page, in folders.
const MAX_DEPTH: usize = 32;

const PAGE: &str = include_str!("login.html");
/// The page's Content-Security-Policy: its own style sheet, by SHA-256, and no script.
const PAGE_POLICY: &str = "default-src 'none'; \
    style-src 'sha256-cM2p7slgd0x3rBjcNyPZLzMIrCOm+8RDtjgIit2yf34='; img-src data:; \
    base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
/// Placeholder in the page for an error.
const ERROR_PLACEHOLDER: &str = "<!-- error -->";

/// A login form whose body is still to be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LoginForm {
    /// Length of the body, bytes.
    pub(crate) length: usize,
    /// Whether the browser connected over HTTPS.
    pub(crate) https: bool,
    /// The query of the page that the browser asked for before the login.
    pub(crate) query: String,
}

impl LoginForm {
    /// # Errors
    /// The response to a form without a length, or with too large a body.
    pub(crate) fn from_head(head: &RequestHead, https: bool) -> Result<Self, Response> {
        let no_length =
            || Response::line(status::LENGTH_REQUIRED, "the form has no Content-Length");
        if head.header("transfer-encoding").is_some() {
            return Err(no_length());
        }
        let length = head
            .header("content-length")
            .filter(|length| length.bytes().all(|b| b.is_ascii_digit()))
            .ok_or_else(no_length)?;
        match length.parse() {
            Ok(length) if length <= MAX_FORM => {
                Ok(Self { length, https, query: head.short_query().to_owned() })
            }
            _ => Err(Response::line(
                status::CONTENT_TOO_LARGE,
                &format!("the login form is larger than {MAX_FORM} bytes"),
            )),
        }
    }
}

/// The field `token` of a form (`application/x-www-form-urlencoded`).
pub(crate) fn token_field(body: &[u8]) -> Option<String> {
    let body = std::str::from_utf8(body).ok()?;
    let value = body.split('&').find_map(|field| field.strip_prefix("token="))?.replace('+', " ");
    // Trimmed: a pasted token often ends in a space.
    Some(percent_decode_str(&value).decode_utf8().ok()?.trim().to_owned())
}

pub(crate) fn login_page() -> Response {
    page(status::OK, "")
}

pub(crate) fn wrong_token_page() -> Response {
    page(status::UNAUTHORIZED, &error("Wrong token."))
}

pub(crate) fn too_many_wrong_tokens_page(seconds: u128) -> Response {
    let text = format!("Too many wrong tokens. Try again in {seconds} s.");
    page(status::TOO_MANY_REQUESTS, &error(&text))
}

fn error(text: &str) -> String {
    format!("<p class=\"wrong\" role=\"alert\">{text}</p>")
}

// All redirects are relative: a proxy may serve the page below a path of its own.

/// Redirects to the login page. Returns `None` if the path is deeper than that of any page.
pub(crate) fn redirect_to_login(head: &RequestHead) -> Option<Response> {
    let depth = head.path().matches('/').count().saturating_sub(1);
    (depth <= MAX_DEPTH).then(|| {
        Response::line(status::SEE_OTHER, "log in at /login")
            .with_header("Location", format!("{}login{}", "../".repeat(depth), head.short_query()))
    })
}

pub(crate) fn redirect_after_login(form: &LoginForm) -> Response {
    Response::line(status::SEE_OTHER, "logged in")
        .with_header("Location", format!("./{}", form.query))
}

pub(crate) fn redirect_after_logout() -> Response {
    Response::line(status::SEE_OTHER, "logged out").with_header("Location", "login")
}

fn page(status: u16, error: &str) -> Response {
    Response::new(status, "text/html; charset=utf-8", PAGE.replace(ERROR_PLACEHOLDER, error))
        .with_header("Content-Security-Policy", PAGE_POLICY)
        // With `no-referrer`, browsers would send the form with `Origin: null`.
        .with_header("Referrer-Policy", "same-origin")
}
