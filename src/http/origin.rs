//! Whether a page may connect: browsers send a page's origin with each WebSocket handshake, and
//! nothing else keeps a foreign page from using the viewer's network (RFC 6455, section 10.2).

use super::host::Authority;

/// An origin: RFC 6454.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// In lower case.
    scheme: String,
    authority: Authority,
}

impl Origin {
    /// `None` where it is none; `null`, the origin of a page that has none, is none either.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        let is_scheme = |b: u8| b.is_ascii_alphanumeric() || b"+-.".contains(&b);
        if scheme.is_empty() || !scheme.bytes().all(is_scheme) {
            return None;
        }
        Some(Self { scheme, authority: Authority::parse(authority)? })
    }

    pub(crate) fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Whether it is the server's own, which the browser knows by `host`: same host, same port.
    pub(crate) fn is_of(&self, host: &Authority) -> bool {
        self.default_port().is_some_and(|port| self.authority.is(host, port))
    }

    fn is(&self, other: &Self) -> bool {
        let port = self.default_port().unwrap_or_default();
        self.scheme == other.scheme && self.authority.is(&other.authority, port)
    }

    fn default_port(&self) -> Option<u16> {
        match self.scheme.as_str() {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        }
    }
}

/// Origins whose pages may connect beside the server's own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origins(Vec<Origin>);

impl Origins {
    pub(crate) fn allow(&mut self, origin: Origin) {
        self.0.push(origin);
    }

    /// Whether a page of this origin may connect to the server that it knows as `host`. A request
    /// without an origin comes from no browser.
    pub(crate) fn admit(&self, origin: Option<&str>, host: &Authority) -> bool {
        let Some(origin) = origin else { return true };
        Origin::parse(origin).is_some_and(|origin| {
            origin.is_of(host) || self.0.iter().any(|allowed| allowed.is(&origin))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(origins: &Origins, origin: Option<&str>, host: &str) -> bool {
        origins.admit(origin, &Authority::parse(host).unwrap())
    }

    #[test]
    fn only_the_servers_own_page_may_connect() {
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
            assert_eq!(admit(&Origins::default(), origin, host), expected, "{origin:?} at {host}");
        }
    }

    #[test]
    fn an_origin_that_is_allowed_may_connect_and_none_that_is_like_it() {
        let mut origins = Origins::default();
        origins.allow(Origin::parse("https://Portal.example").unwrap());
        origins.allow(Origin::parse("app://portal").unwrap());
        let at = |origin| admit(&origins, Some(origin), "localhost:9001");
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
