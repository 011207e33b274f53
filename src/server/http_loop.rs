//! The thread `kentros-http`: polls every connection that is not a WebSocket client yet, each with
//! an absolute deadline, and manages the clients' threads.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use tungstenite::Bytes;

use super::ServerConfig;
use super::auth::login::LoginForm;
use super::auth::request_guard::{Decision, RequestGuard};
use super::clients::{ClientLimits, Clients, NewSession};
use super::health;
use super::http_event::HttpEvent;
use super::outgoing::{Outgoing, ResponseMemory};
use super::pending::{PendingRequest, RequestProgress, RequestStage, reject_at_once};
use super::pending_table::PendingTable;
use super::rejections::{self, Rejections};
use super::route_threads::RouteThreads;
use super::routes::{DeferredRoute, MakeResponse, RouteOutcome, RouteTable};
use crate::connection::frame::Frame;
use crate::connection::reader::{ConnectionLimits, LimitWarnings};
use crate::http::base_path::BasePath;
use crate::http::head::RequestHead;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::http::status;
use crate::poller::{Poller, Readiness};
use crate::{HubHandle, limits};

/// Time to read a request's head, from accept on, and as much again for a login form.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for a deferred response. The first stats after a pause take a second or two.
const DEFERRED_TIMEOUT: Duration = Duration::from_secs(4);
/// Time for a route handler.
const HANDLER_TIMEOUT: Duration = Duration::from_secs(60);
/// Time for the peer to read the response.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for the peer to close after the response.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);
/// A request this old may be dropped in favor of a new connection.
const EVICTION_AGE: Duration = Duration::from_millis(500);

/// Number of connections accepted beyond the limit of requests, for health checks only.
const RESERVED: usize = 8;

/// A connection to serve.
pub(super) struct NewConnection {
    pub(super) socket: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) already_read: Vec<u8>,
}

pub(super) struct HttpLoop {
    hub: HubHandle,
    base: BasePath,
    guard: RequestGuard,
    routes: RouteTable,
    route_threads: RouteThreads,
    content_security_policy: Arc<str>,
    max_requests: usize,
    /// Bounded: the rest wait in the kernel's backlog.
    connections: Receiver<NewConnection>,
    events: Sender<HttpEvent>,
    inbox: Receiver<HttpEvent>,
    requests: PendingTable,
    response_memory: ResponseMemory,
    rejections: Rejections,
    clients: Clients,
}

impl HttpLoop {
    /// # Errors
    /// If the operating system has no random bytes.
    pub(super) fn new(
        hub: HubHandle,
        config: ServerConfig,
        routes: RouteTable,
        poller: Poller,
        connections: Receiver<NewConnection>,
        (events, inbox): (Sender<HttpEvent>, Receiver<HttpEvent>),
    ) -> io::Result<Self> {
        let guard = RequestGuard::new(
            config.checks,
            config.access.token(),
            config.open_paths,
            &config.base,
            hub.extension(),
        )?;
        let connection_limits = ConnectionLimits {
            max_message: config.max_message,
            max_rate: config.max_rate,
            silence_limit: limits::time(config.silence_limit),
            warnings: LimitWarnings::default(),
        };
        let client_limits =
            ClientLimits { total: config.max_clients, per_address: config.max_clients_per_address };
        let content_security_policy: Arc<str> = config.content_security_policy.into();
        let clients = Clients::new(
            hub.clone(),
            connection_limits,
            Arc::clone(&content_security_policy),
            client_limits,
            config.ping_interval,
            (events.clone(), poller.waker()),
        );
        Ok(Self {
            rejections: Rejections::new(&hub),
            hub,
            base: config.base,
            guard,
            routes,
            route_threads: RouteThreads::new(events.clone(), poller.waker()),
            content_security_policy,
            max_requests: limits::requests(),
            connections,
            events,
            inbox,
            requests: PendingTable::new(poller),
            response_memory: ResponseMemory::default(),
            clients,
        })
    }

    pub(super) fn run(mut self) {
        loop {
            while let Ok(event) = self.inbox.try_recv() {
                match event {
                    HttpEvent::DeferredReady(id, response) => self.deferred_ready(id, response),
                    HttpEvent::HandlerDone(id, response) => self.handler_done(id, &response),
                    HttpEvent::ClientRejected(client) => self.clients.rejected(client),
                    HttpEvent::ClientEnded(client) => self.clients.ended(client),
                    HttpEvent::Adopt(connection) => self.clients.adopt(connection),
                    HttpEvent::Stop => {
                        self.requests.clear();
                        self.route_threads.stop();
                        let routes = self.route_threads.running();
                        return self.clients.stop(&self.inbox, routes);
                    }
                }
            }
            for _ in 0..super::INBOX {
                let Ok(connection) = self.connections.try_recv() else { break };
                self.add(connection);
            }
            self.end_overdue(Instant::now());
            self.clients.ping(Instant::now());
            let next = self.requests.next_deadline().map(|(deadline, _)| deadline);
            let next = next.into_iter().chain(self.clients.next_ping()).min();
            // The waker has already reported the connections that are left: do not wait.
            let next = if self.connections.is_empty() { next } else { Some(Instant::now()) };
            for id in self.requests.wait(next) {
                self.advance(id);
            }
        }
    }

    fn add(&mut self, connection: NewConnection) {
        let NewConnection { socket, peer, .. } = &connection;
        let peer = *peer;
        if let Err(error) = socket.set_nonblocking(true).and_then(|()| socket.set_nodelay(true)) {
            log::debug!("{peer} has already disconnected: {error}");
            return;
        }
        let now = Instant::now();
        let over_limit = self.requests.len() >= self.max_requests && !self.make_room(now);
        if over_limit && self.requests.len() >= self.max_requests + RESERVED {
            let busy = self.rejections.too_many_requests(self.max_requests, peer);
            return reject_at_once(socket, &busy.bytes(&self.content_security_policy, false));
        }
        match self.requests.insert(connection, now, READ_TIMEOUT, over_limit) {
            Ok(id) => self.advance(id),
            Err(error) => log::warn!("cannot poll the connection of {peer}: {error}"),
        }
    }

    /// Drops the request with the earliest deadline if it is old, or already has its response: a
    /// peer that sends its head slowly, or does not close, must not keep others out.
    fn make_room(&mut self, now: Instant) -> bool {
        let Some((_, id)) = self.requests.next_deadline() else { return false };
        let Some(PendingRequest { accepted, stage, .. }) = self.requests.get(id) else {
            return false;
        };
        if now - *accepted < EVICTION_AGE && !matches!(stage, RequestStage::Drain) {
            return false;
        }
        self.end(id);
        true
    }

    fn advance(&mut self, id: u64) {
        let Some(request) = self.requests.get_mut(id) else { return };
        match request.advance() {
            RequestProgress::Waiting => {}
            RequestProgress::Ended => self.end(id),
            RequestProgress::Head(head, rest) => self.handle(id, head, rest),
            RequestProgress::LoginForm(form, body) => self.log_in(id, &form, &body),
            RequestProgress::Invalid(response) => {
                if response.status() == status::HEAD_TOO_LARGE {
                    let peer = request.peer;
                    let summary = response.summary();
                    self.rejections
                        .head_too_large
                        .warn(|| format!("rejected {peer} with {summary}"));
                }
                self.respond(id, &response, false);
            }
            RequestProgress::Sent => {
                self.requests.set_stage(id, RequestStage::Drain, Readiness::Read, DRAIN_TIMEOUT);
            }
        }
    }

    /// Checks and routes a request whose head is complete.
    fn handle(&mut self, id: u64, mut head: RequestHead, rest: Vec<u8>) {
        let head_only = head.method() == "HEAD";
        if let Err(response) = self.base.strip_from(&mut head) {
            return self.respond(id, &response, head_only);
        }
        let Some(request) = self.requests.get_mut(id) else { return };
        let (client_addr, decision) = self.guard.check(request.peer, &head, Instant::now());
        request.peer = client_addr;
        if request.over_limit && !health::PATHS.contains(&head.path()) {
            let busy = self.rejections.too_many_requests(self.max_requests, client_addr);
            return self.respond(id, &busy, head_only);
        }
        let (origin_allowed, authorized) = match decision {
            Decision::Allow { origin_allowed, authorized } => (origin_allowed, authorized),
            Decision::Respond(response) => {
                if response.status() == status::CONTENT_TOO_LARGE {
                    let summary = response.summary();
                    self.rejections
                        .form_too_large
                        .warn(|| format!("rejected {client_addr} with {summary}"));
                }
                return self.respond(id, &response, head_only);
            }
            Decision::ReadLoginForm(form) => {
                let stage = RequestStage::ReadLoginForm { form, bytes: rest };
                self.requests.set_stage(id, stage, Readiness::Read, READ_TIMEOUT);
                return self.advance(id);
            }
        };
        match self.routes.dispatch(head, client_addr, origin_allowed) {
            RouteOutcome::Respond(response) => self.respond(id, &response, head_only),
            RouteOutcome::Defer(route, request) => {
                self.defer(id, &route, &request, authorized, head_only);
            }
            RouteOutcome::RunHandler(handler, request) => {
                let stage = RequestStage::AwaitHandler { head_only };
                self.requests.set_stage(id, stage, Readiness::End, HANDLER_TIMEOUT);
                self.route_threads.run(id, handler, request);
            }
            RouteOutcome::Upgrade(accept, create_session) => {
                let session = NewSession::Ready(create_session(&self.hub));
                self.upgrade(id, &accept, session, rest);
            }
            RouteOutcome::TryUpgrade(accept, create_session, request) => {
                self.upgrade(id, &accept, NewSession::Create(create_session, request), rest);
            }
        }
    }

    fn log_in(&mut self, id: u64, form: &LoginForm, body: &[u8]) {
        let Some(PendingRequest { peer, .. }) = self.requests.get(id) else { return };
        let response = self.guard.log_in(*peer, form, body, Instant::now());
        self.respond(id, &response, false);
    }

    fn defer(
        &mut self,
        id: u64,
        route: &Arc<dyn DeferredRoute>,
        request: &Request,
        authorized: bool,
        head_only: bool,
    ) {
        let (events, waker) = (self.events.clone(), self.requests.waker());
        let stage = RequestStage::AwaitDeferred { route: Arc::clone(route), authorized, head_only };
        self.requests.set_stage(id, stage, Readiness::End, DEFERRED_TIMEOUT);
        let respond = move |response| {
            HttpEvent::DeferredReady(id, response).send(&events, &waker);
        };
        if let Err(response) = route.request(request, authorized, &self.hub, Box::new(respond)) {
            self.respond(id, &response, head_only);
        }
    }

    /// Sends a deferred response, unless the peer has disconnected or the request has timed out.
    fn deferred_ready(&mut self, id: u64, response: MakeResponse) {
        if let Some(PendingRequest {
            stage: RequestStage::AwaitDeferred { head_only, .. }, ..
        }) = self.requests.get(id)
        {
            let head_only = *head_only;
            self.respond(id, &response(), head_only);
        }
    }

    fn handler_done(&mut self, id: u64, response: &Response) {
        self.route_threads.finished(id);
        if let Some(PendingRequest { stage: RequestStage::AwaitHandler { head_only }, .. }) =
            self.requests.get(id)
        {
            self.respond(id, response, *head_only);
        }
    }

    fn respond(&mut self, id: u64, response: &Response, head_only: bool) {
        let (head, body) = response.parts(&self.content_security_policy, head_only);
        let mut response = Outgoing::new(head, body);
        while !self.response_memory.add(&mut response) {
            self.rejections.count_response_memory();
            let Some(slow) = self.requests.slowest_response(Instant::now(), WRITE_TIMEOUT) else {
                let busy = rejections::too_much_response_memory();
                let (head, body) = busy.parts(&self.content_security_policy, head_only);
                response = Outgoing::new(head, body);
                break;
            };
            self.end(slow);
        }
        self.write(id, response);
    }

    fn write(&mut self, id: u64, response: Outgoing) {
        let Some(PendingRequest { socket, .. }) = self.requests.get(id) else { return };
        response.limit_send_buffer(socket);
        let stage = RequestStage::Write(response);
        self.requests.set_stage(id, stage, Readiness::Write, WRITE_TIMEOUT);
        self.advance(id);
    }

    /// Turns the connection into a client with a thread of its own. `early` was received along with
    /// the handshake.
    fn upgrade(&mut self, id: u64, accept: &[u8], session: NewSession, early: Vec<u8>) {
        let Some(PendingRequest { peer, .. }) = self.requests.get(id) else { return };
        if let Err(why) = self.clients.check_limits(*peer) {
            // Accept and close: browsers expose the code of a Close frame, but no HTTP status.
            let close = Frame::close(1013, why);
            return self.write(id, Outgoing::new([accept, close.bytes()].concat(), Bytes::new()));
        }
        let Some(PendingRequest { socket, peer, .. }) = self.requests.remove(id) else { return };
        self.clients.start(socket, peer, &Frame::raw(accept), session, early);
    }

    /// Closes the connection.
    fn end(&mut self, id: u64) {
        if let Some(request) = self.requests.remove(id) {
            request.discard_unread();
        }
        self.route_threads.cancel(id);
    }

    fn end_overdue(&mut self, now: Instant) {
        while let Some((deadline, id)) = self.requests.next_deadline() {
            if deadline > now {
                return;
            }
            let Some(PendingRequest { stage, .. }) = self.requests.get(id) else { return };
            // On a busy machine this thread may be late: what the peer sent in time counts.
            if !matches!(
                stage,
                RequestStage::AwaitDeferred { .. } | RequestStage::AwaitHandler { .. }
            ) {
                self.advance(id);
                if self.requests.next_deadline() != Some((deadline, id)) {
                    continue;
                }
            }
            self.time_out(id);
        }
    }

    fn time_out(&mut self, id: u64) {
        let Some(PendingRequest { peer, stage, .. }) = self.requests.get(id) else { return };
        match stage {
            RequestStage::ReadHead { .. } | RequestStage::ReadLoginForm { .. } => {
                self.rejections.timed_out.warn(|| {
                    format!(
                        "rejected {peer} with 408: its request took more than 5 seconds to arrive"
                    )
                });
                let response = Response::line(
                    status::REQUEST_TIMEOUT,
                    "timed out: the request took more than 5 seconds to arrive",
                );
                self.respond(id, &response, false);
            }
            RequestStage::AwaitDeferred { route, authorized, head_only } => {
                let (response, head_only) = (route.timeout(*authorized, &self.hub), *head_only);
                self.respond(id, &response, head_only);
            }
            RequestStage::AwaitHandler { head_only } => {
                let head_only = *head_only;
                self.route_threads.cancel(id);
                let response = Response::line(status::UNAVAILABLE, "timed out; try again later");
                self.respond(id, &response, head_only);
            }
            RequestStage::Write(_) | RequestStage::Drain => self.end(id),
        }
    }
}

#[cfg(test)]
#[path = "http_loop_tests.rs"]
mod tests;
