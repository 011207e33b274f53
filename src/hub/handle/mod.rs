//! The handle to a hub, which sends commands to the hub's thread.

mod clients;
mod publish;

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender};

use crate::connection::client::Registrar;
use crate::connection::flusher::Flusher;
use crate::connection::queue::QueueBounds;
use crate::counters::{AtomicCounters, Counters, QueuedBytes};
use crate::hub::hub_loop::HubCommand;
use crate::hub::interest_channel::InterestSender;
use crate::hub::{HubConfig, Query, Responder};
use crate::lock::lock;
use crate::{Client, Error, limits};

/// Maximum number of commands queued for the hub's thread: about ten milliseconds of its work.
pub(in crate::hub) const INBOX: usize = 1024;

/// A handle to a [`Hub`](crate::Hub), for use from any thread. Clones refer to the same hub. A handle
/// may outlive its hub; calls then return [`Stopped`](crate::ErrorKind::Stopped).
///
/// ```
/// use kentros::{Hub, HubConfig, Message, Snapshot};
///
/// let hub = Hub::spawn(HubConfig::default())?;
/// let handle = hub.handle();
/// std::thread::spawn(move || {
///     // To all clients.
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

/// The state shared by all handles, but not by the hub's thread: dropping the last handle must
/// disconnect the channel.
pub(in crate::hub) struct Shared {
    id: u64,
    config: HubConfig,
    commands: Sender<HubCommand>,
    counters: Arc<AtomicCounters>,
    pub(in crate::hub) flusher: Flusher,
    /// Set before the hub executes its last commands.
    stopping: Arc<AtomicBool>,
    /// The threads of streamers, each with a channel that disconnects when it ends.
    streamers: Mutex<Vec<(JoinHandle<()>, Receiver<()>)>>,
    extensions: Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>,
}

impl Shared {
    pub(in crate::hub) fn new(
        id: u64,
        config: HubConfig,
        commands: Sender<HubCommand>,
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
        // A stopped hub has removed the client already.
        let _ = self.commands.send(HubCommand::Unregister(client));
    }
}

impl HubHandle {
    /// Returns the hub's counters since its start.
    pub fn counters(&self) -> Counters {
        self.0.counters.read()
    }

    /// Returns the hub's value of this type, creating it at the first call. Use it for state that
    /// several parts of a program share through the handle.
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
        let mut extensions = lock(&self.0.extensions);
        let value = extensions.entry(TypeId::of::<T>()).or_insert_with(|| Arc::new(T::default()));
        // The key is the type's id, so this cannot fail.
        Arc::clone(value).downcast().unwrap_or_default()
    }

    /// Maximum number of subscriptions of a client.
    pub(crate) fn max_subscriptions(&self) -> usize {
        self.0.config.max_subscriptions
    }

    /// Creates a client for a socket after its WebSocket handshake, with this hub's bounds.
    pub(crate) fn client(&self, peer: SocketAddr, socket: TcpStream) -> Client {
        let write_deadline = limits::time(self.0.config.write_deadline);
        Client::new(peer, socket, self.bounds(), write_deadline, self.0.flusher.clone())
    }

    /// The bytes of this hub's messages in the queues of its clients.
    fn queued_bytes(&self) -> &Arc<QueuedBytes> {
        &self.0.counters.queued_bytes
    }

    fn bounds(&self) -> QueueBounds {
        let config = &self.0.config;
        QueueBounds { messages: config.queue_messages, bytes: config.queue_bytes }
    }

    /// Sends a query to the hub's thread.
    pub(crate) fn query(&self, query: Query, responder: Responder) -> Result<(), Error> {
        self.send_command(HubCommand::Query(query, responder))
    }

    /// Removes the retained messages of these keys.
    pub(crate) fn clear_all(&self, keys: &[&str]) {
        let _ = self
            .send_command(HubCommand::ClearLatest(keys.iter().map(|&key| key.into()).collect()));
    }

    /// Removes them and sets the reason, which queries get at once.
    pub(crate) fn invalidate(&self, keys: &'static [&'static str], why: String) {
        let _ = self.send_command(HubCommand::Invalidate(keys, why));
    }

    /// Sends the interest of the clients to a streamer from now on, and joins its thread when the hub
    /// is dropped. `ended` disconnects when the thread ends.
    pub(in crate::hub) fn attach_streamer(
        &self,
        interest: InterestSender,
        thread: JoinHandle<()>,
        ended: Receiver<()>,
    ) -> Result<(), Error> {
        self.send_command(HubCommand::AttachStreamer(interest))?;
        self.require_running()?;
        let mut streamers = self.streamers();
        streamers.retain(|(thread, _)| !thread.is_finished());
        streamers.push((thread, ended));
        drop(streamers);
        Ok(())
    }

    pub(in crate::hub) fn streamers(&self) -> MutexGuard<'_, Vec<(JoinHandle<()>, Receiver<()>)>> {
        lock(&self.0.streamers)
    }

    /// Fails once the hub executes its last commands: a command sent now may stay in the channel as
    /// long as there is a handle.
    fn require_running(&self) -> Result<(), Error> {
        if self.0.stopping.load(Ordering::SeqCst) { Err(Error::stopped()) } else { Ok(()) }
    }

    /// Sends a command; waits while the channel is full.
    fn send_command(&self, command: HubCommand) -> Result<(), Error> {
        self.0.commands.send(command).map_err(|_| Error::stopped())
    }
}

impl fmt::Debug for HubHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HubHandle({} clients)", self.client_count())
    }
}
