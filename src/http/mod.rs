//! Just enough of HTTP/1.1 for one port: a request's head, responses, the WebSocket upgrade.
//! Pure: bytes in, bytes out.

pub(crate) mod accept_key;
pub(crate) mod base;
pub(crate) mod head;
pub(crate) mod host;
pub(crate) mod origin;
pub(crate) mod proxy;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod status;
pub(crate) mod upgrade;
