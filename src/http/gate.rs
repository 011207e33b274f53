//! Who may ask at all: the checks that every request passes before its path is looked at.

use std::io;
use std::net::SocketAddr;

use super::base::Base;
use super::head::Head;
use super::host::{Authority, Hosts};
use super::lock::{self, Form, LOGIN, Lock, Shown};
use super::origin::{Origin, Origins};
use super::proxy::{Proxies, Visit};
use super::response::{Response, Status};
use super::token::Token;

/// What answers without a token: whoever watches over the process has none, and it tells nothing
/// of the containers.
const OPEN: [&str; 2] = ["/healthz", "/readyz"];

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
    pub(crate) fn new(checks: Checks, token: Option<&Token>) -> io::Result<Self> {
        let lock = token.map(Lock::new).transpose()?;
        Ok(Self { checks, lock })
    }

    /// Where a request comes from, and what becomes of it.
    pub(crate) fn pass(&self, peer: SocketAddr, head: &Head) -> (SocketAddr, Pass) {
        let visit = self.checks.proxies.visit(peer, head);
        (visit.from, self.judge(&visit, head).unwrap_or_else(Pass::Answer))
    }

    fn judge(&self, visit: &Visit<'_>, head: &Head) -> Result<Pass, Response> {
        let host = Authority::parse(visit.host)
            .ok_or_else(|| Response::text(Status::BadRequest, "the field Host names no host"))?;
        if !self.checks.hosts.answer_to(&host) {
            return Err(Response::text(
                Status::Forbidden,
                &format!(
                    "this server does not go by the name {:?}: if it should, start it with \
                     --allow-host {}, or call ServerConfig::allow_host",
                    visit.host,
                    host.name()
                ),
            ));
        }
        let own_page = self.checks.origins.admit(head.field("origin"), &host);
        let through = Pass::Through { own_page };
        let Some(lock) = &self.lock else { return Ok(through) };
        let path = head.path.as_str();
        if OPEN.contains(&path) {
            return Ok(through);
        }
        if path == LOGIN {
            return match head.method.as_str() {
                "GET" | "HEAD" => Err(lock::login_page()),
                "POST" if own_page => Lock::form(head, visit.secure).map(Pass::Form),
                "POST" => Err(Response::text(
                    Status::Forbidden,
                    "a page of another origin may not log in here",
                )),
                _ => Err(Response::text(Status::MethodNotAllowed, "a login is a POST")
                    .field("Allow", "GET, HEAD, POST")),
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
            None => Ok(Response::text(Status::NotFound, "nothing is here")),
        }
    }
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
