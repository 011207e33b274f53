//! What is where.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::api::Api;
use super::head::Head;
use super::response::{Response, Status};
use super::upgrade;
use crate::Handler;

/// Where the stats socket is.
pub(crate) const STATS_SOCKET: &str = "/ws/stats";

/// The pages and the WebSocket paths of a server.
#[derive(Clone, Default)]
pub(crate) struct Routes {
    pages: HashMap<String, Page>,
    sockets: HashMap<String, Arc<dyn Handler>>,
}

#[derive(Clone, Debug)]
struct Page {
    content_type: Cow<'static, str>,
    body: Vec<u8>,
}

/// What a request leads to.
pub(crate) enum Outcome {
    /// The answer is known.
    Respond(Response),
    /// The answer is the hub's to give.
    Ask(Api),
    /// A WebSocket: the bytes that accept it, and who serves it.
    Upgrade(Vec<u8>, Arc<dyn Handler>),
}

impl Routes {
    pub(crate) fn page(&mut self, path: String, content_type: Cow<'static, str>, body: Vec<u8>) {
        self.pages.insert(path, Page { content_type, body });
    }

    pub(crate) fn socket(&mut self, path: String, handler: Arc<dyn Handler>) {
        self.sockets.insert(path, handler);
    }

    /// Serves a WebSocket where nothing of the user's is.
    pub(crate) fn socket_if_free(
        &mut self,
        path: &str,
        handler: impl FnOnce() -> Arc<dyn Handler>,
    ) {
        if !self.sockets.contains_key(path) && !self.pages.contains_key(path) {
            self.sockets.insert(path.to_owned(), handler());
        }
    }

    /// Where a request leads; `own_page` unless it comes from a page that may open no WebSocket.
    pub(crate) fn outcome(&self, head: &Head, own_page: bool) -> Outcome {
        let path = head.path.as_str();
        if let Some(handler) = self.sockets.get(path) {
            return match upgrade::accept(head, own_page) {
                Ok(answer) => Outcome::Upgrade(answer, Arc::clone(handler)),
                Err(response) => Outcome::Respond(response),
            };
        }
        let found = match (self.pages.get(path), Api::at(path)) {
            (Some(page), _) => Outcome::Respond(Response::new(
                Status::Ok,
                page.content_type.clone(),
                page.body.clone(),
            )),
            (None, Some(api)) => Outcome::Ask(api),
            (None, None) => {
                return Outcome::Respond(Response::text(Status::NotFound, "nothing is here"));
            }
        };
        if matches!(head.method.as_str(), "GET" | "HEAD") {
            found
        } else {
            Outcome::Respond(
                Response::text(Status::MethodNotAllowed, "only GET and HEAD are answered here")
                    .field("Allow", "GET, HEAD"),
            )
        }
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routes")
            .field("pages", &self.pages.keys())
            .field("sockets", &self.sockets.keys())
            .finish()
    }
}
