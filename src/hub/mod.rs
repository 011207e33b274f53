//! The hub: it tracks the clients and their interests, and sends each message to the clients
//! interested in it.
//!
//! A [`HubHandle`] sends commands over one channel to the hub's thread, [`hub_loop`], which executes
//! them in order. [`registry`] holds the clients, [`retained`] the latest messages for clients that
//! connect later. [`write_batch`] joins the bytes for each group of clients, and [`fanout`] spreads
//! the sending over threads.

mod config;
mod fanout;
pub(crate) mod handle;
mod hub_loop;
mod interest_channel;
pub(crate) mod listener;
pub(crate) mod periodic;
mod publication;
mod publish_every;
mod query;
mod registry;
mod retained;
mod schedule;
mod slowest;
mod subscriber;
mod write_batch;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};

use crate::connection::client::next_id;
use crate::connection::flusher::Flusher;
use crate::counters::AtomicCounters;
use crate::{Error, threads};

use handle::{INBOX, Shared};
use hub_loop::HubLoop;
use subscriber::CLOSE_TIMEOUT;

pub use config::HubConfig;
pub use handle::HubHandle;
pub use publish_every::SourceError;
pub(crate) use query::{Query, Responder};
pub(crate) use registry::MAX_SUBSCRIPTIONS;
pub use schedule::Schedule;

/// The reason of the Close frame that a shutdown sends.
pub(crate) const SHUTTING_DOWN: &str = "the server is shutting down";
/// How long a shutdown waits for the threads of streamers.
const STREAMERS_WAIT: Duration = Duration::from_secs(2);

/// A hub of WebSocket clients. It runs until [`shutdown`](Self::shutdown) or until it is dropped.
///
/// ```
/// use kentros::{Hub, HubConfig, Message};
///
/// let hub = Hub::spawn(HubConfig::default())?;
/// hub.handle().broadcast(&Message::new("greeting", "hello"))?;
/// assert_eq!(hub.handle().client_count(), 0);
/// hub.shutdown();
/// # Ok::<(), kentros::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "a hub stops when it is dropped"]
pub struct Hub {
    handle: HubHandle,
    stop: Option<Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl Hub {
    /// Starts the threads of a hub.
    ///
    /// # Errors
    /// [`Io`](crate::ErrorKind::Io) if a thread or descriptor cannot be created.
    pub fn spawn(config: HubConfig) -> Result<Self, Error> {
        let no_thread = |error| Error::io("cannot start the hub", error);
        let counters = Arc::new(AtomicCounters::default());
        let (flusher, flusher_thread) = Flusher::spawn(Arc::clone(&counters)).map_err(no_thread)?;
        let (commands, inbox) = bounded(INBOX);
        let (stop, stopped) = bounded(0);
        let stopping = Arc::new(AtomicBool::new(false));
        let id = next_id();
        let hub_loop =
            HubLoop::new(id, &config, inbox, stopped, Arc::clone(&stopping), Arc::clone(&counters));
        let thread = threads::spawn("kentros-hub", || hub_loop.run())
            .inspect_err(|_| flusher.finish(Duration::ZERO))
            .map_err(no_thread)?;
        let shared = Shared::new(id, config, commands, counters, flusher, stopping);
        Ok(Self {
            handle: HubHandle(Arc::new(shared)),
            stop: Some(stop),
            threads: vec![thread, flusher_thread],
        })
    }

    /// Returns a handle to this hub.
    pub fn handle(&self) -> HubHandle {
        self.handle.clone()
    }

    /// Stops the hub. Each client receives its queued messages and a Close 1001, and has two
    /// seconds to close. Returns when the hub's threads have ended, within five seconds. Dropping
    /// the hub does the same.
    pub fn shutdown(self) {
        drop(self);
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        // Disconnects the channel, which ends the hub's thread.
        self.stop = None;
        for thread in self.threads.drain(..) {
            // A panic is logged already.
            let _ = thread.join();
            // The first thread is the hub's. The second is the flusher, which still has to send
            // the Close frames.
            self.handle.0.flusher.finish(CLOSE_TIMEOUT);
        }
        let streamers = std::mem::take(&mut *self.handle.streamers());
        let deadline = Instant::now() + STREAMERS_WAIT;
        for (thread, ended) in streamers {
            // Nothing is ever sent: the channel disconnects when the thread ends.
            if ended.recv_deadline(deadline).is_err_and(|error| error.is_timeout()) {
                log::error!(
                    "a source did not return within {STREAMERS_WAIT:?}: its thread keeps running"
                );
            } else {
                let _ = thread.join();
            }
        }
    }
}
