//! The Engine API over HTTP: addresses, transports, the allowed calls and their JSON.

pub(crate) mod backoff;
pub(crate) mod call;
pub(crate) mod client;
pub(crate) mod connection;
pub(crate) mod error;
pub(crate) mod host;
pub(crate) mod json;
pub(crate) mod lenient;
pub(crate) mod lines;
pub(crate) mod list;
pub(crate) mod negotiate;
pub(crate) mod stream_response;
#[cfg(feature = "tls")]
pub(crate) mod tls;
pub(crate) mod transport;
