//! Publishing through a handle.

use std::time::Duration;

use crossbeam_channel::SendTimeoutError;

use crate::connection::frame::Frame;
use crate::hub::hub_loop::Command;
use crate::hub::publication::Publication;
use crate::{Client, Error, HubHandle, Interest, Message};

/// How long a publisher waits while the inbox is full.
const PUBLISH_WAIT: Duration = Duration::from_secs(1);

impl HubHandle {
    /// Sends a message: about a project, to the clients interested in it; about none, to every
    /// client but those interested in nothing.
    ///
    /// Returns when the hub has taken the message: at once, or within a second when the hub has a
    /// backlog. The hub never waits for a client.
    ///
    /// # Errors
    /// [`Stopped`](crate::ErrorKind::Stopped) once the hub has stopped,
    /// [`Busy`](crate::ErrorKind::Busy) if the hub had no room for a second,
    /// [`Encode`](crate::ErrorKind::Encode) if the payload is not JSON. The message then went to no
    /// client.
    pub fn broadcast(&self, message: &Message) -> Result<(), Error> {
        self.send_about(message, message.project_id(), None)
    }

    /// Sends a message to the clients interested in `project`. The message bears the project's id.
    ///
    /// # Errors
    /// Like [`broadcast`](Self::broadcast).
    pub fn broadcast_to_subscribers(&self, project: &str, message: &Message) -> Result<(), Error> {
        self.send_about(message, Some(project), None)
    }

    /// Sends a message to the clients interested in `project`, except for `client`: what a member
    /// says to the others in a room.
    ///
    /// ```
    /// # fn f(hub: &kentros::HubHandle, client: &kentros::Client) -> Result<(), kentros::Error> {
    /// hub.broadcast_except("kitchen", client, &kentros::Message::new("said", "hello"))?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Like [`broadcast`](Self::broadcast).
    pub fn broadcast_except(
        &self,
        project: &str,
        client: &Client,
        message: &Message,
    ) -> Result<(), Error> {
        self.send_about(message, Some(project), Some(client.id()))
    }

    /// Sends a message to one client that is registered with this hub, in order with what this
    /// thread broadcasts. Never waits for the client.
    ///
    /// ```
    /// # fn f(hub: &kentros::HubHandle, client: &kentros::Client) -> Result<(), kentros::Error> {
    /// hub.send_to(client, &kentros::Message::new("welcome", client.id()))?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) if the client is not registered with this hub,
    /// [`Stopped`](crate::ErrorKind::Stopped) also if its connection has ended; else like
    /// [`broadcast`](Self::broadcast).
    pub fn send_to(&self, client: &Client, message: &Message) -> Result<(), Error> {
        self.registered(client)?;
        self.publish(Command::SendTo(client.id(), Frame::message(message)?))
    }

    /// Publishes a state whose content depends on who receives it: `content` is called with each
    /// distinct interest among the clients, and its messages are encoded once for all clients that
    /// share it now. It is retained under `key`: a client that connects later, or whose interest
    /// changes, gets the messages for its interest at once. A slow client skips to the newest.
    ///
    /// `content` runs on the hub's thread: it must not wait, nor call the hub.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    /// use kentros::{Hub, HubConfig, Interest, Message};
    ///
    /// let hub = Hub::spawn(HubConfig::default())?;
    /// let listener = hub.handle().listen(Interest::only(["shop"]))?;
    /// let stock = BTreeMap::from([("shop", 3), ("depot", 400)]);
    /// hub.handle().publish_by_interest("stock", move |interest| {
    ///     let visible: BTreeMap<_, _> =
    ///         stock.iter().filter(|(place, _)| interest.includes(place)).collect();
    ///     vec![Message::new("stock", visible)]
    /// })?;
    /// let stock: BTreeMap<String, u32> = listener.next().unwrap().payload()?;
    /// assert_eq!(stock, BTreeMap::from([("shop".to_owned(), 3)]));
    /// # Ok::<(), kentros::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Stopped`](crate::ErrorKind::Stopped) and [`Busy`](crate::ErrorKind::Busy), like
    /// [`broadcast`](Self::broadcast).
    pub fn publish_by_interest(
        &self,
        key: impl Into<String>,
        content: impl Fn(&Interest) -> Vec<Message> + Send + Sync + 'static,
    ) -> Result<(), Error> {
        let publication = Publication::by_interest(content);
        self.publish(Command::Publish { key: Some(key.into().into()), publication })
    }

    /// Removes the retained messages of this key: the key of [`Message::latest_of`], or the kind of
    /// messages sent with [`Message::latest`], of every project. Clients that connect later no
    /// longer get them. Use it for what is over: each retained message takes memory.
    ///
    /// ```
    /// use kentros::{Hub, HubConfig, Message};
    ///
    /// let hub = Hub::spawn(HubConfig::default())?;
    /// let handle = hub.handle();
    /// handle.broadcast(&Message::new("job", "running").project("shop").latest_of("job-7"))?;
    /// handle.clear_latest("job-7")?;
    /// # Ok::<(), kentros::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Stopped`](crate::ErrorKind::Stopped) once the hub has stopped.
    pub fn clear_latest(&self, key: &str) -> Result<(), Error> {
        self.command(Command::ClearLatest(vec![key.to_owned()]))
    }

    fn send_about(
        &self,
        message: &Message,
        project: Option<&str>,
        except: Option<u64>,
    ) -> Result<(), Error> {
        let frame = Frame::message_about(message, project)?;
        let key = frame.conflation_key().cloned();
        let publication = match project {
            Some(project) => Publication::Project { project: project.into(), frame, except },
            None => Publication::Everyone(frame),
        };
        self.publish(Command::Publish { key, publication })
    }

    fn publish(&self, command: Command) -> Result<(), Error> {
        // A busy publisher must not keep the hub from its end.
        self.must_run()?;
        self.0.commands.send_timeout(command, PUBLISH_WAIT).map_err(|error| match error {
            SendTimeoutError::Timeout(_) => Error::busy(),
            SendTimeoutError::Disconnected(_) => Error::stopped(),
        })
    }
}

#[cfg(test)]
#[path = "publish_tests.rs"]
mod tests;
