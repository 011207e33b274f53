//! The error type of the public API.

use std::{fmt, io};

/// The error type of this crate.
///
/// Match on its [`kind`](Self::kind). The message names what failed and, where possible, how to fix
/// it.
///
/// # Examples
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
pub struct Error(ErrorRepr);

/// The kinds of [`Error`].
///
/// # Examples
///
/// ```
/// use kentros::{ErrorKind, Token};
/// assert_eq!(Token::new("short").unwrap_err().kind(), ErrorKind::Invalid);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The hub, the server or the client has stopped. Later calls fail too.
    Stopped,
    /// A queue or limit stayed full for the time allowed. A later call may succeed.
    Busy,
    /// A value could not be converted to or from JSON.
    Encode,
    /// An argument, such as an address or a path, is invalid.
    Invalid,
    /// The operating system reported an error; see [`Error::io_error`].
    Io,
}

enum ErrorRepr {
    Stopped,
    Busy,
    Encode(String),
    Invalid(String),
    /// `hint` says how to fix it; it may be empty.
    Io {
        what: String,
        error: io::Error,
        hint: &'static str,
    },
}

impl Error {
    /// Returns the kind of this error.
    pub fn kind(&self) -> ErrorKind {
        match self.0 {
            ErrorRepr::Stopped => ErrorKind::Stopped,
            ErrorRepr::Busy => ErrorKind::Busy,
            ErrorRepr::Encode(_) => ErrorKind::Encode,
            ErrorRepr::Invalid(_) => ErrorKind::Invalid,
            ErrorRepr::Io { .. } => ErrorKind::Io,
        }
    }

    pub(crate) fn stopped() -> Self {
        Self(ErrorRepr::Stopped)
    }

    pub(crate) fn busy() -> Self {
        Self(ErrorRepr::Busy)
    }

    pub(crate) fn encode(why: impl fmt::Display) -> Self {
        Self(ErrorRepr::Encode(why.to_string()))
    }

    /// `why` is the whole message.
    pub(crate) fn invalid(why: impl Into<String>) -> Self {
        Self(ErrorRepr::Invalid(why.into()))
    }

    /// `what` is what failed, as in "cannot listen on 127.0.0.1:9001".
    pub(crate) fn io(what: impl Into<String>, error: io::Error) -> Self {
        Self::io_with_hint(what, error, "")
    }

    /// `hint` is how to fix it, as in "choose another port".
    pub(crate) fn io_with_hint(
        what: impl Into<String>,
        error: io::Error,
        hint: &'static str,
    ) -> Self {
        Self(ErrorRepr::Io { what: what.into(), error, hint })
    }

    /// Returns `true` if the kind is [`ErrorKind::Stopped`].
    pub fn is_stopped(&self) -> bool {
        matches!(self.0, ErrorRepr::Stopped)
    }

    /// Returns `true` if the kind is [`ErrorKind::Busy`].
    pub fn is_busy(&self) -> bool {
        matches!(self.0, ErrorRepr::Busy)
    }

    /// Returns `true` if the kind is [`ErrorKind::Encode`].
    pub fn is_encode(&self) -> bool {
        matches!(self.0, ErrorRepr::Encode(_))
    }

    /// Returns `true` if the kind is [`ErrorKind::Invalid`].
    pub fn is_invalid(&self) -> bool {
        matches!(self.0, ErrorRepr::Invalid(_))
    }

    /// Returns the operating system's error if the kind is [`ErrorKind::Io`].
    pub fn io_error(&self) -> Option<&io::Error> {
        match &self.0 {
            ErrorRepr::Io { error, .. } => Some(error),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            ErrorRepr::Stopped => f.write_str("the hub, server or client has stopped"),
            ErrorRepr::Busy => f.write_str("busy: try again later"),
            ErrorRepr::Encode(why) => write!(f, "JSON error: {why}"),
            ErrorRepr::Invalid(why) => f.write_str(why),
            ErrorRepr::Io { what, error, hint: "" } => write!(f, "{what}: {error}"),
            ErrorRepr::Io { what, error, hint } => write!(f, "{what}: {error}; {hint}"),
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
            ErrorRepr::Io { error, .. } => Some(error),
            _ => None,
        }
    }
}
