//! Errors of calls to an engine, with what to do about them.

use std::fmt::{self, Write as _};
use std::io;

use super::host::{DockerHost, TLS_REMEDY};
use crate::printable;

/// Why a call to the engine failed.
#[derive(Debug)]
pub(crate) enum EngineError {
    /// The connection was not made.
    Unreachable(String, io::Error),
    /// Connected, but no response in time.
    TimedOut(String),
    /// The connection closed before the response was complete.
    ConnectionLost(String),
    /// An HTTP status other than 200, with the engine's message.
    Status(u16, String),
    /// A response that no engine sends, and what is wrong with it.
    InvalidResponse(String),
    /// The engine's API version is too old.
    TooOld { podman: bool, api_version: String },
    /// A path that is not on the list of allowed calls.
    NotAllowed(String),
}

impl EngineError {
    /// The container does not exist.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self, Self::Status(404, _))
    }

    /// A socket proxy refuses this call.
    pub(crate) fn is_denied(&self) -> bool {
        matches!(self, Self::Status(401 | 403 | 405, _))
    }

    /// The engine or a proxy does not serve this call.
    pub(crate) fn is_unsupported(&self) -> bool {
        self.is_denied() || matches!(self, Self::Status(404 | 501, _))
    }

    /// The engine responded, so it is reachable.
    pub(crate) fn is_response(&self) -> bool {
        matches!(self, Self::Status(..) | Self::InvalidResponse(_))
    }

    /// Converts an I/O error of a connection.
    pub(crate) fn from_io(host: &DockerHost, error: io::Error) -> Self {
        use io::ErrorKind as Kind;
        match error.kind() {
            Kind::UnexpectedEof
            | Kind::ConnectionReset
            | Kind::ConnectionAborted
            | Kind::BrokenPipe
            | Kind::NotConnected => Self::ConnectionLost(host.to_string()),
            Kind::TimedOut | Kind::WouldBlock => Self::TimedOut(host.to_string()),
            Kind::InvalidData => Self::InvalidResponse(error.to_string()),
            _ => Self::Unreachable(host.to_string(), error),
        }
    }

    /// Converts an error of ureq.
    pub(crate) fn from_ureq(host: &DockerHost, error: ureq::Error) -> Self {
        match error {
            ureq::Error::Io(error) => Self::from_io(host, error),
            ureq::Error::Timeout(_) => Self::TimedOut(host.to_string()),
            ureq::Error::HostNotFound => Self::Unreachable(
                host.to_string(),
                io::Error::other("the host name cannot be resolved"),
            ),
            error => Self::InvalidResponse(error.to_string()),
        }
    }
}

/// Escapes the engine's text, so that every log line and error that quotes it is safe.
impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.describe(&mut text)?;
        f.write_str(&printable(&text))
    }
}

impl EngineError {
    fn describe(&self, f: &mut String) -> fmt::Result {
        match self {
            Self::Unreachable(host, error) => match error.kind() {
                io::ErrorKind::NotFound => write!(
                    f,
                    "cannot connect to the engine at {host}: no such socket. Start the engine, or set \
                     its address with --docker-host or DOCKER_HOST"
                ),
                io::ErrorKind::PermissionDenied => write!(
                    f,
                    "cannot connect to the engine at {host}: permission denied. Add your user to the \
                     group docker (`sudo usermod -aG docker $USER`, then log in again), or run as \
                     root"
                ),
                io::ErrorKind::ConnectionRefused => write!(
                    f,
                    "cannot connect to the engine at {host}: connection refused. Start the engine, or \
                     set its address with --docker-host or DOCKER_HOST"
                ),
                _ => write!(f, "cannot connect to the engine at {host}: {error}"),
            },
            Self::TimedOut(host) => write!(f, "the engine at {host} does not respond"),
            Self::ConnectionLost(host) => write!(f, "the engine at {host} closed the connection"),
            Self::Status(400, message) if message.contains("HTTPS server") => {
                write!(f, "the engine requires TLS. {TLS_REMEDY}")
            }
            Self::Status(400, message) if message.starts_with("client version") => write!(
                f,
                "the engine does not support this API version ({message}). Unset \
                 DOCKER_API_VERSION to negotiate one"
            ),
            Self::Status(403, message) => write!(
                f,
                "the engine, or a proxy in front of it, refused a call ({message}). A socket proxy \
                 must allow containers, events, ping and version"
            ),
            Self::Status(status, message) => {
                write!(f, "the engine responded with status {status}: {message}")
            }
            Self::InvalidResponse(why) => write!(f, "not a response of a container engine: {why}"),
            Self::TooOld { podman, api_version } => {
                let remedy = if *podman { "Podman 4.0" } else { "Docker 20.10" };
                write!(
                    f,
                    "the engine supports API {api_version} at most, and kentros needs 1.41. Upgrade \
                     to {remedy} or newer"
                )
            }
            Self::NotAllowed(path) => {
                write!(f, "refused: {path:?} is not on the list of allowed Engine API calls")
            }
        }
    }
}

impl std::error::Error for EngineError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreachable(_, error) => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_names_its_cause_and_remedy() {
        let host = DockerHost::default();
        let io = |kind: io::ErrorKind| EngineError::from_io(&host, kind.into());
        let status = |status, message: &str| EngineError::Status(status, message.to_owned());
        let mut all = Vec::new();
        for (error, what, remedy) in [
            (io(io::ErrorKind::NotFound), "no such socket", "--docker-host"),
            (io(io::ErrorKind::PermissionDenied), "permission denied", "group docker"),
            (io(io::ErrorKind::ConnectionRefused), "connection refused", "Start the"),
            // The message of Go's HTTP server.
            (
                status(400, "Client sent an HTTP request to an HTTPS server."),
                "requires TLS",
                if cfg!(feature = "tls") { "DOCKER_CERT_PATH" } else { "--features tls" },
            ),
            (
                EngineError::TooOld { podman: false, api_version: "1.40".to_owned() },
                "supports API 1.40",
                "Upgrade to Docker 20.10",
            ),
            // As on Ubuntu 22.04.
            (
                EngineError::TooOld { podman: true, api_version: "1.40".to_owned() },
                "supports API 1.40",
                "Upgrade to Podman 4.0",
            ),
            // The engine's message for a version set by the user.
            (
                status(
                    400,
                    "client version 1.99 is too new. Maximum supported API version is 1.41",
                ),
                "1.99 is too new",
                "Unset DOCKER_API_VERSION",
            ),
            (status(403, "Forbidden"), "refused a call", "must allow containers"),
        ] {
            let text = error.to_string();
            assert!(text.contains(what) && text.contains(remedy), "{text}");
            all.push(text);
        }
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 8, "each is different");
    }
}
