//! Calls to one engine, each bounded in time and in bytes.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use ureq::http::HeaderMap;
use ureq::{Agent, Body, BodyReader};

use super::call::{EngineCall, is_allowed};
use super::connection::StreamConnector;
use super::error::EngineError;
use super::host::DockerHost;
use super::transport::{EngineConnector, NoResolver, endpoints};

/// The most one call may take.
pub(crate) const CALL_LIMIT: Duration = Duration::from_secs(2);
/// The largest answer taken: the list of some 60,000 containers.
const MAX_ANSWER: u64 = 64 << 20;
/// The longest line taken of a stream: Podman's frame of some 2,000 containers.
const MAX_LINE: u64 = 1 << 20;
/// What is read at once of a list, which may be long, and of a stream of events or of Podman's.
const CALL_BUFFER: usize = 16 << 10;
const STREAM_BUFFER: usize = 4 << 10;
/// The longest error message shown.
const MAX_MESSAGE: usize = 300;
/// The longest head of an answer.
pub(crate) const MAX_HEAD: usize = 16 << 10;
const USER_AGENT: &str = concat!("kentros/", env!("CARGO_PKG_VERSION"));

/// What a call's limit is for.
#[derive(Clone, Copy, Debug)]
enum CallTimeout {
    /// All of the answer, by then.
    End(Instant),
    /// The head of an answer without end, within this.
    Head(Duration),
}

/// Calls made to an engine, and those of them that failed.
#[derive(Debug, Default)]
pub(crate) struct CallCounters {
    pub(crate) calls: AtomicU64,
    pub(crate) errors: AtomicU64,
}

/// Speaks to one engine. Clones share their connections.
#[derive(Clone, Debug)]
pub(crate) struct EngineClient {
    agent: Agent,
    host: DockerHost,
    /// The API version asked for.
    version: String,
    tally: Arc<CallCounters>,
}

impl EngineClient {
    /// A client that keeps up to `connections` connections alive. It connects at the first call.
    pub(crate) fn new(
        host: &DockerHost,
        version: &str,
        connections: usize,
        tally: &Arc<CallCounters>,
    ) -> Self {
        let config = Agent::config_builder()
            // ureq would read proxies from the environment.
            .proxy(None)
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(USER_AGENT)
            // ureq's own buffers are 128 KiB each way.
            .input_buffer_size(if connections == 0 { STREAM_BUFFER } else { CALL_BUFFER })
            .output_buffer_size(4 << 10)
            .max_response_header_size(MAX_HEAD)
            .max_idle_connections(connections)
            .max_idle_connections_per_host(connections);
        #[cfg(feature = "tls")]
        let config = match &host.tls {
            Some(tls) => config.tls_config(tls.config()),
            None => config,
        };
        let config = config.build();
        let agent = Agent::with_parts(config, EngineConnector::new(host.clone()), NoResolver);
        Self { agent, host: host.clone(), version: version.to_owned(), tally: Arc::clone(tally) }
    }

    /// The same client, asking for another API version.
    pub(crate) fn speaking(self, version: String) -> Self {
        Self { version, ..self }
    }

    /// The same engine over connections of its own, for one stream: [`shutdown`](Self::shutdown)
    /// then ends that stream alone.
    pub(crate) fn with_own_connections(&self) -> Self {
        Self::new(&self.host, &self.version, 0, &self.tally)
    }

    /// Ends every call under way, in any thread, at once; later ones fail.
    pub(crate) fn shutdown(&self) {
        self.agent.clone().shutdown();
    }

    /// The headers of the answer to a ping.
    pub(crate) fn ping(&self, deadline: Instant) -> Result<HeaderMap, EngineError> {
        let response = self.counted(self.send(EngineCall::Ping, CallTimeout::End(deadline)))?;
        let (parts, mut body) = response.into_parts();
        // The body is "OK": read, so that the connection can be kept.
        let _ = body.with_config().limit(1 << 10).read_to_vec();
        Ok(parts.headers)
    }

    /// The answer to `call`, from its JSON. An empty one is no JSON: `Garbled`.
    pub(crate) fn get<T: DeserializeOwned>(
        &self,
        call: EngineCall<'_>,
        deadline: Instant,
    ) -> Result<T, EngineError> {
        self.counted(self.send(call, CallTimeout::End(deadline)).and_then(|response| {
            let mut body = response.into_body();
            let bytes = body.with_config().limit(MAX_ANSWER).read_to_vec();
            parse(&bytes.map_err(|error| EngineError::from_ureq(&self.host, error))?)
        }))
    }

    /// The lines of an answer that does not end; its head must come within `limit`. There is no
    /// limit to the wait for a line: end it with [`shutdown`](Self::shutdown).
    pub(crate) fn lines(
        &self,
        call: EngineCall<'_>,
        limit: Duration,
    ) -> Result<LineStream, EngineError> {
        let body = self.counted(self.send(call, CallTimeout::Head(limit)))?.into_body();
        let reader = BufReader::with_capacity(4 << 10, body.into_reader());
        Ok(LineStream { reader, line: Vec::new(), host: self.host.clone() })
    }

    /// What makes connections to the same engine for streams of its own. It resolves the engine's
    /// name, within [`CALL_LIMIT`].
    pub(crate) fn stream_connector(&self) -> Result<StreamConnector, EngineError> {
        let dialer = StreamConnector::new(
            endpoints(&self.host, self.agent.config(), CALL_LIMIT)
                .map_err(|error| EngineError::from_ureq(&self.host, error))?,
        );
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.host.tls {
            let handshake = tls.handshake(self.host.name());
            return Ok(dialer.with_tls(handshake.map_err(|error| self.failed(error))?));
        }
        Ok(dialer)
    }

    /// The bytes that make `call` over a connection that no other call uses.
    pub(crate) fn request(&self, call: EngineCall<'_>) -> Result<Vec<u8>, EngineError> {
        let (path, host) = (self.path(call)?, self.host.authority());
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {USER_AGENT}\r\nAccept: */*\r\n\r\n"
        );
        Ok(request.into_bytes())
    }

    /// The path and query of a call, if it may be made at all.
    fn path(&self, call: EngineCall<'_>) -> Result<String, EngineError> {
        let path = call.path(&self.version);
        if is_allowed(&path) { Ok(path) } else { Err(EngineError::NotAllowed(path)) }
    }

    /// What a failed connection to this engine comes to.
    pub(crate) fn failed(&self, error: io::Error) -> EngineError {
        EngineError::from_io(&self.host, error)
    }

    /// Counts a call made with [`request`](Self::request).
    pub(crate) fn count_call(&self) {
        self.tally.calls.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts the failure of such a call.
    pub(crate) fn count_error(&self) {
        self.tally.errors.fetch_add(1, Ordering::Relaxed);
    }

    fn counted<T>(&self, outcome: Result<T, EngineError>) -> Result<T, EngineError> {
        self.count_call();
        if outcome.is_err() {
            self.count_error();
        }
        outcome
    }

    /// Sends `call`, and waits for the head of the answer.
    fn send(
        &self,
        call: EngineCall<'_>,
        until: CallTimeout,
    ) -> Result<ureq::http::Response<Body>, EngineError> {
        let url = format!("{}{}", self.host.base(), self.path(call)?);
        let request = self.agent.get(&url).config();
        let request = match until {
            CallTimeout::End(deadline) => {
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
        Err(EngineError::Status(status, message(&bytes)))
    }
}

/// The lines of an endless answer, one JSON document each.
pub(crate) struct LineStream {
    reader: BufReader<BodyReader<'static>>,
    line: Vec<u8>,
    host: DockerHost,
}

impl LineStream {
    /// The next line, or `None` at the end. What is cut off by the end is dropped.
    pub(crate) fn next(&mut self) -> Result<Option<&[u8]>, EngineError> {
        self.line.clear();
        (&mut self.reader)
            .take(MAX_LINE)
            .read_until(b'\n', &mut self.line)
            .map_err(|error| EngineError::from_ureq(&self.host, error.into()))?;
        if self.line.pop() == Some(b'\n') {
            Ok(Some(&self.line))
        } else if self.line.len() as u64 + 1 >= MAX_LINE {
            Err(EngineError::InvalidResponse(format!("a line of more than {MAX_LINE} bytes")))
        } else {
            Ok(None)
        }
    }
}

/// Reads JSON the engine sent.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, EngineError> {
    if bytes.is_empty() {
        return Err(EngineError::InvalidResponse("an empty answer".to_owned()));
    }
    serde_json::from_slice(bytes).map_err(|error| EngineError::InvalidResponse(error.to_string()))
}

/// The engine's `{"message": "..."}`, or the answer's first line.
pub(crate) fn message(bytes: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Answer {
        message: String,
    }
    let text = match serde_json::from_slice(bytes) {
        Ok(Answer { message }) => message,
        Err(_) => String::from_utf8_lossy(bytes).lines().next().unwrap_or_default().to_owned(),
    };
    text.trim().chars().take(MAX_MESSAGE).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_request_of_our_own_passes_the_same_check() {
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
    fn what_is_not_on_the_list_is_not_even_tried() {
        let host: DockerHost = "unix:///nowhere/engine.sock".parse().unwrap();
        let client = EngineClient::new(&host, "1.41", 1, &Arc::default());
        let ask = |id| {
            client.get::<()>(EngineCall::Inspect(id), Instant::now() + CALL_LIMIT).unwrap_err()
        };
        assert!(matches!(ask("../info"), EngineError::NotAllowed(_)));
        assert!(matches!(ask("c0ffee"), EngineError::Unreachable(..)));
    }

    #[test]
    fn an_error_message_is_found_and_bounded() {
        assert_eq!(message(br#"{"message":"No such container: x"}"#), "No such container: x");
        assert_eq!(message(b"<html>\n<body>"), "<html>");
        assert_eq!(message(&[b'x'; 9_999]).len(), MAX_MESSAGE);
        assert_eq!(message(b""), "");
    }
}
