//! The Engine API calls kentros makes. All are GET requests.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// An Engine API call. A socket proxy must allow these and nothing else.
#[derive(Clone, Copy, Debug)]
pub(crate) enum EngineCall<'a> {
    /// Health check; the headers carry the API version.
    Ping,
    /// The engine's version.
    Version,
    /// The stream of container events, from `since` (Unix seconds) on.
    Events { since: u64, filter: EventFilter },
    /// The list of running containers, or of all.
    List { all: bool },
    /// The list of the containers with these ids, in any state.
    ListOnly(&'a [String]),
    /// One stats sample of a container.
    OneShot(&'a str),
    /// The stats stream of a container: one sample per second.
    Stream(&'a str),
    /// The CPU limit and start time of a container.
    Inspect(&'a str),
    /// Podman's stats stream of all containers: one frame per second.
    PodmanStats,
}

/// The event actions that change what clients see. Docker filters by them, because each health
/// check sends three `exec_*` events.
pub(crate) const EVENT_ACTIONS: &[&str] = &[
    "create",
    "start",
    "die",
    "destroy",
    "pause",
    "unpause",
    "rename",
    "update",
    "oom",
    "health_status",
];

/// Which events to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventFilter {
    /// Container events with an action of [`EVENT_ACTIONS`].
    ByAction,
    /// All container events: Podman cannot filter by several actions.
    ByType,
}

impl EngineCall<'_> {
    /// The path and query of the request, for this API version.
    pub(crate) fn path(&self, version: &str) -> String {
        match self {
            EngineCall::Ping => "/_ping".to_owned(),
            EngineCall::Version => "/version".to_owned(),
            EngineCall::Events { since, filter } => {
                let filters = match filter {
                    EventFilter::ByType => r#"{"type":["container"]}"#.to_owned(),
                    EventFilter::ByAction => {
                        format!(r#"{{"type":["container"],"event":{}}}"#, json_list(EVENT_ACTIONS))
                    }
                };
                format!(
                    "/v{version}/events?since={since}&filters={}",
                    utf8_percent_encode(&filters, NON_ALPHANUMERIC)
                )
            }
            EngineCall::List { all: false } => format!("/v{version}/containers/json"),
            EngineCall::List { all: true } => format!("/v{version}/containers/json?all=1"),
            EngineCall::ListOnly(ids) => {
                let filters = format!(r#"{{"id":{}}}"#, json_list(ids));
                format!(
                    "/v{version}/containers/json?all=1&filters={}",
                    utf8_percent_encode(&filters, NON_ALPHANUMERIC)
                )
            }
            EngineCall::OneShot(id) => {
                format!("/v{version}/containers/{id}/stats?stream=false&one-shot=true")
            }
            EngineCall::Stream(id) => format!("/v{version}/containers/{id}/stats?stream=true"),
            EngineCall::Inspect(id) => format!("/v{version}/containers/{id}/json"),
            EngineCall::PodmanStats => {
                "/v4.0.0/libpod/containers/stats?stream=true&interval=1".to_owned()
            }
        }
    }
}

/// Whether `target`, a path and query, is an allowed call. Every request is checked here, so that
/// no bug elsewhere can make kentros send anything else to an engine.
pub(crate) fn is_allowed(target: &str) -> bool {
    let (path, _) = target.split_once('?').unwrap_or((target, ""));
    let parts: Vec<&str> = path.split('/').collect();
    target.bytes().all(|b| b.is_ascii_graphic() && b != b'#')
        && match parts[..] {
            ["", "_ping" | "version"] => true,
            ["", version, ref call @ ..] if is_version(version) => match *call {
                ["events"] | ["containers", "json"] | ["libpod", "containers", "stats"] => true,
                ["containers", id, "json" | "stats"] => is_plain_id(id),
                _ => false,
            },
            _ => false,
        }
}

/// `v1.41`, `v4.0.0`.
fn is_version(part: &str) -> bool {
    let number = |n: &str| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit());
    part.strip_prefix('v').is_some_and(|numbers| numbers.split('.').all(number))
}

/// Maximum length of an id, in bytes.
const MAX_ID: usize = 128;

/// Whether an id is short and needs no escaping in a path. The engine's ids are 64 hexadecimal
/// digits.
pub(crate) fn is_plain_id(id: &str) -> bool {
    (1..=MAX_ID).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric())
}

fn json_list(words: &[impl AsRef<str>]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{}\"", word.as_ref())).collect();
    format!("[{}]", quoted.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_json_and_percent_encoded() {
        let ids = ["c0ffee".to_owned(), "beef".to_owned()];
        assert_eq!(
            EngineCall::ListOnly(&ids).path("1.41"),
            "/v1.41/containers/json?all=1&filters=%7B%22id%22%3A%5B%22c0ffee%22%2C%22beef%22%5D%7D"
        );
        let all = EngineCall::Events { since: 7, filter: EventFilter::ByType }.path("1.51");
        assert_eq!(all, "/v1.51/events?since=7&filters=%7B%22type%22%3A%5B%22container%22%5D%7D");
    }

    #[test]
    fn only_the_listed_calls_are_allowed() {
        let id = "0123456789abcdef".repeat(4);
        let ids = [id.clone()];
        for call in [
            EngineCall::Ping,
            EngineCall::Version,
            EngineCall::Events { since: 7, filter: EventFilter::ByType },
            EngineCall::Events { since: 7, filter: EventFilter::ByAction },
            EngineCall::List { all: false },
            EngineCall::List { all: true },
            EngineCall::ListOnly(&ids),
            EngineCall::OneShot(&id),
            EngineCall::Stream(&id),
            EngineCall::Inspect(&id),
            EngineCall::PodmanStats,
        ] {
            let path = call.path("1.41");
            assert!(is_allowed(&path), "{path}");
        }
        for call in [
            EngineCall::OneShot("../info"),
            EngineCall::Inspect("a/b"),
            EngineCall::Stream("a?b=/stats"),
        ] {
            let path = call.path("1.41");
            assert!(!is_allowed(&path), "{path}");
        }
        assert!(!is_allowed(&EngineCall::List { all: true }.path("1.41/containers/a/kill?")));
        for path in [
            "",
            "/",
            "/info",
            "/_ping/",
            "/_pings",
            "//_ping",
            "_ping",
            "/version/../info",
            "/v1.41/info",
            "/v1.41/version",
            "/v1.41/containers/create",
            "/v1.41/containers/json/",
            "/v1.41/containers/prune?x=/containers/json",
            "/v1.41/containers/c0ffee/start",
            "/v1.41/containers/c0ffee/kill",
            "/v1.41/containers/c0ffee/exec",
            "/v1.41/containers/c0ffee/archive?path=/etc/shadow",
            "/v1.41/containers/c0ffee/attach/ws",
            "/v1.41/containers/c0ffee/logs?stdout=1",
            "/v1.41/containers/c0ffee%2Fstart/json",
            "/v1.41/containers/../json",
            "/v1.41/containers//json",
            "/v1.41/images/json",
            "/v1.41/exec/c0ffee/start",
            "/v1.41/secrets",
            "/v4.0.0/libpod/containers/c0ffee/stop",
            "/v4.0.0/libpod/info",
            "/v/events",
            "/v1./events",
            "/vx/events",
            "/events",
            "/containers/json",
            "/v1.41/events?a b",
            "/v1.41/events#x",
            "/v1.41/events\r\nPOST /containers/create",
            "/v1.41/events?x=\r\n",
            "http://engine/v1.41/events",
        ] {
            assert!(!is_allowed(path), "{path:?}");
        }
    }

    #[test]
    fn only_plain_ids_go_into_a_path() {
        assert!(is_plain_id("411346df7b94"));
        assert!(is_plain_id(&"a".repeat(MAX_ID)) && !is_plain_id(&"a".repeat(MAX_ID + 1)));
        for id in ["", "../version", "a/b", "a?b", "a b", "é"] {
            assert!(!is_plain_id(id), "{id}");
        }
    }
}
