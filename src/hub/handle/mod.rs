//! The handle to a hub: every call puts a command into the hub's channel.

mod clients;
mod publish;

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender};

use crate::connection::client::Registrar;
use crate::connection::flusher::Flusher;
use crate::connection::queue::Bounds;
use crate::counters::{AtomicCounters, Counters};
use crate::hub::hub_loop::Command;
use crate::hub::interest_channel::InterestSender;
use crate::hub::{HubConfig, Query, Responder};
use crate::{Client, Error, limits};

/// Commands that may wait for the hub: some ten milliseconds of its work.
pub(in crate::hub) const INBOX: usize = 1024;

/// Reaches a [`Hub`](crate::Hub) from any thread. Clones reach the same hub. A handle may outlive
/// its hub; its calls then return [`Stopped`](crate::ErrorKind::Stopped) at once.
///
/// ```
/// use kentros::{Hub, HubConfig, Message, Snapshot};
///
/// let hub = Hub::spawn(HubConfig::default())?;
/// let handle = hub.handle();
/// std::thread::spawn(move || {
///     // To every client.
///     handle.broadcast(&Message::new("maintenance", "tonight"))?;
///     // To the clients interested in this project.
///     handle.broadcast_to_subscribers("shop", &Message::new("deployed", "v2"))?;
///     // A state: clients that connect later get it too.
///     handle.broadcast(&Message::new("build", "green").project("shop").latest())?;
///     handle.publish_snapshot(Snapshot::from_payload(serde_json::json!({"web": {"load": 3}}))?)?;
///     assert_eq!(handle.client_count(), 0);
///     Ok::<(), kentros::Error>(())
/// });
/// # Ok::<(), kentros::Error>(())
/// ```
#[derive(Clone)]
pub struct HubHandle(pub(in crate::hub) Arc<Shared>);

/// What all handles share. The hub's thread has none of it: the last handle that goes disconnects
/// the channel.
pub(in crate::hub) struct Shared {
    id: u64,
    config: HubConfig,
    commands: Sender<Command>,
    counters: Arc<AtomicCounters>,
    pub(in crate::hub) flusher: Flusher,
    /// Set before the hub takes its last commands.
    stopping: Arc<AtomicBool>,
    /// Threads of streamers, joined when the hub ends, each with a channel that tells its end.
    streamers: Mutex<Vec<(JoinHandle<()>, Receiver<()>)>>,
    extensions: Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>,
}

impl Shared {
    pub(in crate::hub) fn new(
        id: u64,
        config: HubConfig,
        commands: Sender<Command>,
        counters: Arc<AtomicCounters>,
        flusher: Flusher,
        stopping: Arc<AtomicBool>,
    ) -> Self {
        let (streamers, extensions) = (Mutex::default(), Mutex::default());
        Self { id, config, commands, counters, flusher, stopping, streamers, extensions }
    }
}

impl Registrar for Shared {
    fn connection_ended(&self, client: u64) {
        self.counters.clients.decrement();
        // A stopped hub has let go of it already.
        let _ = self.commands.send(Command::Unregister(client));
    }
}

impl HubHandle {
    /// The hub's counters since its start.
    pub fn counters(&self) -> Counters {
        self.0.counters.read()
    }

    /// The value of this type that belongs to the hub, created by the first call: state that
    /// several parts of a program share wherever they have the handle.
    ///
    /// ```
    /// use std::sync::Mutex;
    /// use kentros::{Hub, HubConfig};
    ///
    /// #[derive(Default)]
    /// struct Banned(Mutex<Vec<String>>);
    ///
    /// let hub = Hub::spawn(HubConfig::default())?;
    /// hub.handle().extension::<Banned>().0.lock().unwrap().push("mallory".into());
    /// assert_eq!(hub.handle().extension::<Banned>().0.lock().unwrap().len(), 1);
    /// # Ok::<(), kentros::Error>(())
    /// ```
    pub fn extension<T: Any + Default + Send + Sync>(&self) -> Arc<T> {
        let mut extensions = self.0.extensions.lock().unwrap_or_else(PoisonError::into_inner);
        let value = extensions.entry(TypeId::of::<T>()).or_insert_with(|| Arc::new(T::default()));
        // Under its own type id there is no other type.
        Arc::clone(value).downcast().unwrap_or_default()
    }

    /// The most subscriptions that a client may have.
    pub(crate) fn max_subscriptions(&self) -> usize {
        self.0.config.max_subscriptions
    }

    /// A client on a socket whose WebSocket handshake is done, with this hub's bounds.
    pub(crate) fn client(&self, peer: SocketAddr, socket: TcpStream) -> Client {
        let write_deadline = limits::time(self.0.config.write_deadline);
        Client::new(peer, socket, self.bounds(), write_deadline, self.0.flusher.clone())
    }

    fn bounds(&self) -> Bounds {
        let config = &self.0.config;
        Bounds { messages: config.queue_messages, bytes: config.queue_bytes }
    }

    /// Has the hub's thread answer, now or when there is something to say.
    pub(crate) fn query(&self, query: Query, responder: Responder) -> Result<(), Error> {
        self.command(Command::Query(query, responder))
    }

    /// Removes the retained messages of these keys.
    pub(crate) fn clear_all(&self, keys: &[&str]) {
        let _ = self.command(Command::ClearLatest(keys.iter().map(|&key| key.into()).collect()));
    }

    /// Removes them, and notes why there is nothing newer for now: queries get that at once.
    pub(crate) fn invalidate(&self, keys: &'static [&'static str], why: String) {
        let _ = self.command(Command::Invalidate(keys, why));
    }

    /// Tells a streamer what its clients are interested in from now on, and joins its thread at
    /// the end; `ended` disconnects when the thread's body is left.
    pub(in crate::hub) fn attach_streamer(
        &self,
        interest: InterestSender,
        thread: JoinHandle<()>,
        ended: Receiver<()>,
    ) -> Result<(), Error> {
        self.command(Command::AttachStreamer(interest))?;
        self.must_run()?;
        let mut streamers = self.streamers();
        streamers.retain(|(thread, _)| !thread.is_finished());
        streamers.push((thread, ended));
        drop(streamers);
        Ok(())
    }

    pub(in crate::hub) fn streamers(&self) -> MutexGuard<'_, Vec<(JoinHandle<()>, Receiver<()>)>> {
        self.0.streamers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails once the hub takes its last commands: one that was sent before may never be executed,
    /// and stays in the channel as long as there is a handle.
    fn must_run(&self) -> Result<(), Error> {
        if self.0.stopping.load(Ordering::SeqCst) { Err(Error::stopped()) } else { Ok(()) }
    }

    /// Has the hub do something, after all that it was asked before; waits for room.
    fn command(&self, command: Command) -> Result<(), Error> {
        self.0.commands.send(command).map_err(|_| Error::stopped())
    }
}

impl fmt::Debug for HubHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HubHandle({} clients)", self.client_count())
    }
}
