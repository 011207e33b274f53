//! One client's connection: what is queued for it, what it sends, and the thread that reads it.

pub(crate) mod client;
pub(crate) mod flusher;
pub(crate) mod frame;
pub(crate) mod outbox;
pub(crate) mod queue;
pub(crate) mod reader;
pub(crate) mod session;
