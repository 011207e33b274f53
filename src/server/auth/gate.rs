//! Who may ask at all: the checks that every request passes before its path is looked at.

use std::io;
use std::net::SocketAddr;

use super::lock::{self, Form, LOGIN, Lock, Shown};
use super::token::Token;
use crate::http::base::Base;
use crate::http::head::Head;
use crate::http::host::{Authority, Hosts};
use crate::http::origin::{Origin, Origins};
use crate::http::proxy::{Proxies, Visit};
use crate::http::response::Response;
use crate::http::status;
use crate::server::routes::matches;

/// What the checks go by.
#[derive(Clone, Debug, Default)]
pub(crate) struct Checks {
    pub(crate) hosts: Hosts,
    pub(crate) origins: Origins,
    pub(crate) proxies: Proxies,
}

/// The checks of one server.
pub(crate) struct Gate {
    checks: Checks,
    /// None where everyone may come in.
    lock: Option<Lock>,
    /// The paths that need no token.
    open: Vec<String>,
}

/// What becomes of a request.
pub(crate) enum Pass {
    /// It is let through; `own_page` unless it comes from a page that may open no WebSocket.
    Through { own_page: bool },
    /// This is its answer.
    Answer(Response),
    /// This is its answer; it bore a wrong token.
    Wrong(Response),
    /// Its form is to be read and given to [`Gate::login`].
    Form(Form),
}

impl Checks {
    /// Pages of this origin may connect too, and its host is answered to.
    ///
    /// # Errors
    /// A sentence about what an origin is.
    pub(crate) fn allow_origin(&mut self, text: &str) -> Result<(), String> {
        let origin = Origin::parse(text)
            .ok_or("an origin is wanted, scheme, host and port, as in https://portal.example")?;
        self.hosts.allow_host_of(origin.authority());
        self.origins.allow(origin);
        Ok(())
    }
}

impl Gate {
    /// # Errors
    /// If the operating system has no random bytes to give.
    pub(crate) fn new(
        checks: Checks,
        token: Option<&Token>,
        open: Vec<String>,
    ) -> io::Result<Self> {
        let lock = token.map(Lock::new).transpose()?;
        Ok(Self { checks, lock, open })
    }

    /// Where a request comes from, and what becomes of it.
    pub(crate) fn pass(&self, peer: SocketAddr, head: &Head) -> (SocketAddr, Pass) {
        let visit = self.checks.proxies.visit(peer, head);
        (visit.from, self.judge(&visit, head).unwrap_or_else(Pass::Answer))
    }

    fn judge(&self, visit: &Visit<'_>, head: &Head) -> Result<Pass, Response> {
        let host = Authority::parse(visit.host)
            .ok_or_else(|| Response::line(status::BAD_REQUEST, "the field Host names no host"))?;
        if !self.checks.hosts.answer_to(&host) {
            return Err(Response::line(
                status::FORBIDDEN,
                &format!(
                    "this server does not answer to the name {:?}: add {} to its allowed hosts",
                    visit.host,
                    host.name()
                ),
            ));
        }
        let own_page = self.checks.origins.admit(head.field("origin"), &host);
        let through = Pass::Through { own_page };
        let Some(lock) = &self.lock else { return Ok(through) };
        let path = head.path();
        if self.open.iter().any(|open| matches(open, path)) {
            return Ok(through);
        }
        if path == LOGIN {
            return match head.method() {
                "GET" | "HEAD" => Err(lock::login_page()),
                "POST" if own_page => Lock::form(head, visit.secure).map(Pass::Form),
                "POST" => Err(Response::line(
                    status::FORBIDDEN,
                    "a page of another origin may not log in here",
                )),
                _ => Err(Response::line(status::METHOD_NOT_ALLOWED, "a login is a POST")
                    .with_header("Allow", "GET, HEAD, POST")),
            };
        }
        match lock.shown(head) {
            Shown::Right => Ok(through),
            Shown::Nothing => Err(lock::refusal(head, path, Shown::Nothing)),
            Shown::Wrong => Ok(Pass::Wrong(lock::refusal(head, path, Shown::Wrong))),
        }
    }

    /// The answer to a login form that is there; `Err` where the token is wrong.
    pub(crate) fn login(
        &self,
        form: &Form,
        body: &[u8],
        base: &Base,
    ) -> Result<Response, Response> {
        match &self.lock {
            Some(lock) => lock.login(form, body, base),
            None => Ok(Response::line(status::NOT_FOUND, "nothing is here")),
        }
    }
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
