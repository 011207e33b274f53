//! A request's head.

use httparse::Status as Parsed;

use super::response::{Response, Status};

/// The largest head, bytes. Browsers send some 500, with cookies of other services on the same
/// host some thousands.
pub(crate) const MAX_HEAD: usize = 16 * 1024;
/// The most header fields.
const MAX_FIELDS: usize = 64;

/// The parts of a request that matter here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) method: String,
    /// The path, without the query.
    pub(crate) path: String,
    /// Names in lower case, in the order in which they came.
    fields: Vec<(String, String)>,
    /// Bytes the head took, the empty line included: what follows is of the next protocol.
    pub(crate) length: usize,
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
        let path = target.split(['?', '#']).next().unwrap_or_default().to_owned();
        let mut fields = Vec::with_capacity(request.headers.len());
        for field in &*request.headers {
            let value = std::str::from_utf8(field.value)
                .map_err(|_| bad(&format!("the field {:?} is not text", field.name)))?;
            fields.push((field.name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let head =
            Self { method: request.method.unwrap_or_default().to_owned(), path, fields, length };
        match head.all("host").count() {
            1 => Ok(Some(head)),
            0 => Err(bad("the field Host is missing")),
            _ => Err(bad("the field Host stands more than once")),
        }
    }

    /// The first field of this name, which must be in lower case.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        let name = name.to_owned();
        self.fields.iter().filter(move |(n, _)| *n == name).map(|(_, value)| value.as_str())
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

fn bad(why: &str) -> Response {
    Response::text(Status::BadRequest, why)
}

fn too_large(why: &str) -> Response {
    Response::text(Status::HeadTooLarge, &format!("the request's head is too large: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(bytes: &[u8]) -> Status {
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
        assert_eq!((head.method.as_str(), head.path.as_str()), ("GET", "/a"));
        assert_eq!(head.length, bytes.len() - 4);
        assert!(head.lists("connection", "upgrade"));
        assert!(!head.lists("connection", "up"));
    }

    #[test]
    fn each_fault_has_its_status() {
        assert_eq!(status(b"\x16\x03\x01 TLS\r\n"), Status::BadRequest);
        assert_eq!(status(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n"), Status::BadRequest);
        assert_eq!(status(b"GET / HTTP/1.1\r\n\r\n"), Status::BadRequest);
        assert_eq!(status(b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n"), Status::BadRequest);
        let long = [b"GET /".as_slice(), &[b'a'; MAX_HEAD]].concat();
        assert_eq!(status(&long), Status::HeadTooLarge);
        let many = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: b\r\n".repeat(64));
        assert_eq!(status(many.as_bytes()), Status::HeadTooLarge);
    }
}
