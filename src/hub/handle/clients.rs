//! Clients, listeners and their interests, through a handle.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::bounded;

use super::Shared;
use crate::connection::frame::Frame;
use crate::hub::SHUTTING_DOWN;
use crate::hub::hub_loop::Command;
use crate::hub::listener::{Listener, Mailbox};
use crate::hub::subscriber::Subscriber;
use crate::{Client, Error, HubHandle, Interest, Message, limits};

impl HubHandle {
    /// Registers a client for every message: [`register_with`](Self::register_with) and
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

    /// Registers a client: from now on the hub sends it what it is interested in, first the
    /// retained messages, then live ones, without a gap. A client that is registered already gets
    /// this interest.
    ///
    /// The client is unregistered when its connection ends, whichever server it belongs to.
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
        // Counted before the client can see any answer: a connected client is counted.
        if client.enter(self.0.id, Arc::<Shared>::clone(&self.0))? {
            self.0.counters.clients.increment();
        }
        let sent = self.command(Command::Register(Subscriber::Client(client.clone()), interest));
        if sent.is_err() || self.0.stopping.load(Ordering::SeqCst) {
            // The hub may have taken its last command before this one.
            if client.leave(self.0.id) {
                self.0.counters.clients.decrement();
            }
            client.close(1001, SHUTTING_DOWN);
        }
        sent
    }

    /// Unregisters a client. Its connection stays open. Does nothing if it is not registered.
    ///
    /// # Errors
    /// [`Stopped`](crate::ErrorKind::Stopped) once the hub has stopped.
    pub fn unregister(&self, client: &Client) -> Result<(), Error> {
        if client.leave(self.0.id) {
            self.0.counters.clients.decrement();
        }
        self.command(Command::Unregister(client.id()))
    }

    /// Adds a project to a client's interest; its retained messages follow at once. A client
    /// interested in everything receives this project alone from now on. Waits for the hub's
    /// answer.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) if the client is not registered with this hub, or
    /// has [`max_subscriptions`](crate::HubConfig::max_subscriptions) already;
    /// [`Stopped`](crate::ErrorKind::Stopped) once the hub has stopped, or if the connection has
    /// ended.
    pub fn subscribe(&self, client: &Client, project: impl Into<String>) -> Result<(), Error> {
        self.registered(client)?;
        let (answer, answered) = bounded(1);
        let (client, project) = (client.id(), project.into());
        self.command(Command::Subscribe { client, project, answer })?;
        self.must_run()?;
        let fits = answered.recv().map_err(|_| Error::stopped())?;
        let limit = self.0.config.max_subscriptions;
        fits.then_some(()).ok_or_else(|| {
            Error::invalid(format!(
                "client {client} has {limit} subscriptions already: HubConfig::max_subscriptions \
                 allows more"
            ))
        })
    }

    /// Removes a project from a client's interest. Without the last one it receives nothing. Does
    /// nothing if the client is interested in everything.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) if the client is not registered with this hub;
    /// [`Stopped`](crate::ErrorKind::Stopped) once the hub has stopped, or if the connection has
    /// ended.
    pub fn unsubscribe(&self, client: &Client, project: &str) -> Result<(), Error> {
        self.registered(client)?;
        self.command(Command::Unsubscribe { client: client.id(), project: project.to_owned() })
    }

    /// Sets a client's interest. The acknowledgement, if any, comes first, then all retained
    /// messages of these projects, also those that the client has received before, then live ones.
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
        self.registered(client)?;
        let first = acknowledgement.map(Frame::message).transpose()?;
        self.command(Command::SetInterest { client: client.id(), interest, first })
    }

    /// Receives messages in this process, as a client does: the retained ones first, then live
    /// ones. It counts as a client. See [`Listener`].
    ///
    /// # Errors
    /// [`Stopped`](crate::ErrorKind::Stopped) once the hub has stopped.
    pub fn listen(&self, interest: Interest) -> Result<Listener, Error> {
        let mailbox = Arc::new(Mailbox::new(self.bounds(), Arc::clone(&self.0.counters)));
        self.0.counters.clients.increment();
        let listener = Listener::new(self.clone(), Arc::clone(&mailbox));
        self.command(Command::Register(Subscriber::Listener(mailbox), interest))?;
        self.must_run()?;
        Ok(listener)
    }

    pub(in crate::hub) fn unregister_listener(&self, mailbox: &Mailbox) {
        if mailbox.leave() {
            self.0.counters.clients.decrement();
        }
        let _ = self.command(Command::Unregister(mailbox.id()));
    }

    /// The number of registered clients and listeners.
    pub fn client_count(&self) -> usize {
        self.0.counters.clients.get()
    }

    /// Waits until exactly `n` clients are registered; `false` if they are not within this time.
    /// For tests, and for programs that begin once everyone is there.
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
    pub fn wait_for_clients(&self, n: usize, within: Duration) -> bool {
        self.0.counters.clients.wait_for(n, limits::time(within))
    }

    pub(super) fn registered(&self, client: &Client) -> Result<(), Error> {
        if client.is_in(self.0.id)? {
            return Ok(());
        }
        self.must_run()?;
        Err(Error::invalid(format!(
            "client {} is not registered with this hub: call HubHandle::register_with first",
            client.id()
        )))
    }
}
