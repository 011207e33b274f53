//! The hub: the one place that knows every client, and its handle.

mod config;
mod delivery;
mod fanout;
pub(crate) mod link;
mod newest;
mod question;
mod run;

use std::fmt;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, SendTimeoutError, Sender, bounded};

use crate::client::Client;
use crate::counters::{Counters, Tally};
use crate::flusher::Flusher;
use crate::frame::Frame;
use crate::queue::Bounds;
use crate::registry::Projects;
use crate::snapshot::Snapshot;
use crate::snapshot::history::History;
use crate::{Error, Message, limits, threads};

use delivery::Item;
use link::StreamerLink;
use run::{Command, GOODBYE, Run};

pub use config::HubConfig;
pub(crate) use delivery::Shot;
pub(crate) use question::{Answer, Question, Reply};

/// Commands that may wait for the hub: some ten milliseconds of its work.
const INBOX: usize = 1024;
/// How long a publisher waits where that many wait already.
const PUBLISH_WAIT: Duration = Duration::from_secs(1);
/// Why a client is closed at the end.
pub(crate) const SHUTTING_DOWN: &str = "the server is shutting down";
/// How long a shutdown waits for the sources of stats.
const SOURCES_WAIT: Duration = Duration::from_secs(2);

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
pub struct Hub {
    handle: HubHandle,
    stop: Option<Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

/// A way to reach a [`Hub`] from any thread. Clones reach the same hub; one may outlive the hub,
/// and its calls then return an error at once.
///
/// ```
/// use kentros::{Hub, HubConfig, Message, Snapshot};
///
/// let hub = Hub::spawn(HubConfig::default())?;
/// let handle = hub.handle();
/// std::thread::spawn(move || {
///     // Everybody hears of it.
///     handle.broadcast(&Message::new("maintenance", "tonight"))?;
///     // Those hear of it who want this project, or all.
///     handle.broadcast_to_subscribers("shop", &Message::new("deployed", "v2"))?;
///     // The newest is also what those get who come later.
///     handle.publish_snapshot(Snapshot::from_payload(serde_json::json!({"web": {"load": 3}}))?)?;
///     assert_eq!(handle.client_count(), 0);
///     Ok::<(), kentros::Error>(())
/// });
/// # Ok::<(), kentros::Error>(())
/// ```
#[derive(Clone)]
pub struct HubHandle(Arc<Shared>);

struct Shared {
    config: HubConfig,
    commands: Sender<Command>,
    tally: Arc<Tally>,
    flusher: Flusher,
    next_id: AtomicU64,
    /// Set before the hub takes its last commands.
    stopping: Arc<AtomicBool>,
    history: Mutex<History>,
    /// Threads of streamers, to be joined at the hub's end, each with what tells its end.
    streamers: Mutex<Vec<(JoinHandle<()>, Receiver<()>)>>,
}

impl Hub {
    /// Starts a hub: its thread, its workers and its flusher.
    ///
    /// # Errors
    /// If the operating system has no thread or no descriptor to give.
    pub fn spawn(config: HubConfig) -> Result<Self, Error> {
        let no_thread = |error| Error::io("cannot start the hub", error);
        let tally = Arc::new(Tally::default());
        let (flusher, flusher_thread) = Flusher::spawn(Arc::clone(&tally)).map_err(no_thread)?;
        let (commands, inbox) = bounded(INBOX);
        let (stop, stopped) = bounded(0);
        let stopping = Arc::new(AtomicBool::new(false));
        let run = Run::new(&config, inbox, stopped, Arc::clone(&stopping), Arc::clone(&tally));
        let thread = threads::spawn("kentros-hub", || run.run())
            .inspect_err(|_| flusher.finish(Duration::ZERO))
            .map_err(no_thread)?;
        let shared = Shared {
            config,
            commands,
            tally,
            flusher,
            next_id: AtomicU64::new(1),
            stopping,
            history: Mutex::default(),
            streamers: Mutex::new(Vec::new()),
        };
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

    /// Stops the hub: each client gets what waits for it and a Close 1001, and is cut two seconds
    /// later if it has not closed by then. Returns once the hub's threads have ended, within five
    /// seconds. Dropping the hub does the same.
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
        let deadline = Instant::now() + SOURCES_WAIT;
        for (thread, ended) in streamers {
            // Nothing is ever sent: the channel disconnects when the thread's body is left.
            if ended.recv_deadline(deadline).is_err_and(|error| error.is_timeout()) {
                log::error!("a source of stats has not returned in time, its thread is left");
            } else {
                let _ = thread.join();
            }
        }
    }
}

impl HubHandle {
    /// Sends a message to every registered client.
    ///
    /// The hub takes it at once, or within a second where very much waits for it; it never waits
    /// for a client.
    ///
    /// # Errors
    /// [`is_stopped`](Error::is_stopped) once the hub has stopped, [`is_busy`](Error::is_busy) if
    /// the hub had no room for a second, [`is_encode`](Error::is_encode) if the payload is no
    /// JSON. The message then went to nobody.
    pub fn broadcast(&self, message: &Message) -> Result<(), Error> {
        let topic = message.is_latest().then(|| topic(message.kind(), message.project_id()));
        self.publish(topic, |topic| Ok(Item::All(frame(message, topic)?)))
    }

    /// Sends a message to the clients that subscribed to `project`, and to those that subscribed
    /// to nothing, who get every project. The message bears the project's id.
    ///
    /// # Errors
    /// As [`broadcast`](Self::broadcast).
    pub fn broadcast_to_subscribers(&self, project: &str, message: &Message) -> Result<(), Error> {
        let message = message.clone().project(project);
        let topic = message.is_latest().then(|| topic(message.kind(), Some(project)));
        self.publish(topic, |topic| Ok(Item::Project(project.to_owned(), frame(&message, topic)?)))
    }

    /// Publishes a reading: to each client the rows and sums of the projects it receives, and to
    /// those that connect later, at once.
    ///
    /// # Errors
    /// As [`broadcast`](Self::broadcast).
    pub fn publish_snapshot(&self, snapshot: Snapshot) -> Result<(), Error> {
        let shot = Arc::new(Shot::new(snapshot));
        self.publish(Some("container_stats".into()), |_| Ok(Item::Snapshot(shot)))
    }

    /// Forgets the [`latest`](Message::latest) message of this kind, about this project or about
    /// none: whoever connects later does not get it. For what is over, as each project with a
    /// latest message takes memory until then. Who is connected is told nothing.
    ///
    /// ```
    /// use kentros::{Hub, HubConfig, Message};
    ///
    /// let hub = Hub::spawn(HubConfig::default())?;
    /// let handle = hub.handle();
    /// handle.broadcast(&Message::new("build", "running").project("branch-7").latest())?;
    /// handle.forget("build", Some("branch-7"))?;
    /// # Ok::<(), kentros::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`is_stopped`](Error::is_stopped) once the hub has stopped.
    pub fn forget(&self, kind: &str, project: Option<&str>) -> Result<(), Error> {
        self.command(Command::Forget(vec![topic(kind, project)]))
    }

    /// Has the hub send to a client from now on: first the newest of everything published as
    /// [`latest`](Message::latest), then what is published, without a gap.
    ///
    /// # Errors
    /// [`is_stopped`](Error::is_stopped) once the hub has stopped.
    pub fn register(&self, client: &Client) -> Result<(), Error> {
        // Counted before the client can see any answer: whoever is connected is counted.
        self.0.tally.clients.fetch_add(1, Ordering::SeqCst);
        let sent = self.command(Command::Register(client.clone()));
        if sent.is_err() || self.0.stopping.load(Ordering::SeqCst) {
            // The hub may have taken its last command before this one, and its last count.
            self.0.tally.clients.store(0, Ordering::SeqCst);
            client.close(1001, SHUTTING_DOWN);
        }
        sent
    }

    /// Ends what [`register`](Self::register) began. The connection stays open.
    ///
    /// # Errors
    /// [`is_stopped`](Error::is_stopped) once the hub has stopped.
    pub fn unregister(&self, client: &Client) -> Result<(), Error> {
        self.command(Command::Unregister(client.id()))
    }

    /// How many clients are registered.
    pub fn client_count(&self) -> usize {
        self.0.tally.clients.load(Ordering::SeqCst)
    }

    /// What the hub has counted since its start.
    pub fn counters(&self) -> Counters {
        self.0.tally.read()
    }

    /// Tells a streamer what is wanted from now on, and joins its thread at the end; `ended`
    /// disconnects when the thread's body is left.
    pub(crate) fn adopt(
        &self,
        link: StreamerLink,
        thread: JoinHandle<()>,
        ended: Receiver<()>,
    ) -> Result<(), Error> {
        self.command(Command::Streamer(link))?;
        let mut streamers = self.streamers();
        streamers.retain(|(thread, _)| !thread.is_finished());
        streamers.push((thread, ended));
        drop(streamers);
        Ok(())
    }

    /// A client on a socket whose WebSocket handshake is done, with an id of this hub.
    pub(crate) fn client(&self, peer: SocketAddr, socket: TcpStream) -> Client {
        let id = self.0.next_id.fetch_add(1, Ordering::Relaxed);
        let config = &self.0.config;
        let bounds = Bounds { messages: config.queue_messages, bytes: config.queue_bytes };
        let write_deadline = limits::time(config.write_deadline);
        Client::new(id, peer, socket, bounds, write_deadline, self.0.flusher.clone())
    }

    /// Subscribes a client to projects, or ends subscriptions; it is answered by the hub itself.
    pub(crate) fn subscribe(&self, client: u64, projects: Vec<String>, on: bool) {
        // A stopped hub is closing this client already.
        let _ = self.command(Command::Subscribe { client, projects, on });
    }

    /// Answers a client, after the answers to all that was asked for it before.
    pub(crate) fn say(&self, client: u64, message: &Message) {
        if let Ok(frame) = frame(message, None) {
            // A stopped hub is closing this client already.
            let _ = self.command(Command::Say(client, frame));
        }
    }

    /// Forgets the newest of these kinds, which are about no single project: they are of the past.
    pub(crate) fn forget_all(&self, kinds: &[&str]) {
        let topics = kinds.iter().map(|&kind| topic(kind, None)).collect();
        let _ = self.command(Command::Forget(topics));
    }

    /// The same, and why there will be no newer one for now: whoever asks over HTTP is told at once.
    pub(crate) fn gone(&self, topics: &'static [&'static str], why: String) {
        let _ = self.command(Command::Gone(topics, why));
    }

    /// The projects that a client receives; empty: every one. `None` where it is not registered.
    /// Waits for the hub's thread.
    pub(crate) fn view(&self, client: u64) -> Option<Projects> {
        let (send, receive) = bounded(1);
        self.command(Command::View(client, send)).ok()?;
        receive.recv().ok()?
    }

    /// What the streamers have read, for those who come later. Held for as long as it takes to
    /// add a reading or to copy it.
    pub(crate) fn history(&self) -> MutexGuard<'_, History> {
        self.0.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a streamer knows of its engine, for the counters.
    pub(crate) fn engine_counted(&self, up: bool, calls: u64, errors: u64) {
        self.0.tally.engine_up.store(up, Ordering::Relaxed);
        self.0.tally.engine_calls.store(calls, Ordering::Relaxed);
        self.0.tally.engine_errors.store(errors, Ordering::Relaxed);
    }

    /// Counts a message that a source had for its clients and did not publish.
    #[cfg(feature = "docker")]
    pub(crate) fn left_out(&self) {
        self.0.tally.left_out.fetch_add(1, Ordering::Relaxed);
    }

    /// Has `question` answered by the hub's thread, now or when there is something to say.
    pub(crate) fn ask(&self, question: Question, answer: Answer) -> Result<(), Error> {
        self.command(Command::Ask(question, answer))
    }

    fn publish(
        &self,
        topic: Option<String>,
        item: impl FnOnce(Option<Arc<str>>) -> Result<Item, Error>,
    ) -> Result<(), Error> {
        if self.0.stopping.load(Ordering::SeqCst) {
            // A busy publisher must not keep the hub from its end.
            return Err(Error::stopped());
        }
        let topic: Option<Arc<str>> = topic.map(Into::into);
        let item = item(topic.clone())?;
        let command = Command::Publish { topic, item };
        self.0.commands.send_timeout(command, PUBLISH_WAIT).map_err(|error| match error {
            SendTimeoutError::Timeout(_) => Error::busy(),
            SendTimeoutError::Disconnected(_) => Error::stopped(),
        })
    }

    /// Has the hub do something, after all that it was asked before; waits for room.
    fn command(&self, command: Command) -> Result<(), Error> {
        self.0.commands.send(command).map_err(|_| Error::stopped())
    }

    fn streamers(&self) -> MutexGuard<'_, Vec<(JoinHandle<()>, Receiver<()>)>> {
        self.0.streamers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for HubHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HubHandle({} clients)", self.client_count())
    }
}

/// What a message is the newest of.
fn topic(kind: &str, project: Option<&str>) -> String {
    // No text has this between: two topics are never the same string.
    project.map_or_else(|| kind.to_owned(), |project| format!("{kind}\0{project}"))
}

fn frame(message: &Message, topic: Option<Arc<str>>) -> Result<Frame, Error> {
    let frame = Frame::text(&message.to_json()?);
    Ok(match topic {
        Some(topic) => frame.latest(topic),
        None => frame,
    })
}

#[cfg(test)]
#[path = "mod_tests.rs"]
mod tests;
