//! Which path leads to what.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::auth::lock::LOGIN;
use crate::http::head::Head;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::http::status;
use crate::http::upgrade;
use crate::{Error, HubHandle, Session};

/// The routes of a configuration, in the order in which they were added.
#[derive(Clone, Debug, Default)]
pub(crate) struct Routes {
    entries: Vec<RouteEntry>,
    /// Below this path there are built-in routes only.
    reserved_folder: Option<&'static str>,
}

#[derive(Clone, Debug)]
struct RouteEntry {
    path: String,
    route: Route,
    origin: RouteOrigin,
}

/// Whose route it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RouteOrigin {
    /// The embedder's.
    Own,
    /// Built in; a route of the embedder's at its path replaces it.
    Default,
    /// Built in; no other route may have its path.
    Reserved,
}

/// What a path leads to.
#[derive(Clone)]
pub(crate) enum Route {
    Page { content_type: Cow<'static, str>, body: Cow<'static, [u8]> },
    Socket(SessionFactory),
    Computed(Compute),
    Deferred(Arc<dyn DeferredRoute>),
}

/// Makes the session of a client that connects.
#[derive(Clone)]
pub(crate) enum SessionFactory {
    /// Every client, without a look at its request; called on the HTTP thread.
    Everyone(Begin),
    /// Or refuses it; called on the client's own thread.
    Decide(Decide),
}

pub(crate) type Begin = Arc<dyn Fn(&HubHandle) -> Box<dyn Session> + Send + Sync>;
pub(crate) type Decide = Arc<dyn Fn(&Request) -> Result<Box<dyn Session>, Response> + Send + Sync>;

/// Computes a response. Called on a thread of its own.
pub(crate) type Compute = Arc<dyn Fn(&Request) -> Response + Send + Sync>;

/// A route that is answered later by whichever thread has the answer. It is asked on the HTTP
/// thread, so it must not wait.
pub(crate) trait DeferredRoute: Send + Sync {
    /// # Errors
    /// The response, where it is known at once.
    fn request(&self, request: &Request, hub: &HubHandle, respond: Respond)
    -> Result<(), Response>;

    /// The response when there was none in time.
    fn timeout(&self, hub: &HubHandle) -> Response;
}

/// Called once, from any thread. The response is made on the HTTP thread.
pub(crate) type Respond = Box<dyn FnOnce(MakeResponse) + Send>;
pub(crate) type MakeResponse = Box<dyn FnOnce() -> Response + Send>;

/// What a request leads to.
pub(crate) enum Outcome {
    /// The response is known.
    Respond(Response),
    Compute(Compute, Request),
    Defer(Arc<dyn DeferredRoute>, Request),
    /// A WebSocket for everyone: the bytes that accept it, and its session.
    Upgrade(Vec<u8>, Begin),
    /// A WebSocket that may be refused.
    Decide(Vec<u8>, Decide, Request),
}

impl Routes {
    pub(crate) fn add(&mut self, path: impl Into<String>, route: Route, origin: RouteOrigin) {
        self.entries.push(RouteEntry { path: path.into(), route, origin });
    }

    /// Lets no other route replace the built-in one at this path.
    pub(crate) fn reserve(&mut self, path: &str) {
        for entry in self.entries.iter_mut().filter(|entry| entry.path == path) {
            entry.origin = RouteOrigin::Reserved;
        }
    }

    /// Lets no other route be below this path.
    pub(crate) fn reserve_below(&mut self, folder: &'static str) {
        self.reserved_folder = Some(folder);
    }

    /// The table of these routes. With a `login`, its path is reserved.
    ///
    /// # Errors
    /// If a path of the embedder's is none, is there twice or is reserved.
    pub(crate) fn table(self, login: bool) -> Result<RouteTable, Error> {
        let mut table = RouteTable::default();
        let (own, built_in): (Vec<_>, Vec<_>) =
            self.entries.into_iter().partition(|entry| entry.origin == RouteOrigin::Own);
        for entry in built_in {
            // A default may come before a reserved one of the same path; the last one counts.
            table.0.insert(entry.path, (entry.route, entry.origin));
        }
        for RouteEntry { path, route, origin } in own {
            check_path(&path)?;
            let below = self.reserved_folder.is_some_and(|folder| path.starts_with(folder));
            let taken = table.0.get(&path).map(|(_, origin)| *origin);
            match taken.or(below.then_some(RouteOrigin::Reserved)) {
                Some(RouteOrigin::Own) => {
                    return Err(Error::invalid(format!(
                        "the path {path} has two routes: remove one of them"
                    )));
                }
                Some(RouteOrigin::Reserved) => {
                    return Err(Error::invalid(format!(
                        "the path {path} is reserved for a built-in route: choose another path, \
                         or start from ServerConfig::bare"
                    )));
                }
                _ if login && path == LOGIN => {
                    return Err(Error::invalid(format!(
                        "the path {path} is reserved for the login form of Access::Token: choose \
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

/// Refuses what is no path of a route.
pub(super) fn check_path(path: &str) -> Result<(), Error> {
    let why = if !path.starts_with('/') {
        "it must begin with a slash"
    } else if path.contains(['?', '#']) || path.chars().any(|c| c.is_whitespace() || c.is_control())
    {
        "it must have no query, fragment or blank"
    } else if !path.is_ascii() {
        "write it percent-encoded, as browsers send it"
    } else if path.strip_suffix("/*").unwrap_or(path).contains('*') {
        "an asterisk may only be its last part, as in /files/*"
    } else {
        return Ok(());
    };
    Err(Error::invalid(format!("{path:?} is not a path of a route: {why}")))
}

/// Whether `route`, an exact path or one that ends in `/*`, matches this path.
pub(super) fn matches(route: &str, path: &str) -> bool {
    match route.strip_suffix('*') {
        Some(folder) => path.starts_with(folder),
        None => path == route,
    }
}

/// Routes by their paths.
#[derive(Debug, Default)]
pub(crate) struct RouteTable(HashMap<String, (Route, RouteOrigin)>);

impl RouteTable {
    /// The route of a path: the exact one, else that of the nearest folder.
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

    /// Where a request leads; `own_page` unless it comes from a page that may open no WebSocket.
    pub(crate) fn outcome(
        &self,
        head: Head,
        peer: std::net::SocketAddr,
        own_page: bool,
    ) -> Outcome {
        let Some((found, route)) = self.find(head.path()) else {
            return Outcome::Respond(Response::line(status::NOT_FOUND, "nothing is here"));
        };
        let is_get = matches!(head.method(), "GET" | "HEAD");
        match route {
            Route::Socket(accept) => match upgrade::accept(&head, own_page) {
                Ok(answer) => match accept {
                    SessionFactory::Everyone(begin) => Outcome::Upgrade(answer, Arc::clone(begin)),
                    SessionFactory::Decide(decide) => {
                        let request = Request::new(head, peer, &found);
                        Outcome::Decide(answer, Arc::clone(decide), request)
                    }
                },
                Err(response) => Outcome::Respond(response),
            },
            _ if !is_get => {
                let why = "only GET and HEAD are answered here";
                let response = Response::line(status::METHOD_NOT_ALLOWED, why);
                Outcome::Respond(response.with_header("Allow", "GET, HEAD"))
            }
            Route::Page { content_type, body } => {
                Outcome::Respond(Response::page(content_type.clone(), body.clone()))
            }
            Route::Computed(compute) => {
                Outcome::Compute(Arc::clone(compute), Request::new(head, peer, &found))
            }
            Route::Deferred(route) => {
                Outcome::Defer(Arc::clone(route), Request::new(head, peer, &found))
            }
        }
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Page { .. } => "Page",
            Self::Socket(_) => "Socket",
            Self::Computed(_) => "Computed",
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
    fn an_exact_path_comes_first_and_then_the_nearest_folder() {
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
        assert!(matches("/a/*", "/a/b") && matches("/a", "/a"));
        assert!(!matches("/a/*", "/a") && !matches("/a", "/a/"));
    }

    #[test]
    fn a_path_that_is_none_or_is_taken_is_refused_by_its_name() {
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
        ] {
            let error = table(paths, login).unwrap_err();
            assert!(error.is_invalid() && error.to_string().contains(paths[0].0), "{error}");
        }
        assert!(table(&[("/a", Default), ("/a", Own), ("/login", Own)], false).is_ok());
    }
}
