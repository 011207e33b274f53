//! What can go wrong with an engine, in words for a person.

use std::{fmt, io};

use super::host::{DockerHost, TLS_REMEDY};

/// Why a call to the engine gave nothing.
#[derive(Debug)]
pub(crate) enum EngineError {
    /// No connection.
    Unreachable(String, io::Error),
    /// Connected, but no answer in time.
    TimedOut(String),
    /// The connection ended before the answer did.
    ConnectionLost(String),
    /// An HTTP status other than 200, and the engine's message.
    Status(u16, String),
    /// An answer that no engine gives: what was wrong with it.
    InvalidResponse(String),
    /// The engine's API version, lower than any we speak.
    TooOld(String),
    /// A path that no engine is ever asked for.
    NotAllowed(String),
}

impl EngineError {
    /// There is no such container (any more).
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self, Self::Status(404, _))
    }

    /// A socket proxy does not let this call through.
    pub(crate) fn is_denied(&self) -> bool {
        matches!(self, Self::Status(401 | 403 | 405, _))
    }

    /// The engine answered, if not as wished: it is there.
    pub(crate) fn is_answer(&self) -> bool {
        matches!(self, Self::Status(..) | Self::InvalidResponse(_))
    }

    /// What an error of a connection means.
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

    /// The error behind ureq's.
    pub(crate) fn from_ureq(host: &DockerHost, error: ureq::Error) -> Self {
        match error {
            ureq::Error::Io(error) => Self::from_io(host, error),
            ureq::Error::Timeout(_) => Self::TimedOut(host.to_string()),
            ureq::Error::HostNotFound => Self::Unreachable(
                host.to_string(),
                io::Error::other("its name resolves to no address"),
            ),
            error => Self::InvalidResponse(error.to_string()),
        }
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(host, error) => match error.kind() {
                io::ErrorKind::NotFound => write!(
                    f,
                    "no container engine at {host}: there is no such socket; start the engine, or \
                     name its socket with --docker-host or DOCKER_HOST"
                ),
                io::ErrorKind::PermissionDenied => write!(
                    f,
                    "permission denied on {host}: add this user to the group docker \
                     (`sudo usermod -aG docker $USER`, then log in again), or run as root"
                ),
                io::ErrorKind::ConnectionRefused => write!(
                    f,
                    "connection refused at {host}: nothing listens there; start the engine, or \
                     name another with --docker-host or DOCKER_HOST"
                ),
                _ => write!(f, "cannot connect to the engine at {host}: {error}"),
            },
            Self::TimedOut(host) => write!(f, "the engine at {host} does not answer"),
            Self::ConnectionLost(host) => write!(f, "the engine at {host} ended the connection"),
            Self::Status(400, message) if message.contains("HTTPS server") => {
                write!(f, "the engine wants TLS: {TLS_REMEDY}")
            }
            Self::Status(400, message) if message.starts_with("client version") => write!(
                f,
                "the engine refuses this version of its API ({message}): unset \
                 DOCKER_API_VERSION, and one that both speak is found"
            ),
            Self::Status(403, message) => write!(
                f,
                "the engine, or a proxy before it, forbids a call ({message}); a socket proxy must \
                 allow containers, events, ping and version"
            ),
            Self::Status(status, message) => write!(f, "the engine answered {status}: {message}"),
            Self::InvalidResponse(why) => write!(f, "this is no container engine's answer: {why}"),
            Self::TooOld(version) => write!(
                f,
                "the engine speaks API {version}, and 1.41 is needed: upgrade it to Docker 20.10 \
                 or newer"
            ),
            Self::NotAllowed(path) => write!(f, "no engine is asked for {path:?}"),
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
    fn each_failure_has_its_words_and_its_remedy() {
        let host = DockerHost::default();
        let io = |kind: io::ErrorKind| EngineError::from_io(&host, kind.into());
        let status = |status, message: &str| EngineError::Status(status, message.to_owned());
        let mut all = Vec::new();
        for (error, what, remedy) in [
            (io(io::ErrorKind::NotFound), "no such socket", "--docker-host"),
            (io(io::ErrorKind::PermissionDenied), "permission denied on unix:", "group docker"),
            (io(io::ErrorKind::ConnectionRefused), "connection refused at unix:", "start the"),
            // As Go's servers say it.
            (
                status(400, "EngineClient sent an HTTP request to an HTTPS server."),
                "wants TLS",
                if cfg!(feature = "tls") { "DOCKER_CERT_PATH" } else { "--features tls" },
            ),
            (EngineError::TooOld("1.40".to_owned()), "speaks API 1.40", "upgrade it"),
            // As engines say it to a version of the user's choice.
            (
                status(
                    400,
                    "client version 1.99 is too new. Maximum supported API version is 1.41",
                ),
                "1.99 is too new",
                "unset DOCKER_API_VERSION",
            ),
            (status(403, "Forbidden"), "forbids a call", "must allow containers"),
        ] {
            let text = error.to_string();
            assert!(text.contains(what) && text.contains(remedy), "{text}");
            all.push(text);
        }
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 7, "each its own");
    }
}
