//! Messages and their JSON.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::Error;

/// A message for clients, with a kind, a payload and optionally a project.
///
/// The payload is encoded once, when the message is created.
///
/// # Examples
///
/// ```
/// use kentros::Message;
/// let deployed = Message::new("deploy", ["web", "db"]).project("shop");
/// assert_eq!((deployed.kind(), deployed.project_id()), ("deploy", Some("shop")));
/// assert_eq!(deployed.payload::<Vec<String>>()?, ["web", "db"]);
/// assert!(deployed.to_json()?.starts_with(r#"{"type":"deploy","project_id":"shop","payload":["web","db"]"#));
/// # Ok::<(), kentros::Error>(())
/// ```
///
/// # Events and states
///
/// By default a message is an event: each client receives all of them, or is evicted if it is too
/// slow. Of a state, a slow client receives only the latest value, and so do clients that connect
/// later.
///
/// ```
/// use kentros::Message;
/// // One value per kind and project.
/// let build = Message::new("build", "green").project("shop").latest();
/// // One value per key and project.
/// let job = |id: &str| Message::new("job", "running").project("shop").latest_of(id);
/// # let _ = (build, job("lint"), job("test"));
/// ```
#[derive(Clone, Debug)]
pub struct Message {
    kind: String,
    project: Option<String>,
    /// The payload's JSON, or the error, which is returned when the message is sent.
    payload: Result<String, String>,
    timestamp: u64,
    /// The key of a state; `None` for an event.
    latest: Option<String>,
}

/// A message parsed from its JSON.
#[derive(Deserialize)]
struct WireMessage<'a> {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    project_id: Option<String>,
    #[serde(borrow, default)]
    payload: Option<&'a RawValue>,
    #[serde(default)]
    timestamp: u64,
}

impl Message {
    /// Creates a message with the current time as its timestamp.
    ///
    /// If the payload cannot be serialized as JSON (a map whose keys are not strings, for example),
    /// the method that sends the message returns the error.
    pub fn new(kind: impl Into<String>, payload: impl Serialize) -> Self {
        let payload = serde_json::to_string(&payload).map_err(|error| error.to_string());
        Self { kind: kind.into(), project: None, payload, timestamp: unix_seconds(), latest: None }
    }

    /// Creates a message with a payload that is already JSON.
    pub(crate) fn from_json_payload(kind: &str, json: String) -> Self {
        let (kind, timestamp) = (kind.to_owned(), unix_seconds());
        Self { kind, project: None, payload: Ok(json), timestamp, latest: None }
    }

    /// Sets the timestamp, in seconds since the Unix epoch.
    pub(crate) fn at(mut self, timestamp: u64) -> Self {
        self.timestamp = timestamp;
        self
    }

    /// Parses a message's JSON.
    pub(crate) fn from_json(json: &str) -> Option<Self> {
        let envelope: WireMessage<'_> = serde_json::from_str(json).ok()?;
        Some(Self {
            kind: envelope.kind,
            project: envelope.project_id,
            payload: Ok(envelope.payload.map_or("null", RawValue::get).to_owned()),
            timestamp: envelope.timestamp,
            latest: None,
        })
    }

    /// Sets the project: `project_id` in the JSON.
    #[must_use]
    pub fn project(mut self, id: impl Into<String>) -> Self {
        self.project = Some(id.into());
        self
    }

    /// Makes the message a state, with one value per kind and project.
    ///
    /// A slow client receives only the latest value. Clients that connect or subscribe later
    /// receive it too, until [`clear_latest`](crate::HubHandle::clear_latest) removes it.
    #[must_use]
    pub fn latest(mut self) -> Self {
        self.latest = Some(self.kind.clone());
        self
    }

    /// Makes the message a state, with one value per `key` and project instead of per kind.
    #[must_use]
    pub fn latest_of(mut self, key: impl Into<String>) -> Self {
        self.latest = Some(key.into());
        self
    }

    /// Makes the message a state unless it already is one.
    pub(crate) fn state(self) -> Self {
        if self.latest.is_some() { self } else { self.latest() }
    }

    /// Returns the kind: `type` in the JSON.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Returns the project, if there is one.
    pub fn project_id(&self) -> Option<&str> {
        self.project.as_deref()
    }

    /// Returns the time when the message was created, in seconds since the Unix epoch.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(kentros::Message::new("greeting", "hello").timestamp() > 1_700_000_000);
    /// ```
    pub fn timestamp(&self) -> u64 {
        self.timestamp
    }

    /// Deserializes the payload.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Encode`](crate::ErrorKind::Encode) if the payload is not a `T`.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let payload = self.payload.as_ref().map_err(Error::encode)?;
        serde_json::from_str(payload).map_err(|error| {
            Error::encode(format!("unexpected payload of message {:?}: {error}", self.kind))
        })
    }

    /// Returns the message as JSON, as it is sent to clients.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Encode`](crate::ErrorKind::Encode) if the payload could not be
    /// serialized.
    pub fn to_json(&self) -> Result<String, Error> {
        let [head, payload, tail] = self.parts(self.project_id())?;
        Ok([head, payload, tail].concat())
    }

    /// The JSON in three parts, with this `project_id`. The payload may be megabytes; this way it
    /// is copied only once, into its frame.
    pub(crate) fn parts(&self, project: Option<&str>) -> Result<[Cow<'_, str>; 3], Error> {
        let payload = self.payload.as_ref().map_err(Error::encode)?;
        let mut head = format!("{{\"type\":{},", json_string(&self.kind));
        if let Some(project) = project {
            head.push_str("\"project_id\":");
            head.push_str(&json_string(project));
            head.push(',');
        }
        head.push_str("\"payload\":");
        let tail = format!(",\"timestamp\":{}}}", self.timestamp);
        Ok([head.into(), payload.into(), tail.into()])
    }

    /// The conflation key for this project; `None` for an event.
    pub(crate) fn conflation_key(&self, project: Option<&str>) -> Option<Arc<str>> {
        Some(conflation_key(self.latest.as_deref()?, project))
    }
}

/// The conflation key of the states named `name`, a kind or a key, for this project.
pub(crate) fn conflation_key(name: &str, project: Option<&str>) -> Arc<str> {
    match project {
        Some(project) => [name, "\0", project].concat().into(),
        None => name.into(),
    }
}

/// Whether a conflation key belongs to the states named `name`, for any project.
pub(crate) fn is_key_of(key: &str, name: &str) -> bool {
    key.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('\0'))
}

fn json_string(text: &str) -> String {
    // Serializing a string cannot fail.
    serde_json::to_string(text).unwrap_or_default()
}

pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_survives_a_round_trip_through_json() {
        for project in [None, Some("a \"quoted\" \\ project"), Some("")] {
            let mut message = Message::new("k\n\"", serde_json::json!({"a": [1, null, "\u{1}"]}));
            message.project = project.map(str::to_owned);
            let json = message.to_json().unwrap();
            let back = Message::from_json(&json).unwrap();
            assert_eq!(back.to_json().unwrap(), json);
            assert_eq!((back.kind(), back.project_id()), (message.kind(), project));
            assert_eq!(back.timestamp(), message.timestamp());
        }
        assert!(Message::from_json("[]").is_none());
    }

    #[test]
    fn states_differ_by_key_and_project() {
        let message = Message::new("build", ());
        assert_eq!(message.conflation_key(None), None);
        let latest = message.clone().latest();
        let key = latest.conflation_key(Some("shop")).unwrap();
        assert_ne!(Some(&*key), latest.conflation_key(None).as_deref());
        assert_ne!(Some(&*key), latest.conflation_key(Some("blog")).as_deref());
        assert_eq!(message.latest_of("build").conflation_key(Some("shop")), Some(key.clone()));
        assert!(is_key_of(&key, "build") && is_key_of("build", "build"));
        assert!(!is_key_of(&key, "bui") && !is_key_of("builds", "build"));
    }
}
