//! The stats that `kentros top` and `kentros stats` show, from an engine or from the stats socket of
//! a running kentros.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::io::ErrorKind;
use std::net::ToSocketAddrs as _;
use std::thread;
use std::time::{Duration, Instant};

use kentros::{
    ContainerStats, DockerHost, DockerSource, EngineInfo, EngineState, EngineStatus, Interest,
    ProjectTotals, StatsSource as _, Token,
};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use tungstenite::http::Uri;
use tungstenite::http::uri::InvalidUri;
use tungstenite::{ClientRequestBuilder, Error as WsError, HandshakeError, Message, WebSocket};

use crate::tcp::{self, DeadlineStream, TIMEOUT, is_timeout};

/// Where to read stats from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FeedTarget {
    Engine(DockerHost),
    /// The URL of the stats socket of a running kentros, and the token.
    Hub(String, Option<Token>),
}

impl fmt::Display for FeedTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Engine(host) => host.fmt(f),
            Self::Hub(url, _) => url.fmt(f),
        }
    }
}

/// Stats by container id.
pub(crate) type StatsByContainer = BTreeMap<String, ContainerStats>;

/// Totals by project id.
pub(crate) type TotalsByProject = BTreeMap<String, ProjectTotals>;

/// The parts of the stats that changed. An engine sample sets all, a message of a hub one.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct StatsUpdate {
    pub(crate) container_stats: Option<StatsByContainer>,
    pub(crate) project_stats: Option<TotalsByProject>,
    pub(crate) engine_status: Option<EngineStatus>,
}

/// The connection to a hub is lost after this time without a message.
const HUB_TIMEOUT: Duration = Duration::from_secs(30);

/// A blocking stream of updates.
pub(crate) enum StatsFeed {
    Engine { source: Box<DockerSource>, interest: Interest, interval: Duration, next: Instant },
    Hub(Box<HubSocket>),
}

type HubSocket = WebSocket<DeadlineStream>;

impl StatsFeed {
    /// Opens a feed for one project, or for all. `interval` is the time between two samples of an
    /// engine. By the deadline, a hub must have accepted the subscription to the project.
    ///
    /// # Errors
    /// The hub is not reachable. The engine is first contacted by [`next`](Self::next).
    pub(crate) fn open(
        target: &FeedTarget,
        project: Option<&str>,
        interval: Duration,
        deadline: Option<Instant>,
    ) -> Result<Self, Box<dyn Error>> {
        Ok(match target {
            FeedTarget::Engine(host) => Self::Engine {
                source: Box::new(DockerSource::new(host.clone())),
                interest: project.map_or_else(Interest::all, |project| Interest::only([project])),
                interval,
                next: Instant::now(),
            },
            FeedTarget::Hub(url, token) => {
                Self::Hub(Box::new(connect_hub(url, token.as_ref(), project, deadline)?))
            }
        })
    }

    /// Waits for the next engine sample or hub message. Returns `None` if a hub has sent nothing by
    /// the deadline, which engines ignore.
    ///
    /// # Errors
    /// There is no update. An engine feed can be used again, a hub feed must be reopened.
    pub(crate) fn next(
        &mut self,
        deadline: Option<Instant>,
    ) -> Result<Option<StatsUpdate>, Box<dyn Error>> {
        match self {
            Self::Engine { source, interest, interval, next } => {
                thread::sleep(next.saturating_duration_since(Instant::now()));
                *next = (*next + *interval).max(Instant::now());
                let mut update: StatsUpdate = match source.collect(interest) {
                    Ok(snapshot) => serde_json::from_str(&snapshot.to_json())?,
                    Err(_) if source.engine_info().connecting => StatsUpdate::default(),
                    Err(error) => return Err(error.to_string().into()),
                };
                update.engine_status = Some(engine_status(&source.engine_info(), *interval));
                Ok(Some(update))
            }
            Self::Hub(socket) => loop {
                let Some(text) = read_text(socket, deadline)? else { return Ok(None) };
                if let Some(update) = parse_update(&text)? {
                    return Ok(Some(update));
                }
            },
        }
    }
}

/// The status of an engine that answers.
fn engine_status(info: &EngineInfo, interval: Duration) -> EngineStatus {
    let state = if info.connecting { EngineState::Connecting } else { EngineState::Connected };
    let mut status = EngineStatus::new(state);
    status.engine.clone_from(&info.engine);
    status.version.clone_from(&info.version);
    let interval = info.interval.unwrap_or(interval);
    status.interval_ms = interval.as_millis().try_into().unwrap_or(u64::MAX);
    status
}

fn connect_hub(
    url: &str,
    token: Option<&Token>,
    project: Option<&str>,
    deadline: Option<Instant>,
) -> Result<HubSocket, Box<dyn Error>> {
    let failed = |why: String| {
        format!("cannot connect to {url}: {why}. Check that kentros is running at this address")
    };
    let uri: Uri = url.parse().map_err(|error: InvalidUri| failed(error.to_string()))?;
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let stream = (host, uri.port_u16().unwrap_or(80))
        .to_socket_addrs()
        .and_then(tcp::connect)
        .map_err(|error| failed(tcp::describe(&error, TIMEOUT)))?;
    let mut request = ClientRequestBuilder::new(uri);
    if let Some(token) = token {
        request = request.with_header("Authorization", format!("Bearer {}", token.expose()));
    }
    let handshake = tungstenite::client(request, stream).map_err(|error| match error {
        HandshakeError::Failure(error) => error,
        HandshakeError::Interrupted(_) => WsError::Io(ErrorKind::TimedOut.into()),
    });
    let (mut socket, _) = handshake.map_err(|error| match error {
        WsError::Http(response) if response.status() == 401 && token.is_none() => {
            format!("{url} requires a token. Set it with --token-file or KENTROS_TOKEN")
        }
        WsError::Http(response) if response.status() == 401 => {
            format!("{url} rejected the token. Use the token of that server")
        }
        WsError::Http(response) if response.status() == 429 => {
            let seconds =
                response.headers().get("retry-after").and_then(|value| value.to_str().ok());
            let seconds = seconds.unwrap_or("32");
            format!(
                "{url} rejected the connection: it received too many wrong tokens from this address. \
                 Try again in {seconds} s"
            )
        }
        error => failed(describe(&error, TIMEOUT)),
    })?;
    if let Some(project) = project {
        let subscribe = json!({"type": "subscribe", "payload": project});
        socket
            .send(Message::text(subscribe.to_string()))
            .map_err(|error| failed(describe(&error, TIMEOUT)))?;
        let deadline = deadline.unwrap_or_else(|| Instant::now() + HUB_TIMEOUT);
        // Messages before the reply are about all projects: skip them.
        loop {
            match read_text(&mut socket, Some(deadline))? {
                Some(text) if parse_message(&text)?.kind == "subscribed" => break,
                Some(_) => {}
                None => return Err(failed("no reply to the subscription".to_owned()).into()),
            }
        }
    }
    Ok(socket)
}

/// Reads the next text message. Returns `None` at the deadline.
fn read_text(
    socket: &mut HubSocket,
    deadline: Option<Instant>,
) -> Result<Option<String>, Box<dyn Error>> {
    let is_over = || deadline.is_some_and(|deadline| Instant::now() >= deadline);
    socket.get_mut().set_limits(HUB_TIMEOUT, deadline);
    loop {
        match socket.read() {
            Ok(Message::Text(text)) => return Ok(Some(text.to_string())),
            Ok(Message::Close(Some(close))) => {
                return Err(format!("connection closed: {close}").into());
            }
            // A hub could send pings without end.
            Ok(_) if is_over() => return Ok(None),
            Ok(_) => {}
            Err(WsError::Io(error)) if is_timeout(&error) && is_over() => return Ok(None),
            Err(error) => {
                let why = describe(&error, HUB_TIMEOUT);
                return Err(format!("connection lost: {why}").into());
            }
        }
    }
}

fn describe(error: &WsError, timeout: Duration) -> String {
    match error {
        WsError::Io(error) => tcp::describe(error, timeout),
        other => other.to_string(),
    }
}

#[derive(Deserialize)]
struct HubMessage<'a> {
    #[serde(rename = "type")]
    kind: String,
    #[serde(borrow, default)]
    payload: Option<&'a RawValue>,
}

fn parse_message(text: &str) -> Result<HubMessage<'_>, Box<dyn Error>> {
    serde_json::from_str(text)
        .map_err(|error| format!("not a kentros stats socket: {error}").into())
}

/// Parses a message of a hub. Returns `None` for kinds that are not shown.
fn parse_update(text: &str) -> Result<Option<StatsUpdate>, Box<dyn Error>> {
    let HubMessage { kind, payload } = parse_message(text)?;
    let payload = payload.map_or("null", RawValue::get);
    let mut update = StatsUpdate::default();
    let parsed = match kind.as_str() {
        "container_stats" => parse_into(&mut update.container_stats, payload),
        "project_stats" => parse_into(&mut update.project_stats, payload),
        "engine_status" => parse_into(&mut update.engine_status, payload),
        _ => return Ok(None),
    };
    parsed.map_err(|error| format!("the server does not publish container stats: {error}"))?;
    Ok(Some(update))
}

fn parse_into<'a, T: Deserialize<'a>>(
    field: &mut Option<T>,
    payload: &'a str,
) -> serde_json::Result<()> {
    *field = Some(serde_json::from_str(payload)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_hub_message_sets_its_field() {
        let stats = r#"{"type":"project_stats","payload":{},"timestamp":1}"#;
        let update = parse_update(stats).unwrap().unwrap();
        assert!(update.project_stats.is_some() && update.container_stats.is_none());
        let other = r#"{"type":"project_list","payload":[],"timestamp":1}"#;
        assert!(parse_update(other).unwrap().is_none());
        let foreign = r#"{"type":"container_stats","payload":[1]}"#;
        let error = parse_update(foreign).unwrap_err().to_string();
        assert!(error.starts_with("the server does not publish container stats: inv"), "{error}");
        assert!(parse_update("hello").unwrap_err().to_string().contains("not a kentros"));
    }
}
