//! The thread `kentros-accept`: takes connections and passes them on, and does nothing else.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Receiver;

use super::Connector;
use super::http_loop::Connection;

/// How long to wait where the kernel has no descriptor or no memory for a connection: trying at
/// once would burn a core, and connections wait in the backlog meanwhile.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) struct Accept {
    listener: Arc<TcpListener>,
    connector: Connector,
    stopped: Receiver<()>,
}

impl Accept {
    pub(super) fn new(
        listener: Arc<TcpListener>,
        connector: Connector,
        stopped: Receiver<()>,
    ) -> Self {
        Self { listener, connector, stopped }
    }

    pub(super) fn run(self) {
        let mut troubled = false;
        loop {
            match self.listener.accept() {
                Ok((socket, peer)) => {
                    troubled = false;
                    let connection = Connection { socket, peer, already_read: Vec::new() };
                    if self.connector.hand_over(connection).is_err() {
                        return;
                    }
                }
                Err(error) if self.is_stopped() => {
                    log::debug!("no longer listening: {error}");
                    return;
                }
                // The peer gave up before it was taken: accept(2) says so for that one alone.
                Err(error) if is_of_one_peer(&error) => {}
                Err(error) => {
                    if !std::mem::replace(&mut troubled, true) {
                        log::error!("cannot accept connections for now: {error}");
                    }
                    // Nothing is ever sent: it disconnects at the stop.
                    let _ = self.stopped.recv_timeout(PAUSE);
                }
            }
        }
    }

    fn is_stopped(&self) -> bool {
        self.stopped.try_recv().is_err_and(|error| error.is_disconnected())
    }
}

fn is_of_one_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}
