//! A WebSocket hub in synchronous Rust that streams live container stats from the Docker Engine
//! to browsers and programs.
//!
//! No async runtime: one thread per client, one for the hub, one for the stats. Three parts make a
//! program:
//!
//! - a [`Hub`], which knows the clients. Its [`HubHandle`] sends messages: to everyone, or to those
//!   interested in one project.
//! - a [`Server`] in front of it: the stats socket, the dashboard, JSON over HTTP, and routes and
//!   WebSockets of your own ([`ServerConfig`]).
//! - a [`StatsSource`] that a streamer asks once a second while somebody listens: the Docker
//!   Engine (`DockerSource`) or a closure of yours.
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
//! A client of `/ws/stats` is registered with the hub, and receives what any thread publishes. A
//! [`Message`] has a kind, a payload and optionally a project, and is either an event or a state:
//!
//! ```
//! use std::time::Duration;
//! use kentros::{Hub, HubConfig, Message, SourceError};
//!
//! let hub = Hub::spawn(HubConfig::default())?;
//! let handle = hub.handle();
//! // An event of one project, for the clients interested in it.
//! handle.broadcast(&Message::new("deployed", "v2").project("shop"))?;
//! // A state: clients that connect later get the newest.
//! handle.broadcast(&Message::new("build", "green").latest())?;
//! // A state that is read once a second while somebody listens.
//! handle.publish_every(Duration::from_secs(1), "load", || -> Result<_, SourceError> {
//!     Ok(std::fs::read_to_string("/proc/loadavg")?)
//! })?;
//! # Ok::<(), kentros::Error>(())
//! ```
//!
//! # Serving
//!
//! [`ServerConfig`] takes pages, computed routes and WebSockets of your own. A [`Session`] is the
//! state of one client, on that client's own thread, which may wait. Rooms are projects that a
//! client subscribes to:
//!
//! ```
//! use kentros::{Client, Hub, HubConfig, HubHandle, Incoming, Interest, Message, Response, Server,
//!     ServerConfig, Session};
//!
//! struct Member { hub: HubHandle, room: String }
//!
//! impl Session for Member {
//!     fn open(&mut self, client: &Client) {
//!         let _ = self.hub.register_with(client, Interest::only([&self.room]));
//!     }
//!
//!     fn message(&mut self, client: &Client, message: Incoming<'_>) {
//!         if let Incoming::Text(text) = message {
//!             let _ = self.hub.broadcast_except(&self.room, client, &Message::new("said", text));
//!         }
//!     }
//! }
//!
//! let hub = Hub::spawn(HubConfig::default())?;
//! let handle = hub.handle();
//! let config = ServerConfig::bare()
//!     .page("/", "text/plain", "rooms are at /ws/rooms/NAME")
//!     .sessions("/ws/rooms/*", move |request| match request.cookie("user") {
//!         Some(_) => Ok(Member { hub: handle.clone(), room: request.tail().to_owned() }),
//!         None => Err(Response::text("log in first\n").with_status(401)),
//!     });
//! let server = Server::bind("127.0.0.1:0", hub.handle(), config)?;
//! # Ok::<(), kentros::Error>(())
//! ```
//!
//! `docs/embedding.md` is the guide for programs of your own.
//!
//! # Features
//!
//! - `docker` (default): `DockerSource` and `DockerHost`.
//! - `dashboard` (default): the page at `/`.
//! - `cli` (default): what only the program `kentros` needs.
//! - `tls`: TLS to the engine.
//!
//! The hub, its server and sources of your own need none of them: `default-features = false`.
//!
//! # What it promises
//!
//! Anyone may wait for the hub; the hub waits for nobody. A message is encoded once, for however
//! many clients, and sent without blocking; what a slow client does not take is queued for it,
//! within bounds. Messages are either events, of which a client gets each one or is evicted, or
//! states ([`Message::latest`]), of which a slow client gets the newest. Each thread's order is each
//! client's order, for everything that is sent through the hub.
//!
//! [`Hub::shutdown`] and [`Server::shutdown`], or dropping them, end every thread and close every
//! client. A handle that is left returns errors at once.
//!
//! Errors are values, panics are contained, and there is no `unsafe`. The library logs through
//! [`log`], never prints, and never reads the environment.
//!
//! # What counts as public
//!
//! Semantic versioning holds for the items of this page, which `docs/public-api.txt` lists, and for
//! the types and fields of the messages. Enums and structs that may grow are `non_exhaustive`, with
//! constructors. Before 1.0 a breaking change raises the second number.

#[cfg(not(target_os = "linux"))]
compile_error!("kentros runs on Linux: it waits for sockets with epoll");

mod connection;
mod counters;
#[cfg(feature = "docker")]
mod docker;
mod error;
#[cfg(all(any(test, fuzzing), feature = "docker", feature = "dashboard"))]
#[doc(hidden)]
#[allow(unreachable_pub)]
pub mod fuzz;
mod http;
mod hub;
mod interest;
mod limits;
mod message;
mod poller;
#[cfg(test)]
mod random;
mod rate_limited;
mod server;
mod stats;
mod threads;

pub use crate::connection::client::Client;
pub use crate::connection::session::{CloseReason, Incoming, Session};
pub use crate::counters::Counters;
#[cfg(feature = "docker")]
pub use crate::docker::{DockerHost, DockerSource};
pub use crate::error::{Error, ErrorKind};
pub use crate::http::accept_key::accept_key;
pub use crate::http::request::Request;
pub use crate::http::response::Response;
pub use crate::hub::listener::Listener;
pub use crate::hub::periodic::Streamer;
pub use crate::hub::{Hub, HubConfig, HubHandle, Schedule, SourceError};
pub use crate::interest::Interest;
pub use crate::message::Message;
pub use crate::server::auth::token::Token;
pub use crate::server::{Access, Connector, Server, ServerConfig};
pub use crate::stats::payload::{
    Container, ContainerStats, EngineState, EngineStatus, Mode, Project, ProjectStatus,
    ProjectTotals, PrometheusFields, STANDALONE, StatusContainer, Unavailable,
};
pub use crate::stats::snapshot::Snapshot;
pub use crate::stats::{EngineCounters, EngineInfo, StatsSource};

// The examples of the README and of the guide are tests too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(doctest)]
#[doc = include_str!("../docs/embedding.md")]
struct EmbeddingGuide;
