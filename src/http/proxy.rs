//! What a proxy in front of the server tells of the visitor, where the proxy is trusted. Anyone
//! else could write these fields too.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::head::Head;

/// The networks whose `X-Forwarded-For`, `-Host` and `-Proto` are believed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proxies(Vec<Network>);

/// An address and how many of its bits must agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    bits: u128,
    mask: u128,
}

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Visit<'a> {
    /// The visitor's address; port 0 where it is a proxy that told it.
    pub(crate) from: SocketAddr,
    /// What the browser knows the server by.
    pub(crate) host: &'a str,
    /// Whether the browser came by TLS, as far as is known.
    pub(crate) secure: bool,
}

impl Proxies {
    /// Trusts one more address, or network in CIDR notation.
    ///
    /// # Errors
    /// A sentence about what may stand here.
    pub(crate) fn trust(&mut self, text: &str) -> Result<(), String> {
        let network = Network::parse(text);
        self.0
            .push(network.ok_or("an address or a network is wanted, as in 10.0.0.7 or fd00::/8")?);
        Ok(())
    }

    /// Who asks for what, by the peer's address and the head.
    pub(crate) fn visit<'a>(&self, peer: SocketAddr, head: &'a Head) -> Visit<'a> {
        let host = head.field("host").unwrap_or_default();
        let mut visit = Visit { from: peer, host, secure: false };
        if !self.trusts(peer.ip()) {
            return visit;
        }
        // Each proxy adds whom it saw at the end; what stands before the first that is not trusted
        // was written by nobody knows whom.
        let seen: Vec<&str> = head.tokens("x-forwarded-for").collect();
        for address in seen.into_iter().rev() {
            let Some(address) = address_in(address) else { break };
            visit.from = SocketAddr::new(address, 0);
            if !self.trusts(address) {
                break;
            }
        }
        if let Some(host) = head.tokens("x-forwarded-host").last() {
            visit.host = host;
        }
        let proto = head.tokens("x-forwarded-proto").last();
        visit.secure = proto.is_some_and(|proto| proto.eq_ignore_ascii_case("https"));
        visit
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.holds(address))
    }
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length.parse::<u32>().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let length = length.unwrap_or(width);
        // All addresses are held as IPv6: the bits of one of IPv4 are the last.
        let free = width.checked_sub(length)?;
        let mask = u128::MAX.checked_shl(free).unwrap_or_default();
        Some(Self { bits: bits(address) & mask, mask })
    }

    fn holds(self, address: IpAddr) -> bool {
        bits(address) & self.mask == self.bits
    }
}

fn bits(address: IpAddr) -> u128 {
    let address: Ipv6Addr = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    address.to_bits()
}

/// The address of an entry, which may bear a port.
fn address_in(entry: &str) -> Option<IpAddr> {
    let bare = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(entry);
    let address = bare.parse().ok().or_else(|| Some(entry.parse::<SocketAddr>().ok()?.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROXY: &str = "10.0.0.1:5000";

    fn proxies(networks: &[&str]) -> Proxies {
        let mut proxies = Proxies::default();
        for network in networks {
            proxies.trust(network).unwrap();
        }
        proxies
    }

    /// Address, host and whether it is secure.
    fn visit(networks: &[&str], peer: &str, fields: &str) -> (String, String, bool) {
        let text = format!("GET / HTTP/1.1\r\nHost: inner:9001\r\n{fields}\r\n");
        let head = Head::parse(text.as_bytes()).unwrap().unwrap();
        let visit = proxies(networks).visit(peer.parse().unwrap(), &head);
        (visit.from.to_string(), visit.host.to_owned(), visit.secure)
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        let fields = "X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Host: stats.example\r\n\
            X-Forwarded-Proto: https\r\n";
        let believed = ("203.0.113.7:0".into(), "stats.example".into(), true);
        let not = |peer: &str| (peer.to_owned(), "inner:9001".to_owned(), false);
        assert_eq!(visit(&["10.0.0.1"], PROXY, fields), believed);
        assert_eq!(visit(&["10.0.0.0/8"], PROXY, fields), believed);
        assert_eq!(visit(&["10.9.9.9/8"], PROXY, fields), believed, "the network of this address");
        assert_eq!(visit(&["10.0.0.0/8"], "[::ffff:10.0.0.1]:5000", fields), believed);
        assert_eq!(visit(&["fd00::/8"], "[fd12::1]:1", fields), believed);
        assert_eq!(visit(&[], PROXY, fields), not(PROXY));
        assert_eq!(visit(&["10.0.0.2", "10.0.1.0/24", "::/96"], PROXY, fields), not(PROXY));
    }

    #[test]
    fn the_visitor_is_the_last_who_is_no_proxy_of_ours() {
        let from = |fields: &str| visit(&["10.0.0.0/8"], PROXY, fields).0;
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
            assert_eq!(from(fields), expected, "{fields:?}");
        }
    }

    #[test]
    fn of_several_hosts_and_protocols_the_nearest_proxys_count() {
        let fields = "X-Forwarded-Host: evil.example, stats.example\r\n\
            X-Forwarded-Proto: https\r\nX-Forwarded-Proto: http\r\n";
        let (_, host, secure) = visit(&["10.0.0.1"], PROXY, fields);
        assert_eq!((host.as_str(), secure), ("stats.example", false));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", "proxy", "10.0.0.1/33", "::/129", "10.0.0/8", "10.0.0.1/", "10.0.0.1/-1"] {
            assert!(Proxies::default().trust(text).is_err(), "{text}");
        }
        let all = proxies(&["0.0.0.0/0"]);
        assert!(all.trusts("6.6.6.6".parse().unwrap()));
        assert!(!all.trusts("2001:db8::1".parse().unwrap()), "IPv4's are not all");
    }
}
