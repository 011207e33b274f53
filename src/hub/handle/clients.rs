//! [`HubHandle`] methods about clients, listeners and interests.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::bounded;

use super::Shared;
use crate::connection::frame::Frame;
use crate::hub::SHUTTING_DOWN;
use crate::hub::hub_loop::HubCommand;
use crate::hub::listener::{Listener, ListenerQueue};
use crate::hub::subscriber::Subscriber;
use crate::{Client, Error, HubHandle, Interest, Message, limits};

impl HubHandle {
    /// Registers a client for all messages, like [`register_with`](Self::register_with) with
    /// [`Interest::all`].
    ///
    /// ```
    /// # fn f(hub: &kentros::HubHandle, client: &kentros::Client) -> Result<(), kentros::Error> {
    /// hub.register(client)?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Like [`register_with`](Self::register_with).
    pub fn register(&self, client: &Client) -> Result<(), Error> {
        self.register_with(client, Interest::all())
    }

    /// Registers a client. From now on the hub sends it messages that match the interest: first the
    /// retained ones, then live ones, without a gap. If the client is registered already, its
    /// interest is replaced.
    ///
    /// The client is unregistered when its connection ends.
    ///
    /// ```
    /// use kentros::Interest;
    /// # fn f(hub: &kentros::HubHandle, client: &kentros::Client) -> Result<(), kentros::Error> {
    /// // Nothing until it subscribes to a room.
    /// hub.register_with(client, Interest::none())?;
    /// hub.subscribe(client, "kitchen")?;
    /// hub.unsubscribe(client, "kitchen")?;
    /// hub.unregister(client)?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Stopped`](crate::ErrorKind::Stopped) once the hub has stopped, or if the connection has
    /// ended.
    pub fn register_with(&self, client: &Client, interest: Interest) -> Result<(), Error> {
        // Counted before the client can see a response, so that connected clients are counted.
        if client.add_hub(self.0.id, Arc::<Shared>::clone(&self.0))? {
            self.0.counters.clients.increment();
        }
        let sent =
            self.send_command(HubCommand::Register(Subscriber::Client(client.clone()), interest));
        if sent.is_err() || self.0.stopping.load(Ordering::SeqCst) {
            // The hub may have executed its last command before this one.
            if client.remove_hub(self.0.id) {
                self.0.counters.clients.decrement();
            }
            client.close(1001, SHUTTING_DOWN);
        }
        sent
    }

    /// Unregisters a client, if it is registered. Its connection stays open.
    ///
    /// # Errors
    /// [`Stopped`](crate::ErrorKind::Stopped) once the hub has stopped.
    pub fn unregister(&self, client: &Client) -> Result<(), Error> {
        if client.remove_hub(self.0.id) {
            self.0.counters.clients.decrement();
        }
        self.send_command(HubCommand::Unregister(client.id()))
    }

    /// Adds a project to a client's interest and sends the project's retained messages. A client
    /// interested in everything then receives only this project. Waits for the hub's reply.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) if the client is not registered with this hub or has
    /// [`max_subscriptions`](crate::HubConfig::max_subscriptions) already;
    /// [`Stopped`](crate::ErrorKind::Stopped) once the hub has stopped, or if the connection has
    /// ended.
    pub fn subscribe(&self, client: &Client, project: impl Into<String>) -> Result<(), Error> {
        self.require_registered(client)?;
        let (reply, replied) = bounded(1);
        let (client, project) = (client.id(), project.into());
        self.send_command(HubCommand::Subscribe { client, project, reply })?;
        self.require_running()?;
        let fits = replied.recv().map_err(|_| Error::stopped())?;
        let limit = self.0.config.max_subscriptions;
        fits.then_some(()).ok_or_else(|| {
            Error::invalid(format!(
                "client {client} has {limit} subscriptions already: raise \
                 HubConfig::max_subscriptions to allow more"
            ))
        })
    }

    /// Removes a project from a client's interest. After the last one it receives nothing. Does
    /// nothing if the client is interested in everything.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) if the client is not registered with this hub;
    /// [`Stopped`](crate::ErrorKind::Stopped) once the hub has stopped, or if the connection has
    /// ended.
    pub fn unsubscribe(&self, client: &Client, project: &str) -> Result<(), Error> {
        self.require_registered(client)?;
        self.send_command(HubCommand::Unsubscribe {
            client: client.id(),
            project: project.to_owned(),
        })
    }

    /// Sets a client's interest. The client first receives the acknowledgement, if any, then all
    /// retained messages of the projects, even if it has received them before, then live ones.
    ///
    /// ```
    /// use kentros::{Interest, Message};
    /// # fn f(hub: &kentros::HubHandle, client: &kentros::Client) -> Result<(), kentros::Error> {
    /// let joined = Message::new("joined", ["kitchen", "garden"]);
    /// hub.set_interest(client, Interest::only(["kitchen", "garden"]), Some(&joined))?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) if the client is not registered with this hub;
    /// [`Stopped`](crate::ErrorKind::Stopped) once the hub has stopped, or if the connection has
    /// ended; [`Encode`](crate::ErrorKind::Encode) if the acknowledgement is not JSON.
    pub fn set_interest(
        &self,
        client: &Client,
        interest: Interest,
        acknowledgement: Option<&Message>,
    ) -> Result<(), Error> {
        self.require_registered(client)?;
        let first = acknowledgement.map(Frame::message).transpose()?;
        let first = first.map(|frame| frame.counted(self.queued_bytes()));
        self.send_command(HubCommand::SetInterest { client: client.id(), interest, first })
    }

    /// Registers an in-process client that receives messages like any other: first the retained ones,
    /// then live ones. See [`Listener`].
    ///
    /// # Errors
    /// [`Stopped`](crate::ErrorKind::Stopped) once the hub has stopped.
    pub fn listen(&self, interest: Interest) -> Result<Listener, Error> {
        let queue = Arc::new(ListenerQueue::new(self.bounds(), Arc::clone(&self.0.counters)));
        self.0.counters.clients.increment();
        let listener = Listener::new(self.clone(), Arc::clone(&queue));
        self.send_command(HubCommand::Register(Subscriber::Listener(queue), interest))?;
        self.require_running()?;
        Ok(listener)
    }

    pub(in crate::hub) fn unregister_listener(&self, queue: &ListenerQueue) {
        if queue.set_unregistered() {
            self.0.counters.clients.decrement();
        }
        let _ = self.send_command(HubCommand::Unregister(queue.id()));
    }

    /// Returns the number of registered clients and listeners.
    pub fn client_count(&self) -> usize {
        self.0.counters.clients.get()
    }

    /// Waits until exactly `n` clients are registered. Returns false after the timeout. Useful in
    /// tests.
    ///
    /// ```
    /// use std::time::Duration;
    /// use kentros::{Hub, HubConfig};
    ///
    /// let hub = Hub::spawn(HubConfig::default())?;
    /// assert!(hub.handle().wait_for_clients(0, Duration::from_secs(5)));
    /// assert!(!hub.handle().wait_for_clients(1, Duration::from_millis(1)));
    /// # Ok::<(), kentros::Error>(())
    /// ```
    pub fn wait_for_clients(&self, n: usize, timeout: Duration) -> bool {
        self.0.counters.clients.wait_for(n, limits::time(timeout))
    }

    pub(super) fn require_registered(&self, client: &Client) -> Result<(), Error> {
        if client.is_registered_with(self.0.id)? {
            return Ok(());
        }
        self.require_running()?;
        Err(Error::invalid(format!(
            "client {} is not registered with this hub: call HubHandle::register_with first",
            client.id()
        )))
    }
}
