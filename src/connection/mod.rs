//! The connection of one client. Writing: [`frame`], [`queue`] (bounded), [`outbox`], [`flusher`].
//! Reading: [`reader`] calls the [`session`].

pub(crate) mod client;
pub(crate) mod flusher;
pub(crate) mod frame;
pub(crate) mod kernel_buffers;
pub(crate) mod outbox;
pub(crate) mod queue;
pub(crate) mod reader;
pub(crate) mod session;
