//! The address of an engine, as `DOCKER_HOST` gives it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

#[cfg(feature = "tls")]
use super::tls::TlsFiles;
use crate::Error;

/// Docker's own default for its API without TLS.
const DEFAULT_PORT: u16 = 2375;

/// The address of a Docker Engine or Podman service, as in `DOCKER_HOST`.
///
/// ```
/// use kentros::DockerHost;
/// let host: DockerHost = "tcp://127.0.0.1:2375".parse()?;
/// assert_eq!(DockerHost::default().to_string(), "unix:///var/run/docker.sock");
/// assert!("ssh://me@server".parse::<DockerHost>().is_err());
/// assert!(host.with_api_version("1.41").is_ok());
/// assert!(DockerHost::default().with_api_version("0.1").is_err());
/// # Ok::<(), kentros::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerHost {
    pub(super) address: EngineAddress,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<TlsFiles>,
    /// Set to skip version negotiation.
    pub(crate) api_version: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EngineAddress {
    Unix(PathBuf),
    /// `host:port`, an IPv6 address in brackets.
    Tcp(String),
}

impl Default for DockerHost {
    /// `unix:///var/run/docker.sock`.
    fn default() -> Self {
        Self::at(EngineAddress::Unix(PathBuf::from("/var/run/docker.sock")))
    }
}

impl DockerHost {
    fn at(address: EngineAddress) -> Self {
        Self {
            address,
            #[cfg(feature = "tls")]
            tls: None,
            api_version: None,
        }
    }

    /// Uses TLS with the files `ca.pem`, `cert.pem` and `key.pem` in `folder`, as
    /// `DOCKER_CERT_PATH` does. Has no effect on a Unix socket.
    ///
    /// # Errors
    /// If kentros was built without the feature `tls`, or a file cannot be read.
    ///
    /// ```
    /// use std::path::Path;
    /// use kentros::DockerHost;
    /// let host: DockerHost = "tcp://127.0.0.1:2376".parse()?;
    /// assert!(host.with_tls(Path::new("/nowhere")).is_err());
    /// # Ok::<(), kentros::Error>(())
    /// ```
    pub fn with_tls(self, folder: &Path) -> Result<Self, Error> {
        #[cfg(feature = "tls")]
        return match self.address {
            EngineAddress::Unix(_) => Ok(self),
            EngineAddress::Tcp(_) => Ok(Self { tls: Some(TlsFiles::read(folder)?), ..self }),
        };
        #[cfg(not(feature = "tls"))]
        match self.address {
            EngineAddress::Unix(_) => Ok(self),
            EngineAddress::Tcp(_) => Err(Error::invalid(format!(
                "cannot use the certificates in {}: this build has no TLS. {TLS_REMEDY}",
                folder.display()
            ))),
        }
    }

    /// Uses this API version instead of negotiating one, as `DOCKER_API_VERSION` does.
    ///
    /// # Errors
    /// If `version` is not `1.41` or later.
    pub fn with_api_version(self, version: &str) -> Result<Self, Error> {
        let minor = version.strip_prefix("1.").and_then(|minor| minor.parse::<u32>().ok());
        if minor.is_none_or(|minor| minor < 41) {
            return Err(Error::invalid(format!(
                "invalid API version {version:?}: use 1.41 or later"
            )));
        }
        Ok(Self { api_version: Some(version.to_owned()), ..self })
    }

    /// The scheme and authority of this engine's URLs.
    pub(crate) fn base_url(&self) -> String {
        #[cfg(feature = "tls")]
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        #[cfg(not(feature = "tls"))]
        let scheme = "http";
        format!("{scheme}://{}", self.authority())
    }

    /// The value of the `Host` header.
    pub(crate) fn authority(&self) -> &str {
        match &self.address {
            EngineAddress::Unix(_) => "docker",
            EngineAddress::Tcp(authority) => authority,
        }
    }

    /// The host name or IP address that the certificate must match.
    #[cfg(feature = "tls")]
    pub(crate) fn name(&self) -> &str {
        let authority = self.authority();
        let name = authority.rsplit_once(':').map_or(authority, |(name, _)| name);
        name.trim_start_matches('[').trim_end_matches(']')
    }
}

/// What to do if the engine requires TLS.
#[cfg(not(feature = "tls"))]
pub(crate) const TLS_REMEDY: &str = "Build with `--features tls`, use the engine's Unix socket, or \
     forward it with `ssh -NL /tmp/docker.sock:/var/run/docker.sock HOST`";
#[cfg(feature = "tls")]
pub(crate) const TLS_REMEDY: &str =
    "Set DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH to the folder with ca.pem, cert.pem and key.pem";

impl FromStr for DockerHost {
    type Err = Error;

    /// Parses `unix:///path`, `tcp://host:port`, `http://host:port` or `host:port`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse =
            |why: &str| Err(Error::invalid(format!("invalid docker host {text:?}: {why}")));
        let Some((scheme, rest)) = text.trim().split_once("://") else {
            let has_port =
                text.trim().rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
            if let Some(authority) = authority(text.trim()).filter(|_| has_port) {
                return Ok(Self::at(EngineAddress::Tcp(authority)));
            }
            return refuse("use unix:///path/to/docker.sock or tcp://host:port");
        };
        match scheme {
            "unix" if rest.starts_with('/') => {
                Ok(Self::at(EngineAddress::Unix(PathBuf::from(rest))))
            }
            "unix" => refuse("the socket path must be absolute, as in unix:///var/run/docker.sock"),
            "tcp" | "http" => match authority(rest) {
                Some(authority) => Ok(Self::at(EngineAddress::Tcp(authority))),
                None => refuse("use tcp://host:port, without a path"),
            },
            "https" => refuse(&format!("use tcp://host:port with TLS too. {TLS_REMEDY}")),
            "ssh" => refuse(
                "ssh is not supported. Forward the socket with \
                 `ssh -NL /tmp/docker.sock:/var/run/docker.sock HOST` and use unix:///tmp/docker.sock",
            ),
            "npipe" => refuse("named pipes are not supported. Make the engine listen on tcp://"),
            _ => refuse("unknown scheme: use unix:///path/to/docker.sock or tcp://host:port"),
        }
    }
}

/// Parses `host` or `host:port` and adds the default port.
fn authority(rest: &str) -> Option<String> {
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._[]:".contains(c);
    if rest.is_empty() || !rest.chars().all(plain) {
        return None;
    }
    // Skip the colons inside the brackets of an IPv6 address.
    let after_host = rest.rfind(']').map_or(0, |bracket| bracket + 1);
    match rest.get(after_host..)?.rsplit_once(':') {
        Some((host, port)) => {
            let named = after_host > 0 || !host.is_empty();
            (named && !host.contains(':') && port.parse::<u16>().is_ok()).then(|| rest.to_owned())
        }
        None => Some(format!("{rest}:{DEFAULT_PORT}")),
    }
}

impl fmt::Display for DockerHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            EngineAddress::Unix(path) => write!(f, "unix://{}", path.display()),
            EngineAddress::Tcp(authority) => write!(f, "tcp://{authority}"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn docker_host_addresses_are_parsed() {
        for (text, shown) in [
            ("unix:///run/user/1000/docker.sock", "unix:///run/user/1000/docker.sock"),
            ("tcp://127.0.0.1:2375", "tcp://127.0.0.1:2375"),
            ("tcp://localhost", "tcp://localhost:2375"),
            ("tcp://[::1]", "tcp://[::1]:2375"),
            ("http://[::1]:99/", "tcp://[::1]:99"),
            (" http://engine.example:80 ", "tcp://engine.example:80"),
            ("127.0.0.1:2375", "tcp://127.0.0.1:2375"),
            ("localhost:2375", "tcp://localhost:2375"),
            ("[::1]:2375", "tcp://[::1]:2375"),
        ] {
            let host: DockerHost = text.parse().unwrap();
            assert_eq!(host.to_string(), shown);
            assert_eq!(host.to_string().parse::<DockerHost>().unwrap(), host);
        }
    }

    #[test]
    fn api_versions_before_1_41_are_invalid() {
        let version = |version| DockerHost::default().with_api_version(version);
        assert_eq!(version("1.43").unwrap().api_version.as_deref(), Some("1.43"));
        for nonsense in ["1.40", "2.0", "v1.43", "", "1."] {
            assert!(version(nonsense).unwrap_err().is_invalid(), "{nonsense}");
        }
    }

    #[test]
    fn invalid_addresses_are_refused_with_a_remedy() {
        for (text, remedy) in [
            ("ssh://me@server", "ssh -NL"),
            ("https://server:2376", "tcp://host:port with TLS too"),
            ("npipe:////./pipe/docker_engine", "tcp://"),
            ("/var/run/docker.sock", "unix:///path"),
            ("unix://docker.sock", "absolute"),
            ("tcp://", "tcp://host:port"),
            ("tcp://host:port", "tcp://host:port"),
            ("tcp://:2375", "tcp://host:port"),
            ("tcp://host:1/path", "without a path"),
            ("tcp://a:b:1", "tcp://host:port"),
            ("tcp://user@host:1", "tcp://host:port"),
            ("fd://3", "unknown scheme"),
            ("", "unix:///path"),
            ("localhost", "unix:///path"),
            ("::1", "unix:///path"),
            (":2375", "unix:///path"),
        ] {
            let error = text.parse::<DockerHost>().unwrap_err();
            assert!(error.is_invalid());
            assert!(error.to_string().contains(remedy), "{error}");
        }
    }
}
