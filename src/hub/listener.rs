//! An in-process client: it receives what any client receives, without a socket.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::HubHandle;
use crate::Message;
use crate::connection::client::next_id;
use crate::connection::frame::Frame;
use crate::connection::outbox::Offered;
use crate::connection::queue::{Bounds, Pushed, Queue};
use crate::counters::{self, AtomicCounters};

/// Receives a hub's messages in this process; see [`HubHandle::listen`].
///
/// It is bounded like any client: one that is not read is evicted, and of
/// [latest](Message::latest) messages only the newest is kept. Dropping it unregisters it.
///
/// As an iterator, it waits for each next message.
///
/// ```
/// use std::time::Duration;
/// use kentros::{Hub, HubConfig, Interest, Message};
///
/// let hub = Hub::spawn(HubConfig::default())?;
/// let listener = hub.handle().listen(Interest::only(["shop"]))?;
/// hub.handle().broadcast_to_subscribers("blog", &Message::new("deployed", "v1"))?;
/// hub.handle().broadcast_to_subscribers("shop", &Message::new("deployed", "v2"))?;
///
/// let message = listener.next().ok_or("the hub has stopped")?;
/// assert_eq!((message.project_id(), message.payload::<String>()?.as_str()), (Some("shop"), "v2"));
/// assert!(listener.try_next().is_none());
/// assert!(listener.next_timeout(Duration::from_millis(1)).is_none());
/// hub.shutdown();
/// for message in &listener {
///     println!("{}", message.to_json()?);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "a listener is unregistered when it is dropped"]
pub struct Listener {
    hub: HubHandle,
    mailbox: Arc<Mailbox>,
}

impl Listener {
    pub(super) fn new(hub: HubHandle, mailbox: Arc<Mailbox>) -> Self {
        Self { hub, mailbox }
    }

    /// Waits for the next message. `None` once the hub has stopped, or after the listener was
    /// evicted because it was read too slowly ([`Counters::evicted_slow`](crate::Counters)).
    // An iterator's `next` takes `&mut self`; several threads may share this one.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&self) -> Option<Message> {
        self.mailbox.take(None)
    }

    /// The next message, if there is one already.
    pub fn try_next(&self) -> Option<Message> {
        self.mailbox.take(Some(Duration::ZERO))
    }

    /// Waits for the next message, at most this long.
    pub fn next_timeout(&self, timeout: Duration) -> Option<Message> {
        self.mailbox.take(Some(timeout))
    }
}

impl Iterator for Listener {
    type Item = Message;

    fn next(&mut self) -> Option<Message> {
        Listener::next(self)
    }
}

// A `&Listener` is an iterator as a `&File` is a reader: it holds no position of its own.
#[allow(clippy::copy_iterator)]
impl Iterator for &Listener {
    type Item = Message;

    fn next(&mut self) -> Option<Message> {
        Listener::next(self)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.mailbox.close();
        self.hub.unregister_listener(&self.mailbox);
    }
}

/// The queue of a listener.
#[derive(Debug)]
pub(super) struct Mailbox {
    id: u64,
    bounds: Bounds,
    counters: Arc<AtomicCounters>,
    /// Whether it is counted as registered.
    registered: AtomicBool,
    state: Mutex<MailboxState>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct MailboxState {
    queue: Queue,
    closed: bool,
}

impl Mailbox {
    pub(super) fn new(bounds: Bounds, counters: Arc<AtomicCounters>) -> Self {
        Self {
            id: next_id(),
            bounds,
            counters,
            registered: AtomicBool::new(true),
            state: Mutex::default(),
            arrived: Condvar::new(),
        }
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn offer(&self, frames: &[Frame]) -> Offered {
        let mut state = self.lock();
        if state.closed {
            return Offered::Gone;
        }
        let mut conflated = 0;
        for frame in frames {
            match state.queue.push(frame, self.bounds) {
                Pushed::Queued => {}
                Pushed::Conflated => conflated += 1,
                Pushed::Full => return Offered::Full,
            }
        }
        drop(state);
        self.arrived.notify_all();
        Offered::Waits { conflated, watch: false }
    }

    /// The next message; waits as long as it may. What was queued before the end still comes.
    pub(super) fn take(&self, timeout: Option<Duration>) -> Option<Message> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut state = self.lock();
        let frame = loop {
            if let Some(frame) = state.queue.pop() {
                break frame;
            }
            if state.closed {
                return None;
            }
            state = match deadline {
                None => self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return None;
                    }
                    let waited = self.arrived.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        };
        drop(state);
        // The hub's frames are messages.
        frame.as_text().and_then(Message::from_json)
    }

    pub(super) fn evict(&self) {
        let mut state = self.lock();
        state.queue = Queue::default();
        state.closed = true;
        drop(state);
        self.arrived.notify_all();
        counters::add(&self.counters.evicted_slow, 1);
        log::warn!("a listener in this process is read too slowly: evicted");
    }

    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }

    pub(super) fn is_open(&self) -> bool {
        !self.lock().closed
    }

    pub(super) fn leave(&self) -> bool {
        self.registered.swap(false, Ordering::SeqCst)
    }

    fn lock(&self) -> MutexGuard<'_, MailboxState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
