//! `kentros stats`: the figures in the terminal, from the engine or from a running hub.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, IsTerminal as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use kentros::{ContainerStats, Demand, DockerHost, DockerSource, StatsSource as _, Unavailable};
use serde::Deserialize;
use serde_json::json;
use tungstenite::stream::MaybeTlsStream;
use tungstenite::{Message, WebSocket};

use crate::table;

/// Where the figures come from, and how they are shown.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct StatsOptions {
    pub(crate) from: From,
    pub(crate) interval: Duration,
    /// Only this project.
    pub(crate) project: Option<String>,
    /// One table, then the end.
    pub(crate) once: bool,
    /// A JSON document a line instead of a table.
    pub(crate) json: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum From {
    Engine(DockerHost),
    /// The stats socket of a running kentros.
    Hub(String),
}

type Rows = BTreeMap<String, ContainerStats>;

/// How long a hub may say nothing.
const SILENCE: Duration = Duration::from_secs(30);

/// Shows figures until the output is closed, or once.
///
/// # Errors
/// Why there are none.
pub(crate) fn run(options: StatsOptions) -> Result<(), Box<dyn Error>> {
    let mut shown = Shown { once: options.once, json: options.json, first: true };
    match options.from {
        From::Engine(host) => {
            let demand =
                options.project.map_or_else(Demand::all, |project| Demand::only([project]));
            let mut source = DockerSource::new(host);
            let mut next = Instant::now();
            loop {
                let snapshot = source.collect(&demand).map_err(|error| error.to_string())?;
                let rows = snapshot.containers().iter().cloned().collect();
                if !shown.show(&rows)? {
                    source.rest();
                    return Ok(());
                }
                // The first figures of all want a second reading soon.
                next = (next + options.interval).max(Instant::now());
                thread::sleep(next - Instant::now());
            }
        }
        From::Hub(url) => {
            let mut hub = connect(&url, options.project)?;
            while shown.show(&next(&mut hub)?)? {}
            Ok(())
        }
    }
}

/// Where the figures go, and whether they have been there before.
struct Shown {
    once: bool,
    json: bool,
    first: bool,
}

impl Shown {
    /// Shows one reading; `false` where that was the last.
    fn show(&mut self, rows: &Rows) -> io::Result<bool> {
        let first = std::mem::replace(&mut self.first, false);
        let halves = |row: &ContainerStats| {
            row.unavailable.get("cpu_percent") == Some(&Unavailable::FirstSample)
        };
        if self.once && first && rows.values().any(halves) {
            // A rate takes two readings: the second comes at once.
            return Ok(true);
        }
        let mut out = io::stdout().lock();
        let text = if self.json {
            format!("{}\n", json!(rows))
        } else {
            let table = table::render(rows.iter().map(|(id, row)| (id.as_str(), row)));
            // As docker does: on a terminal each table takes the last one's place.
            let clear = if !self.once && out.is_terminal() { "\x1b[H\x1b[J" } else { "" };
            format!("{clear}{table}")
        };
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            // `kentros stats | head` has what it wanted.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(error),
            Ok(()) => Ok(!self.once),
        }
    }
}

type Socket = WebSocket<MaybeTlsStream<TcpStream>>;

fn connect(url: &str, project: Option<String>) -> Result<Socket, Box<dyn Error>> {
    let failed = |error: &dyn std::fmt::Display| {
        format!(
            "cannot reach {url}: {error}; is kentros running there, as ws://HOST:PORT/ws/stats?"
        )
    };
    let (mut socket, _) = tungstenite::connect(url).map_err(|error| failed(&error))?;
    if let MaybeTlsStream::Plain(stream) = socket.get_ref() {
        stream.set_read_timeout(Some(SILENCE))?;
    }
    if let Some(project) = project {
        let subscribe = json!({"type": "subscribe", "payload": project});
        socket.send(Message::text(subscribe.to_string())).map_err(|error| failed(&error))?;
        // What comes before the answer is of every project.
        while kind_of(&read(&mut socket)?) != "subscribed" {}
    }
    Ok(socket)
}

/// The next figures from a hub.
fn next(socket: &mut Socket) -> Result<Rows, Box<dyn Error>> {
    #[derive(Deserialize)]
    struct Stats {
        payload: Rows,
    }
    loop {
        let text = read(socket)?;
        if kind_of(&text) == "container_stats" {
            let stats: Stats = serde_json::from_str(&text)?;
            return Ok(stats.payload);
        }
    }
}

fn read(socket: &mut Socket) -> Result<String, Box<dyn Error>> {
    loop {
        match socket.read().map_err(|error| format!("the hub is gone: {error}"))? {
            Message::Text(text) => return Ok(text.to_string()),
            Message::Close(Some(close)) => return Err(format!("the hub closed: {close}").into()),
            _ => {}
        }
    }
}

fn kind_of(text: &str) -> String {
    #[derive(Deserialize)]
    struct Envelope {
        #[serde(rename = "type")]
        kind: String,
    }
    serde_json::from_str::<Envelope>(text).map(|envelope| envelope.kind).unwrap_or_default()
}
