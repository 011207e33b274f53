//! Requests that are rejected: their warnings, counters and responses.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::pending_table::SLOW_RESPONSE;
use crate::HubHandle;
use crate::http::response::Response;
use crate::http::status;
use crate::rate_limited::RateLimitedWarning;

/// The number of requests rejected or disconnected because of a limit. One per hub, as an
/// [extension](crate::HubHandle::extension).
#[derive(Debug, Default)]
pub(crate) struct RejectedRequests {
    requests: AtomicU64,
    response_memory: AtomicU64,
}

impl RejectedRequests {
    /// The counts by limit, as named in the metric.
    pub(crate) fn by_limit(&self) -> [(&'static str, u64); 2] {
        [("requests", &self.requests), ("response_memory", &self.response_memory)]
            .map(|(limit, count)| (limit, count.load(Ordering::Relaxed)))
    }
}

/// The warnings and counters of rejected requests.
pub(super) struct Rejections {
    counters: Arc<RejectedRequests>,
    too_many_requests: RateLimitedWarning,
    response_memory: RateLimitedWarning,
    pub(super) timed_out: RateLimitedWarning,
    pub(super) head_too_large: RateLimitedWarning,
    pub(super) form_too_large: RateLimitedWarning,
}

impl Rejections {
    pub(super) fn new(hub: &HubHandle) -> Self {
        Self {
            counters: hub.extension(),
            too_many_requests: RateLimitedWarning::default(),
            response_memory: RateLimitedWarning::default(),
            timed_out: RateLimitedWarning::default(),
            head_too_large: RateLimitedWarning::default(),
            form_too_large: RateLimitedWarning::default(),
        }
    }

    /// Counts a request beyond the limit of concurrent requests. Returns its response.
    pub(super) fn too_many_requests(&self, limit: usize, peer: SocketAddr) -> Response {
        self.too_many_requests.warn(|| {
            format!("rejected {peer} with 503: the limit of {limit} concurrent requests is reached")
        });
        self.counters.requests.fetch_add(1, Ordering::Relaxed);
        Response::line(status::UNAVAILABLE, "too many concurrent requests; try again later")
    }

    /// Counts a request that is disconnected or rejected because responses take too much memory.
    pub(super) fn count_response_memory(&self) {
        self.response_memory.warn(|| {
            "responses to clients that read slowly take too much memory: disconnecting the slowest \
             clients, or rejecting new requests with 503"
                .to_owned()
        });
        self.counters.response_memory.fetch_add(1, Ordering::Relaxed);
    }
}

/// The response if other responses take too much memory.
pub(super) fn too_much_response_memory() -> Response {
    let why = "too many large responses are being sent; try again later";
    // By then, the others are sent, or slow enough to be disconnected.
    let seconds = SLOW_RESPONSE.as_secs().to_string();
    Response::line(status::UNAVAILABLE, why).with_header("Retry-After", seconds)
}
