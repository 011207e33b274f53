//! Whether a page may connect: browsers send a page's origin with each WebSocket handshake, and
//! nothing else keeps a foreign page from using the viewer's network (RFC 6455, section 10.2).

/// Whether `origin` is the server's own, which the browser knows by `host`: same host, same port.
///
/// A request without an origin comes from no browser.
pub(crate) fn matches_host(origin: Option<&str>, host: &str) -> bool {
    let Some(origin) = origin else { return true };
    let (authority, port) = match origin.split_once("://") {
        Some(("http", authority)) => (authority, ":80"),
        Some(("https", authority)) => (authority, ":443"),
        _ => return false,
    };
    let full = |name: &str| {
        let name = name.to_ascii_lowercase();
        if has_port(&name) { name } else { name + port }
    };
    !authority.is_empty() && full(authority) == full(host)
}

fn has_port(authority: &str) -> bool {
    // The colons of an IPv6 address stand in brackets.
    authority.rsplit_once(']').map_or(authority, |(_, rest)| rest).contains(':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_servers_own_page_may_connect() {
        let cases = [
            (None, "localhost:9001", true),
            (Some("http://localhost:9001"), "localhost:9001", true),
            (Some("http://LocalHost:9001"), "localhost:9001", true),
            (Some("https://stats.example"), "stats.example", true),
            (Some("https://stats.example"), "stats.example:443", true),
            (Some("http://[::1]:9001"), "[::1]:9001", true),
            (Some("http://[::1]"), "[::1]:80", true),
            (Some("http://localhost:9002"), "localhost:9001", false),
            (Some("http://evil.example"), "localhost:9001", false),
            (Some("http://localhost:9001.evil.example"), "localhost:9001", false),
            (Some("null"), "localhost:9001", false),
            (Some(""), "localhost:9001", false),
            (Some("http://"), "", false),
            (Some("file://"), "localhost:9001", false),
        ];
        for (origin, host, expected) in cases {
            assert_eq!(matches_host(origin, host), expected, "{origin:?} at {host}");
        }
    }
}
