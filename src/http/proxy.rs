//! The `X-Forwarded-*` headers of trusted proxies. From other peers they are ignored: any client
//! can send them.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::head::RequestHead;

/// The proxies whose `X-Forwarded-For`, `-Host` and `-Proto` are trusted.
#[derive(Clone, Debug, Default)]
pub(crate) struct TrustedProxies(Vec<AddressRange>);

/// A network in CIDR notation, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct AddressRange {
    bits: u128,
    mask: u128,
}

/// The client of a request, as reported by trusted proxies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientInfo<'a> {
    /// The client's address; port 0 if a proxy reported it.
    pub(crate) addr: SocketAddr,
    /// The host that the client asked for.
    pub(crate) host: &'a str,
    /// Whether the client connected over HTTPS; `None` if unknown.
    pub(crate) https: Option<bool>,
}

impl TrustedProxies {
    /// Trusts an address, or a network in CIDR notation.
    ///
    /// # Errors
    /// The form that a network has.
    pub(crate) fn trust(&mut self, text: &str) -> Result<(), String> {
        let range = AddressRange::parse(text)
            .ok_or("expected an IP address or a network, such as 10.0.0.7 or fd00::/8")?;
        self.0.push(range);
        Ok(())
    }

    pub(crate) fn client_info<'a>(
        &self,
        peer: SocketAddr,
        head: &'a RequestHead,
    ) -> ClientInfo<'a> {
        let host = head.host();
        let mut client = ClientInfo { addr: peer, host, https: None };
        if !self.trusts(peer.ip()) {
            return client;
        }
        // Each proxy appends the address of its peer. Entries before the first untrusted address
        // may be forged.
        let forwarded_for: Vec<&str> = head.list_items("x-forwarded-for").collect();
        for entry in forwarded_for.into_iter().rev() {
            let Some(address) = entry_address(entry) else { break };
            client.addr = SocketAddr::new(address, 0);
            if !self.trusts(address) {
                break;
            }
        }
        if let Some(host) = head.list_items("x-forwarded-host").last() {
            client.host = host;
        }
        let proto = head.list_items("x-forwarded-proto").last();
        client.https = proto.and_then(is_https);
        client
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|range| range.contains(address))
    }
}

impl AddressRange {
    fn parse(text: &str) -> Option<Self> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length.parse::<u32>().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let length = length.unwrap_or(width);
        // IPv4 addresses are stored as IPv4-mapped IPv6: their bits are the last 32.
        let host_bits = width.checked_sub(length)?;
        let mask = u128::MAX.checked_shl(host_bits).unwrap_or_default();
        Some(Self { bits: ipv6_bits(address) & mask, mask })
    }

    fn contains(self, address: IpAddr) -> bool {
        ipv6_bits(address) & self.mask == self.bits
    }
}

fn ipv6_bits(address: IpAddr) -> u128 {
    let address: Ipv6Addr = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    address.to_bits()
}

/// Whether a value of `X-Forwarded-Proto` means HTTPS. Traefik names WebSockets `ws` and `wss`.
fn is_https(proto: &str) -> Option<bool> {
    let is = |names: [&str; 2]| names.iter().any(|name| proto.eq_ignore_ascii_case(name));
    if is(["https", "wss"]) {
        Some(true)
    } else if is(["http", "ws"]) {
        Some(false)
    } else {
        None
    }
}

/// The address of an `X-Forwarded-For` entry, which may include a port.
fn entry_address(entry: &str) -> Option<IpAddr> {
    let bare = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(entry);
    let address = bare.parse().ok().or_else(|| Some(entry.parse::<SocketAddr>().ok()?.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROXY: &str = "10.0.0.1:5000";

    fn proxies(networks: &[&str]) -> TrustedProxies {
        let mut proxies = TrustedProxies::default();
        for network in networks {
            proxies.trust(network).unwrap();
        }
        proxies
    }

    /// The client's address, the host, and whether it used HTTPS.
    fn client_info(networks: &[&str], peer: &str, fields: &str) -> (String, String, Option<bool>) {
        let text = format!("GET / HTTP/1.1\r\nHost: inner:9001\r\n{fields}\r\n");
        let head = RequestHead::parse(text.as_bytes()).unwrap().unwrap();
        let client = proxies(networks).client_info(peer.parse().unwrap(), &head);
        (client.addr.to_string(), client.host.to_owned(), client.https)
    }

    #[test]
    fn headers_of_untrusted_peers_are_ignored() {
        let fields = "X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Host: stats.example\r\n\
            X-Forwarded-Proto: https\r\n";
        let forwarded = ("203.0.113.7:0".into(), "stats.example".into(), Some(true));
        let ignored = |peer: &str| (peer.to_owned(), "inner:9001".to_owned(), None);
        assert_eq!(client_info(&["10.0.0.1"], PROXY, fields), forwarded);
        assert_eq!(client_info(&["10.0.0.0/8"], PROXY, fields), forwarded);
        assert_eq!(client_info(&["10.9.9.9/8"], PROXY, fields), forwarded, "host bits are ignored");
        assert_eq!(client_info(&["10.0.0.0/8"], "[::ffff:10.0.0.1]:5000", fields), forwarded);
        assert_eq!(client_info(&["fd00::/8"], "[fd12::1]:1", fields), forwarded);
        assert_eq!(client_info(&[], PROXY, fields), ignored(PROXY));
        assert_eq!(
            client_info(&["10.0.0.2", "10.0.1.0/24", "::/96"], PROXY, fields),
            ignored(PROXY)
        );
    }

    #[test]
    fn the_client_is_the_last_untrusted_address() {
        let addr = |fields: &str| client_info(&["10.0.0.0/8"], PROXY, fields).0;
        let cases = [
            ("", PROXY),
            ("X-Forwarded-For: \r\n", PROXY),
            ("X-Forwarded-For: 127.0.0.1, 203.0.113.7\r\n", "203.0.113.7:0"),
            ("X-Forwarded-For: 6.6.6.6, 203.0.113.7, 10.0.0.2\r\n", "203.0.113.7:0"),
            ("X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 203.0.113.7\r\n", "203.0.113.7:0"),
            ("X-Forwarded-For: 6.6.6.6, nonsense\r\n", PROXY),
            ("X-Forwarded-For: 6.6.6.6, unknown, 10.0.0.2\r\n", "10.0.0.2:0"),
            ("X-Forwarded-For: 10.0.0.3, 10.0.0.2\r\n", "10.0.0.3:0"),
            ("X-Forwarded-For: 203.0.113.7:4711\r\n", "203.0.113.7:0"),
            ("X-Forwarded-For: 2001:db8::1\r\n", "[2001:db8::1]:0"),
            ("X-Forwarded-For: [2001:db8::1]:4711\r\n", "[2001:db8::1]:0"),
            ("X-Forwarded-For: [2001:db8::1]\r\n", "[2001:db8::1]:0"),
            ("X-Forwarded-For: ::ffff:203.0.113.7\r\n", "203.0.113.7:0"),
        ];
        for (fields, expected) in cases {
            assert_eq!(addr(fields), expected, "{fields:?}");
        }
    }

    #[test]
    fn the_last_forwarded_host_and_protocol_count() {
        let fields = "X-Forwarded-Host: evil.example, stats.example\r\n\
            X-Forwarded-Proto: https\r\nX-Forwarded-Proto: http\r\n";
        let (_, host, https) = client_info(&["10.0.0.1"], PROXY, fields);
        assert_eq!((host.as_str(), https), ("stats.example", Some(false)));
        for (proto, https) in [
            ("HTTPS", Some(true)),
            ("wss", Some(true)),
            ("ws", Some(false)),
            ("spdy", None),
            ("", None),
        ] {
            let fields = format!("X-Forwarded-Proto: {proto}\r\n");
            assert_eq!(client_info(&["10.0.0.1"], PROXY, &fields).2, https, "{proto:?}");
        }
    }

    #[test]
    fn an_invalid_network_is_rejected() {
        for text in ["", "proxy", "10.0.0.1/33", "::/129", "10.0.0/8", "10.0.0.1/", "10.0.0.1/-1"] {
            assert!(TrustedProxies::default().trust(text).is_err(), "{text}");
        }
        let all = proxies(&["0.0.0.0/0"]);
        assert!(all.trusts("6.6.6.6".parse().unwrap()));
        assert!(!all.trusts("2001:db8::1".parse().unwrap()), "0.0.0.0/0 covers IPv4 only");
    }
}
