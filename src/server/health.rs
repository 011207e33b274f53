//! `/healthz`: checks that the hub's thread responds.

use super::routes::{DeferredRoute, Respond};
use crate::HubHandle;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::http::status;
use crate::hub::Query;

/// The paths of the health checks. They need no token, and are answered when the limit of requests
/// is reached.
pub(crate) const PATHS: [&str; 2] = ["/healthz", "/readyz"];

/// Responds with this text once the hub has responded.
pub(crate) struct HealthRoute(pub(crate) &'static str);

impl DeferredRoute for HealthRoute {
    fn request(
        &self,
        _: &Request,
        _: bool,
        hub: &HubHandle,
        respond: Respond,
    ) -> Result<(), Response> {
        let text = self.0;
        let answer = move |_| respond(Box::new(move || Response::line(status::OK, text)));
        hub.query(Query::Alive, Box::new(answer))
            .map_err(|_| Response::line(status::UNAVAILABLE, "the hub has stopped"))
    }

    fn serves_other_origins(&self) -> bool {
        true
    }

    fn timeout(&self, _: bool, _: &HubHandle) -> Response {
        Response::line(status::UNAVAILABLE, "the hub does not respond")
    }
}
