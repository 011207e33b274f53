//! HTTP calls to one engine, each with a limit on time and bytes.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use ureq::http::HeaderMap;
use ureq::{Agent, Body};

use super::call::{EngineCall, is_allowed};
use super::connection::StreamConnector;
use super::error::EngineError;
use super::host::DockerHost;
use super::lines::LineStream;
use super::transport::{EngineConnector, NoResolver, endpoints};

/// The time limit of one call.
pub(crate) const CALL_LIMIT: Duration = Duration::from_secs(2);
/// The largest response accepted, in bytes: a list of about 60,000 containers.
const MAX_BODY: u64 = 64 << 20;
/// The largest sample accepted, in bytes. It has about 2 KiB, plus entries for each CPU and disk.
pub(crate) const MAX_SAMPLE: usize = 4 << 20;
/// ureq's read buffers, in bytes: lists are long, the lines of a stream are short.
const CALL_BUFFER: usize = 16 << 10;
const STREAM_BUFFER: usize = 4 << 10;
/// The longest error message shown, in characters.
const MAX_MESSAGE: usize = 300;
/// The largest response head accepted, in bytes.
pub(crate) const MAX_HEAD: usize = 16 << 10;
const USER_AGENT: &str = concat!("kentros/", env!("CARGO_PKG_VERSION"));

/// What the time limit of a call covers.
#[derive(Clone, Copy, Debug)]
enum CallTimeout {
    /// The whole response.
    Response(Instant),
    /// The head of a response that streams.
    Head(Duration),
}

/// The number of calls made to an engine, and of those that failed.
#[derive(Debug, Default)]
pub(crate) struct CallCounters {
    pub(crate) calls: AtomicU64,
    pub(crate) errors: AtomicU64,
}

/// An HTTP client for one engine. Clones share their connections.
#[derive(Clone, Debug)]
pub(crate) struct EngineClient {
    agent: Agent,
    /// Keeps no connections: for a second try.
    retry_agent: Agent,
    host: DockerHost,
    /// The API version in each path.
    version: String,
    counters: Arc<CallCounters>,
}

impl EngineClient {
    /// A client that keeps up to `connections` idle connections. It connects at the first call.
    pub(crate) fn new(
        host: &DockerHost,
        version: &str,
        connections: usize,
        counters: &Arc<CallCounters>,
    ) -> Self {
        let agent = |max_idle| {
            let config = Agent::config_builder()
                // By default ureq reads proxies from the environment.
                .proxy(None)
                .http_status_as_error(false)
                .max_redirects(0)
                .user_agent(USER_AGENT)
                // ureq's own buffers are 128 KiB each way.
                .input_buffer_size(if connections == 0 { STREAM_BUFFER } else { CALL_BUFFER })
                .output_buffer_size(4 << 10)
                .max_response_header_size(MAX_HEAD)
                .max_idle_connections(max_idle)
                .max_idle_connections_per_host(max_idle);
            #[cfg(feature = "tls")]
            let config = match &host.tls {
                Some(tls) => config.tls_config(tls.config()),
                None => config,
            };
            Agent::with_parts(config.build(), EngineConnector::new(host.clone()), NoResolver)
        };
        let (agent, retry_agent) = (agent(connections), agent(0));
        Self {
            agent,
            retry_agent,
            host: host.clone(),
            version: version.to_owned(),
            counters: Arc::clone(counters),
        }
    }

    /// The same client with another API version.
    pub(crate) fn with_version(self, version: String) -> Self {
        Self { version, ..self }
    }

    /// A client of the same engine that shares no connection, for one stream, so that
    /// [`shutdown`](Self::shutdown) ends only that stream.
    pub(crate) fn with_own_connections(&self) -> Self {
        Self::new(&self.host, &self.version, 0, &self.counters)
    }

    /// Ends all calls in progress, on any thread. Later calls fail.
    pub(crate) fn shutdown(&self) {
        self.agent.clone().shutdown();
        self.retry_agent.clone().shutdown();
    }

    /// Pings the engine and returns the response headers.
    pub(crate) fn ping(&self, deadline: Instant) -> Result<HeaderMap, EngineError> {
        let response =
            self.counted(self.send(EngineCall::Ping, CallTimeout::Response(deadline)))?;
        let (parts, mut body) = response.into_parts();
        // The body is "OK". Only a connection whose body was read is reused.
        let _ = body.with_config().limit(1 << 10).read_to_vec();
        Ok(parts.headers)
    }

    /// Makes `call` and parses the JSON of the response. An empty response is an error.
    pub(crate) fn get<T: DeserializeOwned>(
        &self,
        call: EngineCall<'_>,
        deadline: Instant,
    ) -> Result<T, EngineError> {
        self.counted(self.send(call, CallTimeout::Response(deadline)).and_then(|response| {
            let limit = match call {
                EngineCall::OneShot(_) => MAX_SAMPLE as u64,
                _ => MAX_BODY,
            };
            let bytes = response.into_body().with_config().limit(limit).read_to_vec();
            parse(&bytes.map_err(|error| EngineError::from_ureq(&self.host, error))?)
        }))
    }

    /// Makes a call whose response streams. The head must arrive within `limit`; the lines have no
    /// time limit and end with [`shutdown`](Self::shutdown).
    pub(crate) fn lines(
        &self,
        call: EngineCall<'_>,
        limit: Duration,
    ) -> Result<LineStream, EngineError> {
        let body = self.counted(self.send(call, CallTimeout::Head(limit)))?.into_body();
        Ok(LineStream::new(body.into_reader(), self.host.clone()))
    }

    /// A connector for non-blocking connections to the same engine. Resolves the engine's host
    /// name, within [`CALL_LIMIT`].
    pub(crate) fn stream_connector(&self) -> Result<StreamConnector, EngineError> {
        let connector = StreamConnector::new(
            endpoints(&self.host, self.agent.config(), CALL_LIMIT)
                .map_err(|error| EngineError::from_ureq(&self.host, error))?,
        );
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.host.tls {
            let handshake = tls.handshake(self.host.name());
            return Ok(connector.with_tls(handshake.map_err(|error| self.error(error))?));
        }
        Ok(connector)
    }

    /// The bytes of the request for `call`, for a connection made without ureq.
    pub(crate) fn request(&self, call: EngineCall<'_>) -> Result<Vec<u8>, EngineError> {
        let (path, host) = (self.path(call)?, self.host.authority());
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {USER_AGENT}\r\nAccept: */*\r\n\r\n"
        );
        Ok(request.into_bytes())
    }

    /// The path and query of `call`, checked against the list of allowed calls.
    fn path(&self, call: EngineCall<'_>) -> Result<String, EngineError> {
        let path = call.path(&self.version);
        if is_allowed(&path) { Ok(path) } else { Err(EngineError::NotAllowed(path)) }
    }

    /// Converts an I/O error of a connection to this engine.
    pub(crate) fn error(&self, error: io::Error) -> EngineError {
        EngineError::from_io(&self.host, error)
    }

    /// Counts a call made with [`request`](Self::request).
    pub(crate) fn count_call(&self) {
        self.counters.calls.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a failed call made with [`request`](Self::request).
    pub(crate) fn count_error(&self) {
        self.counters.errors.fetch_add(1, Ordering::Relaxed);
    }

    fn counted<T>(&self, outcome: Result<T, EngineError>) -> Result<T, EngineError> {
        self.count_call();
        if outcome.is_err() {
            self.count_error();
        }
        outcome
    }

    /// Sends `call` and waits for the head of the response.
    ///
    /// A server may close an idle connection just when it is used again. Calls are idempotent, so one
    /// whose connection closes before the head is tried once more, on a new connection (RFC 9112,
    /// section 9.3.1).
    fn send(
        &self,
        call: EngineCall<'_>,
        timeout: CallTimeout,
    ) -> Result<ureq::http::Response<Body>, EngineError> {
        match self.send_once(&self.agent, call, timeout) {
            Err(EngineError::ConnectionLost(_)) => self.send_once(&self.retry_agent, call, timeout),
            result => result,
        }
    }

    fn send_once(
        &self,
        agent: &Agent,
        call: EngineCall<'_>,
        timeout: CallTimeout,
    ) -> Result<ureq::http::Response<Body>, EngineError> {
        let url = format!("{}{}", self.host.base_url(), self.path(call)?);
        let request = agent.get(&url).config();
        let request = match timeout {
            CallTimeout::Response(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                request.timeout_global(Some(left))
            }
            CallTimeout::Head(limit) => request
                .timeout_connect(Some(CALL_LIMIT))
                .timeout_send_request(Some(CALL_LIMIT))
                .timeout_recv_response(Some(limit)),
        };
        let response =
            request.build().call().map_err(|error| EngineError::from_ureq(&self.host, error))?;
        let status = response.status().as_u16();
        if status == 200 {
            return Ok(response);
        }
        let mut body = response.into_body();
        let bytes = body.with_config().limit(16 << 10).read_to_vec().unwrap_or_default();
        Err(EngineError::Status(status, error_message(&bytes)))
    }
}

/// Parses JSON from the engine.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, EngineError> {
    if bytes.is_empty() {
        return Err(EngineError::InvalidResponse("an empty response".to_owned()));
    }
    serde_json::from_slice(bytes).map_err(|error| EngineError::InvalidResponse(error.to_string()))
}

/// The text of an error response: the engine's `{"message": "..."}`, or the first line.
pub(crate) fn error_message(bytes: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct ErrorBody {
        message: String,
    }
    let text = match serde_json::from_slice(bytes) {
        Ok(ErrorBody { message }) => message,
        Err(_) => String::from_utf8_lossy(bytes).lines().next().unwrap_or_default().to_owned(),
    };
    text.trim().chars().take(MAX_MESSAGE).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_hand_made_request_is_checked_too() {
        let client = EngineClient::new(&DockerHost::default(), "1.41", 0, &Arc::default());
        let request = client.request(EngineCall::Stream("c0ffee")).unwrap();
        let request = String::from_utf8(request).unwrap();
        assert!(request.starts_with("GET /v1.41/containers/c0ffee/stats?stream=true HTTP/1.1\r\n"));
        assert!(request.contains("\r\nHost: docker\r\n") && request.ends_with("\r\n\r\n"));
        for id in ["", "../version", "a b", "a\r\nHost: b"] {
            let refused = client.request(EngineCall::Stream(id));
            assert!(matches!(refused, Err(EngineError::NotAllowed(_))), "{id:?}");
        }
    }

    #[test]
    fn a_call_that_is_not_allowed_makes_no_connection() {
        let host: DockerHost = "unix:///nowhere/engine.sock".parse().unwrap();
        let client = EngineClient::new(&host, "1.41", 1, &Arc::default());
        let inspect = |id| {
            client.get::<()>(EngineCall::Inspect(id), Instant::now() + CALL_LIMIT).unwrap_err()
        };
        assert!(matches!(inspect("../info"), EngineError::NotAllowed(_)));
        assert!(matches!(inspect("c0ffee"), EngineError::Unreachable(..)));
    }

    #[test]
    fn error_messages_are_extracted_and_bounded() {
        assert_eq!(error_message(br#"{"message":"No such container: x"}"#), "No such container: x");
        assert_eq!(error_message(b"<html>\n<body>"), "<html>");
        assert_eq!(error_message(&[b'x'; 9_999]).len(), MAX_MESSAGE);
        assert_eq!(error_message(b""), "");
    }
}
