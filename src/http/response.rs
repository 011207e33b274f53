//! Answers, each whole and the last on its connection.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The statuses that this server gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Ok,
    SeeOther,
    TemporaryRedirect,
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    RequestTimeout,
    LengthRequired,
    ContentTooLarge,
    UpgradeRequired,
    HeadTooLarge,
    Unavailable,
}

impl Status {
    /// Code and reason phrase: RFC 9110, section 15; 431: RFC 6585, section 5.
    fn line(self) -> &'static str {
        match self {
            Self::Ok => "200 OK",
            Self::SeeOther => "303 See Other",
            Self::TemporaryRedirect => "307 Temporary Redirect",
            Self::BadRequest => "400 Bad Request",
            Self::Unauthorized => "401 Unauthorized",
            Self::Forbidden => "403 Forbidden",
            Self::NotFound => "404 Not Found",
            Self::MethodNotAllowed => "405 Method Not Allowed",
            Self::RequestTimeout => "408 Request Timeout",
            Self::LengthRequired => "411 Length Required",
            Self::ContentTooLarge => "413 Content Too Large",
            Self::UpgradeRequired => "426 Upgrade Required",
            Self::HeadTooLarge => "431 Request Header Fields Too Large",
            Self::Unavailable => "503 Service Unavailable",
        }
    }
}

/// What every answer says to a browser: run only what this server sent, tell nobody, sit in no
/// frame, keep no copy.
const SECURITY: &str = "X-Content-Type-Options: nosniff\r\n\
    X-Frame-Options: DENY\r\n\
    Cross-Origin-Opener-Policy: same-origin\r\n\
    Cross-Origin-Resource-Policy: same-origin\r\n\
    Cache-Control: no-store\r\n";

/// The policies of everything but the login form.
const POLICIES: &str = "Content-Security-Policy: default-src 'none'; script-src 'self'; \
    style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'\r\n\
    Referrer-Policy: no-referrer\r\n";

/// Those of the login form, which stands alone, with its own style (by its SHA-256) and no script.
/// Under `no-referrer` a browser would send the form with the origin `null`.
const FORM_POLICIES: &str = "Content-Security-Policy: default-src 'none'; \
    style-src 'sha256-cM2p7slgd0x3rBjcNyPZLzMIrCOm+8RDtjgIit2yf34='; img-src data:; base-uri 'none'; \
    form-action 'self'; frame-ancestors 'none'\r\n\
    Referrer-Policy: same-origin\r\n";

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Response {
    status: Status,
    content_type: Cow<'static, str>,
    /// Fields of this answer alone, each line ended.
    fields: String,
    policies: &'static str,
    body: Cow<'static, [u8]>,
}

impl Response {
    /// A short text for a person.
    pub(crate) fn text(status: Status, text: &str) -> Self {
        Self::new(status, "text/plain; charset=utf-8", format!("{text}\n").into_bytes())
    }

    /// A JSON document.
    pub(crate) fn json(json: String) -> Self {
        Self::new(Status::Ok, "application/json", json.into_bytes())
    }

    pub(crate) fn new(
        status: Status,
        content_type: impl Into<Cow<'static, str>>,
        body: impl Into<Cow<'static, [u8]>>,
    ) -> Self {
        Self {
            status,
            content_type: content_type.into(),
            fields: String::new(),
            policies: POLICIES,
            body: body.into(),
        }
    }

    /// The same answer, which may send a form.
    pub(crate) fn with_form(self) -> Self {
        Self { policies: FORM_POLICIES, ..self }
    }

    /// The same answer with one more field.
    pub(crate) fn field(mut self, name: &str, value: &str) -> Self {
        // Writing to a String cannot fail.
        let _ = write!(self.fields, "{name}: {value}\r\n");
        self
    }

    pub(crate) fn status(&self) -> Status {
        self.status
    }

    /// Status and text in one line, for the log.
    pub(crate) fn summary(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        format!("{}: {}", self.status.line(), text.trim_end())
    }

    /// The bytes for the socket; without the body where the request was HEAD.
    pub(crate) fn bytes(&self, head_only: bool) -> Vec<u8> {
        let mut bytes = format!(
            "HTTP/1.1 {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n{}{}{SECURITY}\r\n",
            self.status.line(),
            self.content_type,
            self.body.len(),
            self.fields,
            self.policies,
        )
        .into_bytes();
        if !head_only {
            bytes.extend_from_slice(&self.body);
        }
        bytes
    }
}
