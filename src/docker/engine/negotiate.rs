//! Which engine it is, and which API version to use.

use std::sync::Arc;
use std::time::Instant;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use ureq::http::HeaderMap;

use super::call::EngineCall;
use super::client::{CallCounters, EngineClient};
use super::error::EngineError;
use super::host::DockerHost;
use super::json::EngineVersion;
use crate::EngineInfo;
use crate::message::unix_seconds;
use crate::stats::payload::Mode;

/// The newest API version whose responses kentros knows.
const NEWEST: (u32, u32) = (1, 51);
/// The first API version with one-shot stats: Docker 20.10.
const OLDEST: (u32, u32) = (1, 41);
/// The idle connections kept: four for the workers and one for the lister.
const CONNECTIONS: usize = 5;

/// Pings the engine and chooses the API version. Returns a client for that version.
pub(crate) fn negotiate(
    host: &DockerHost,
    deadline: Instant,
    counters: &Arc<CallCounters>,
) -> Result<(EngineClient, EngineInfo), EngineError> {
    let client = EngineClient::new(host, "", CONNECTIONS, counters);
    let headers = client.ping(deadline)?;
    let podman = headers.contains_key("libpod-api-version");
    let server_version = header(&headers, "server").and_then(version_of_server);
    let pinged = header(&headers, "api-version").and_then(parse_version);
    let response = if podman && pinged.is_some() {
        // For `/version` Podman asks the package manager about its helpers, which takes seconds
        // on a busy machine.
        None
    } else {
        match client.get::<EngineVersion>(EngineCall::Version, deadline) {
            Ok(response) => Some(response),
            // A socket proxy may refuse it. Then the ping must do.
            Err(error) if error.is_response() => None,
            Err(error) => return Err(error),
        }
    };
    let own = response.as_ref().and_then(|response| parse_version(&response.api_version));
    let highest = match &host.api_version {
        Some(version) => parse_version(version),
        None => pinged.or(own),
    };
    let highest =
        highest.ok_or_else(|| EngineError::InvalidResponse("it has no API version".to_owned()))?;
    if highest < OLDEST {
        return Err(EngineError::TooOld { podman, api_version: format_version(highest) });
    }
    let lowest = response.as_ref().and_then(|response| parse_version(&response.min_api_version));
    let version = response.map_or(server_version, |response| Some(response.version));
    let api_version = host
        .api_version
        .clone()
        .unwrap_or_else(|| format_version(highest.min(NEWEST).max(lowest.unwrap_or(OLDEST))));
    let info = EngineInfo {
        engine: Some(if podman { "Podman" } else { "Docker Engine" }.to_owned()),
        version: version.filter(|version| !version.is_empty()),
        api_version: Some(api_version.clone()),
        mode: podman.then_some(Mode::Podman),
        ..EngineInfo::default()
    };
    Ok((client.with_version(api_version), info))
}

/// The response to a ping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pong {
    /// Unix seconds, from the header `Date`; this machine's time without one.
    pub(crate) engine_time: u64,
    server: Option<String>,
    api_version: Option<String>,
}

impl Pong {
    pub(crate) fn new(headers: &HeaderMap) -> Self {
        let date = header(headers, "date").and_then(|date| {
            let date = OffsetDateTime::parse(date, &Rfc2822).ok()?;
            u64::try_from(date.unix_timestamp()).ok()
        });
        Self {
            engine_time: date.unwrap_or_else(unix_seconds),
            server: header(headers, "server").map(str::to_owned),
            api_version: header(headers, "api-version").map(str::to_owned),
        }
    }

    /// Whether both come from an engine of the same version.
    pub(crate) fn is_same_engine(&self, other: &Self) -> bool {
        (&self.server, &self.api_version) == (&other.server, &other.api_version)
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The version in a `Server` header such as `Docker/20.10.24+dfsg1 (linux)`.
fn version_of_server(header: &str) -> Option<String> {
    let (_, version) = header.split_once('/')?;
    version.split_whitespace().next().map(str::to_owned)
}

/// The major and minor number of a version.
pub(crate) fn parse_version(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn format_version((major, minor): (u32, u32)) -> String {
    format!("{major}.{minor}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        assert!(parse_version("1.9") < parse_version("1.41"));
        assert_eq!(parse_version("4.3.1"), Some((4, 3)));
        assert_eq!(parse_version("1.41").map(format_version).as_deref(), Some("1.41"));
        for invalid in ["", "1", "1.x", "v1.41"] {
            assert_eq!(parse_version(invalid), None, "{invalid}");
        }
    }

    #[test]
    fn a_pong_has_the_time_of_the_engine() {
        let mut headers = HeaderMap::new();
        headers.insert("server", "Docker/28.5.2 (linux)".parse().unwrap());
        let undated = Pong::new(&headers);
        assert!(undated.engine_time > 1_790_000_000);
        headers.insert("date", "Sun, 06 Nov 1994 08:49:37 GMT".parse().unwrap());
        let dated = Pong::new(&headers);
        assert_eq!(dated.engine_time, 784_111_777, "the example of RFC 9110, section 5.6.7");
        assert!(dated.is_same_engine(&undated));
        headers.insert("server", "Docker/29.0.0 (linux)".parse().unwrap());
        assert!(!Pong::new(&headers).is_same_engine(&dated));
    }

    #[test]
    fn the_server_header_contains_the_version() {
        let version = version_of_server("Docker/20.10.24+dfsg1 (linux)");
        assert_eq!(version.as_deref(), Some("20.10.24+dfsg1"));
        assert_eq!(version_of_server("nginx"), None);
    }
}
