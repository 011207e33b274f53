//! kentros: a WebSocket hub that streams live container stats.

mod client;
mod config;
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
mod stats;
mod threads;

pub use crate::client::Client;
pub use crate::config::{HubConfig, ServerConfig};
pub use crate::counters::Counters;
pub use crate::demand::Demand;
pub use crate::docker::{DockerHost, DockerSource};
pub use crate::error::Error;
pub use crate::handler::{Handler, Incoming};
pub use crate::hub::{Hub, HubHandle};
pub use crate::protocol::payload::{
    Container, ContainerStats, EngineState, EngineStatus, Mode, Project, ProjectStatus,
    ProjectTotals, StatusContainer, Unavailable,
};
pub use crate::protocol::{Message, STANDALONE};
pub use crate::server::Server;
pub use crate::stats::{
    DemoSource, EngineInfo, Pace, Snapshot, SourceError, StatsSource, StatsStreamer,
};
