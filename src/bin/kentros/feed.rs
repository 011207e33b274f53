//! Where the terminal's figures come from: an engine, or the stats socket of a running kentros.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::io::ErrorKind;
use std::net::ToSocketAddrs as _;
use std::thread;
use std::time::{Duration, Instant};

use kentros::{
    ContainerStats, DockerHost, DockerSource, EngineStatus, Interest, ProjectTotals,
    StatsSource as _, Token,
};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use tungstenite::http::Uri;
use tungstenite::http::uri::InvalidUri;
use tungstenite::{ClientRequestBuilder, Error as Fault, HandshakeError, Message, WebSocket};

use crate::dial::{LIMIT, Line, dial, is_late, told};

/// Whom to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum From {
    Engine(DockerHost),
    /// The stats socket of a running kentros, and its token where it has one.
    Hub(String, Option<Token>),
}

impl fmt::Display for From {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Engine(host) => host.fmt(f),
            Self::Hub(url, _) => url.fmt(f),
        }
    }
}

/// Figures by container id.
pub(crate) type Rows = BTreeMap<String, ContainerStats>;

/// Sums by project.
pub(crate) type Totals = BTreeMap<String, ProjectTotals>;

/// What a feed tells: an engine's reading has the figures and the sums, a message of a hub is one
/// of them.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct News {
    pub(crate) container_stats: Option<Rows>,
    pub(crate) project_stats: Option<Totals>,
    pub(crate) engine_status: Option<EngineStatus>,
}

/// How long a hub may say nothing.
const SILENCE: Duration = Duration::from_secs(30);

/// A stream of news, for one thread that may wait.
pub(crate) enum Feed {
    Engine { source: Box<DockerSource>, interest: Interest, interval: Duration, next: Instant },
    Hub(Box<Socket>),
}

type Socket = WebSocket<Line>;

impl Feed {
    /// The figures of `project`, or of all; `interval` is the pace at which an engine is asked.
    ///
    /// # Errors
    /// There is no hub. An engine is asked only by [`next`](Self::next).
    pub(crate) fn open(
        from: &From,
        project: Option<&str>,
        interval: Duration,
    ) -> Result<Self, Box<dyn Error>> {
        Ok(match from {
            From::Engine(host) => Self::Engine {
                source: Box::new(DockerSource::new(host.clone())),
                interest: project.map_or_else(Interest::all, |project| Interest::only([project])),
                interval,
                next: Instant::now(),
            },
            From::Hub(url, token) => Self::Hub(Box::new(connect(url, token.as_ref(), project)?)),
        })
    }

    /// Waits for the next news: until the next reading is due, or the hub's next message. `None`
    /// where a hub has told nothing by the deadline; an engine's reading comes by itself.
    ///
    /// # Errors
    /// Why there are none. An engine may be asked again, a hub is lost.
    pub(crate) fn next(
        &mut self,
        deadline: Option<Instant>,
    ) -> Result<Option<News>, Box<dyn Error>> {
        match self {
            Self::Engine { source, interest, interval, next } => {
                thread::sleep(next.saturating_duration_since(Instant::now()));
                *next = (*next + *interval).max(Instant::now());
                let snapshot = source.collect(interest).map_err(|error| error.to_string())?;
                Ok(Some(serde_json::from_str(&snapshot.to_json())?))
            }
            Self::Hub(socket) => loop {
                let Some(text) = read(socket, deadline)? else { return Ok(None) };
                if let Some(news) = understood(&text)? {
                    return Ok(Some(news));
                }
            },
        }
    }
}

fn connect(
    url: &str,
    token: Option<&Token>,
    project: Option<&str>,
) -> Result<Socket, Box<dyn Error>> {
    let failed = |why: String| {
        format!("cannot reach {url}: {why}; is kentros running there, as ws://HOST:PORT/ws/stats?")
    };
    let uri: Uri = url.parse().map_err(|error: InvalidUri| failed(error.to_string()))?;
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let stream = (host, uri.port_u16().unwrap_or(80))
        .to_socket_addrs()
        .and_then(dial)
        .map_err(|error| failed(told(&error, LIMIT)))?;
    let mut request = ClientRequestBuilder::new(uri);
    if let Some(token) = token {
        request = request.with_header("Authorization", format!("Bearer {}", token.expose()));
    }
    let shaken = tungstenite::client(request, stream).map_err(|error| match error {
        HandshakeError::Failure(fault) => fault,
        HandshakeError::Interrupted(_) => Fault::Io(ErrorKind::TimedOut.into()),
    });
    let (mut socket, _) = shaken.map_err(|fault| match fault {
        Fault::Http(answer) if answer.status() == 401 && token.is_none() => {
            format!("{url} wants a token: KENTROS_TOKEN or --token-file gives it")
        }
        Fault::Http(answer) if answer.status() == 401 => format!("{url} wants another token"),
        fault => failed(words(&fault, LIMIT)),
    })?;
    if let Some(project) = project {
        let subscribe = json!({"type": "subscribe", "payload": project});
        socket
            .send(Message::text(subscribe.to_string()))
            .map_err(|fault| failed(words(&fault, LIMIT)))?;
        // What comes before the answer is of every project.
        while let Some(text) = read(&mut socket, None)?
            && envelope(&text)?.kind != "subscribed"
        {}
    }
    Ok(socket)
}

/// The next text; `None` where there is none by the deadline.
fn read(socket: &mut Socket, deadline: Option<Instant>) -> Result<Option<String>, Box<dyn Error>> {
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(None);
        }
        socket.get_ref().0.set_read_timeout(left.or(Some(SILENCE)))?;
        match socket.read() {
            Ok(Message::Text(text)) => return Ok(Some(text.to_string())),
            Ok(Message::Close(Some(close))) => {
                return Err(format!("the hub closed: {close}").into());
            }
            Ok(_) => {}
            Err(Fault::Io(error)) if left.is_some() && is_late(&error) => {}
            Err(fault) => {
                return Err(format!("the hub is gone: {}", words(&fault, SILENCE)).into());
            }
        }
    }
}

fn words(fault: &Fault, limit: Duration) -> String {
    match fault {
        Fault::Io(error) => told(error, limit),
        other => other.to_string(),
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(rename = "type")]
    kind: String,
    #[serde(borrow, default)]
    payload: Option<&'a RawValue>,
}

fn envelope(text: &str) -> Result<Envelope<'_>, Box<dyn Error>> {
    serde_json::from_str(text).map_err(|error| format!("this is no kentros: {error}").into())
}

/// What a message of a hub tells; `None` where it is none of what is shown.
fn understood(text: &str) -> Result<Option<News>, Box<dyn Error>> {
    let Envelope { kind, payload } = envelope(text)?;
    let payload = payload.map_or("null", RawValue::get);
    let mut news = News::default();
    let taken = match kind.as_str() {
        "container_stats" => take(payload, &mut news.container_stats),
        "project_stats" => take(payload, &mut news.project_stats),
        "engine_status" => take(payload, &mut news.engine_status),
        _ => return Ok(None),
    };
    taken.map_err(|error| format!("this hub shows other things than containers: {error}"))?;
    Ok(Some(news))
}

fn take<'a, T: Deserialize<'a>>(payload: &'a str, part: &mut Option<T>) -> serde_json::Result<()> {
    *part = Some(serde_json::from_str(payload)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_of_a_hub_tells_its_part() {
        let stats = r#"{"type":"project_stats","payload":{},"timestamp":1}"#;
        let news = understood(stats).unwrap().unwrap();
        assert!(news.project_stats.is_some() && news.container_stats.is_none());
        let other = r#"{"type":"project_list","payload":[],"timestamp":1}"#;
        assert!(understood(other).unwrap().is_none());
        let foreign = r#"{"type":"container_stats","payload":[1]}"#;
        let error = understood(foreign).unwrap_err().to_string();
        assert!(error.starts_with("this hub shows other things than containers: inv"), "{error}");
        assert!(understood("hello").unwrap_err().to_string().contains("no kentros"));
    }
}
