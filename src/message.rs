//! A message: what it is about, its JSON, and how it is kept for those who connect later.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::Error;

/// A message for clients: a kind, a payload, and optionally the project it is about.
///
/// The payload is encoded once, when the message is made, however many clients it goes to.
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
/// A message is an event by default: a client gets each one, or is evicted. A state is different:
/// a slow client skips to the newest value, and the newest is kept for clients that connect later.
///
/// ```
/// use kentros::Message;
/// // The newest of its kind, for each project.
/// let build = Message::new("build", "green").project("shop").latest();
/// // Two jobs of one project, kept apart by a key.
/// let job = |id: &str| Message::new("job", "running").project("shop").latest_of(id);
/// # let _ = (build, job("lint"), job("test"));
/// ```
#[derive(Clone, Debug)]
pub struct Message {
    kind: String,
    project: Option<String>,
    /// The payload's JSON, or why there is none: reported when the message is sent.
    payload: Result<String, String>,
    timestamp: u64,
    /// The key under which only the newest message counts.
    latest: Option<String>,
}

/// A message as it is read back from the wire.
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
    /// A message of this kind with this payload, stamped with the current second.
    ///
    /// If the payload cannot be written as JSON (a map whose keys are not strings), the call that
    /// sends the message returns the error.
    pub fn new(kind: impl Into<String>, payload: impl Serialize) -> Self {
        let payload = serde_json::to_string(&payload).map_err(|error| error.to_string());
        Self { kind: kind.into(), project: None, payload, timestamp: unix_seconds(), latest: None }
    }

    /// The same of a payload that is JSON already.
    pub(crate) fn from_json_payload(kind: &str, json: String) -> Self {
        let (kind, timestamp) = (kind.to_owned(), unix_seconds());
        Self { kind, project: None, payload: Ok(json), timestamp, latest: None }
    }

    /// Reads a message back from its JSON document.
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

    /// The same message about this project: its `project_id`.
    #[must_use]
    pub fn project(mut self, id: impl Into<String>) -> Self {
        self.project = Some(id.into());
        self
    }

    /// The same message as a state: only the newest of its kind counts, for each project.
    ///
    /// A slow client skips to the newest. A client that connects or subscribes later gets the
    /// newest at once, until [`clear_latest`](crate::HubHandle::clear_latest) removes it.
    #[must_use]
    pub fn latest(mut self) -> Self {
        self.latest = Some(self.kind.clone());
        self
    }

    /// The same message as a state: only the newest of this key counts, for each project, whatever
    /// the messages' kinds are.
    #[must_use]
    pub fn latest_of(mut self, key: impl Into<String>) -> Self {
        self.latest = Some(key.into());
        self
    }

    /// The same message, as a state if it is an event.
    pub(crate) fn state(self) -> Self {
        if self.latest.is_some() { self } else { self.latest() }
    }

    /// The kind: `type` on the wire.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The project that the message is about, if any.
    pub fn project_id(&self) -> Option<&str> {
        self.project.as_deref()
    }

    /// When the message was made, Unix seconds.
    ///
    /// ```
    /// assert!(kentros::Message::new("greeting", "hello").timestamp() > 1_700_000_000);
    /// ```
    pub fn timestamp(&self) -> u64 {
        self.timestamp
    }

    /// The payload, read as a `T`.
    ///
    /// # Errors
    /// [`ErrorKind::Encode`](crate::ErrorKind::Encode) if the payload is not a `T`.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let payload = self.payload.as_ref().map_err(Error::encode)?;
        serde_json::from_str(payload).map_err(|error| {
            Error::encode(format!(
                "the payload of {:?} is not what was asked for: {error}",
                self.kind
            ))
        })
    }

    /// The JSON document on the wire.
    ///
    /// # Errors
    /// [`ErrorKind::Encode`](crate::ErrorKind::Encode) if the payload cannot be written as JSON.
    pub fn to_json(&self) -> Result<String, Error> {
        let [head, payload, tail] = self.parts(self.project_id())?;
        Ok([head, payload, tail].concat())
    }

    /// The document in three parts, about `project`: the payload may be megabytes, and is copied
    /// once only, into its frame.
    pub(crate) fn parts(&self, project: Option<&str>) -> Result<[Cow<'_, str>; 3], Error> {
        let payload = self.payload.as_ref().map_err(Error::encode)?;
        let mut head = format!("{{\"type\":{},", quoted(&self.kind));
        if let Some(project) = project {
            head.push_str("\"project_id\":");
            head.push_str(&quoted(project));
            head.push(',');
        }
        head.push_str("\"payload\":");
        let tail = format!(",\"timestamp\":{}}}", self.timestamp);
        Ok([head.into(), payload.into(), tail.into()])
    }

    /// The key under which only the newest message about `project` counts; `None` for an event.
    pub(crate) fn conflation_key(&self, project: Option<&str>) -> Option<Arc<str>> {
        Some(conflation_key(self.latest.as_deref()?, project))
    }
}

/// The key of what is kept under `name` about `project`, or about none.
pub(crate) fn conflation_key(name: &str, project: Option<&str>) -> Arc<str> {
    match project {
        Some(project) => [name, "\0", project].concat().into(),
        None => name.into(),
    }
}

/// Whether `key` is of what is kept under `name`, about whichever project.
pub(crate) fn is_kept_under(key: &str, name: &str) -> bool {
    key.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('\0'))
}

/// A JSON string.
fn quoted(text: &str) -> String {
    // A string is always JSON.
    serde_json::to_string(text).unwrap_or_default()
}

pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_back_as_it_was() {
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
    fn what_is_kept_is_kept_apart_by_key_and_project() {
        let message = Message::new("build", ());
        assert_eq!(message.conflation_key(None), None);
        let latest = message.clone().latest();
        let key = latest.conflation_key(Some("shop")).unwrap();
        assert_ne!(Some(&*key), latest.conflation_key(None).as_deref());
        assert_ne!(Some(&*key), latest.conflation_key(Some("blog")).as_deref());
        assert_eq!(message.latest_of("build").conflation_key(Some("shop")), Some(key.clone()));
        assert!(is_kept_under(&key, "build") && is_kept_under("build", "build"));
        assert!(!is_kept_under(&key, "bui") && !is_kept_under("builds", "build"));
    }
}
