//! The callbacks of a WebSocket path, for one client.

use crate::Client;

/// A message from a client.
///
/// ```
/// use kentros::Incoming;
///
/// fn length(message: Incoming<'_>) -> usize {
///     match message {
///         Incoming::Text(text) => text.len(),
///         Incoming::Binary(bytes) => bytes.len(),
///     }
/// }
/// assert_eq!(length(Incoming::Text("hello")), 5);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
}

/// The callbacks of a WebSocket path, with the state of one client. See
/// [`ServerConfig::sessions`](crate::ServerConfig::sessions).
///
/// All methods are called on the client's own thread, so they may block without delaying other
/// clients. A panic closes this client with 1011.
///
/// ```
/// use kentros::{Client, HubHandle, Incoming, Message, Session};
///
/// /// Counts the messages of one client and forwards them to its room.
/// struct Member { hub: HubHandle, room: String, messages: u32 }
///
/// impl Session for Member {
///     fn open(&mut self, client: &Client) {
///         let _ = self.hub.register_with(client, kentros::Interest::only([&self.room]));
///     }
///
///     fn message(&mut self, client: &Client, message: Incoming<'_>) {
///         let Incoming::Text(text) = message else {
///             return client.close(1003, "text only");
///         };
///         self.messages += 1;
///         let said = Message::new("said", (self.messages, text));
///         let _ = self.hub.broadcast_except(&self.room, client, &said);
///     }
/// }
/// ```
pub trait Session: Send + 'static {
    /// The client has connected. To receive the hub's messages it must be
    /// [registered](crate::HubHandle::register_with).
    ///
    /// The handshake response is sent with the first message, or when this method returns. To reject
    /// clients, use [`ServerConfig::sessions`](crate::ServerConfig::sessions) instead.
    fn open(&mut self, client: &Client) {
        let _ = client;
    }

    /// The client has sent a message.
    fn message(&mut self, client: &Client, message: Incoming<'_>);

    /// The connection has ended. The client is unregistered from all hubs.
    fn close(&mut self, client: &Client, reason: CloseReason) {
        let _ = (client, reason);
    }
}

/// Why a connection ended.
///
/// ```
/// use kentros::CloseReason;
///
/// fn describe(reason: &CloseReason) -> String {
///     match reason {
///         CloseReason::Client { code: Some(1000), .. } => "closed normally by the client".into(),
///         CloseReason::Lost => "the connection was lost".into(),
///         other => format!("{other:?}"),
///     }
/// }
/// assert_eq!(describe(&CloseReason::Lost), "the connection was lost");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// The client closed the connection.
    Client {
        /// The Close code (RFC 6455, section 7.4), if the client sent one.
        code: Option<u16>,
        /// The reason, which may be empty.
        reason: String,
    },
    /// The server closed the connection: a call of [`Client::close`], an eviction, a violation of a
    /// limit or the protocol, or a shutdown.
    Server {
        /// The Close code.
        code: u16,
        /// The reason.
        reason: String,
    },
    /// The connection ended without a Close, or timed out.
    Lost,
}

/// A session that calls a closure.
pub(crate) struct ClosureSession<F>(pub(crate) std::sync::Arc<F>);

impl<F> Session for ClosureSession<F>
where
    F: Fn(&Client, Incoming<'_>) + Send + Sync + 'static,
{
    fn message(&mut self, client: &Client, message: Incoming<'_>) {
        (self.0)(client, message);
    }
}
