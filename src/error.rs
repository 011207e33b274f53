//! The one error of the public API.

use std::{fmt, io};

/// Why a call could not be carried out.
///
/// Opaque on purpose: ask it with its predicates, show it with `Display`. The message names the
/// thing that failed and, where there is one, the remedy.
///
/// ```
/// let hub = kentros::Hub::spawn(kentros::HubConfig::default())?;
/// let handle = hub.handle();
/// hub.shutdown();
/// let error = handle.broadcast(&kentros::Message::new("greeting", "hello")).unwrap_err();
/// assert!(error.is_stopped() && !error.is_busy() && !error.is_encode() && !error.is_invalid());
/// assert!(error.io_error().is_none());
/// # Ok::<(), kentros::Error>(())
/// ```
pub struct Error(Kind);

enum Kind {
    Stopped,
    Busy,
    Encode(String),
    Invalid(String),
    Io(String, io::Error),
}

impl Error {
    pub(crate) fn stopped() -> Self {
        Self(Kind::Stopped)
    }

    pub(crate) fn busy() -> Self {
        Self(Kind::Busy)
    }

    pub(crate) fn encode(why: impl fmt::Display) -> Self {
        Self(Kind::Encode(why.to_string()))
    }

    /// What was given cannot be used, and why: "ssh://... is not supported: ...".
    pub(crate) fn invalid(why: impl Into<String>) -> Self {
        Self(Kind::Invalid(why.into()))
    }

    /// `what` was being done when `error` came: "cannot listen on 127.0.0.1:9001".
    pub(crate) fn io(what: impl Into<String>, error: io::Error) -> Self {
        Self(Kind::Io(what.into(), error))
    }

    /// Whether the hub, or the client the call was for, has stopped: no later call will succeed.
    pub fn is_stopped(&self) -> bool {
        matches!(self.0, Kind::Stopped)
    }

    /// Whether the call gave up waiting for room: a later call may succeed.
    pub fn is_busy(&self) -> bool {
        matches!(self.0, Kind::Busy)
    }

    /// Whether the value could not be written as JSON.
    pub fn is_encode(&self) -> bool {
        matches!(self.0, Kind::Encode(_))
    }

    /// Whether something given, such as an address, could not be used as it stands.
    pub fn is_invalid(&self) -> bool {
        matches!(self.0, Kind::Invalid(_))
    }

    /// The operating system's error, where that is what came.
    pub fn io_error(&self) -> Option<&io::Error> {
        match &self.0 {
            Kind::Io(_, error) => Some(error),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Stopped => f.write_str("stopped: the hub or the client is gone"),
            Kind::Busy => f.write_str("busy: no room within the time allowed"),
            Kind::Encode(why) => write!(f, "cannot be written as JSON: {why}"),
            Kind::Invalid(why) => f.write_str(why),
            Kind::Io(what, error) => write!(f, "{what}: {error}"),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({self})")
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0 {
            Kind::Io(_, error) => Some(error),
            _ => None,
        }
    }
}
