//! The thread `kentros-http`: every connection that is not yet a WebSocket client, by readiness,
//! each under an absolute deadline; and the threads of those that are.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

use super::ServerConfig;
use super::auth::gate::{Gate, Pass};
use super::auth::lock::Form;
use super::clients::{Clients, Most, Opening};
use super::event::Event;
use super::pending::{PendingRequest, Stage, Step, turn_away};
use super::route_threads::RouteThreads;
use super::routes::{DeferredRoute, MakeResponse, Outcome, RouteTable};
use crate::connection::frame::Frame;
use crate::connection::reader::{ConnectionLimits, LimitWarnings};
use crate::http::base::Base;
use crate::http::head::Head;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::http::status;
use crate::poller::{Poller, Readiness};
use crate::rate_limited::RateLimitedWarning;
use crate::{HubHandle, limits};

/// How long a request's head may take, from the connection on; a login form as long again.
const HEAD: Duration = Duration::from_secs(5);
/// How long a deferred response may take: stats that nobody listened to yet take a second or two.
const DEFERRED: Duration = Duration::from_secs(4);
/// How long a computed response may take.
const COMPUTED: Duration = Duration::from_secs(60);
/// How long the peer may take to read the response.
const WRITE: Duration = Duration::from_secs(10);
/// How long the peer has to close after its response.
const DRAIN: Duration = Duration::from_secs(1);
/// A head that has waited this long makes room for a new connection when there is none.
const PATIENCE: Duration = Duration::from_millis(500);

/// A connection to serve, and what has been read of it already.
pub(super) struct Connection {
    pub(super) socket: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) already_read: Vec<u8>,
}

pub(super) struct HttpLoop {
    hub: HubHandle,
    base: Base,
    gate: Gate,
    routes: RouteTable,
    route_threads: RouteThreads,
    content_security_policy: Arc<str>,
    max_requests: usize,
    poller: Poller,
    /// New connections; bounded, so that the rest wait in the kernel.
    connections: Receiver<Connection>,
    events: Sender<Event>,
    inbox: Receiver<Event>,
    next: u64,
    requests: HashMap<u64, PendingRequest>,
    /// When each request must have got on; the first is the next to be ended.
    deadlines: BTreeSet<(Instant, u64)>,
    clients: Clients,
    warnings: RequestWarnings,
}

/// The warnings about requests.
#[derive(Default)]
struct RequestWarnings {
    busy: RateLimitedWarning,
    late: RateLimitedWarning,
    large: RateLimitedWarning,
    form: RateLimitedWarning,
    wrong_token: RateLimitedWarning,
}

impl HttpLoop {
    /// # Errors
    /// If the operating system has no random bytes to give.
    pub(super) fn new(
        hub: HubHandle,
        config: ServerConfig,
        routes: RouteTable,
        poller: Poller,
        connections: Receiver<Connection>,
        (events, inbox): (Sender<Event>, Receiver<Event>),
    ) -> io::Result<Self> {
        let gate = Gate::new(config.checks, config.access.token(), config.open_paths)?;
        let connection_limits = ConnectionLimits {
            max_message: config.max_message,
            max_rate: config.max_rate,
            silence_limit: limits::time(config.silence_limit),
            warnings: LimitWarnings::default(),
        };
        let most =
            Most { clients: config.max_clients, per_address: config.max_clients_per_address };
        let content_security_policy: Arc<str> = config.content_security_policy.into();
        let clients = Clients::new(
            hub.clone(),
            connection_limits,
            Arc::clone(&content_security_policy),
            most,
            config.ping_interval,
            (events.clone(), poller.waker()),
        );
        Ok(Self {
            hub,
            base: config.base,
            gate,
            routes,
            route_threads: RouteThreads::new(events.clone(), poller.waker()),
            content_security_policy,
            max_requests: limits::requests(),
            poller,
            connections,
            events,
            inbox,
            next: 0,
            requests: HashMap::new(),
            deadlines: BTreeSet::new(),
            clients,
            warnings: RequestWarnings::default(),
        })
    }

    pub(super) fn run(mut self) {
        loop {
            while let Ok(event) = self.inbox.try_recv() {
                match event {
                    Event::Deferred(id, response) => self.deferred(id, response),
                    Event::Computed(id, response) => self.computed(id, &response),
                    Event::Refused(client) => self.clients.refused(client),
                    Event::Ended(client) => self.clients.ended(client),
                    Event::Adopt(adoption) => self.clients.adopt(adoption),
                    Event::Stop => {
                        self.requests.clear();
                        self.route_threads.stop();
                        let routes = self.route_threads.running();
                        return self.clients.stop(&self.inbox, routes);
                    }
                }
            }
            for _ in 0..super::INBOX {
                let Ok(connection) = self.connections.try_recv() else { break };
                self.accept(connection);
            }
            self.end_the_late(Instant::now());
            self.clients.ping(Instant::now());
            let next = self.deadlines.first().map(|&(deadline, _)| deadline);
            let next = next.into_iter().chain(self.clients.next_ping()).min();
            // More connections wait, of which the waker has told already.
            let next = if self.connections.is_empty() { next } else { Some(Instant::now()) };
            for id in self.poller.wait(next) {
                self.step(id);
            }
        }
    }

    fn accept(&mut self, connection: Connection) {
        let Connection { socket, peer, already_read } = connection;
        if let Err(error) = socket.set_nonblocking(true).and_then(|()| socket.set_nodelay(true)) {
            log::debug!("{peer} has disconnected already: {error}");
            return;
        }
        let now = Instant::now();
        if self.requests.len() >= self.max_requests && !self.make_room(now) {
            self.warnings.busy.warn(|| {
                format!(
                    "{} requests at a time are as many as may be: {peer} gets 503",
                    self.max_requests
                )
            });
            let busy = Response::line(status::UNAVAILABLE, "too many requests at a time");
            return turn_away(&socket, &busy.bytes(&self.content_security_policy, false));
        }
        let id = self.next;
        self.next += 1;
        if let Err(error) = self.poller.add(&socket, id, Readiness::Read) {
            log::warn!("cannot await {peer}: {error}");
            return;
        }
        let deadline = now + HEAD;
        self.deadlines.insert((deadline, id));
        let stage = Stage::Head { unparsed: !already_read.is_empty(), bytes: already_read };
        let request = PendingRequest { socket, peer, since: now, deadline, stage };
        self.requests.insert(id, request);
        self.step(id);
    }

    /// Ends the request whose time is over first, where it has waited long or has its answer:
    /// whoever drips its head or lingers after the answer must not keep others out.
    fn make_room(&mut self, now: Instant) -> bool {
        let Some(&(_, id)) = self.deadlines.first() else { return false };
        let Some(PendingRequest { since, stage, .. }) = self.requests.get(&id) else {
            return false;
        };
        if now - *since < PATIENCE && !matches!(stage, Stage::Drain) {
            return false;
        }
        self.end(id);
        true
    }

    /// Does what the socket's readiness allows.
    fn step(&mut self, id: u64) {
        let Some(request) = self.requests.get_mut(&id) else { return };
        match request.step() {
            Step::Wait => {}
            Step::Over => self.end(id),
            Step::Whole(head, rest) => self.whole(id, head, rest),
            Step::Login(form, body) => self.login(id, &form, &body),
            Step::Refuse(response) => {
                if response.status() == status::HEAD_TOO_LARGE {
                    let peer = request.peer;
                    self.warnings.large.warn(|| format!("{peer} gets {}", response.summary()));
                }
                self.respond(id, &response, false);
            }
            Step::Sent => self.stage(id, Stage::Drain, Readiness::Read, DRAIN),
        }
    }

    /// A head is there: its way leads to an answer, to the hub or to a WebSocket.
    fn whole(&mut self, id: u64, mut head: Head, rest: Vec<u8>) {
        let head_only = head.method() == "HEAD";
        if let Err(response) = self.base.enter(&mut head) {
            return self.respond(id, &response, head_only);
        }
        let Some(request) = self.requests.get_mut(&id) else { return };
        let (from, pass) = self.gate.pass(request.peer, &head);
        request.peer = from;
        let own_page = match pass {
            Pass::Through { own_page } => own_page,
            Pass::Answer(response) => {
                if response.status() == status::CONTENT_TOO_LARGE {
                    self.warnings.form.warn(|| format!("{from} gets {}", response.summary()));
                }
                return self.respond(id, &response, head_only);
            }
            Pass::Wrong(response) => return self.wrong_token(id, &response, head_only),
            Pass::Form(form) => {
                self.stage(id, Stage::Form { form, bytes: rest }, Readiness::Read, HEAD);
                return self.step(id);
            }
        };
        match self.routes.outcome(head, from, own_page) {
            Outcome::Respond(response) => self.respond(id, &response, head_only),
            Outcome::Defer(route, request) => self.defer(id, &route, &request, head_only),
            Outcome::Compute(compute, request) => {
                let stage = Stage::Computed { head_only };
                self.stage(id, stage, Readiness::End, COMPUTED);
                self.route_threads.compute(id, compute, request);
            }
            Outcome::Upgrade(answer, begin) => {
                let opening = Opening::Begin(begin(&self.hub));
                self.upgrade(id, &answer, opening, rest);
            }
            Outcome::Decide(answer, decide, request) => {
                self.upgrade(id, &answer, Opening::Decide(decide, request), rest);
            }
        }
    }

    /// A login form is there.
    fn login(&mut self, id: u64, form: &Form, body: &[u8]) {
        match self.gate.login(form, body, &self.base) {
            Ok(response) => self.respond(id, &response, false),
            Err(response) => self.wrong_token(id, &response, false),
        }
    }

    /// Guessing is told; nobody is kept waiting for it, as a token is too long to be guessed.
    fn wrong_token(&mut self, id: u64, response: &Response, head_only: bool) {
        if let Some(PendingRequest { peer, .. }) = self.requests.get(&id) {
            self.warnings.wrong_token.warn(|| format!("{peer} showed a wrong token"));
        }
        self.respond(id, response, head_only);
    }

    fn defer(
        &mut self,
        id: u64,
        route: &Arc<dyn DeferredRoute>,
        request: &Request,
        head_only: bool,
    ) {
        let (events, waker) = (self.events.clone(), self.poller.waker());
        let stage = Stage::Deferred { route: Arc::clone(route), head_only };
        self.stage(id, stage, Readiness::End, DEFERRED);
        let respond = move |response| {
            Event::Deferred(id, response).send(&events, &waker);
        };
        if let Err(response) = route.request(request, &self.hub, Box::new(respond)) {
            self.respond(id, &response, head_only);
        }
    }

    /// A deferred response is there. The peer may have gone, or the time may be over.
    fn deferred(&mut self, id: u64, response: MakeResponse) {
        if let Some(PendingRequest { stage: Stage::Deferred { head_only, .. }, .. }) =
            self.requests.get(&id)
        {
            let head_only = *head_only;
            self.respond(id, &response(), head_only);
        }
    }

    /// A computed response is there.
    fn computed(&mut self, id: u64, response: &Response) {
        self.route_threads.ended(id);
        if let Some(PendingRequest { stage: Stage::Computed { head_only }, .. }) =
            self.requests.get(&id)
        {
            self.respond(id, response, *head_only);
        }
    }

    fn respond(&mut self, id: u64, response: &Response, head_only: bool) {
        self.write(id, response.bytes(&self.content_security_policy, head_only));
    }

    fn write(&mut self, id: u64, bytes: Vec<u8>) {
        self.stage(id, Stage::Write { bytes, sent: 0 }, Readiness::Write, WRITE);
        self.step(id);
    }

    fn stage(&mut self, id: u64, stage: Stage, interest: Readiness, within: Duration) {
        let Some(request) = self.requests.get_mut(&id) else { return };
        self.deadlines.remove(&(request.deadline, id));
        request.deadline = Instant::now() + within;
        request.stage = stage;
        self.deadlines.insert((request.deadline, id));
        let _ = self.poller.change(&request.socket, id, interest);
    }

    /// The connection becomes a client with a thread of its own. `early` came with the handshake.
    fn upgrade(&mut self, id: u64, answer: &[u8], opening: Opening, early: Vec<u8>) {
        let Some(PendingRequest { peer, .. }) = self.requests.get(&id) else { return };
        if let Err(why) = self.clients.room(*peer) {
            // Accepted only to be closed: a browser shows a Close, but no status.
            let close = Frame::close(1013, why);
            return self.write(id, [answer, close.bytes()].concat());
        }
        let Some(PendingRequest { socket, peer, .. }) = self.take(id) else { return };
        self.clients.serve(socket, peer, &Frame::raw(answer), opening, early);
    }

    fn take(&mut self, id: u64) -> Option<PendingRequest> {
        let request = self.requests.remove(&id)?;
        self.deadlines.remove(&(request.deadline, id));
        self.poller.remove(&request.socket);
        Some(request)
    }

    fn end(&mut self, id: u64) {
        self.take(id);
        self.route_threads.forget(id);
    }

    fn end_the_late(&mut self, now: Instant) {
        while let Some(&(deadline, id)) = self.deadlines.first() {
            if deadline > now {
                return;
            }
            let Some(PendingRequest { stage, .. }) = self.requests.get(&id) else { return };
            // It may be this thread that is late, on a busy machine: what has come in time counts.
            if !matches!(stage, Stage::Deferred { .. } | Stage::Computed { .. }) {
                self.step(id);
                if self.deadlines.first() != Some(&(deadline, id)) {
                    continue;
                }
            }
            let Some(PendingRequest { peer, stage, .. }) = self.requests.get(&id) else { return };
            match stage {
                Stage::Head { .. } | Stage::Form { .. } => {
                    self.warnings.late.warn(|| {
                        format!("{peer} took more than five seconds for its request: it gets 408")
                    });
                    let late = Response::line(
                        status::REQUEST_TIMEOUT,
                        "the request's head, or its form, took more than five seconds",
                    );
                    self.respond(id, &late, false);
                }
                Stage::Deferred { route, head_only } => {
                    let (response, head_only) = (route.timeout(&self.hub), *head_only);
                    self.respond(id, &response, head_only);
                }
                Stage::Computed { head_only } => {
                    let head_only = *head_only;
                    self.route_threads.forget(id);
                    let late = "the response was not there in time: try again later";
                    let late = Response::line(status::UNAVAILABLE, late);
                    self.respond(id, &late, head_only);
                }
                _ => self.end(id),
            }
        }
    }
}

#[cfg(test)]
#[path = "http_loop_tests.rs"]
mod tests;
