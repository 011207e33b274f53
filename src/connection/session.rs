//! The state of one client of a WebSocket path, and its callbacks.

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

/// The state of one client and its callbacks; see
/// [`ServerConfig::sessions`](crate::ServerConfig::sessions).
///
/// All calls are made on the client's own thread and may wait: no other client waits for it. A
/// panic closes this client with 1011.
///
/// ```
/// use kentros::{Client, HubHandle, Incoming, Message, Session};
///
/// /// Counts the messages of one client and tells its room.
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
    /// The client has connected. It receives the hub's messages once it is
    /// [registered](crate::HubHandle::register_with).
    ///
    /// The handshake's answer is sent when this returns, or with the first message: decide slowly
    /// in [`ServerConfig::sessions`](crate::ServerConfig::sessions), which answers afterwards.
    fn open(&mut self, client: &Client) {
        let _ = client;
    }

    /// The client has sent a message.
    fn message(&mut self, client: &Client, message: Incoming<'_>);

    /// The connection has ended, and the client is no longer registered with any hub.
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
///         CloseReason::Client { code: Some(1000), .. } => "the client said goodbye".into(),
///         CloseReason::Lost => "the connection was lost".into(),
///         other => format!("{other:?}"),
///     }
/// }
/// assert_eq!(describe(&CloseReason::Lost), "the connection was lost");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// The client closed it.
    Client {
        /// Its Close code (RFC 6455, section 7.4), if it sent one.
        code: Option<u16>,
        /// Its reason, which may be empty.
        reason: String,
    },
    /// This side closed it: a call to [`Client::close`], an eviction, a violation of a limit or of
    /// the protocol, or the shutdown.
    Server {
        /// The Close code.
        code: u16,
        /// The reason.
        reason: String,
    },
    /// It ended without a Close, or took too long.
    Lost,
}

/// The session of a closure.
pub(crate) struct Callback<F>(pub(crate) std::sync::Arc<F>);

impl<F> Session for Callback<F>
where
    F: Fn(&Client, Incoming<'_>) + Send + Sync + 'static,
{
    fn message(&mut self, client: &Client, message: Incoming<'_>) {
        (self.0)(client, message);
    }
}
