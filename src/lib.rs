//! A WebSocket hub in synchronous Rust that streams live container stats from the Docker Engine
//! to browsers and programs.
//!
//! There is no async runtime: each client has a thread, the hub has one, and so do the stats. A
//! program has three parts:
//!
//! - A [`Hub`] tracks the clients. Its [`HubHandle`] sends messages to all clients, or to those
//!   interested in one project.
//! - A [`Server`] accepts connections. It serves the stats socket, the dashboard, a JSON API, and
//!   your own routes and WebSockets ([`ServerConfig`]).
//! - A [`StatsSource`] collects stats, once per second while there are listeners. Use the Docker
//!   Engine (`DockerSource`) or implement your own.
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
//! Clients of `/ws/stats` are registered with the hub and receive what any thread publishes. A
//! [`Message`] has a kind, a payload and optionally a project. It is either an event or a state:
//!
//! ```
//! use std::time::Duration;
//! use kentros::{Hub, HubConfig, Message, SourceError};
//!
//! let hub = Hub::spawn(HubConfig::default())?;
//! let handle = hub.handle();
//! // An event, for clients interested in the project "shop".
//! handle.broadcast(&Message::new("deployed", "v2").project("shop"))?;
//! // A state: clients that connect later get the latest value.
//! handle.broadcast(&Message::new("build", "green").latest())?;
//! // A state that is read once per second while there are listeners.
//! handle.publish_every(Duration::from_secs(1), "load", || -> Result<_, SourceError> {
//!     Ok(std::fs::read_to_string("/proc/loadavg")?)
//! })?;
//! # Ok::<(), kentros::Error>(())
//! ```
//!
//! # Serving
//!
//! Add your own pages, routes and WebSockets to [`ServerConfig`]. A [`Session`] holds the state of
//! one client. It runs on that client's own thread, so it may block. A chat room is a project that
//! its members subscribe to:
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
//! See `docs/embedding.md` for a guide.
//!
//! # Features
//!
//! - `docker` (default): Docker Engine and Podman as sources of stats.
//! - `dashboard` (default): the dashboard at `/`.
//! - `cli` (default): dependencies of the `kentros` program.
//! - `tls`: TLS to a remote engine.
//!
//! The hub, the server and your own sources need none of them: set `default-features = false`.
//!
//! # Guarantees
//!
//! - The hub never waits for a client. A message is encoded once and sent to each client without
//!   blocking. What a slow client does not take is queued, within bounds.
//! - A client receives every event, or is evicted. Of a state ([`Message::latest`]), a slow client receives
//!   the latest value.
//! - Messages that one thread sends through the hub reach each client in the order sent.
//! - [`Hub::shutdown`] and [`Server::shutdown`], or dropping the values, end all threads and close
//!   all clients. Remaining handles then return errors.
//! - A panic in your code ends only the client, route or source it belongs to. The library contains
//!   no `unsafe` code, logs through [`log`], does not print, and does not read the environment.
//!
//! # Stability
//!
//! Semantic versioning covers the items on this page, which `docs/public-api.txt` lists, and the
//! types and fields of the wire format. Enums and structs that may grow are `non_exhaustive` and
//! have constructors. Before 1.0, breaking changes increment the minor version.

#[cfg(not(target_os = "linux"))]
compile_error!("kentros supports Linux only: it uses epoll");

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
mod lock;
mod message;
mod poller;
mod printable;
#[cfg(test)]
mod random;
mod rate_limited;
mod retry;
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
pub use crate::printable::printable;
pub use crate::server::auth::token::Token;
pub use crate::server::{Access, Connector, Server, ServerConfig};
pub use crate::stats::payload::{
    Container, ContainerStats, EngineState, EngineStatus, Mode, Project, ProjectStatus,
    ProjectTotals, PrometheusFields, STANDALONE, StatusContainer, Unavailable,
};
pub use crate::stats::snapshot::Snapshot;
pub use crate::stats::{EngineCounters, EngineInfo, StatsSource};

// Runs the examples in the README and the guide as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(doctest)]
#[doc = include_str!("../docs/embedding.md")]
struct EmbeddingGuide;
