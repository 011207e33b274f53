//! One integration binary: themed modules over one harness, through the public API only.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::print_stdout)]

mod binary;
mod broadcast;
mod browser;
mod devtools;
mod docker_faults;
mod docker_real;
mod docker_source;
mod docker_watch;
mod engine_restart;
mod fake_engine;
mod handshake;
mod harness;
mod http;
mod keepalive;
mod metrics;
mod order;
mod parity;
mod pictures;
mod proxy;
mod raw;
mod real_engine;
mod shutdown;
mod slow;
mod source;
mod streamer;
mod stuck;
mod subscribe;
#[cfg(feature = "tls")]
mod tls;
mod violations;
