//! The one error of the public API.

use std::{fmt, io};

/// The error of every call of this crate.
///
/// Match on its [`kind`](Self::kind). The message names what failed and, where there is one, the
/// remedy.
///
/// ```
/// use kentros::{ErrorKind, Hub, HubConfig, Message};
///
/// let hub = Hub::spawn(HubConfig::default())?;
/// let handle = hub.handle();
/// hub.shutdown();
/// let error = handle.broadcast(&Message::new("greeting", "hello")).unwrap_err();
/// match error.kind() {
///     ErrorKind::Stopped => println!("the hub has stopped"),
///     ErrorKind::Busy => println!("try again later"),
///     _ => println!("{error}"),
/// }
/// assert!(error.is_stopped() && !error.is_busy() && !error.is_encode() && !error.is_invalid());
/// assert!(error.io_error().is_none());
/// # Ok::<(), kentros::Error>(())
/// ```
pub struct Error(Kind);

/// The kinds of [`Error`].
///
/// ```
/// use kentros::{ErrorKind, Token};
/// assert_eq!(Token::new("short").unwrap_err().kind(), ErrorKind::Invalid);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The hub, the server or the client has stopped: no later call will succeed.
    Stopped,
    /// There was no room within the time allowed: a later call may succeed.
    Busy,
    /// A value cannot be written or read as JSON.
    Encode,
    /// An argument, such as an address or a path, cannot be used.
    Invalid,
    /// The operating system reported an error; see [`Error::io_error`].
    Io,
}

enum Kind {
    Stopped,
    Busy,
    Encode(String),
    Invalid(String),
    Io(String, io::Error),
}

impl Error {
    /// The kind of this error.
    pub fn kind(&self) -> ErrorKind {
        match self.0 {
            Kind::Stopped => ErrorKind::Stopped,
            Kind::Busy => ErrorKind::Busy,
            Kind::Encode(_) => ErrorKind::Encode,
            Kind::Invalid(_) => ErrorKind::Invalid,
            Kind::Io(..) => ErrorKind::Io,
        }
    }

    pub(crate) fn stopped() -> Self {
        Self(Kind::Stopped)
    }

    pub(crate) fn busy() -> Self {
        Self(Kind::Busy)
    }

    pub(crate) fn encode(why: impl fmt::Display) -> Self {
        Self(Kind::Encode(why.to_string()))
    }

    /// An argument cannot be used, and why: "ssh://... is not supported: ...".
    pub(crate) fn invalid(why: impl Into<String>) -> Self {
        Self(Kind::Invalid(why.into()))
    }

    /// `what` failed with `error`: "cannot listen on 127.0.0.1:9001".
    pub(crate) fn io(what: impl Into<String>, error: io::Error) -> Self {
        Self(Kind::Io(what.into(), error))
    }

    /// Whether this is [`ErrorKind::Stopped`].
    pub fn is_stopped(&self) -> bool {
        matches!(self.0, Kind::Stopped)
    }

    /// Whether this is [`ErrorKind::Busy`].
    pub fn is_busy(&self) -> bool {
        matches!(self.0, Kind::Busy)
    }

    /// Whether this is [`ErrorKind::Encode`].
    pub fn is_encode(&self) -> bool {
        matches!(self.0, Kind::Encode(_))
    }

    /// Whether this is [`ErrorKind::Invalid`].
    pub fn is_invalid(&self) -> bool {
        matches!(self.0, Kind::Invalid(_))
    }

    /// The operating system's error, for [`ErrorKind::Io`].
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
            Kind::Stopped => f.write_str("stopped: the hub or the client has stopped"),
            Kind::Busy => f.write_str("busy: no room within the time allowed"),
            Kind::Encode(why) => write!(f, "not JSON: {why}"),
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
