//! Parsing of request heads.

use std::fmt;

use httparse::Status;

use super::response::Response;
use super::status;

/// Maximum size of a request head, in bytes. Browsers send about 500, and several thousand with the
/// cookies of other services on the same host.
pub(crate) const MAX_HEAD: usize = 16 * 1024;
/// Maximum length of a query that a redirect keeps, in bytes. Those of the dashboard have a few
/// hundred.
const MAX_REDIRECT_QUERY: usize = 1024;
/// Maximum number of headers of a request.
const MAX_HEADERS: usize = 64;
/// Headers that may appear only once: a proxy could choose a different duplicate than this server.
const UNIQUE_HEADERS: [&str; 5] =
    ["host", "origin", "authorization", "content-length", "sec-websocket-key"];
/// Headers that the server interprets. Any other header may contain any bytes.
const USED_HEADERS: [&str; 16] = [
    "accept",
    "authorization",
    "connection",
    "content-length",
    "host",
    "origin",
    "sec-fetch-site",
    "sec-websocket-extensions",
    "sec-websocket-key",
    "sec-websocket-protocol",
    "sec-websocket-version",
    "transfer-encoding",
    "upgrade",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
];

/// A request line and its headers. Stored as one string with positions in it: a head is kept while
/// its client is accepted, and many small strings would fragment the heap.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct RequestHead {
    text: String,
    /// Whether the version is HTTP/1.0 and not HTTP/1.1.
    pub(crate) is_http_1_0: bool,
    method: Span,
    /// The host and port of an absolute target such as `http://host/path`; empty for others.
    authority: Span,
    /// Without the base path, once that has been stripped.
    path: Span,
    /// With its question mark; may be empty.
    query: Span,
    /// Names and values, in the order received.
    headers: Vec<(Span, Span)>,
    /// Length of the head with its empty line, bytes. Everything after it belongs to the body or to
    /// the WebSocket.
    pub(crate) length: usize,
}

/// A part of a head's text. `u16` is enough, as [`MAX_HEAD`] is less than 64 KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Span {
    start: u16,
    end: u16,
}

impl Span {
    /// The position of `part`, a slice of `whole`.
    fn of(part: &[u8], whole: &[u8]) -> Self {
        let start = (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize);
        let at = |n: usize| u16::try_from(n).unwrap_or(u16::MAX);
        Self { start: at(start), end: at(start + part.len()) }
    }

    fn range(self) -> std::ops::Range<usize> {
        usize::from(self.start)..usize::from(self.end)
    }
}

impl RequestHead {
    /// Parses the bytes received so far; `None` if the head is incomplete.
    ///
    /// # Errors
    /// The response to a malformed or too large head.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Self>, Response> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        let length = match request.parse(bytes) {
            Ok(Status::Complete(length)) if length <= MAX_HEAD => length,
            Ok(Status::Partial) if bytes.len() < MAX_HEAD => return Ok(None),
            Ok(_) => return Err(too_large(&format!("more than {MAX_HEAD} bytes"))),
            Err(httparse::Error::TooManyHeaders) => {
                return Err(too_large(&format!("more than {MAX_HEADERS} headers")));
            }
            Err(error) => return Err(bad_request(&format!("malformed HTTP request: {error}"))),
        };
        let target = request.path.unwrap_or_default();
        let target = target.split('#').next().unwrap_or_default();
        let (authority, path, query) = split_target(target);
        let mut text = bytes.get(..length).map(<[u8]>::to_vec).unwrap_or_default();
        let mut spans = Vec::with_capacity(request.headers.len());
        for header in &*request.headers {
            let (name, value) = (header.name, header.value.trim_ascii());
            let span = Span::of(value, bytes);
            if std::str::from_utf8(value).is_err() {
                if USED_HEADERS.iter().any(|used| name.eq_ignore_ascii_case(used)) {
                    return Err(bad_request(&format!("header {name} is not UTF-8")));
                }
                let value = text.get_mut(span.range()).unwrap_or_default();
                value.iter_mut().filter(|byte| !byte.is_ascii()).for_each(|byte| *byte = b'?');
                // Cookies of other servers on the same host may contain any bytes.
                if !name.eq_ignore_ascii_case("cookie") {
                    continue;
                }
            }
            spans.push((Span::of(name.as_bytes(), bytes), span));
        }
        let head = Self {
            text: String::from_utf8(text).map_err(|_| bad_request("the request is not UTF-8"))?,
            is_http_1_0: request.version == Some(0),
            method: Span::of(request.method.unwrap_or_default().as_bytes(), bytes),
            authority: Span::of(authority.as_bytes(), bytes),
            path: Span::of(path.as_bytes(), bytes),
            query: Span::of(query.as_bytes(), bytes),
            headers: spans,
            length,
        };
        if let Some(name) = UNIQUE_HEADERS.iter().find(|name| head.values(name).count() > 1) {
            return Err(bad_request(&format!("duplicate header {name}")));
        }
        if head.header("host").is_none() && !head.is_http_1_0 {
            return Err(bad_request("missing header host"));
        }
        Ok(Some(head))
    }

    /// The host that the client asked for: that of an absolute target, or the `Host` header (RFC 9112,
    /// section 3.2.2). HTTP/1.0 does not require one. Browsers always send it, so DNS rebinding is no
    /// concern without it.
    pub(crate) fn host(&self) -> &str {
        match self.slice(self.authority) {
            "" => self.header("host").unwrap_or("localhost"),
            authority => authority,
        }
    }

    pub(crate) fn method(&self) -> &str {
        self.slice(self.method)
    }

    /// The path, without the query.
    pub(crate) fn path(&self) -> &str {
        self.slice(self.path)
    }

    /// The query with its question mark, or the empty string.
    pub(crate) fn query(&self) -> &str {
        self.slice(self.query)
    }

    /// The query for a redirect, or the empty string if it is longer than [`MAX_REDIRECT_QUERY`]: a
    /// response must not repeat a large request.
    pub(crate) fn short_query(&self) -> &str {
        Some(self.query()).filter(|query| query.len() <= MAX_REDIRECT_QUERY).unwrap_or_default()
    }

    /// Removes the first `bytes` bytes of the path.
    pub(crate) fn strip_path(&mut self, bytes: usize) {
        let start = usize::from(self.path.start).saturating_add(bytes);
        self.path.start = u16::try_from(start).unwrap_or(u16::MAX).min(self.path.end);
    }

    /// The value of the first header with this name. Case does not matter.
    pub(crate) fn header<'a>(&'a self, name: &str) -> Option<&'a str> {
        self.values(name).next()
    }

    /// The values of all cookies with this name: other servers on the same host may set it too.
    pub(crate) fn cookies<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let name = name.to_owned();
        let pairs = self.values("cookie").flat_map(|cookies| cookies.split(';'));
        pairs
            .filter_map(|pair| pair.trim().split_once('='))
            .filter_map(move |(n, value)| (n == name).then_some(value))
    }

    /// Whether `Accept` names this media type. Wildcards do not count.
    pub(crate) fn accepts(&self, media_type: &str) -> bool {
        let types = self.list_items("accept").filter_map(|item| item.split(';').next());
        types.map(str::trim).any(|accepted| accepted.eq_ignore_ascii_case(media_type))
    }

    /// Whether a comma-separated header contains this item. Case does not matter.
    pub(crate) fn has_list_item(&self, name: &str, item: &str) -> bool {
        self.list_items(name).any(|i| i.eq_ignore_ascii_case(item))
    }

    /// The items of a comma-separated header.
    pub(crate) fn list_items<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.values(name)
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .filter(|item| !item.is_empty())
    }

    fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let name = name.to_owned();
        let named = move |header: &&(Span, Span)| self.slice(header.0).eq_ignore_ascii_case(&name);
        self.headers.iter().filter(named).map(|&(_, value)| self.slice(value))
    }

    fn slice(&self, span: Span) -> &str {
        self.text.get(span.range()).unwrap_or_default()
    }
}

/// Omits query and headers, which may contain secrets.
impl fmt::Debug for RequestHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method(), self.path())
    }
}

/// Splits a target into host, path and query. Only absolute targets such as `http://host/path?query`
/// have a host.
fn split_target(target: &str) -> (&str, &str, &str) {
    let is_absolute = |scheme: &&str| {
        target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    let scheme = ["http://", "https://"].into_iter().find(is_absolute).map_or(0, str::len);
    let (scheme, rest) = target.split_at(scheme);
    let authority = if scheme.is_empty() { 0 } else { rest.find(['/', '?']).unwrap_or(rest.len()) };
    let (authority, rest) = rest.split_at(authority);
    let (path, query) = rest.split_at(rest.find('?').unwrap_or(rest.len()));
    // An absolute target without a path means `/`. A span must be part of the text, and the scheme
    // ends with a slash.
    let path = if path.is_empty() {
        scheme.get(scheme.len().max(1) - 1..).unwrap_or_default()
    } else {
        path
    };
    (authority, path, query)
}

fn bad_request(why: &str) -> Response {
    Response::line(status::BAD_REQUEST, why)
}

fn too_large(why: &str) -> Response {
    Response::line(status::HEAD_TOO_LARGE, &format!("request head too large: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(bytes: &[u8]) -> u16 {
        RequestHead::parse(bytes).unwrap_err().status()
    }

    #[test]
    fn a_head_is_parsed_once_complete_and_the_rest_is_left() {
        let bytes =
            b"GET /a?b=c HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\n\r\nrest";
        for end in 0..bytes.len() - 4 {
            assert_eq!(RequestHead::parse(&bytes[..end]), Ok(None), "{end} bytes");
        }
        let head = RequestHead::parse(bytes).unwrap().unwrap();
        assert_eq!((head.method(), head.path()), ("GET", "/a"));
        assert_eq!(head.length, bytes.len() - 4);
        assert!(head.has_list_item("connection", "upgrade"));
        assert!(!head.has_list_item("connection", "up"));
    }

    #[test]
    fn each_error_has_its_status() {
        assert_eq!(status(b"\x16\x03\x01 TLS\r\n"), status::BAD_REQUEST);
        assert_eq!(status(b"GET / HTTP/2.0\r\nHost: x\r\n\r\n"), status::BAD_REQUEST);
        assert_eq!(status(b"GET / HTTP/1.1\r\n\r\n"), status::BAD_REQUEST);
        for name in UNIQUE_HEADERS {
            let twice = format!("GET / HTTP/1.1\r\nHost: x\r\n{name}: x\r\n{name}: x\r\n\r\n");
            assert_eq!(status(twice.as_bytes()), status::BAD_REQUEST, "{name}");
        }
        for odd in ["Host : x", "Host: x\r\n folded", " Host: x", "Host: x\r\nA\0: b"] {
            let head = format!("GET / HTTP/1.1\r\n{odd}\r\n\r\n");
            assert_eq!(status(head.as_bytes()), status::BAD_REQUEST, "{odd:?}");
        }
        let long = [b"GET /".as_slice(), &[b'a'; MAX_HEAD]].concat();
        assert_eq!(status(&long), status::HEAD_TOO_LARGE);
        let many = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: b\r\n".repeat(64));
        assert_eq!(status(many.as_bytes()), status::HEAD_TOO_LARGE);
    }

    #[test]
    fn a_cookie_is_found_among_malformed_ones() {
        let text = "GET / HTTP/1.1\r\nHost: x\r\nCookie: a=b; s=1;s=2 ; =; ;s; xs=3; s x=4\r\n\
            Cookie: S=5; s=6=7\r\n\r\n";
        let head = RequestHead::parse(text.as_bytes()).unwrap().unwrap();
        assert_eq!(head.cookies("s").collect::<Vec<_>>(), ["1", "2", "6=7"]);
        assert_eq!(head.cookies("none").count(), 0);
    }

    #[test]
    fn a_media_type_is_accepted_only_by_name() {
        let accepts = |accept: &str| {
            let text = format!("GET / HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n");
            RequestHead::parse(text.as_bytes()).unwrap().unwrap().accepts("text/html")
        };
        for accept in ["text/html", "application/xml, Text/HTML;q=0.9"] {
            assert!(accepts(accept), "{accept}");
        }
        for accept in ["*/*", "text/html5", "application/json", ""] {
            assert!(!accepts(accept), "{accept}");
        }
    }

    #[test]
    fn http_1_0_needs_no_host() {
        let head = RequestHead::parse(b"GET / HTTP/1.0\r\n\r\n").unwrap().unwrap();
        assert!(head.is_http_1_0);
        assert_eq!(head.host(), "localhost");
        let head = RequestHead::parse(b"GET / HTTP/1.0\r\nHost: a:1\r\n\r\n").unwrap().unwrap();
        assert_eq!(head.host(), "a:1");
    }

    #[test]
    fn an_absolute_target_replaces_the_host() {
        for (target, host, path, query) in [
            ("/a?b", "outer", "/a", "?b"),
            ("http://inner:9001/a?b", "inner:9001", "/a", "?b"),
            ("HTTPS://inner/", "inner", "/", ""),
            ("http://inner", "inner", "/", ""),
            ("http://inner?b", "inner", "/", "?b"),
            ("http:///a", "outer", "/a", ""),
            ("/http://inner/a", "outer", "/http://inner/a", ""),
        ] {
            let text = format!("GET {target} HTTP/1.1\r\nHost: outer\r\n\r\n");
            let head = RequestHead::parse(text.as_bytes()).unwrap().unwrap();
            assert_eq!((head.host(), head.path(), head.query()), (host, path, query), "{target}");
        }
    }

    /// obs-text, RFC 9110, section 5.5.
    #[test]
    fn an_unused_header_may_contain_any_bytes() {
        let request = |header: &[u8]| {
            let bytes =
                [b"GET /a HTTP/1.1\r\nHost: x\r\n".as_slice(), header, b"\r\n\r\n"].concat();
            RequestHead::parse(&bytes)
        };
        let head = request(b"X-User: J\xfcrgen").unwrap().unwrap();
        assert_eq!((head.path(), head.header("x-user")), ("/a", None));
        let head = request(b"Cookie: a=\xff; session=b").unwrap().unwrap();
        assert_eq!(head.cookies("session").collect::<Vec<_>>(), ["b"]);
        for name in USED_HEADERS {
            let header = [name.as_bytes(), b": J\xfcrgen"].concat();
            assert_eq!(request(&header).unwrap_err().status(), status::BAD_REQUEST, "{name}");
        }
        let plain = request(b"X-User: a").unwrap().unwrap();
        for byte in 0x80..=0xff {
            let head = request(&[b"X-User: ".as_slice(), &[byte, b'a', byte]].concat());
            let head = head.unwrap().unwrap();
            assert_eq!((head.method(), head.path(), head.host()), ("GET", "/a", "x"));
            assert_eq!(head.headers.len(), plain.headers.len() - 1, "{byte}");
        }
    }

    #[test]
    fn debug_shows_no_header_value() {
        let text = "GET /a?token=q HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer secret\r\n\r\n";
        let head = RequestHead::parse(text.as_bytes()).unwrap().unwrap();
        assert_eq!(format!("{head:?}"), "GET /a");
    }
}
