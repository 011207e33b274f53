//! kentros through its public API, with all defaults except the number of shards, if given.

use std::collections::BTreeMap;
use std::error::Error;
use std::net::Ipv4Addr;
use std::num::NonZeroUsize;

use kentros::{Hub, HubConfig, Message, Server, ServerConfig, Snapshot};
use serde_json::{Value, json};

use super::lines;
use crate::publish::project;

/// The bytes that the envelope adds to a message.
pub const ENVELOPE: usize = r#"{"type":"t","payload":"","timestamp":1700000000}"#.len();

/// A line `#project text` is sent to the project's subscribers, `*N text` as a snapshot of N
/// projects to theirs, any other to all clients.
pub fn run(port: u16, shards: Option<usize>) -> Result<(), Box<dyn Error>> {
    let mut config = HubConfig::default();
    if let Some(shards) = shards.and_then(NonZeroUsize::new) {
        config.shards = shards;
    }
    let hub = Hub::spawn(config)?;
    let server = Server::bind((Ipv4Addr::LOCALHOST, port), hub.handle(), ServerConfig::default())?;
    let handle = hub.handle();
    lines(|line| {
        let sent = match (line.chars().next(), line.split_once(' ')) {
            (Some('#'), Some((project, text))) => {
                handle.broadcast_to_subscribers(&project[1..], &Message::new("t", text))
            }
            (Some('*'), Some((projects, text))) => snapshot(&projects[1..], text)
                .and_then(|snapshot| handle.publish_snapshot(snapshot)),
            _ => handle.broadcast(&Message::new("t", line)),
        };
        if let Err(error) = sent {
            eprintln!("kentros: {error}");
        }
    })?;
    server.shutdown();
    hub.shutdown();
    Ok(())
}

fn snapshot(projects: &str, text: &str) -> Result<Snapshot, kentros::Error> {
    let projects = (0..projects.parse().unwrap_or(0)).map(project);
    let row = |project: &str| json!({"a": text, "project_id": project});
    let rows: BTreeMap<String, Value> = projects.map(|p| (p.clone(), row(&p))).collect();
    Snapshot::from_payload(rows)
}
