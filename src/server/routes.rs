//! Routes: from paths to pages, handlers and WebSockets.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use tungstenite::Bytes;

use super::auth::authenticator::TOKEN_SUBPROTOCOL;
use super::auth::login::{LOGIN_PATH, LOGOUT_PATH};
use crate::http::head::RequestHead;
use crate::http::origin::is_cross_origin;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::http::status;
use crate::http::upgrade;
use crate::{Error, HubHandle, Session};

/// The routes of a configuration, in the order in which they were added.
#[derive(Clone, Debug, Default)]
pub(crate) struct Routes {
    entries: Vec<RouteEntry>,
    /// Only built-in routes may have a path below this one.
    reserved_folder: Option<&'static str>,
}

#[derive(Clone, Debug)]
struct RouteEntry {
    path: String,
    route: Route,
    origin: RouteOrigin,
}

/// Who added a route, and whether it can be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RouteOrigin {
    /// Added by the embedder.
    Own,
    /// Built in; the embedder may replace it.
    Default,
    /// Built in; the embedder may not replace it.
    Reserved,
}

/// What is served at a path.
#[derive(Clone)]
pub(crate) enum Route {
    Page { content_type: Cow<'static, str>, body: Bytes },
    Socket(SessionFactory),
    Handler(RouteHandler),
    Deferred(Arc<dyn DeferredRoute>),
}

/// Creates the session of a client that connects.
#[derive(Clone)]
pub(crate) enum SessionFactory {
    /// For every client. Called on the HTTP thread.
    Infallible(CreateSession),
    /// Based on the request, which it may reject. Called on the client's thread.
    Fallible(TryCreateSession),
}

pub(crate) type CreateSession = Arc<dyn Fn(&HubHandle) -> Box<dyn Session> + Send + Sync>;
pub(crate) type TryCreateSession =
    Arc<dyn Fn(&Request) -> Result<Box<dyn Session>, Response> + Send + Sync>;

/// Computes a response, on a thread of its own.
pub(crate) type RouteHandler = Arc<dyn Fn(&Request) -> Response + Send + Sync>;

/// A route whose response comes later, from another thread. Called on the HTTP thread, so it must
/// not block.
pub(crate) trait DeferredRoute: Send + Sync {
    /// `authorized` is false for a client without the token, at a path that needs none.
    ///
    /// # Errors
    /// The response, if it is known at once.
    fn request(
        &self,
        request: &Request,
        authorized: bool,
        hub: &HubHandle,
        respond: Respond,
    ) -> Result<(), Response>;

    /// The response if none came in time.
    fn timeout(&self, authorized: bool, hub: &HubHandle) -> Response;

    /// Whether pages of other origins may request it. They cannot read the response, but each
    /// request costs work.
    fn serves_other_origins(&self) -> bool;
}

/// Sends the response of a deferred route. Called once, from any thread.
pub(crate) type Respond = Box<dyn FnOnce(MakeResponse) + Send>;
/// Makes the response, on the HTTP thread.
pub(crate) type MakeResponse = Box<dyn FnOnce() -> Response + Send>;

/// How a request is answered.
pub(crate) enum RouteOutcome {
    Respond(Response),
    RunHandler(RouteHandler, Request),
    Defer(Arc<dyn DeferredRoute>, Request),
    /// A WebSocket: the bytes that accept the handshake, and its session.
    Upgrade(Vec<u8>, CreateSession),
    /// A WebSocket that the embedder may reject.
    TryUpgrade(Vec<u8>, TryCreateSession, Request),
}

impl Routes {
    pub(crate) fn add(&mut self, path: impl Into<String>, route: Route, origin: RouteOrigin) {
        self.entries.push(RouteEntry { path: path.into(), route, origin });
    }

    /// Makes the built-in route at this path irreplaceable.
    pub(crate) fn reserve(&mut self, path: &str) {
        for entry in self.entries.iter_mut().filter(|entry| entry.path == path) {
            entry.origin = RouteOrigin::Reserved;
        }
    }

    /// Reserves all paths below this one.
    pub(crate) fn reserve_below(&mut self, folder: &'static str) {
        self.reserved_folder = Some(folder);
    }

    /// Builds the table. `login` reserves the paths of the login and the logout.
    ///
    /// # Errors
    /// If a path of the embedder's is invalid, duplicate or reserved.
    pub(crate) fn table(self, login: bool) -> Result<RouteTable, Error> {
        let mut table = RouteTable::default();
        let (own, built_in): (Vec<_>, Vec<_>) =
            self.entries.into_iter().partition(|entry| entry.origin == RouteOrigin::Own);
        for entry in built_in {
            // The last one counts: a reserved route may follow a default one of the same path.
            table.0.insert(entry.path, (entry.route, entry.origin));
        }
        for RouteEntry { path, route, origin } in own {
            check_path(&path)?;
            let below = self.reserved_folder.is_some_and(|folder| path.starts_with(folder));
            let existing = table.0.get(&path).map(|(_, origin)| *origin);
            match existing.or(below.then_some(RouteOrigin::Reserved)) {
                Some(RouteOrigin::Own) => {
                    return Err(Error::invalid(format!(
                        "duplicate route {path}: remove one of the two"
                    )));
                }
                Some(RouteOrigin::Reserved) => {
                    return Err(Error::invalid(format!(
                        "route path {path} is reserved for a built-in route: choose another path, \
                         or start from ServerConfig::bare"
                    )));
                }
                _ if login && [LOGIN_PATH, LOGOUT_PATH].contains(&path.as_str()) => {
                    return Err(Error::invalid(format!(
                        "route path {path} is reserved for the login of Access::Token: choose \
                         another path"
                    )));
                }
                Some(RouteOrigin::Default) | None => {}
            }
            table.0.insert(path, (route, origin));
        }
        Ok(table)
    }
}

/// Checks that `path` can be the path of a route.
pub(super) fn check_path(path: &str) -> Result<(), Error> {
    let why = if !path.starts_with('/') {
        "it must start with a slash"
    } else if path.contains(['?', '#']) || path.chars().any(|c| c.is_whitespace() || c.is_control())
    {
        "it must not contain a query, a fragment or whitespace"
    } else if !path.is_ascii() {
        "percent-encode non-ASCII characters, as browsers do"
    } else if path.strip_suffix("/*").unwrap_or(path).contains('*') {
        "an asterisk is only allowed as the last segment, as in /files/*"
    } else {
        return Ok(());
    };
    Err(Error::invalid(format!("invalid route path {path:?}: {why}")))
}

/// Whether `route`, an exact path or one that ends in `/*`, matches this path.
pub(super) fn path_matches(route: &str, path: &str) -> bool {
    match route.strip_suffix('*') {
        Some(folder) => path.starts_with(folder),
        None => path == route,
    }
}

/// The routes by path.
#[derive(Debug, Default)]
pub(crate) struct RouteTable(HashMap<String, (Route, RouteOrigin)>);

impl RouteTable {
    /// Finds the route of a path: the exact one, else the longest one that ends in `/*`.
    fn find(&self, path: &str) -> Option<(String, &Route)> {
        let exact = self.0.get(path).map(|(route, _)| (path.to_owned(), route));
        exact.or_else(|| {
            path.rmatch_indices('/').find_map(|(slash, _)| {
                let folder = format!("{}/*", path.get(..slash)?);
                let (route, _) = self.0.get(&folder)?;
                Some((folder, route))
            })
        })
    }

    /// Routes a request. `origin_allowed` is false for a page that may not open WebSockets.
    pub(crate) fn dispatch(
        &self,
        head: RequestHead,
        peer: SocketAddr,
        origin_allowed: bool,
    ) -> RouteOutcome {
        let Some((found, route)) = self.find(head.path()) else {
            return RouteOutcome::Respond(Response::line(status::NOT_FOUND, "not found"));
        };
        let is_get = matches!(head.method(), "GET" | "HEAD");
        match route {
            Route::Socket(factory) => {
                match upgrade::accept(&head, origin_allowed, TOKEN_SUBPROTOCOL) {
                    Ok(accept) => match factory {
                        SessionFactory::Infallible(create) => {
                            RouteOutcome::Upgrade(accept, Arc::clone(create))
                        }
                        SessionFactory::Fallible(create) => {
                            let request = Request::new(head, peer, &found);
                            RouteOutcome::TryUpgrade(accept, Arc::clone(create), request)
                        }
                    },
                    Err(response) => RouteOutcome::Respond(response),
                }
            }
            _ if !is_get => {
                let why = "method not allowed: use GET or HEAD";
                let response = Response::line(status::METHOD_NOT_ALLOWED, why);
                RouteOutcome::Respond(response.with_header("Allow", "GET, HEAD"))
            }
            Route::Page { content_type, body } => {
                RouteOutcome::Respond(Response::shared(content_type.clone(), body.clone()))
            }
            Route::Handler(handler) => {
                RouteOutcome::RunHandler(Arc::clone(handler), Request::new(head, peer, &found))
            }
            Route::Deferred(route)
                if !route.serves_other_origins() && is_cross_origin(&head, origin_allowed) =>
            {
                RouteOutcome::Respond(Response::line(
                    status::FORBIDDEN,
                    "requests from pages of other origins are not allowed: open this URL directly, \
                     or add the page's origin to the server's allowed origins",
                ))
            }
            Route::Deferred(route) => {
                RouteOutcome::Defer(Arc::clone(route), Request::new(head, peer, &found))
            }
        }
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Page { .. } => "Page",
            Self::Socket(_) => "Socket",
            Self::Handler(_) => "Handler",
            Self::Deferred(_) => "Deferred",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(body: &'static [u8]) -> Route {
        Route::Page { content_type: "text/plain".into(), body: body.into() }
    }

    fn table(paths: &[(&str, RouteOrigin)], login: bool) -> Result<RouteTable, Error> {
        let mut routes = Routes::default();
        for (path, origin) in paths {
            routes.add(*path, page(b""), *origin);
        }
        routes.table(login)
    }

    #[test]
    fn an_exact_path_wins_and_then_the_longest_folder() {
        use RouteOrigin::{Default, Own};
        let paths = [("/a", Own), ("/*", Default), ("/a/*", Own), ("/a/b/*", Own), ("/a/b/c", Own)];
        let table = table(&paths, false).unwrap();
        let found = |path| table.find(path).map(|(found, _)| found);
        for (path, expected) in [
            ("/", "/*"),
            ("/a", "/a"),
            ("/ab", "/*"),
            ("/a/", "/a/*"),
            ("/a/x/y", "/a/*"),
            ("/a/b", "/a/*"),
            ("/a/b/", "/a/b/*"),
            ("/a/b/c", "/a/b/c"),
            ("/a/b/c/d", "/a/b/*"),
        ] {
            assert_eq!(found(path).as_deref(), Some(expected), "{path}");
        }
        assert_eq!(found("x"), None);
        assert!(path_matches("/a/*", "/a/b") && path_matches("/a", "/a"));
        assert!(!path_matches("/a/*", "/a") && !path_matches("/a", "/a/"));
    }

    #[test]
    fn an_invalid_duplicate_or_reserved_path_is_rejected_by_name() {
        use RouteOrigin::{Default, Own, Reserved};
        for (paths, login) in [
            (&[("relative", Own)][..], false),
            (&[("", Own)], false),
            (&[("/a?b", Own)], false),
            (&[("/a b", Own)], false),
            (&[("/*/a", Own)], false),
            (&[("/a*", Own)], false),
            (&[("/\u{e9}", Own)], false),
            (&[("/a", Own), ("/a", Own)], false),
            (&[("/a", Reserved), ("/a", Own)], false),
            (&[("/login", Own)], true),
            (&[("/logout", Own)], true),
        ] {
            let error = table(paths, login).unwrap_err();
            assert!(error.is_invalid() && error.to_string().contains(paths[0].0), "{error}");
        }
        assert!(table(&[("/a", Default), ("/a", Own), ("/login", Own)], false).is_ok());
    }
}
