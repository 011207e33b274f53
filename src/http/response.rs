//! Responses. Each one is complete and closes its connection.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde::Serialize;
use tungstenite::Bytes;

use super::status;
use crate::{Error, printable};

/// Headers of every response, unless the response sets them itself: no MIME sniffing, no framing,
/// no cross-origin use, no caching, no referrer.
const DEFAULT_HEADERS: [(&str, &str); 6] = [
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
    ("Referrer-Policy", "no-referrer"),
];

/// The default Content-Security-Policy.
pub(crate) const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; \
    style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'";

/// Headers that only the server writes: another value would break the framing.
const RESERVED_HEADERS: [&str; 4] =
    ["content-length", "connection", "transfer-encoding", "keep-alive"];

/// An HTTP response of a [route](crate::ServerConfig::route), or one that rejects a
/// [session](crate::ServerConfig::sessions).
///
/// Every response has security headers: a Content-Security-Policy (see
/// [`ServerConfig::with_content_security_policy`](crate::ServerConfig::with_content_security_policy)),
/// `X-Frame-Options: DENY`, `Cache-Control: no-store` and others. Replace them with
/// [`with_header`](Self::with_header).
///
/// # Examples
///
/// ```
/// use kentros::Response;
///
/// let missing = Response::new(404, "text/html; charset=utf-8", "<h1>Not found</h1>");
/// let secret = Response::text("members only\n")
///     .with_status(401)
///     .with_header("WWW-Authenticate", "Bearer");
/// let figures = Response::json(&[21.5, 22.0])?.with_header("Cache-Control", "max-age=1");
/// # let _ = (missing, secret, figures);
/// # Ok::<(), kentros::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    status: u16,
    content_type: Cow<'static, str>,
    headers: Vec<(Cow<'static, str>, String)>,
    /// The start of the body, if only the rest is shared with other responses.
    start: String,
    body: Bytes,
}

impl Response {
    /// Creates a response with this status, `Content-Type` and body.
    ///
    /// With a status outside 200 to 599, or an invalid content type, the response becomes a 500,
    /// and the reason is logged.
    pub fn new(
        status: u16,
        content_type: impl Into<Cow<'static, str>>,
        body: impl Into<Vec<u8>>,
    ) -> Self {
        Self::checked(status, content_type.into(), Bytes::from(body.into()))
    }

    /// Creates a 200 response with this plain text.
    pub fn text(text: &str) -> Self {
        Self::new(status::OK, "text/plain; charset=utf-8", text)
    }

    /// Creates a 200 response with this value as JSON.
    ///
    /// # Errors
    ///
    /// Returns [`Encode`](crate::ErrorKind::Encode) if the value cannot be serialized as JSON.
    pub fn json(value: &(impl Serialize + ?Sized)) -> Result<Self, Error> {
        Ok(Self::json_text(serde_json::to_string(value).map_err(Error::encode)?))
    }

    /// Sets the status.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        if !(200..600).contains(&status) {
            return Self::invalid(&format!("{status} is not a valid status"));
        }
        self.status = status;
        self
    }

    /// Adds a header. It replaces a default header with the same name.
    ///
    /// With an invalid name or value (one with a line break, for example), or a header that the
    /// server writes itself (`Content-Length`, `Connection`, `Transfer-Encoding`, `Keep-Alive`),
    /// the response becomes a 500, and the reason is logged.
    #[must_use]
    pub fn with_header(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<String>,
    ) -> Self {
        let (name, value) = (name.into(), value.into());
        if !is_token(&name) {
            return Self::invalid(&format!("invalid header name {name:?}"));
        }
        if RESERVED_HEADERS.iter().any(|reserved| reserved.eq_ignore_ascii_case(&name)) {
            return Self::invalid(&format!("header {name} is set by the server"));
        }
        if !is_header_value(&value) {
            return Self::invalid(&format!("the value of header {name} has control characters"));
        }
        if name.eq_ignore_ascii_case("content-type") {
            self.content_type = value.into();
        } else {
            self.headers.push((name, value));
        }
        self
    }

    /// One line of plain text.
    pub(crate) fn line(status: u16, text: &str) -> Self {
        Self::new(status, "text/plain; charset=utf-8", format!("{text}\n"))
    }

    /// A JSON document.
    pub(crate) fn json_text(json: impl Into<Bytes>) -> Self {
        Self::shared("application/json", json.into())
    }

    /// A 200 response whose body is shared with other responses, so that it is in memory once.
    pub(crate) fn shared(content_type: impl Into<Cow<'static, str>>, body: Bytes) -> Self {
        Self::checked(status::OK, content_type.into(), body)
    }

    /// Adds text before a shared body.
    pub(crate) fn with_start(self, start: String) -> Self {
        Self { start, ..self }
    }

    /// The response to a failure whose reason is in the log and not in the response.
    pub(crate) fn internal_error() -> Self {
        Self::line(status::INTERNAL_ERROR, "internal server error: see the server's log")
    }

    fn checked(status: u16, content_type: Cow<'static, str>, body: Bytes) -> Self {
        if !(200..600).contains(&status) {
            return Self::invalid(&format!("{status} is not a valid status"));
        }
        if !is_header_value(&content_type) {
            return Self::invalid("the content type has control characters");
        }
        Self { status, content_type, headers: Vec::new(), start: String::new(), body }
    }

    /// Replaces an invalid response.
    fn invalid(why: &str) -> Self {
        log::error!("invalid response, sending 500 instead: {why}");
        Self::internal_error()
    }

    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    /// Status and body of an error on one line, for the log.
    pub(crate) fn summary(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        format!("{} {}: {}", self.status, status::reason(self.status), text.trim_end())
    }

    /// The bytes on the wire. `head_only` omits the body, for HEAD requests.
    pub(crate) fn bytes(&self, content_security_policy: &str, head_only: bool) -> Vec<u8> {
        let (mut bytes, body) = self.parts(content_security_policy, head_only);
        bytes.extend_from_slice(&body);
        bytes
    }

    /// The bytes on the wire: those of this response only, and the body that it may share with
    /// others.
    pub(crate) fn parts(&self, content_security_policy: &str, head_only: bool) -> (Vec<u8>, Bytes) {
        let (status, reason) = (self.status, status::reason(self.status));
        let mut head = format!("HTTP/1.1 {status} {reason}\r\n");
        // These have no content: RFC 9110, sections 15.3.5 and 15.4.5.
        let empty = matches!(status, 204 | 304);
        // Writing to a String cannot fail.
        if !empty {
            let _ = write!(head, "Content-Type: {}\r\n", self.content_type);
            let length = self.start.len() + self.body.len();
            let _ = write!(head, "Content-Length: {length}\r\n");
        }
        head.push_str("Connection: close\r\n");
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        let policy = ("Content-Security-Policy", content_security_policy);
        for (name, value) in [policy].into_iter().chain(DEFAULT_HEADERS) {
            if !self.headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name)) {
                let _ = write!(head, "{name}: {value}\r\n");
            }
        }
        head.push_str("\r\n");
        if head_only || empty {
            return (head.into_bytes(), Bytes::new());
        }
        head.push_str(&self.start);
        (head.into_bytes(), self.body.clone())
    }
}

/// A 500 response. The error is logged and is not part of the response.
impl From<Error> for Response {
    fn from(error: Error) -> Self {
        log::error!("a route failed: {}", printable(&error.to_string()));
        Self::internal_error()
    }
}

/// The response in either variant, so that a route can use `?`.
impl<E: Into<Self>> From<Result<Self, E>> for Response {
    fn from(result: Result<Self, E>) -> Self {
        result.unwrap_or_else(Into::into)
    }
}

/// Whether `text` is a token: RFC 9110, section 5.6.2.
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// Whether `text` can be the value of a header: RFC 9110, section 5.5.
pub(crate) fn is_header_value(text: &str) -> bool {
    !text.bytes().any(|b| (b.is_ascii_control() && b != b'\t') || b == 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(response: &Response) -> String {
        String::from_utf8(response.bytes("default-src 'none'", false)).unwrap()
    }

    #[test]
    fn a_header_replaces_the_default() {
        let sent = text_of(
            &Response::text("hello")
                .with_header("cache-control", "max-age=60")
                .with_header("Content-Security-Policy", "default-src *")
                .with_header("Content-Type", "text/html")
                .with_header("Set-Cookie", "a=1")
                .with_header("Set-Cookie", "b=2"),
        );
        assert!(sent.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"), "{sent}");
        assert!(sent.contains("cache-control: max-age=60\r\n") && !sent.contains("no-store"));
        assert!(sent.contains("default-src *") && !sent.contains("'none'"), "{sent}");
        assert!(sent.contains("Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n"));
        assert!(sent.contains("X-Frame-Options: DENY\r\n") && sent.ends_with("\r\n\r\nhello"));
    }

    #[test]
    fn an_invalid_response_becomes_a_500() {
        let ok = || Response::text("hello");
        for invalid in [
            ok().with_header("Location", "/\r\nSet-Cookie: a=1"),
            ok().with_header("A b", "c"),
            ok().with_header("", "c"),
            ok().with_header("Content-length", "0"),
            ok().with_header("Transfer-Encoding", "chunked"),
            ok().with_header("Content-Type", "a\nb"),
            ok().with_status(101),
            Response::new(999, "text/plain", ""),
            Response::new(200, "a\rb", ""),
        ] {
            assert_eq!(invalid.status(), 500, "{invalid:?}");
            assert!(!text_of(&invalid).contains("a=1"));
        }
    }

    #[test]
    fn a_response_without_content_has_no_content_length() {
        let sent = text_of(&Response::new(204, "text/plain", "ignored"));
        assert!(!sent.contains("Content-Length") && sent.ends_with("\r\n\r\n"), "{sent}");
    }
}
