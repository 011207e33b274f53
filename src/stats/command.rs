//! The commands that a client of the stats socket may send: pure.

use serde::Deserialize;
use serde_json::Value;
use serde_json::json;

use crate::Message;

/// The longest stretch of history a client may ask for, seconds.
const MAX_HISTORY: u64 = 300;

/// The longest project id, bytes. Compose names its containers by it, and those are host names.
const MAX_ID: usize = 255;

/// A client's message, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ClientCommand {
    Subscribe(Vec<String>),
    Unsubscribe(Vec<String>),
    /// The last so many seconds.
    History(u64),
}

/// Why a client's message was refused: the payload of an `error` message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    code: &'static str,
    message: String,
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    payload: Value,
}

/// Reads a client's message.
///
/// # Errors
/// What is wrong with it, and what would be right.
pub(crate) fn parse(text: &str) -> Result<ClientCommand, Refusal> {
    let envelope: Envelope = serde_json::from_str(text)
        .map_err(|error| Refusal::new("bad_json", format!("not a message: {error}")))?;
    match envelope.kind.as_str() {
        "subscribe" => projects(envelope.payload).map(ClientCommand::Subscribe),
        "unsubscribe" => projects(envelope.payload).map(ClientCommand::Unsubscribe),
        "history" => seconds(&envelope.payload).map(ClientCommand::History),
        other => Err(Refusal::new(
            "unknown_type",
            format!("unknown type {other:?}: subscribe, unsubscribe and history are known"),
        )),
    }
}

fn projects(payload: Value) -> Result<Vec<String>, Refusal> {
    let ids = match payload {
        Value::String(id) => Some(vec![id]),
        Value::Array(ids) => ids
            .into_iter()
            .map(|id| if let Value::String(id) = id { Some(id) } else { None })
            .collect(),
        _ => None,
    };
    match ids {
        Some(ids) if ids.iter().all(|id| (1..=MAX_ID).contains(&id.len())) => Ok(ids),
        _ => {
            Err(Refusal::new("bad_payload", "the payload must be a project id or an array of them"))
        }
    }
}

fn seconds(payload: &Value) -> Result<u64, Refusal> {
    match payload.get("seconds").and_then(Value::as_u64) {
        Some(seconds @ 1..=MAX_HISTORY) => Ok(seconds),
        _ => Err(Refusal::new(
            "bad_payload",
            format!("the payload must be {{\"seconds\": n}} with n from 1 to {MAX_HISTORY}"),
        )),
    }
}

impl Refusal {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub(crate) fn too_many_subscriptions(limit: usize) -> Self {
        Self::new("too_many_subscriptions", format!("at most {limit} projects; nothing changed"))
    }

    pub(crate) fn busy() -> Self {
        Self::new("busy", "much history is on its way to others: ask again in some seconds")
    }

    /// The `error` message for the client.
    pub(crate) fn message(&self) -> Message {
        Message::new("error", json!({"code": self.code, "message": self.message}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> &'static str {
        parse(text).unwrap_err().code
    }

    #[test]
    fn a_subscription_names_one_project_or_several() {
        let one = parse(r#"{"type":"subscribe","payload":"shop"}"#).unwrap();
        assert_eq!(one, ClientCommand::Subscribe(vec!["shop".into()]));
        let two = parse(r#"{"type":"unsubscribe","payload":["a","b"],"timestamp":1}"#).unwrap();
        assert_eq!(two, ClientCommand::Unsubscribe(vec!["a".into(), "b".into()]));
    }

    #[test]
    fn the_longest_project_id_is_taken_and_the_next_refused() {
        let text = |n| format!(r#"{{"type":"subscribe","payload":"{}"}}"#, "x".repeat(n));
        assert!(parse(&text(MAX_ID)).is_ok());
        assert_eq!(refused(&text(MAX_ID + 1)), "bad_payload");
    }

    #[test]
    fn history_is_for_1_to_300_seconds() {
        for seconds in [1, 300] {
            let text = format!(r#"{{"type":"history","payload":{{"seconds":{seconds}}}}}"#);
            assert_eq!(parse(&text), Ok(ClientCommand::History(seconds)));
        }
        assert_eq!(refused(r#"{"type":"history","payload":{"seconds":0}}"#), "bad_payload");
        assert_eq!(refused(r#"{"type":"history","payload":{"seconds":301}}"#), "bad_payload");
        assert_eq!(refused(r#"{"type":"history"}"#), "bad_payload");
    }

    #[test]
    fn each_fault_has_its_code() {
        assert_eq!(refused("hello"), "bad_json");
        assert_eq!(refused("[]"), "bad_json");
        assert_eq!(refused(r#"{"payload":1}"#), "bad_json");
        assert_eq!(refused(r#"{"type":"dance"}"#), "unknown_type");
        assert_eq!(refused(r#"{"type":"subscribe"}"#), "bad_payload");
        assert_eq!(refused(r#"{"type":"subscribe","payload":[1]}"#), "bad_payload");
        assert_eq!(refused(r#"{"type":"subscribe","payload":""}"#), "bad_payload");
    }
}
