//! Who may access a server, and where it may listen.

use std::net::SocketAddr;

use crate::{Error, Token};

/// Who may access a server.
///
/// # Examples
///
/// ```
/// use kentros::{Access, Hub, HubConfig, Server, ServerConfig};
///
/// let hub = Hub::spawn(HubConfig::default())?;
/// let mut config = ServerConfig::default();
/// assert!(Server::bind("0.0.0.0:0", hub.handle(), config.clone()).is_err(), "loopback only");
/// config.access = Access::Open;
/// let server = Server::bind("0.0.0.0:0", hub.handle(), config)?;
/// # Ok::<(), kentros::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Everyone on this machine. No token is needed, and the server listens on loopback only.
    #[default]
    Local,
    /// Everyone who can reach the server, on any address.
    Open,
    /// Clients with this token, on any address.
    ///
    /// A client sends it as `Authorization: Bearer <token>`, as the WebSocket subprotocol
    /// `kentros.bearer.<base64url token>`, or with the cookie that the login page at `/login`
    /// sets. A browser must offer a second subprotocol, such as `kentros`, for the server to
    /// select. `/healthz` and `/readyz` need no token. A POST to `/logout` removes the cookie.
    ///
    /// After five wrong tokens, an address has to wait before its next token is checked. Requests
    /// in between are rejected with 429.
    Token(Token),
}

impl Access {
    pub(super) fn token(&self) -> Option<&Token> {
        match self {
            Self::Token(token) => Some(token),
            Self::Local | Self::Open => None,
        }
    }

    /// Checks whether a server may listen on these addresses.
    ///
    /// # Errors
    /// If other machines can reach one of them, and access is local.
    pub(super) fn check_listen(&self, addrs: &[SocketAddr]) -> Result<(), Error> {
        let exposed = addrs.iter().find(|addr| !addr.ip().to_canonical().is_loopback());
        match (self, exposed) {
            (Self::Local, Some(addr)) => Err(Error::invalid(format!(
                "cannot listen on {addr} without a token: other machines can reach it. Set \
                 ServerConfig::access to Access::Token, or to Access::Open to allow everyone"
            ))),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_access_allows_only_loopback() {
        let token = Access::Token(Token::new("sixteen-letters!").unwrap());
        for (addr, loopback) in [
            ("127.0.0.1:1", true),
            ("127.9.9.9:1", true),
            ("[::1]:1", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("0.0.0.0:1", false),
            ("[::]:1", false),
            ("192.168.1.7:1", false),
            ("[::ffff:0.0.0.0]:1", false),
            ("[fe80::1]:1", false),
        ] {
            let addrs = ["127.0.0.1:1".parse().unwrap(), addr.parse().unwrap()];
            assert_eq!(Access::Local.check_listen(&addrs).is_ok(), loopback, "{addr}");
            assert!(Access::Open.check_listen(&addrs).is_ok());
            assert!(token.check_listen(&addrs).is_ok());
        }
    }
}
