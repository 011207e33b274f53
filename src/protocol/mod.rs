//! The messages of the wire: what the hub sends, what a client may ask.

pub(crate) mod payload;
pub(crate) mod request;

use serde::Serialize;
use serde_json::value::RawValue;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::Error;

/// The project id of containers that belong to no project. No Compose project can bear it.
///
/// ```
/// use kentros::{ContainerStats, STANDALONE};
/// let row = ContainerStats { project_id: STANDALONE.into(), ..ContainerStats::default() };
/// # let _ = row;
/// ```
pub const STANDALONE: &str = "_standalone";

/// One message to clients: a kind, a payload, and perhaps the project it is about.
///
/// It is encoded when it is made, once, however many clients it goes to.
///
/// ```
/// use kentros::Message;
/// let news = Message::new("deploy", ["web", "db"]).project("shop");
/// assert_eq!((news.kind(), news.project_id()), ("deploy", Some("shop")));
/// assert!(news.to_json()?.starts_with(r#"{"type":"deploy","project_id":"shop","payload":["web","db"]"#));
///
/// // A state: whoever comes later gets the newest of its kind.
/// let weather = Message::new("weather", "rain").latest();
/// # let _ = weather;
/// # Ok::<(), kentros::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Message {
    kind: String,
    project: Option<String>,
    /// The payload's JSON, or why there is none: told when the message is sent.
    payload: Result<Box<RawValue>, String>,
    timestamp: u64,
    latest: bool,
}

#[derive(Serialize)]
struct Envelope<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    project_id: Option<&'a str>,
    payload: &'a RawValue,
    timestamp: u64,
}

impl Message {
    /// A message of this kind about `payload`, stamped with the present second.
    ///
    /// A payload that cannot be written as JSON (a map whose keys are no strings) is reported by
    /// the call that sends the message.
    pub fn new(kind: impl Into<String>, payload: impl Serialize) -> Self {
        Self {
            kind: kind.into(),
            project: None,
            payload: serde_json::value::to_raw_value(&payload).map_err(|e| e.to_string()),
            timestamp: unix_seconds(),
            latest: false,
        }
    }

    /// The same message, about this one project: its `project_id`.
    #[must_use]
    pub fn project(mut self, id: impl Into<String>) -> Self {
        self.project = Some(id.into());
        self
    }

    /// The same message, as a state rather than an event: only the newest of its kind (and
    /// project) matters. A slow client skips to the newest, and whoever connects later gets the
    /// newest at once, until it is [forgotten](crate::HubHandle::forget).
    #[must_use]
    pub fn latest(mut self) -> Self {
        self.latest = true;
        self
    }

    /// The kind: `type` on the wire.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The project the message is about, if it is about one.
    pub fn project_id(&self) -> Option<&str> {
        self.project.as_deref()
    }

    pub(crate) fn is_latest(&self) -> bool {
        self.latest
    }

    /// The JSON document on the wire.
    ///
    /// # Errors
    /// If the payload could not be written as JSON.
    pub fn to_json(&self) -> Result<String, Error> {
        let payload = self.payload.as_ref().map_err(Error::encode)?;
        serde_json::to_string(&Envelope {
            kind: &self.kind,
            project_id: self.project.as_deref(),
            payload,
            timestamp: self.timestamp,
        })
        .map_err(Error::encode)
    }
}

pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}
