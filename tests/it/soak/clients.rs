//! Well-behaved clients, which record each message they receive.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use tungstenite::{Error as Fault, Message};

use super::GUARD;
use super::record::{Log, View};
use super::socket::{connect, dial, is_timeout, kind, send};

/// Shared by the clients that stay until the round ends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stay {
    over: Arc<AtomicBool>,
    pub(crate) received: Arc<AtomicU64>,
    /// The number of publications, as the witness of all messages counts them: a snapshot is one
    /// publication and two messages.
    pub(crate) published: Arc<AtomicU64>,
}

impl Stay {
    pub(crate) fn note(&self, kind: &str, published: bool) {
        self.received.fetch_add(1, Ordering::SeqCst);
        if published && kind != "project_stats" {
            self.published.fetch_add(1, Ordering::SeqCst);
        }
    }

    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::SeqCst)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    pub(crate) fn leave(&self) {
        self.over.store(true, Ordering::SeqCst);
    }
}

/// Runs a client that reads all messages until `over`, then closes. Returns what it received since
/// its subscription.
pub(crate) fn listen(
    addr: SocketAddr,
    view: View,
    over: &dyn Fn() -> bool,
    note: &dyn Fn(&str),
) -> Result<Log, String> {
    let mut socket = connect(addr, dial)?;
    if let Some(project) = view {
        send(&mut socket, "subscribe", project)?;
    }
    let begun = Instant::now();
    let mut log = Log::default();
    let mut recording = view.is_none();
    let mut leaving = None;
    loop {
        if leaving.is_none() && recording && over() {
            leaving = Some(Instant::now());
            socket.close(None).map_err(|error| format!("closing: {error}"))?;
        }
        match socket.read() {
            Ok(Message::Text(text)) => {
                let kind = kind(&text)?;
                note(kind);
                match kind {
                    "subscribed" => recording = true,
                    "error" => return Err(text.to_string()),
                    _ if recording => log.add(kind, &text)?,
                    _ => {}
                }
            }
            Ok(Message::Close(close)) if leaving.is_none() => {
                return Err(format!("closed: {close:?}"));
            }
            Ok(Message::Binary(_)) => return Err("a binary message".to_owned()),
            Ok(_) => {}
            Err(Fault::ConnectionClosed) if leaving.is_some() => return Ok(log),
            Err(Fault::Io(error)) if is_timeout(&error) => {}
            Err(error) if leaving.is_none() => return Err(format!("connection lost: {error}")),
            Err(error) => {
                return Err(format!("connection lost before the reply to its Close: {error}"));
            }
        }
        if leaving.is_some_and(|since| since.elapsed() > GUARD) {
            return Err("no reply to its Close".to_owned());
        }
        if !recording && begun.elapsed() > GUARD {
            return Err("no reply to its subscription".to_owned());
        }
    }
}
