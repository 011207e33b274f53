//! The integration tests. One binary, so that all modules share one harness. They use only the
//! public API.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::print_stdout)]

mod harness;

mod access;
mod alerts;
mod architecture;
mod base;
mod binary;
mod broadcast;
mod browser_clock;
mod browser_connection;
mod browser_content;
mod browser_layout;
mod browser_load;
mod browser_use;
mod churn;
mod connector;
mod cross_origin;
mod dead;
#[path = "../../src/bin/kentros/demo/mod.rs"]
mod demo;
mod docker_connections;
mod docker_events;
mod docker_faults;
mod docker_limits;
mod docker_real;
mod docker_scale;
mod docker_source;
mod docker_watch;
mod documentation;
mod engine_discovery;
mod engine_restart;
mod examples;
mod handshake;
mod healthcheck;
mod hostile_text;
mod http;
mod incidents;
mod keepalive;
mod kernel_memory;
mod limits;
mod listener;
mod login;
mod message_order;
mod metrics;
mod nonblocking;
mod parity_docker;
mod parity_podman;
mod pictures;
mod proxy;
mod public_api;
mod publish;
mod queue_memory;
mod readiness;
mod rooms;
mod routes;
mod sessions;
mod shortage;
mod shutdown;
mod slow;
mod slow_answers;
mod soak;
mod source;
mod stats_command;
mod stats_deadline;
mod streamer;
mod stuck;
mod subscribe;
#[cfg(feature = "tls")]
mod tls;
mod tls_proxy;
mod top;
mod violations;
