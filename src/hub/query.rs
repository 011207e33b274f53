//! Queries to the hub's thread, for HTTP.

use crate::connection::frame::Frame;

/// A query to the hub's thread.
#[derive(Debug)]
pub(crate) enum Query {
    /// The retained message of this key, now or as soon as there is one. The query counts as a
    /// listener to everything for 30 seconds.
    Latest(&'static str),
    /// A health check of the hub's thread.
    Alive,
}

/// Called once on the hub's thread, so it must not block. Dropped if the query times out. `None` is
/// for [`Query::Alive`], and for a publication whose content depends on the recipient. The error is
/// the reason why there is no message for now.
pub(crate) type Responder = Box<dyn FnOnce(Result<Option<Frame>, String>) + Send>;
