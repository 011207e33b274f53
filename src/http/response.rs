//! Responses, each whole and the last on its connection.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde::Serialize;

use super::status;
use crate::Error;

/// The headers of every response, unless it sets its own: the browser runs only what this server
/// sent, tells nobody, shows it in no frame and keeps no copy.
const DEFAULTS: [(&str, &str); 6] = [
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
    ("Referrer-Policy", "no-referrer"),
];

/// The policy of pages, unless the server's configuration has another one.
pub(crate) const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; \
    style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'";

/// The headers that the server writes itself: with another value they would break the framing.
const RESERVED: [&str; 4] = ["content-length", "connection", "transfer-encoding", "keep-alive"];

/// An HTTP response of a [route](crate::ServerConfig::route), or the refusal of a
/// [session](crate::ServerConfig::sessions).
///
/// Every response has headers that keep browsers safe: a Content-Security-Policy (see
/// [`ServerConfig::with_content_security_policy`](crate::ServerConfig::with_content_security_policy)),
/// `X-Frame-Options: DENY`, `Cache-Control: no-store` and others.
/// [`with_header`](Self::with_header) replaces them.
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
    body: Cow<'static, [u8]>,
}

impl Response {
    /// A response with this status, `Content-Type` and body.
    ///
    /// A status outside 200 to 599, or a content type that is no header value, gives 500 and a
    /// line in the log.
    pub fn new(
        status: u16,
        content_type: impl Into<Cow<'static, str>>,
        body: impl Into<Vec<u8>>,
    ) -> Self {
        Self::checked(status, content_type.into(), body.into().into())
    }

    /// 200 and this text, as it is.
    pub fn text(text: &str) -> Self {
        Self::new(status::OK, "text/plain; charset=utf-8", text)
    }

    /// 200 and this value as JSON.
    ///
    /// # Errors
    /// [`Encode`](crate::ErrorKind::Encode) if it cannot be written as JSON.
    pub fn json(value: &(impl Serialize + ?Sized)) -> Result<Self, Error> {
        Ok(Self::json_text(serde_json::to_string(value).map_err(Error::encode)?))
    }

    /// The same response with another status.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        if !(200..600).contains(&status) {
            return Self::faulty(&format!("{status} is not a status of a response"));
        }
        self.status = status;
        self
    }

    /// The same response with one more header; a default header of the same name is replaced.
    ///
    /// A name or value that cannot be in a header (a line break, say) gives 500 and a line in the
    /// log, as do headers that the server writes itself: `Content-Length`, `Connection`,
    /// `Transfer-Encoding`.
    #[must_use]
    pub fn with_header(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<String>,
    ) -> Self {
        let (name, value) = (name.into(), value.into());
        if !is_token(&name) || RESERVED.iter().any(|own| own.eq_ignore_ascii_case(&name)) {
            return Self::faulty(&format!("{name:?} is not a header that a response may set"));
        }
        if !is_value(&value) {
            return Self::faulty(&format!("the value of the header {name} has control characters"));
        }
        if name.eq_ignore_ascii_case("content-type") {
            self.content_type = value.into();
        } else {
            self.headers.push((name, value));
        }
        self
    }

    /// A line of text for a person.
    pub(crate) fn line(status: u16, text: &str) -> Self {
        Self::new(status, "text/plain; charset=utf-8", format!("{text}\n"))
    }

    /// A JSON document.
    pub(crate) fn json_text(json: String) -> Self {
        Self::new(status::OK, "application/json", json)
    }

    /// The response of a fixed page.
    pub(crate) fn page(content_type: Cow<'static, str>, body: Cow<'static, [u8]>) -> Self {
        Self::checked(status::OK, content_type, body)
    }

    fn checked(status: u16, content_type: Cow<'static, str>, body: Cow<'static, [u8]>) -> Self {
        if !(200..600).contains(&status) {
            return Self::faulty(&format!("{status} is not a status of a response"));
        }
        if !is_value(&content_type) {
            return Self::faulty("the content type has control characters");
        }
        Self { status, content_type, headers: Vec::new(), body }
    }

    /// What a faulty response becomes: its author must see it.
    fn faulty(why: &str) -> Self {
        log::error!("a response cannot be sent, 500 is sent instead: {why}");
        Self {
            status: status::INTERNAL_ERROR,
            content_type: "text/plain; charset=utf-8".into(),
            headers: Vec::new(),
            body: Cow::Borrowed(b"internal server error: the log says why\n"),
        }
    }

    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    /// Status and text in one line, for the log.
    pub(crate) fn summary(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        format!("{} {}: {}", self.status, status::reason(self.status), text.trim_end())
    }

    /// The bytes for the socket; without the body if the request was HEAD.
    pub(crate) fn bytes(&self, content_security_policy: &str, head_only: bool) -> Vec<u8> {
        let (status, reason) = (self.status, status::reason(self.status));
        let mut head = format!("HTTP/1.1 {status} {reason}\r\n");
        // RFC 9110, sections 15.3.5 and 15.4.5: these have no content.
        let empty = matches!(status, 204 | 304);
        // Writing to a String cannot fail.
        if !empty {
            let _ = write!(head, "Content-Type: {}\r\n", self.content_type);
            let _ = write!(head, "Content-Length: {}\r\n", self.body.len());
        }
        head.push_str("Connection: close\r\n");
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        let policy = ("Content-Security-Policy", content_security_policy);
        for (name, value) in [policy].into_iter().chain(DEFAULTS) {
            if !self.headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name)) {
                let _ = write!(head, "{name}: {value}\r\n");
            }
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        if !head_only && !empty {
            bytes.extend_from_slice(&self.body);
        }
        bytes
    }
}

/// 500, with the error's text in the log and not in the response.
impl From<Error> for Response {
    fn from(error: Error) -> Self {
        log::error!("a route failed: {error}");
        Self::line(status::INTERNAL_ERROR, "internal server error: the log says why")
    }
}

/// Either one, so that a route may use `?`.
impl<E: Into<Self>> From<Result<Self, E>> for Response {
    fn from(result: Result<Self, E>) -> Self {
        result.unwrap_or_else(Into::into)
    }
}

/// A token of RFC 9110, section 5.6.2.
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// A header's value: RFC 9110, section 5.5.
pub(crate) fn is_value(text: &str) -> bool {
    !text.bytes().any(|b| (b.is_ascii_control() && b != b'\t') || b == 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(response: &Response) -> String {
        String::from_utf8(response.bytes("default-src 'none'", false)).unwrap()
    }

    #[test]
    fn a_header_of_its_own_replaces_the_default() {
        let sent = sent(
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
    fn what_would_break_the_framing_gives_500() {
        let ok = || Response::text("hello");
        for faulty in [
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
            assert_eq!(faulty.status(), 500, "{faulty:?}");
            assert!(!sent(&faulty).contains("a=1"));
        }
    }

    #[test]
    fn a_response_without_content_has_no_length() {
        let sent = sent(&Response::new(204, "text/plain", "ignored"));
        assert!(!sent.contains("Content-Length") && sent.ends_with("\r\n\r\n"), "{sent}");
    }
}
