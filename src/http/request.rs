//! A request as routes and sessions see it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::OnceLock;

use percent_encoding::percent_decode_str;

use super::head::RequestHead;

/// An HTTP request to a [route](crate::ServerConfig::route), or the handshake of a
/// [session](crate::ServerConfig::sessions).
///
/// # Examples
///
/// ```
/// use kentros::{Response, ServerConfig};
///
/// let config = ServerConfig::default().route("/greet/*", |request| {
///     let language = request.header("Accept-Language").unwrap_or("en");
///     let greeting = if language.starts_with("de") { "Hallo" } else { "Hello" };
///     Response::text(&format!(
///         "{greeting} {} from {}, {:?} and {:?} at {} ({:?})\n",
///         request.parameter("name").unwrap_or("stranger"),
///         request.peer_addr(),
///         request.cookie("session"),
///         request.query(),
///         request.path(),
///         request.tail(),
///     ))
/// });
/// ```
#[derive(Clone)]
pub struct Request {
    head: RequestHead,
    peer: SocketAddr,
    /// Decoded on first use.
    parameters: OnceLock<Vec<(String, String)>>,
    tail: String,
}

impl Request {
    /// `route` is the path of the matching route.
    pub(crate) fn new(head: RequestHead, peer: SocketAddr, route: &str) -> Self {
        let tail = route.strip_suffix('*').and_then(|folder| head.path().strip_prefix(folder));
        let tail = percent_decode_str(tail.unwrap_or_default()).decode_utf8_lossy().into_owned();
        Self { head, peer, parameters: OnceLock::new(), tail }
    }

    /// Returns the path as sent: percent-encoded, without the query and without the server's
    /// [base path](crate::ServerConfig::base).
    pub fn path(&self) -> &str {
        self.head.path()
    }

    /// Returns the part of the path that the `*` at the end of the route's path matched,
    /// percent-decoded. Empty if the route has none.
    ///
    /// The client chooses it, and it may contain `../`: check it before you open a file with it.
    pub fn tail(&self) -> &str {
        &self.tail
    }

    /// Returns the query as sent, without the question mark.
    pub fn query(&self) -> Option<&str> {
        self.head.query().strip_prefix('?')
    }

    /// Returns the first query parameter with this name, decoded: `a b` for `?name=a%20b` and
    /// `?name=a+b`.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let parameters = self.parameters.get_or_init(|| {
            let pairs = self.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
            pairs
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(name, value)| (decode(name), decode(value)))
                .collect()
        });
        parameters.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Returns the first header with this name. Case does not matter.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    /// Returns the first cookie with this name.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        self.head.cookies(name).next()
    }

    /// Returns the client's address. It is the one that a
    /// [trusted proxy](crate::ServerConfig::trust_proxy) reports, with port 0, if there is one.
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer
    }
}

/// Omits query and headers, which may contain secrets.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request({:?} from {})", self.head, self.peer)
    }
}

/// Decodes `application/x-www-form-urlencoded` text.
fn decode(text: &str) -> String {
    let text = text.replace('+', " ");
    percent_decode_str(&text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(target: &str, route: &str) -> Request {
        let text =
            format!("GET {target} HTTP/1.1\r\nHost: x\r\nX-A: 1\r\nCookie: s=2; t=3\r\n\r\n");
        let head = RequestHead::parse(text.as_bytes()).unwrap().unwrap();
        Request::new(head, ([127, 0, 0, 1], 7).into(), route)
    }

    #[test]
    fn parameters_are_decoded_and_the_first_with_a_name_counts() {
        let request = request("/a?name=a%20b+c&name=d&flag&=x&odd=%ff%zz&e=f=g", "/a");
        assert_eq!(request.parameter("name"), Some("a b c"));
        assert_eq!(request.parameter("flag"), Some(""));
        assert_eq!(request.parameter("odd"), Some("\u{fffd}%zz"));
        assert_eq!(request.parameter("e"), Some("f=g"));
        assert_eq!(request.parameter("none"), None);
        assert_eq!(request.query().map(str::len), Some(44));
    }

    #[test]
    fn headers_cookies_and_tail_are_found() {
        let request = request("/rooms/a%2Fb/c", "/rooms/*");
        assert_eq!((request.path(), request.tail()), ("/rooms/a%2Fb/c", "a/b/c"));
        assert_eq!((request.header("x-A"), request.header("x-b")), (Some("1"), None));
        assert_eq!((request.cookie("t"), request.cookie("u")), (Some("3"), None));
        assert_eq!((request.query(), request.parameter("a")), (None, None));
        assert_eq!(format!("{request:?}"), "Request(GET /rooms/a%2Fb/c from 127.0.0.1:7)");
    }
}
