//! What becomes of clients' messages.

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

/// What becomes of the clients of one WebSocket path; see
/// [`ServerConfig::websocket`](crate::ServerConfig::websocket).
///
/// Every call for a client is made on that client's own thread, which may wait: nobody else waits
/// for it. A panic closes that one client with 1011.
///
/// A closure is a handler too, of messages alone:
///
/// ```
/// use kentros::{Client, Incoming, ServerConfig};
///
/// let config = ServerConfig::default().websocket("/ws/echo", |client: &Client, message: Incoming<'_>| {
///     let _ = match message {
///         Incoming::Text(text) => client.send_text(text),
///         Incoming::Binary(bytes) => client.send_binary(bytes),
///     };
/// });
/// ```
pub trait Handler: Send + Sync + 'static {
    /// A client has connected. It gets what the hub broadcasts only once it is
    /// [registered](crate::HubHandle::register).
    fn open(&self, client: &Client) {
        let _ = client;
    }

    /// A client has sent a message.
    fn message(&self, client: &Client, message: Incoming<'_>);

    /// A client's connection has ended. The server unregisters it from the hub by itself.
    fn close(&self, client: &Client) {
        let _ = client;
    }
}

impl<F> Handler for F
where
    F: Fn(&Client, Incoming<'_>) + Send + Sync + 'static,
{
    fn message(&self, client: &Client, message: Incoming<'_>) {
        self(client, message);
    }
}
