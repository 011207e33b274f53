//! Just enough of HTTP/1.1 for one port: a request's head, the answers, the WebSocket upgrade.
//! Pure: bytes in, bytes out.

mod accept_key;
pub(crate) mod api;
pub(crate) mod base;
pub(crate) mod gate;
pub(crate) mod head;
mod host;
pub(crate) mod lock;
pub(crate) mod metrics;
mod origin;
mod proxy;
pub(crate) mod response;
pub(crate) mod route;
pub(crate) mod token;
mod upgrade;
