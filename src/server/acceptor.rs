//! The thread `kentros-accept`: accepts connections and passes them to the HTTP loop.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Receiver;

use super::Connector;
use super::http_loop::NewConnection;

/// Time between attempts when the kernel has no descriptor or memory for a connection. Retrying at
/// once would occupy a core; connections wait in the backlog meanwhile.
const RETRY_DELAY: Duration = Duration::from_millis(100);

pub(super) struct Acceptor {
    listener: Arc<TcpListener>,
    connector: Connector,
    /// Disconnected at shutdown; nothing is sent.
    stopped: Receiver<()>,
}

impl Acceptor {
    pub(super) fn new(
        listener: Arc<TcpListener>,
        connector: Connector,
        stopped: Receiver<()>,
    ) -> Self {
        Self { listener, connector, stopped }
    }

    pub(super) fn run(self) {
        let mut failing = false;
        loop {
            match self.listener.accept() {
                Ok((socket, peer)) => {
                    failing = false;
                    let connection = NewConnection { socket, peer, already_read: Vec::new() };
                    if self.connector.hand_over(connection).is_err() {
                        return;
                    }
                }
                Err(error) if self.is_stopped() => {
                    log::debug!("no longer listening: {error}");
                    return;
                }
                Err(error) if concerns_one_connection(&error) => {}
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        log::error!("cannot accept connections: {error}; retrying");
                    }
                    let _ = self.stopped.recv_timeout(RETRY_DELAY);
                }
            }
        }
    }

    fn is_stopped(&self) -> bool {
        self.stopped.try_recv().is_err_and(|error| error.is_disconnected())
    }
}

/// Whether accept(2) failed because the peer disconnected first, or a signal came.
fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}
