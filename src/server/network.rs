//! What counts as one address for the limits of clients and of wrong tokens.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The IPv4 address of a peer, or its IPv6 network of 64 bits, in which one user can have any
/// number of addresses.
pub(super) fn network_of(peer: SocketAddr) -> IpAddr {
    match peer.ip().to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_addresses_of_one_network_count_as_one() {
        let of = |ip: &str| network_of(SocketAddr::new(ip.parse().unwrap(), 1)).to_string();
        assert_eq!(of("203.0.113.7"), "203.0.113.7");
        assert_eq!(of("::ffff:203.0.113.7"), "203.0.113.7");
        assert_eq!(of("2001:db8:0:1:2:3:4:5"), "2001:db8:0:1::");
    }
}
