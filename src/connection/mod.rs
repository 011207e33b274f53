//! The connection of one client. Writing: [`frame`], [`queue`] (bounded), [`outbox`], [`flusher`].
//! Reading: [`reader`] calls the [`session`].

pub(crate) mod client;
pub(crate) mod flusher;
pub(crate) mod frame;
pub(crate) mod outbox;
pub(crate) mod queue;
pub(crate) mod queued_frame;
pub(crate) mod reader;
pub(crate) mod session;
pub(crate) mod socket;
