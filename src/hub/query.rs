//! Queries that the hub's thread answers, for HTTP.

use crate::connection::frame::Frame;

/// What is asked of the hub's thread.
#[derive(Debug)]
pub(crate) enum Query {
    /// The retained message of this key, now or as soon as there is one. It counts as a listener
    /// with every interest for 30 seconds.
    Latest(&'static str),
    /// Nothing: the answer shows that the hub's thread works.
    Alive,
}

/// Called once, on the hub's thread, so it must not wait; dropped if there is no answer in time.
/// `None` for a publication whose content depends on the receiver, and for [`Query::Alive`]. The
/// error says why there will be no message for now.
pub(crate) type Responder = Box<dyn FnOnce(Result<Option<Frame>, String>) + Send>;
