//! [`HubHandle`] methods that send messages.

use std::collections::BTreeSet;
use std::time::Duration;

use crossbeam_channel::SendTimeoutError;

use crate::connection::frame::Frame;
use crate::hub::hub_loop::HubCommand;
use crate::hub::publication::Publication;
use crate::{Client, Error, HubHandle, Interest, Message};

/// How long a publisher waits while the hub's channel is full.
const PUBLISH_WAIT: Duration = Duration::from_secs(1);

impl HubHandle {
    /// Sends a message to all clients, or, if it has a project, to the clients interested in that
    /// project. Clients registered with [`Interest::none`] receive neither.
    ///
    /// Returns when the message is queued for the hub's thread, usually at once. If the queue is
    /// full, waits for up to a second. The hub never waits for a client.
    ///
    /// # Errors
    /// [`Stopped`](crate::ErrorKind::Stopped) once the hub has stopped,
    /// [`Busy`](crate::ErrorKind::Busy) if its queue was full for a second,
    /// [`Encode`](crate::ErrorKind::Encode) if the payload cannot be encoded as JSON. In each case
    /// the message was sent to no client.
    pub fn broadcast(&self, message: &Message) -> Result<(), Error> {
        self.send_for_project(message, message.project_id(), None)
    }

    /// Sends a message to the clients interested in `project`, with that project's id.
    ///
    /// # Errors
    /// Like [`broadcast`](Self::broadcast).
    pub fn broadcast_to_subscribers(&self, project: &str, message: &Message) -> Result<(), Error> {
        self.send_for_project(message, Some(project), None)
    }

    /// Sends a message to the clients interested in `project`, except for `client`. Use it to forward
    /// a client's message to the others in a room.
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
        self.send_for_project(message, Some(project), Some(client.id()))
    }

    /// Sends a message to one client, in order with the broadcasts of this thread. Never waits for
    /// the client.
    ///
    /// ```
    /// # fn f(hub: &kentros::HubHandle, client: &kentros::Client) -> Result<(), kentros::Error> {
    /// hub.send_to(client, &kentros::Message::new("welcome", client.id()))?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) if the client is not registered with this hub,
    /// [`Stopped`](crate::ErrorKind::Stopped) also if its connection has ended; otherwise like
    /// [`broadcast`](Self::broadcast).
    pub fn send_to(&self, client: &Client, message: &Message) -> Result<(), Error> {
        self.require_registered(client)?;
        let frame = Frame::message(message)?.counted(self.queued_bytes());
        self.publish(HubCommand::SendTo(client.id(), frame))
    }

    /// Like [`send_to`](Self::send_to), but waits as long as the hub is busy, for messages that a
    /// client waits for.
    pub(crate) fn reply_to(&self, client: &Client, message: &Message) -> Result<(), Error> {
        self.require_registered(client)?;
        let frame = Frame::message(message)?.counted(self.queued_bytes());
        self.send_command(HubCommand::SendTo(client.id(), frame))
    }

    /// Publishes a state whose content depends on the recipient's interest. `content` is called
    /// once for each distinct interest among the clients. The state is retained under `key`: a
    /// client that connects later, or whose interest changes, receives the messages for its
    /// interest. A slow client receives only the latest state.
    ///
    /// `content` runs on the hub's thread: it must not block or call the hub.
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
        self.publish_content(key.into(), None, content)
    }

    /// Like [`publish_by_interest`](Self::publish_by_interest), for content that depends only on
    /// whether the interest includes each of these projects. Clients for which that is the same share
    /// their messages.
    pub(crate) fn publish_content(
        &self,
        key: String,
        projects: Option<BTreeSet<String>>,
        content: impl Fn(&Interest) -> Vec<Message> + Send + Sync + 'static,
    ) -> Result<(), Error> {
        let publication = Publication::by_interest(content, projects, self.queued_bytes());
        self.publish(HubCommand::Publish { key: Some(key.into()), publication })
    }

    /// Removes the retained messages of this key, of all projects: the key of
    /// [`Message::latest_of`], or the kind of [`Message::latest`] messages. Clients that connect
    /// later no longer get them. Call it for states that are no longer needed, because each retained
    /// message takes memory.
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
        self.send_command(HubCommand::ClearLatest(vec![key.to_owned()]))
    }

    fn send_for_project(
        &self,
        message: &Message,
        project: Option<&str>,
        except: Option<u64>,
    ) -> Result<(), Error> {
        let frame = Frame::message_for(message, project)?.counted(self.queued_bytes());
        let key = frame.conflation_key().cloned();
        let publication = match project {
            Some(project) => Publication::Project { project: project.into(), frame, except },
            None => Publication::Everyone(frame),
        };
        self.publish(HubCommand::Publish { key, publication })
    }

    fn publish(&self, command: HubCommand) -> Result<(), Error> {
        // A busy publisher must not delay the shutdown.
        self.require_running()?;
        self.0.commands.send_timeout(command, PUBLISH_WAIT).map_err(|error| match error {
            SendTimeoutError::Timeout(_) => Error::busy(),
            SendTimeoutError::Disconnected(_) => Error::stopped(),
        })
    }
}

#[cfg(test)]
#[path = "publish_tests.rs"]
mod tests;
