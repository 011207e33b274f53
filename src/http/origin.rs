//! The origins whose pages may open WebSockets. Browsers send a page's origin with each handshake;
//! nothing else stops a foreign page from connecting through a user's browser (RFC 6455, section
//! 10.2).

use super::head::RequestHead;
use super::host::Authority;

/// An origin: RFC 6454.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// In lower case.
    scheme: String,
    authority: Authority,
}

impl Origin {
    /// `None` if the text is not an origin, or is `null`, the opaque origin.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        let is_scheme_byte = |b: u8| b.is_ascii_alphanumeric() || b"+-.".contains(&b);
        if scheme.is_empty() || !scheme.bytes().all(is_scheme_byte) {
            return None;
        }
        Some(Self { scheme, authority: Authority::parse(authority)? })
    }

    pub(crate) fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Whether this is the origin of the server's own pages, at `host`. `https` is whether the
    /// client used HTTPS. If it is `None`, because no proxy has reported it, both schemes match.
    fn is_at(&self, host: &Authority, https: Option<bool>) -> bool {
        https.is_none_or(|https| https == (self.scheme == "https"))
            && self.default_port().is_some_and(|port| self.authority.is_same(host, port))
    }

    fn is_same(&self, other: &Self) -> bool {
        let port = self.default_port().unwrap_or_default();
        self.scheme == other.scheme && self.authority.is_same(&other.authority, port)
    }

    fn default_port(&self) -> Option<u16> {
        match self.scheme.as_str() {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        }
    }
}

/// The allowed origins, besides the server's own.
#[derive(Clone, Debug, Default)]
pub(crate) struct AllowedOrigins(Vec<Origin>);

impl AllowedOrigins {
    pub(crate) fn allow(&mut self, origin: Origin) {
        self.0.push(origin);
    }

    /// Whether a page of this origin may connect to the server at `host`. `https` is whether the
    /// client used HTTPS, or `None` if that is unknown. Requests without an origin do not come from
    /// a browser and are allowed.
    pub(crate) fn allows(
        &self,
        origin: Option<&str>,
        host: &Authority,
        https: Option<bool>,
    ) -> bool {
        let Some(origin) = origin else { return true };
        Origin::parse(origin).is_some_and(|origin| {
            origin.is_at(host, https) || self.0.iter().any(|allowed| allowed.is_same(&origin))
        })
    }
}

/// Whether a page of another origin caused this request. `origin_allowed` is the result of
/// [`AllowedOrigins::allows`].
///
/// Without CORS, browsers send no `Origin` with a GET request, but to HTTPS and loopback addresses
/// they send `Sec-Fetch-Site` (Fetch Metadata). It is `none` for a URL that the user typed. A page
/// on another port of the same host is `same-site`, and another origin. Pages cannot send
/// `Authorization` to another origin without its consent, so a request with a token is not from a
/// page.
pub(crate) fn is_cross_origin(head: &RequestHead, origin_allowed: bool) -> bool {
    if head.header("authorization").is_some() {
        return false;
    }
    let allowed = head.header("origin").is_some() && origin_allowed;
    match head.header("sec-fetch-site") {
        Some("cross-site" | "same-site") => !allowed,
        _ => !origin_allowed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(origins: &AllowedOrigins, origin: Option<&str>, host: &str) -> bool {
        origins.allows(origin, &Authority::parse(host).unwrap(), None)
    }

    #[test]
    fn only_the_servers_own_origin_is_allowed_by_default() {
        let cases = [
            (None, "localhost:9001", true),
            (Some("http://localhost:9001"), "localhost:9001", true),
            (Some("HTTP://LocalHost:9001"), "localhost:9001", true),
            (Some("https://stats.example"), "stats.example", true),
            (Some("https://stats.example"), "stats.example:443", true),
            (Some("http://[::1]:9001"), "[::1]:9001", true),
            (Some("http://[::1]"), "[::1]:80", true),
            (Some("http://localhost:9002"), "localhost:9001", false),
            (Some("http://localhost"), "localhost:9001", false),
            (Some("http://evil.example"), "localhost:9001", false),
            (Some("http://localhost:9001.evil.example"), "localhost:9001", false),
            (Some("http://localhost:9001@evil.example"), "localhost:9001", false),
            (Some("http://evil.example@localhost:9001"), "localhost:9001", false),
            (Some("http://localhost:9001/"), "localhost:9001", false),
            (Some("http://localhost:9001 http://evil.example"), "localhost:9001", false),
            (Some("null"), "localhost:9001", false),
            (Some(""), "localhost:9001", false),
            (Some("http://"), "localhost", false),
            (Some("://localhost:9001"), "localhost:9001", false),
            (Some("file://"), "localhost:9001", false),
            (Some("ftp://localhost:9001"), "localhost:9001", false),
        ];
        for (origin, host, expected) in cases {
            assert_eq!(
                allows(&AllowedOrigins::default(), origin, host),
                expected,
                "{origin:?} at {host}"
            );
        }
    }

    #[test]
    fn the_scheme_must_be_the_one_that_the_client_used() {
        let host = Authority::parse("stats.example").unwrap();
        let mut origins = AllowedOrigins::default();
        for (https, http_page, https_page) in
            [(None, true, true), (Some(true), false, true), (Some(false), true, false)]
        {
            let allows = |origin| origins.allows(Some(origin), &host, https);
            assert_eq!(allows("http://stats.example"), http_page, "{https:?}");
            assert_eq!(allows("https://stats.example"), https_page, "{https:?}");
            assert!(!allows("ftp://stats.example"), "{https:?}");
            assert!(origins.allows(None, &host, https), "not a browser");
        }
        origins.allow(Origin::parse("http://stats.example").unwrap());
        assert!(origins.allows(Some("http://stats.example"), &host, Some(true)), "allowed by name");
    }

    #[test]
    fn an_allowed_origin_matches_exactly() {
        let mut origins = AllowedOrigins::default();
        origins.allow(Origin::parse("https://Portal.example").unwrap());
        origins.allow(Origin::parse("app://portal").unwrap());
        let at = |origin| allows(&origins, Some(origin), "localhost:9001");
        for origin in [
            "https://portal.example",
            "https://portal.example:443",
            "app://portal",
            "http://localhost:9001",
        ] {
            assert!(at(origin), "{origin}");
        }
        for origin in [
            "http://portal.example",
            "https://portal.example:8443",
            "https://a.portal.example",
            "https://portal.example.evil",
            "app://portal.evil",
            "null",
        ] {
            assert!(!at(origin), "{origin}");
        }
    }
}
