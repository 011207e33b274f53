//! The host names that the server answers to. With DNS rebinding, a foreign page makes its own name
//! resolve to this machine. The browser then treats it as the server's own page; only the `Host`
//! header shows the foreign name.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The longest host name: RFC 1035, section 2.3.4.
const MAX_NAME: usize = 253;

/// The allowed host names, besides IP addresses and `localhost`.
#[derive(Clone, Debug, Default)]
pub(crate) struct AllowedHosts(BTreeSet<String>);

impl AllowedHosts {
    /// # Errors
    /// The form that a name has.
    pub(crate) fn allow(&mut self, name: &str) -> Result<(), String> {
        match Authority::parse(name) {
            Some(Authority { name, port: None }) => {
                self.0.insert(name);
                Ok(())
            }
            _ => Err("expected a host name without a port, such as stats.example".into()),
        }
    }

    pub(crate) fn allow_host_of(&mut self, authority: &Authority) {
        self.0.insert(authority.name.clone());
    }

    /// IP addresses and `localhost` are always allowed: DNS cannot redirect them.
    pub(crate) fn allows(&self, host: &Authority) -> bool {
        let name = host.name.as_str();
        is_ip_address(name)
            || name == "localhost"
            || name.ends_with(".localhost")
            || self.0.contains(name)
    }
}

/// A host and an optional port, as in a `Host` header or an origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Authority {
    /// In lower case, without a trailing dot; IPv6 addresses in brackets.
    name: String,
    port: Option<u16>,
}

impl Authority {
    /// `None` if the text is not a host and port. User names are not allowed.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => {
                // `parse` alone would accept a plus sign.
                let digits = port.bytes().all(|b| b.is_ascii_digit());
                (name, Some(port.parse().ok().filter(|_| digits)?))
            }
            _ => (text, None),
        };
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let is_name_byte = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
        let is_name = (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(is_name_byte);
        (is_name || is_ip_address(&name)).then_some(Self { name, port })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether host and port are the same. A missing port means `default_port`.
    pub(crate) fn is_same(&self, other: &Self, default_port: u16) -> bool {
        self.name == other.name
            && self.port.unwrap_or(default_port) == other.port.unwrap_or(default_port)
    }
}

fn is_ip_address(name: &str) -> bool {
    match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        Some(name) => name.parse::<Ipv6Addr>().is_ok(),
        None => name.parse::<Ipv4Addr>().is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(hosts: &AllowedHosts, host: &str) -> bool {
        Authority::parse(host).is_some_and(|host| hosts.allows(&host))
    }

    #[test]
    fn only_addresses_and_localhost_are_allowed_by_default() {
        let hosts = AllowedHosts::default();
        for host in [
            "127.0.0.1:9001",
            "192.168.1.7",
            "0.0.0.0:1",
            "[::1]:9001",
            "[2001:DB8::1]",
            "localhost",
            "LocalHost:9001",
            "localhost.",
            "localhost.:9001",
            "stats.localhost:9001",
        ] {
            assert!(allows(&hosts, host), "{host}");
        }
        assert!(Authority::parse(&"a".repeat(MAX_NAME)).is_some());
        assert!(Authority::parse(&"a".repeat(MAX_NAME + 1)).is_none());
        for host in [
            "",
            ":9001",
            ".",
            "evil.example",
            "evil.example:9001",
            "evil.example.",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evil.example:9001@localhost",
            "localhost@evil.example",
            "notlocalhost",
            "local host",
            "localhost:",
            "localhost:+1",
            "localhost:70000",
            "localhost:9001:9001",
            "localhost..",
            "localhost/",
            "localhost,evil.example",
            "::1",
            "[::1",
            "[::1]x",
            "[::1]x:9001",
            "[evil.example]",
            "[fe80::1%eth0]",
            "127.1",
            "1.2.3.4.5",
        ] {
            assert!(!allows(&hosts, host), "{host}");
        }
    }

    #[test]
    fn an_allowed_name_matches_with_any_port_and_case() {
        let mut hosts = AllowedHosts::default();
        hosts.allow("Stats.Example.").unwrap();
        for host in ["stats.example", "STATS.example.:443", "stats.example:9001"] {
            assert!(allows(&hosts, host), "{host}");
        }
        for host in ["example", "a.stats.example", "stats.example.evil", "stats_example"] {
            assert!(!allows(&hosts, host), "{host}");
        }
    }

    #[test]
    fn only_a_name_without_a_port_can_be_allowed() {
        for name in ["", "*", "*.example", "stats.example:9001", "http://stats.example", "a b"] {
            assert!(AllowedHosts::default().allow(name).is_err(), "{name}");
        }
    }
}
