//! A request's head.

use std::fmt;

use httparse::Status as Parsed;

use super::response::Response;
use super::status;

/// The largest head, bytes. Browsers send some 500, with cookies of other services on the same
/// host some thousands.
pub(crate) const MAX_HEAD: usize = 16 * 1024;
/// The most header fields.
const MAX_FIELDS: usize = 64;
/// What may stand once only: of two, a proxy could go by the other one.
const SINGLE: [&str; 5] =
    ["host", "origin", "authorization", "content-length", "sec-websocket-key"];

/// The parts of a request that matter here. One piece of text and where in it each part is: a head
/// is kept while its client is accepted, and many small strings would fragment the heap.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Head {
    text: String,
    method: Span,
    /// Without the server's base, once that has been taken off.
    path: Span,
    /// From its question mark on, or empty.
    query: Span,
    /// Names and values, in the order in which they came.
    fields: Vec<(Span, Span)>,
    /// Bytes the head took, the empty line included: what follows is of the next protocol.
    pub(crate) length: usize,
}

/// Part of a head's text; its size fits, as [`MAX_HEAD`] is less than 64 KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Span {
    start: u16,
    end: u16,
}

impl Span {
    /// Where `part`, a slice of `whole`, is.
    fn of(part: &[u8], whole: &[u8]) -> Self {
        let start = (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize);
        let at = |n: usize| u16::try_from(n).unwrap_or(u16::MAX);
        Self { start: at(start), end: at(start + part.len()) }
    }
}

impl Head {
    /// Reads a head from what has come so far; `None`: more must come.
    ///
    /// # Errors
    /// The answer to a head that is none, or too large.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Self>, Response> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut request = httparse::Request::new(&mut fields);
        let length = match request.parse(bytes) {
            Ok(Parsed::Complete(length)) if length <= MAX_HEAD => length,
            Ok(Parsed::Partial) if bytes.len() < MAX_HEAD => return Ok(None),
            Ok(_) => return Err(too_large(&format!("over {MAX_HEAD} bytes"))),
            Err(httparse::Error::TooManyHeaders) => {
                return Err(too_large(&format!("over {MAX_FIELDS} fields")));
            }
            Err(error) => return Err(bad(&format!("the request's head is no HTTP: {error}"))),
        };
        if request.version != Some(1) {
            return Err(bad("this server speaks HTTP/1.1"));
        }
        let target = request.path.unwrap_or_default();
        let target = target.split('#').next().unwrap_or_default();
        let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
        let mut spans = Vec::with_capacity(request.headers.len());
        for field in &*request.headers {
            let value = std::str::from_utf8(field.value)
                .map_err(|_| bad(&format!("the field {:?} is not text", field.name)))?;
            let name = Span::of(field.name.as_bytes(), bytes);
            spans.push((name, Span::of(value.trim().as_bytes(), bytes)));
        }
        let text = bytes.get(..length).map(<[u8]>::to_vec).unwrap_or_default();
        let head = Self {
            text: String::from_utf8(text).map_err(|_| bad("the request's head is not text"))?,
            method: Span::of(request.method.unwrap_or_default().as_bytes(), bytes),
            path: Span::of(path.as_bytes(), bytes),
            query: Span::of(query.as_bytes(), bytes),
            fields: spans,
            length,
        };
        if let Some(name) = SINGLE.iter().find(|name| head.all(name).count() > 1) {
            return Err(bad(&format!("the field {name} stands more than once")));
        }
        if head.field("host").is_none() {
            return Err(bad("the field host is missing"));
        }
        Ok(Some(head))
    }

    pub(crate) fn method(&self) -> &str {
        self.part(self.method)
    }

    /// The path, without the query.
    pub(crate) fn path(&self) -> &str {
        self.part(self.path)
    }

    /// The query, from its question mark on, or nothing.
    pub(crate) fn query(&self) -> &str {
        self.part(self.query)
    }

    /// Takes this many bytes off the path.
    pub(crate) fn strip_path(&mut self, bytes: usize) {
        let start = usize::from(self.path.start).saturating_add(bytes);
        self.path.start = u16::try_from(start).unwrap_or(u16::MAX).min(self.path.end);
    }

    /// The first field of this name, in any case.
    pub(crate) fn field<'a>(&'a self, name: &str) -> Option<&'a str> {
        self.all(name).next()
    }

    /// The values of the cookies of this name, of which there may be several: other servers on the
    /// same host can set some too.
    pub(crate) fn cookies<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let name = name.to_owned();
        let pairs = self.all("cookie").flat_map(|cookies| cookies.split(';'));
        pairs
            .filter_map(|pair| pair.trim().split_once('='))
            .filter_map(move |(n, value)| (n == name).then_some(value))
    }

    /// Whether the peer asks for this type by its name.
    pub(crate) fn accepts(&self, kind: &str) -> bool {
        let kinds = self.tokens("accept").filter_map(|item| item.split(';').next());
        kinds.map(str::trim).any(|accepted| accepted.eq_ignore_ascii_case(kind))
    }

    fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let name = name.to_owned();
        let named = move |field: &&(Span, Span)| self.part(field.0).eq_ignore_ascii_case(&name);
        self.fields.iter().filter(named).map(|&(_, value)| self.part(value))
    }

    fn part(&self, span: Span) -> &str {
        self.text.get(usize::from(span.start)..usize::from(span.end)).unwrap_or_default()
    }

    /// Whether a comma-separated field holds `token`, in any case.
    pub(crate) fn lists(&self, name: &str, token: &str) -> bool {
        self.tokens(name).any(|t| t.eq_ignore_ascii_case(token))
    }

    /// The parts of a comma-separated field.
    pub(crate) fn tokens<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.all(name).flat_map(|value| value.split(',')).map(str::trim).filter(|t| !t.is_empty())
    }
}

/// Without the values: one may be a token.
impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method(), self.path())
    }
}

fn bad(why: &str) -> Response {
    Response::line(status::BAD_REQUEST, why)
}

fn too_large(why: &str) -> Response {
    Response::line(status::HEAD_TOO_LARGE, &format!("the request's head is too large: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(bytes: &[u8]) -> u16 {
        Head::parse(bytes).unwrap_err().status()
    }

    #[test]
    fn a_head_is_read_once_it_is_whole_and_what_follows_is_left() {
        let bytes =
            b"GET /a?b=c HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\n\r\nrest";
        for end in 0..bytes.len() - 4 {
            assert_eq!(Head::parse(&bytes[..end]), Ok(None), "{end} bytes");
        }
        let head = Head::parse(bytes).unwrap().unwrap();
        assert_eq!((head.method(), head.path()), ("GET", "/a"));
        assert_eq!(head.length, bytes.len() - 4);
        assert!(head.lists("connection", "upgrade"));
        assert!(!head.lists("connection", "up"));
    }

    #[test]
    fn each_fault_has_its_status() {
        assert_eq!(status(b"\x16\x03\x01 TLS\r\n"), status::BAD_REQUEST);
        assert_eq!(status(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n"), status::BAD_REQUEST);
        assert_eq!(status(b"GET / HTTP/1.1\r\n\r\n"), status::BAD_REQUEST);
        for name in SINGLE {
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
    fn a_cookie_is_found_among_others_whatever_they_are() {
        let text = "GET / HTTP/1.1\r\nHost: x\r\nCookie: a=b; s=1;s=2 ; =; ;s; xs=3; s x=4\r\n\
            Cookie: S=5; s=6=7\r\n\r\n";
        let head = Head::parse(text.as_bytes()).unwrap().unwrap();
        assert_eq!(head.cookies("s").collect::<Vec<_>>(), ["1", "2", "6=7"]);
        assert_eq!(head.cookies("none").count(), 0);
    }

    #[test]
    fn a_type_is_accepted_where_it_is_named() {
        let accepts = |accept: &str| {
            let text = format!("GET / HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n");
            Head::parse(text.as_bytes()).unwrap().unwrap().accepts("text/html")
        };
        for accept in ["text/html", "application/xml, Text/HTML;q=0.9"] {
            assert!(accepts(accept), "{accept}");
        }
        for accept in ["*/*", "text/html5", "application/json", ""] {
            assert!(!accepts(accept), "{accept}");
        }
    }

    #[test]
    fn no_value_of_a_field_shows_in_debug() {
        let text = "GET /a?token=q HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer secret\r\n\r\n";
        let head = Head::parse(text.as_bytes()).unwrap().unwrap();
        assert_eq!(format!("{head:?}"), "GET /a");
    }
}
