//! By which names the server answers. A page of a foreign name that is made to resolve to this
//! machine (DNS rebinding) is of the same origin for the browser: only `Host` tells.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The longest name: RFC 1035, section 2.3.4.
const MAX_NAME: usize = 253;

/// The names that a server answers to, beside addresses and `localhost`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hosts(BTreeSet<String>);

impl Hosts {
    /// Answers to one more name.
    ///
    /// # Errors
    /// A sentence about what a name is.
    pub(crate) fn allow(&mut self, name: &str) -> Result<(), String> {
        match Authority::parse(name) {
            Some(Authority { name, port: None }) => {
                self.0.insert(name);
                Ok(())
            }
            _ => Err("a name without a port is wanted, as in stats.example".into()),
        }
    }

    /// Answers to the name of this host.
    pub(crate) fn allow_host_of(&mut self, authority: &Authority) {
        self.0.insert(authority.name.clone());
    }

    /// Whether a request for this host is answered: nobody can make an address or `localhost`
    /// resolve to something else.
    pub(crate) fn answer_to(&self, host: &Authority) -> bool {
        let name = host.name.as_str();
        is_address(name)
            || name == "localhost"
            || name.ends_with(".localhost")
            || self.0.contains(name)
    }
}

/// A name or an address, and a port where one is given: what stands in `Host` and in an origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Authority {
    /// In lower case, without a last dot; an IPv6 address in its brackets.
    name: String,
    port: Option<u16>,
}

impl Authority {
    /// `None` where it is none: there is a user, a blank, a port that is no number, ...
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => {
                // `parse` alone would take a sign.
                let digits = port.bytes().all(|b| b.is_ascii_digit());
                (name, Some(port.parse().ok().filter(|_| digits)?))
            }
            _ => (text, None),
        };
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
        let is_name = (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(plain);
        (is_name || is_address(&name)).then_some(Self { name, port })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The same host and port, where `port` is meant by none.
    pub(crate) fn is(&self, other: &Self, port: u16) -> bool {
        self.name == other.name && self.port.unwrap_or(port) == other.port.unwrap_or(port)
    }
}

fn is_address(name: &str) -> bool {
    match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        Some(name) => name.parse::<Ipv6Addr>().is_ok(),
        None => name.parse::<Ipv4Addr>().is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(hosts: &Hosts, host: &str) -> bool {
        Authority::parse(host).is_some_and(|host| hosts.answer_to(&host))
    }

    #[test]
    fn addresses_and_localhost_are_answered_and_no_other_name() {
        let hosts = Hosts::default();
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
            assert!(answers(&hosts, host), "{host}");
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
            assert!(!answers(&hosts, host), "{host}");
        }
    }

    #[test]
    fn a_name_that_is_allowed_is_answered_at_any_port_and_in_any_case() {
        let mut hosts = Hosts::default();
        hosts.allow("Stats.Example.").unwrap();
        for host in ["stats.example", "STATS.example.:443", "stats.example:9001"] {
            assert!(answers(&hosts, host), "{host}");
        }
        for host in ["example", "a.stats.example", "stats.example.evil", "stats_example"] {
            assert!(!answers(&hosts, host), "{host}");
        }
    }

    #[test]
    fn only_a_bare_name_can_be_allowed() {
        for name in ["", "*", "*.example", "stats.example:9001", "http://stats.example", "a b"] {
            assert!(Hosts::default().allow(name).is_err(), "{name}");
        }
    }
}
