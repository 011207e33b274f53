//! The parts of HTTP/1.1 that the server needs: request heads, responses, the WebSocket upgrade,
//! and the rules for hosts, origins and proxies. Pure: no sockets, no threads.

pub(crate) mod accept_key;
pub(crate) mod base_path;
pub(crate) mod head;
pub(crate) mod host;
pub(crate) mod origin;
pub(crate) mod proxy;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod status;
pub(crate) mod upgrade;
