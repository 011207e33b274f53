//! `/healthz`: whether the hub's thread works.

use super::routes::{DeferredRoute, Respond};
use crate::HubHandle;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::http::status;
use crate::hub::Query;

/// Answers with this word.
pub(crate) struct HealthRoute(pub(crate) &'static str);

impl DeferredRoute for HealthRoute {
    fn request(&self, _: &Request, hub: &HubHandle, respond: Respond) -> Result<(), Response> {
        let word = self.0;
        let answer = move |_| respond(Box::new(move || Response::line(status::OK, word)));
        hub.query(Query::Alive, Box::new(answer))
            .map_err(|_| Response::line(status::UNAVAILABLE, "the hub has stopped"))
    }

    fn timeout(&self, _: &HubHandle) -> Response {
        Response::line(status::UNAVAILABLE, "the hub does not answer")
    }
}
