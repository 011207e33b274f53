//! `kentros healthcheck`: asks the server on this machine how it is, where there is no curl.

use std::error::Error;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};

use crate::dial::{LIMIT, dial, told};

/// Which server to ask, and what.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Healthcheck {
    /// Where the server listens.
    pub(crate) addr: String,
    /// What its paths begin with.
    pub(crate) base: String,
    /// Whether the engine must answer too.
    pub(crate) ready: bool,
}

/// More than any answer here.
const LONGEST: u64 = 64 * 1024;

impl Healthcheck {
    /// Asks once.
    ///
    /// # Errors
    /// What the server says, or why it says nothing.
    pub(crate) fn ask(&self) -> Result<(), Box<dyn Error>> {
        let path = if self.ready { "/readyz" } else { "/healthz" };
        let failed = |error| format!("cannot ask http://{}: {}", self.addr, told(&error, LIMIT));
        let answer = self.get(path).map_err(failed)?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.lines().next().unwrap_or_default();
        if status.split(' ').nth(1) == Some("200") {
            return Ok(());
        }
        Err(format!("http://{}{}{path}: {status}: {}", self.addr, self.base, body.trim()).into())
    }

    fn get(&self, path: &str) -> std::io::Result<String> {
        let mut stream = dial(self.addr.to_socket_addrs()?.map(reachable))?;
        let (base, addr) = (&self.base, stream.0.peer_addr()?);
        stream
            .write_all(format!("GET {base}{path} HTTP/1.1\r\nHost: {addr}\r\n\r\n").as_bytes())?;
        let mut answer = Vec::new();
        stream.take(LONGEST).read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

/// An address to connect to: who listens on all is asked on loopback.
fn reachable(mut addr: SocketAddr) -> SocketAddr {
    match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => addr.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => addr.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    addr
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_on_all_is_asked_on_loopback() {
        let cases =
            [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:1", "[::1]:1"), ("10.0.0.1:1", "10.0.0.1:1")];
        for (listens, asked) in cases {
            assert_eq!(reachable(listens.parse().unwrap()).to_string(), asked);
        }
    }
}
