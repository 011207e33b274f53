//! Who may come in, and where the server may listen then.

use std::net::SocketAddr;

use crate::{Error, Token};

/// Who may see what a server serves.
///
/// ```
/// use kentros::{Access, Hub, HubConfig, Server, ServerConfig};
///
/// let hub = Hub::spawn(HubConfig::default())?;
/// let mut config = ServerConfig::default();
/// assert!(Server::bind("0.0.0.0:0", hub.handle(), config.clone()).is_err(), "nobody said so");
/// config.access = Access::Open;
/// let server = Server::bind("0.0.0.0:0", hub.handle(), config)?;
/// # Ok::<(), kentros::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Everyone on this machine: no token, and the server listens on loopback only.
    #[default]
    Local,
    /// Everyone who reaches it, wherever it listens.
    Open,
    /// Who shows this token, wherever it listens: as `Authorization: Bearer <token>`, as the
    /// WebSocket subprotocol `kentros.bearer.<base64url token>` beside another one (a browser
    /// offers `kentros` too, which is then the one taken up), or by the cookie that the login form
    /// at `/login` sets. `/healthz` and `/readyz` answer without it.
    Token(Token),
}

impl Access {
    pub(super) fn token(&self) -> Option<&Token> {
        match self {
            Self::Token(token) => Some(token),
            Self::Local | Self::Open => None,
        }
    }

    /// Whether a server may listen there.
    ///
    /// # Errors
    /// Why not, and what to do.
    pub(super) fn may_listen(&self, addrs: &[SocketAddr]) -> Result<(), Error> {
        let exposed = addrs.iter().find(|addr| !addr.ip().to_canonical().is_loopback());
        match (self, exposed) {
            (Self::Local, Some(addr)) => Err(Error::invalid(format!(
                "{addr} is open to other machines, and no token is set: ServerConfig::access takes \
                 one (Access::Token), or lets everyone in (Access::Open)"
            ))),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_token_or_a_word_only_loopback_may_be_listened_on() {
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
            assert_eq!(Access::Local.may_listen(&addrs).is_ok(), loopback, "{addr}");
            assert!(Access::Open.may_listen(&addrs).is_ok());
            assert!(token.may_listen(&addrs).is_ok());
        }
    }
}
