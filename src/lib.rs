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
//!   Engine ([`DockerSource`]), a simulation ([`DemoSource`]), or a closure of yours.
//!
//! ```
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

#[cfg(not(target_os = "linux"))]
compile_error!("kentros runs on Linux: it waits for sockets with epoll");

mod client;
mod connection;
mod counters;
mod dashboard;
mod demand;
mod docker;
mod error;
mod flusher;
mod frame;
mod handler;
mod http;
mod hub;
mod limits;
mod outbox;
mod poller;
mod protocol;
mod queue;
mod registry;
mod server;
mod snapshot;
mod stats;
mod threads;

pub use crate::client::Client;
pub use crate::counters::Counters;
pub use crate::demand::Demand;
pub use crate::docker::{DockerHost, DockerSource};
pub use crate::error::Error;
pub use crate::handler::{Handler, Incoming};
pub use crate::hub::{Hub, HubConfig, HubHandle};
pub use crate::protocol::payload::{
    Beside, Container, ContainerStats, EngineState, EngineStatus, Mode, Project, ProjectStatus,
    ProjectTotals, StatusContainer, Unavailable,
};
pub use crate::protocol::{Message, STANDALONE};
pub use crate::server::{Server, ServerConfig};
pub use crate::snapshot::Snapshot;
pub use crate::stats::{DemoSource, EngineInfo, Pace, SourceError, StatsSource, StatsStreamer};

/// The README's examples are tests too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
