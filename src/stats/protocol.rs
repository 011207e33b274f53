//! The commands that a client of the stats socket may send.

use serde::Deserialize;
use serde_json::Value;
use serde_json::json;

use crate::Message;

/// The longest history a client may request, seconds.
const MAX_HISTORY: u64 = 300;

/// Maximum length of a project id, in bytes. Compose derives container names from it, which are
/// host names.
const MAX_PROJECT_ID: usize = 255;

/// A parsed command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ClientCommand {
    Subscribe(Vec<String>),
    Unsubscribe(Vec<String>),
    /// A request for the last n seconds.
    History(u64),
}

/// Why a command was rejected: the payload of an `error` message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommandError {
    code: &'static str,
    message: String,
}

#[derive(Deserialize)]
struct CommandEnvelope {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    payload: Value,
}

/// Parses a client's message.
///
/// # Errors
/// What is wrong with the message, and what is expected.
pub(crate) fn parse(text: &str) -> Result<ClientCommand, CommandError> {
    let envelope: CommandEnvelope = serde_json::from_str(text)
        .map_err(|error| CommandError::new("bad_json", format!("invalid message: {error}")))?;
    match envelope.kind.as_str() {
        "subscribe" => parse_projects(envelope.payload).map(ClientCommand::Subscribe),
        "unsubscribe" => parse_projects(envelope.payload).map(ClientCommand::Unsubscribe),
        "history" => parse_seconds(&envelope.payload).map(ClientCommand::History),
        other => Err(CommandError::new(
            "unknown_type",
            format!("unknown type {other:?}; expected subscribe, unsubscribe or history"),
        )),
    }
}

fn parse_projects(payload: Value) -> Result<Vec<String>, CommandError> {
    let ids = match payload {
        Value::String(id) => Some(vec![id]),
        Value::Array(ids) => ids
            .into_iter()
            .map(|id| if let Value::String(id) = id { Some(id) } else { None })
            .collect(),
        _ => None,
    };
    match ids {
        Some(ids) if ids.iter().all(|id| (1..=MAX_PROJECT_ID).contains(&id.len())) => Ok(ids),
        _ => Err(CommandError::new(
            "bad_payload",
            "the payload must be a project id or an array of them",
        )),
    }
}

fn parse_seconds(payload: &Value) -> Result<u64, CommandError> {
    match payload.get("seconds").and_then(Value::as_u64) {
        Some(seconds @ 1..=MAX_HISTORY) => Ok(seconds),
        _ => Err(CommandError::new(
            "bad_payload",
            format!("the payload must be {{\"seconds\": n}} with n from 1 to {MAX_HISTORY}"),
        )),
    }
}

impl CommandError {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub(crate) fn too_many_subscriptions(limit: usize) -> Self {
        Self::new(
            "too_many_subscriptions",
            format!("cannot subscribe to more than {limit} projects; subscriptions unchanged"),
        )
    }

    pub(crate) fn busy() -> Self {
        Self::new("busy", "too many history requests in progress; try again in a few seconds")
    }

    /// The `error` message to send.
    pub(crate) fn message(&self) -> Message {
        Message::new("error", json!({"code": self.code, "message": self.message}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_code(text: &str) -> &'static str {
        parse(text).unwrap_err().code
    }

    #[test]
    fn a_subscription_names_one_or_more_projects() {
        let one = parse(r#"{"type":"subscribe","payload":"shop"}"#).unwrap();
        assert_eq!(one, ClientCommand::Subscribe(vec!["shop".into()]));
        let two = parse(r#"{"type":"unsubscribe","payload":["a","b"],"timestamp":1}"#).unwrap();
        assert_eq!(two, ClientCommand::Unsubscribe(vec!["a".into(), "b".into()]));
    }

    #[test]
    fn project_ids_are_limited_in_length() {
        let text = |n| format!(r#"{{"type":"subscribe","payload":"{}"}}"#, "x".repeat(n));
        assert!(parse(&text(MAX_PROJECT_ID)).is_ok());
        assert_eq!(error_code(&text(MAX_PROJECT_ID + 1)), "bad_payload");
    }

    #[test]
    fn history_is_limited_to_1_to_300_seconds() {
        for seconds in [1, 300] {
            let text = format!(r#"{{"type":"history","payload":{{"seconds":{seconds}}}}}"#);
            assert_eq!(parse(&text), Ok(ClientCommand::History(seconds)));
        }
        assert_eq!(error_code(r#"{"type":"history","payload":{"seconds":0}}"#), "bad_payload");
        assert_eq!(error_code(r#"{"type":"history","payload":{"seconds":301}}"#), "bad_payload");
        assert_eq!(error_code(r#"{"type":"history"}"#), "bad_payload");
    }

    #[test]
    fn each_error_has_its_code() {
        assert_eq!(error_code("hello"), "bad_json");
        assert_eq!(error_code("[]"), "bad_json");
        assert_eq!(error_code(r#"{"payload":1}"#), "bad_json");
        assert_eq!(error_code(r#"{"type":"dance"}"#), "unknown_type");
        assert_eq!(error_code(r#"{"type":"subscribe"}"#), "bad_payload");
        assert_eq!(error_code(r#"{"type":"subscribe","payload":[1]}"#), "bad_payload");
        assert_eq!(error_code(r#"{"type":"subscribe","payload":""}"#), "bad_payload");
    }
}
