//! Just enough of HTTP/1.1 for one port: a request's head, the answers, the WebSocket upgrade.
//! Pure: bytes in, bytes out.

pub(crate) mod api;
pub(crate) mod head;
mod metrics;
pub(crate) mod origin;
pub(crate) mod response;
pub(crate) mod route;
pub(crate) mod upgrade;
