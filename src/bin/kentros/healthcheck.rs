//! `kentros healthcheck`: checks a running server, for images without curl.

use std::error::Error;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};

use crate::tcp::{self, TIMEOUT};

/// The options of the health check.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Healthcheck {
    /// The address that the server listens on.
    pub(crate) addr: String,
    /// The prefix of the server's paths.
    pub(crate) base: String,
    /// Whether to check the engine too.
    pub(crate) ready: bool,
}

/// Larger than any health response.
const MAX_RESPONSE_BYTES: u64 = 64 * 1024;

impl Healthcheck {
    /// Sends one request and checks the status.
    ///
    /// # Errors
    /// The response of an unhealthy server, or why there is no response.
    pub(crate) fn run(&self) -> Result<(), Box<dyn Error>> {
        let path = if self.ready { "/readyz" } else { "/healthz" };
        let url = format!("http://{}{}{path}", self.addr, self.base);
        let response = self
            .get(path)
            .map_err(|error| format!("cannot reach {url}: {}", tcp::describe(&error, TIMEOUT)))?;
        let (head, body) = response.split_once("\r\n\r\n").unwrap_or((&response, ""));
        let status = head.lines().next().unwrap_or_default();
        if status.split(' ').nth(1) == Some("200") {
            return Ok(());
        }
        Err(format!("{url} returned {status}: {}", body.trim()).into())
    }

    fn get(&self, path: &str) -> std::io::Result<String> {
        let mut stream = tcp::connect(self.addr.to_socket_addrs()?.map(loopback_if_unspecified))?;
        let (base, addr) = (&self.base, stream.peer_addr()?);
        stream
            .write_all(format!("GET {base}{path} HTTP/1.1\r\nHost: {addr}\r\n\r\n").as_bytes())?;
        let mut response = Vec::new();
        stream.take(MAX_RESPONSE_BYTES).read_to_end(&mut response)?;
        Ok(String::from_utf8_lossy(&response).into_owned())
    }
}

/// The address to connect to: loopback if the server listens on all interfaces.
fn loopback_if_unspecified(mut addr: SocketAddr) -> SocketAddr {
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
    fn a_server_on_all_interfaces_is_checked_on_loopback() {
        let cases =
            [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:1", "[::1]:1"), ("10.0.0.1:1", "10.0.0.1:1")];
        for (listen, connect) in cases {
            assert_eq!(loopback_if_unspecified(listen.parse().unwrap()).to_string(), connect);
        }
    }
}
