//! An in-process client, which receives messages without a socket.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::HubHandle;
use crate::Message;
use crate::connection::client::next_id;
use crate::connection::frame::Frame;
use crate::connection::outbox::OfferResult;
use crate::connection::queue::{PushResult, Queue, QueueBounds};
use crate::counters::{self, AtomicCounters};
use crate::lock::lock;

/// Receives a hub's messages in this process; see [`HubHandle::listen`].
///
/// Its queue has the same bounds as that of any client: a listener that is not read is evicted, and
/// only the newest of [latest](Message::latest) messages is kept. Dropping it unregisters it.
///
/// As an iterator, it blocks until the next message.
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
    queue: Arc<ListenerQueue>,
}

impl Listener {
    pub(super) fn new(hub: HubHandle, queue: Arc<ListenerQueue>) -> Self {
        Self { hub, queue }
    }

    /// Blocks until the next message. Returns `None` once the hub has stopped or the listener was
    /// evicted for being read too slowly ([`Counters::evicted_slow`](crate::Counters)).
    // Unlike an iterator's `next` this takes `&self`, so that several threads can share a listener.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&self) -> Option<Message> {
        self.queue.take(None)
    }

    /// Returns the next message if there is one.
    pub fn try_next(&self) -> Option<Message> {
        self.queue.take(Some(Duration::ZERO))
    }

    /// Blocks until the next message, at most for `timeout`.
    pub fn next_timeout(&self, timeout: Duration) -> Option<Message> {
        self.queue.take(Some(timeout))
    }
}

impl Iterator for Listener {
    type Item = Message;

    fn next(&mut self) -> Option<Message> {
        Listener::next(self)
    }
}

// As `&File` implements `Read`.
#[allow(clippy::copy_iterator)]
impl Iterator for &Listener {
    type Item = Message;

    fn next(&mut self) -> Option<Message> {
        Listener::next(self)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.queue.close();
        self.hub.unregister_listener(&self.queue);
    }
}

/// The queue of a listener.
#[derive(Debug)]
pub(super) struct ListenerQueue {
    id: u64,
    bounds: QueueBounds,
    counters: Arc<AtomicCounters>,
    /// Whether it counts as registered.
    registered: AtomicBool,
    state: Mutex<ListenerQueueState>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct ListenerQueueState {
    queue: Queue,
    closed: bool,
}

impl ListenerQueue {
    pub(super) fn new(bounds: QueueBounds, counters: Arc<AtomicCounters>) -> Self {
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

    pub(super) fn offer(&self, frames: &[Frame]) -> OfferResult {
        let mut state = self.lock();
        if state.closed {
            return OfferResult::Closing;
        }
        let mut conflated = 0;
        for frame in frames {
            match state.queue.push(frame, self.bounds) {
                PushResult::Queued => {}
                PushResult::Conflated => conflated += 1,
                PushResult::Full => return OfferResult::Full,
            }
        }
        drop(state);
        self.arrived.notify_all();
        OfferResult::Queued { conflated, watch: false }
    }

    /// Takes the next message; `None` for no timeout. Messages queued before the end are still
    /// returned.
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
        // The hub sends messages only, so this cannot fail.
        frame.as_text().and_then(Message::from_json)
    }

    pub(super) fn evict(&self) {
        let mut state = self.lock();
        state.queue = Queue::default();
        state.closed = true;
        drop(state);
        self.arrived.notify_all();
        counters::add(&self.counters.evicted_slow, 1);
        log::warn!("evicted an in-process listener that is read too slowly");
    }

    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }

    pub(super) fn is_open(&self) -> bool {
        !self.lock().closed
    }

    pub(super) fn set_unregistered(&self) -> bool {
        self.registered.swap(false, Ordering::SeqCst)
    }

    fn lock(&self) -> MutexGuard<'_, ListenerQueueState> {
        lock(&self.state)
    }
}
