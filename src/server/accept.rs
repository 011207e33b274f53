//! The thread `kentros-accept`: takes connections and passes them on, and does nothing else.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};

use crate::poller::Waker;

/// How long to wait where the kernel has no descriptor or no memory for a connection: trying at
/// once would burn a core, and connections wait in the backlog meanwhile.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) struct Accept {
    listener: Arc<TcpListener>,
    connections: Sender<(TcpStream, SocketAddr)>,
    waker: Waker,
    stopped: Receiver<()>,
}

impl Accept {
    pub(super) fn new(
        listener: Arc<TcpListener>,
        connections: Sender<(TcpStream, SocketAddr)>,
        waker: Waker,
        stopped: Receiver<()>,
    ) -> Self {
        Self { listener, connections, waker, stopped }
    }

    pub(super) fn run(self) {
        let mut troubled = false;
        loop {
            match self.listener.accept() {
                Ok((socket, peer)) => {
                    troubled = false;
                    if self.connections.send((socket, peer)).is_err() {
                        return;
                    }
                    self.waker.wake();
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
