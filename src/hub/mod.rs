//! The hub: it knows every client and its interest, and sends each message to those interested.
//!
//! [`HubHandle`] puts commands into one channel; the hub's thread, [`hub_loop`], takes them in
//! order. The [`registry`] holds the clients, [`retained`] the newest messages for those who
//! connect later, [`write_batch`] and [`fanout`] what goes to whom.

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
use subscriber::GOODBYE;

pub use config::HubConfig;
pub use handle::HubHandle;
pub use publish_every::SourceError;
pub(crate) use query::{Query, Responder};
pub(crate) use registry::MAX_SUBSCRIPTIONS;
pub use schedule::Schedule;

/// The reason in the Close at the end.
pub(crate) const SHUTTING_DOWN: &str = "the server is shutting down";
/// How long a shutdown waits for the streamers' threads.
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
    /// Starts a hub: its thread, its workers and its flusher.
    ///
    /// # Errors
    /// [`Io`](crate::ErrorKind::Io) if the operating system has no thread or descriptor to give.
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

    /// A handle to this hub.
    pub fn handle(&self) -> HubHandle {
        self.handle.clone()
    }

    /// Stops the hub: each client gets what is queued for it and a Close 1001, and is cut two
    /// seconds later if it has not closed by then. Returns when the hub's threads have ended,
    /// within five seconds. Dropping the hub does the same.
    pub fn shutdown(self) {
        drop(self);
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        // The hub's thread sees the channel disconnect.
        self.stop = None;
        for thread in self.threads.drain(..) {
            // A panic has been logged by the thread itself.
            let _ = thread.join();
            // The first is the hub's own; the flusher's, the last, has the farewells to send.
            self.handle.0.flusher.finish(GOODBYE);
        }
        let streamers = std::mem::take(&mut *self.handle.streamers());
        let deadline = Instant::now() + STREAMERS_WAIT;
        for (thread, ended) in streamers {
            // Nothing is ever sent: the channel disconnects when the thread's body is left.
            if ended.recv_deadline(deadline).is_err_and(|error| error.is_timeout()) {
                log::error!("a source has not returned in time: its thread is left behind");
            } else {
                let _ = thread.join();
            }
        }
    }
}
