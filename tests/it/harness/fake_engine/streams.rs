//! Samples and events that the fake engine streams.

use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::Instant;

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::Fault;
use super::containers::{cpu_time, sample};
use super::server::Connection;
use super::state::{Shared, State, lock};

/// A stream of one container's samples.
#[derive(Debug)]
pub(super) struct Feed {
    id: String,
    stream: Arc<UnixStream>,
    /// Whether it stays open without samples.
    hangs: bool,
}

/// Runs the collector, which sends a sample on each stream at each of its passes.
pub(super) fn collect(shared: &Shared, run: u64) {
    let changed = &shared.1;
    let mut state = lock(shared);
    let mut due = Instant::now() + state.period;
    while state.run == run {
        let left = due.saturating_duration_since(Instant::now());
        state = changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        if Instant::now() >= due {
            state.pass += 1;
            due = Instant::now() + state.period;
            changed.notify_all();
            if !state.hung {
                let fed: Vec<_> = std::mem::take(&mut state.streams)
                    .into_iter()
                    .map(|feed| {
                        let (sample, fault) = state.next_sample(&feed.id);
                        (feed, sample, fault)
                    })
                    .collect();
                drop(state);
                let fed =
                    fed.into_iter().filter_map(|(feed, sample, fault)| feed.advance(sample, fault));
                let fed: Vec<Feed> = fed.collect();
                state = lock(shared);
                if state.run == run {
                    state.streams.extend(fed);
                }
            }
        }
    }
}

impl State {
    fn next_sample(&self, id: &str) -> (Option<String>, Option<Fault>) {
        let sample = self.containers.get(id).map(|container| sample(id, container, true));
        let fault = self.faults.get(&format!("stream {id}")).or(self.faults.get("stream"));
        (sample, fault.copied())
    }
}

impl Feed {
    /// Sends a sample, or fails. Returns the feed if it continues. Without a sample it ends.
    fn advance(mut self, sample: Option<String>, fault: Option<Fault>) -> Option<Self> {
        let mut stream = &*self.stream;
        let sent = match (sample, fault) {
            _ if self.hangs => return Some(self),
            (Some(sample), None) => write_chunk(stream, &sample),
            (Some(_), Some(Fault::Hang | Fault::HangMidBody | Fault::Wait)) => {
                self.hangs = true;
                return Some(self);
            }
            (Some(_), Some(Fault::Endless)) => {
                thread::spawn(move || endless(&self.stream));
                return None;
            }
            (Some(_), Some(Fault::Garbage)) => {
                let _ = write_chunk(stream, "{\"read\": garbage}}");
                Err(io::ErrorKind::Other.into())
            }
            (Some(_), Some(Fault::Cut)) => {
                let _ = stream.write_all(b"1000\r\n{\"read\":\"2026-");
                Err(io::ErrorKind::Other.into())
            }
            // These faults show at the next request.
            (None, _)
            | (
                Some(_),
                Some(Fault::NoHttp | Fault::Empty | Fault::Status(_) | Fault::Message(..)),
            ) => {
                let _ = stream.write_all(b"0\r\n\r\n");
                Err(io::ErrorKind::Other.into())
            }
        };
        if sent.is_err() {
            let _ = self.stream.shutdown(Shutdown::Both);
            return None;
        }
        Some(self)
    }
}

pub(super) fn write_chunk(mut stream: &UnixStream, line: &str) -> io::Result<()> {
    stream.write_all(format!("{:x}\r\n{line}\n\r\n", line.len() + 1).as_bytes())
}

/// Sends chunks of spaces until the client disconnects.
pub(super) fn endless(mut stream: &UnixStream) -> io::Result<()> {
    let spaces = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    loop {
        stream.write_all(spaces.as_bytes())?;
    }
}

/// Whether an event happened before the time `since` in the query. Events that are no JSON did.
fn is_older(event: &str, query: &str) -> bool {
    let since = query.split('&').find_map(|field| field.strip_prefix("since="));
    let since: i64 = since.unwrap().parse().unwrap();
    let event: Value = serde_json::from_str(event).unwrap_or_default();
    event["time"].as_i64().is_none_or(|time| time < since)
}

impl Connection<'_> {
    /// Starts a stream of one container's samples, which the collector sends.
    pub(super) fn stream(&self, id: &str) -> io::Result<()> {
        self.delay();
        self.head(200, "Transfer-Encoding: chunked\r\n")?;
        let feed = Feed { id: id.to_owned(), stream: Arc::clone(self.stream), hangs: false };
        lock(self.shared).streams.push(feed);
        Ok(())
    }

    /// Streams the samples of all containers as Podman does.
    pub(super) fn podman(&self) -> io::Result<()> {
        self.head(200, "Transfer-Encoding: chunked\r\n")?;
        let mut pass = lock(self.shared).pass;
        loop {
            let state = self.wait(|state| state.pass > pass && !state.hung)?;
            pass = state.pass;
            let now = OffsetDateTime::now_utc();
            let running = state.containers.iter().filter(|(_, c)| c.fake.state == "running");
            let samples: Vec<Value> = running
                .map(|(id, container)| {
                    json!({
                        "AvgCPU": 6.1, "ContainerID": id, "Name": container.fake.name,
                        "PerCPU": null, "CPU": 6.1, "CPUNano": cpu_time(container, now),
                        "CPUSystemNano": 424_931,
                        "SystemNano": u64::try_from(now.unix_timestamp_nanos()).unwrap(),
                        "MemUsage": 110_592, "MemLimit": 3_052_957_696_u64,
                        "MemPerc": 0.003_6, "NetInput": 10, "NetOutput": 20, "BlockInput": 0,
                        "BlockOutput": 262_144, "PIDs": 2, "UpTime": 1, "Duration": 1,
                    })
                })
                .collect();
            drop(state);
            write_chunk(self.stream, &json!({"Error": null, "Stats": samples}).to_string())?;
        }
    }

    /// Streams events, from the time `since` in the query on, until the stream is cut.
    pub(super) fn events(&self, query: &str) -> io::Result<()> {
        self.head(200, "Transfer-Encoding: chunked\r\n")?;
        let (mut sent, cuts) = {
            let state = lock(self.shared);
            let is_older = |event: &String| is_older(event, query);
            (state.events.iter().take_while(|event| is_older(event)).count(), state.event_cuts)
        };
        loop {
            let state = self.wait(|state| {
                state.event_cuts > cuts || state.events.len() > sent && !state.hung
            })?;
            if state.event_cuts > cuts {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            let lines: Vec<String> = state.events[sent..].to_vec();
            sent = state.events.len();
            drop(state);
            for line in lines {
                write_chunk(self.stream, &line)?;
            }
        }
    }
}
