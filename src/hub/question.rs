//! What is asked of the hub beside the socket, and what it answers.

use std::sync::Arc;

use super::delivery::Shot;
use crate::frame::Frame;

/// What somebody beside the socket wants to know.
#[derive(Debug)]
pub(crate) enum Question {
    /// The newest of this topic.
    Latest(&'static str),
    /// Whether the source of stats would answer.
    Ready,
    /// Nothing: that there is an answer tells.
    Alive,
}

/// What the hub answers; whoever asked writes it out, so that the hub need not.
#[derive(Debug)]
pub(crate) enum Reply {
    /// It is so.
    Yes,
    /// This message.
    Message(Frame),
    /// The newest snapshot.
    Snapshot(Arc<Shot>),
}

/// Called once, on the hub's thread or a streamer's, so it must not wait. Dropped where there is
/// nothing to say in time.
pub(crate) type Answer = Box<dyn FnOnce(Result<Reply, String>) + Send>;
