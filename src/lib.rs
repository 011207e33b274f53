//! A WebSocket hub in synchronous Rust that streams live container stats from the Docker Engine
//! to browsers and programs.
//!
//! No async runtime: one thread per client, one for the hub, one for the stats. Three things make
//! a program:
//!
//! - a [`Hub`], which knows the clients. Its [`HubHandle`] sends: to everyone, or to those who
//!   want one project.
//! - a [`Server`] in front of it: the stats socket, the dashboard, JSON over HTTP, and pages and
//!   WebSockets of your own ([`Handler`]).
//! - a [`StatsSource`] that a streamer asks once a second while somebody listens: the Docker
//!   Engine (`DockerSource`), a simulation (`DemoSource`), or a closure of yours.
//!
#![cfg_attr(feature = "docker", doc = "```")]
#![cfg_attr(not(feature = "docker"), doc = "```ignore")]
//! use std::time::Duration;
//! use kentros::{DockerHost, DockerSource, Hub, HubConfig, Server, ServerConfig};
//!
//! let hub = Hub::spawn(HubConfig::default())?;
//! let server = Server::bind("127.0.0.1:0", hub.handle(), ServerConfig::default())?;
//! let source = DockerSource::new(DockerHost::default());
//! hub.handle().start_stats_streamer(Duration::from_secs(1), source)?;
//! println!("live at http://{}", server.local_addr());
//!
//! server.shutdown();
//! hub.shutdown();
//! # Ok::<(), kentros::Error>(())
//! ```
//!
//! # Publishing
//!
//! Whoever connects to `/ws/stats` is a client of the hub, and hears what any thread tells it. A
//! [`Message`] has a kind, a payload and perhaps a project, and is either an event or the newest of
//! a state:
//!
//! ```
//! use kentros::{Hub, HubConfig, Message};
//!
//! let hub = Hub::spawn(HubConfig::default())?;
//! let handle = hub.handle();
//! handle.broadcast(&Message::new("deployed", "v2").project("shop"))?;
//! handle.broadcast(&Message::new("build", "green").latest())?;
//! # Ok::<(), kentros::Error>(())
//! ```
//!
//! # Stats
//!
//! [`HubHandle::start_stats_streamer`] asks a source at each tick while somebody listens, and never
//! otherwise. A closure is a source; the trait [`StatsSource`] has more to say.
//!
//! ```
//! use std::{collections::HashMap, io, time::Duration};
//! use kentros::{Hub, HubConfig};
//!
//! let hub = Hub::spawn(HubConfig::default())?;
//! hub.handle().start_stats_streamer(Duration::from_secs(1), || {
//!     let load = std::fs::read_to_string("/proc/loadavg")?;
//!     Ok::<_, io::Error>(HashMap::from([("host", load)]))
//! })?;
//! # Ok::<(), kentros::Error>(())
//! ```
//!
//! # Serving
//!
//! [`ServerConfig`] takes pages and WebSockets of your own beside the dashboard, or in its place. A
//! [`Handler`] has each of its clients' messages, on that client's own thread, which may wait:
//!
//! ```
//! use kentros::{Client, Hub, HubConfig, Incoming, Server, ServerConfig};
//!
//! let hub = Hub::spawn(HubConfig::default())?;
//! let config = ServerConfig::default()
//!     .page("/about", "text/plain", "an echo lives at /ws/echo")
//!     .websocket("/ws/echo", |client: &Client, message: Incoming<'_>| {
//!         if let Incoming::Text(text) = message {
//!             let _ = client.send_text(text);
//!         }
//!     });
//! let server = Server::bind("127.0.0.1:0", hub.handle(), config)?;
//! # Ok::<(), kentros::Error>(())
//! ```
//!
//! # Features
//!
//! - `docker` (default): `DockerSource`, `DockerHost` and `DemoSource`.
//! - `dashboard` (default): the page at `/`.
//! - `cli` (default): what only the program `kentros` needs.
//! - `tls`: TLS to the engine.
//!
//! The hub, its server and sources of your own need none of them: `default-features = false`.
//!
//! # What it promises
//!
//! Anyone may wait for the hub; the hub waits for nobody. A message is encoded once, whoever it
//! goes to, and sent without blocking; what a slow client does not take waits in its own bounded
//! queue. Messages are either events, of which a client gets each one or is evicted, or states
//! ([`Message::latest`]), of which a slow client gets the newest. Each producer's order is each
//! client's order.
//!
//! [`Hub::shutdown`] and [`Server::shutdown`], or dropping them, end every thread and tell every
//! client. A handle that is left returns errors at once.
//!
//! Errors are values, panics are contained, and there is no `unsafe`. The library logs through
//! [`log`], never prints, and never reads the environment.
//!
//! # What counts as public
//!
//! Semantic versioning holds for the items of this page, which `docs/public-api.txt` lists, and for
//! the types and fields of the messages. Enums and structs that may grow are `non_exhaustive`; of
//! the others, a new field is a break, and before 1.0 a break raises the second number. The README
//! has the rest, under "Versions".

#[cfg(not(target_os = "linux"))]
compile_error!("kentros runs on Linux: it waits for sockets with epoll");

mod client;
mod connection;
mod counters;
#[cfg(feature = "dashboard")]
mod dashboard;
mod demand;
#[cfg(feature = "docker")]
mod docker;
mod error;
mod flusher;
mod frame;
#[cfg(all(any(test, fuzzing), feature = "docker", feature = "dashboard"))]
#[doc(hidden)]
#[allow(unreachable_pub)]
pub mod fuzz;
mod handler;
mod http;
mod hub;
mod limits;
mod notice;
mod outbox;
mod poller;
mod protocol;
mod queue;
#[cfg(test)]
mod random;
mod registry;
mod server;
mod snapshot;
mod stats;
mod threads;

pub use crate::client::Client;
pub use crate::counters::Counters;
pub use crate::demand::Demand;
#[cfg(feature = "docker")]
pub use crate::docker::{DockerHost, DockerSource};
pub use crate::error::Error;
pub use crate::handler::{Handler, Incoming};
pub use crate::http::token::Token;
pub use crate::hub::{Hub, HubConfig, HubHandle};
pub use crate::protocol::payload::{
    Beside, Container, ContainerStats, EngineState, EngineStatus, Mode, Project, ProjectStatus,
    ProjectTotals, StatusContainer, Unavailable,
};
pub use crate::protocol::{Message, STANDALONE};
pub use crate::server::{Access, Server, ServerConfig};
pub use crate::snapshot::Snapshot;
#[cfg(feature = "docker")]
pub use crate::stats::DemoSource;
pub use crate::stats::{EngineInfo, Pace, SourceError, StatsSource, StatsStreamer};

/// The README's examples are tests too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
