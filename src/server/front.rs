//! The thread `kentros-http`: every connection that is not yet a WebSocket client, by readiness,
//! each under an absolute deadline; and the threads of those that are.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

use super::ServerConfig;
use super::clients::{Clients, Most, Newcomer};
use super::event::Event;
use super::request::{Request, Stage, Step};
use crate::connection::{self, Rules};
use crate::frame::Frame;
use crate::http::api::Api;
use crate::http::base::Base;
use crate::http::gate::{Gate, Pass};
use crate::http::head::{Head, MAX_HEAD};
use crate::http::lock::Form;
use crate::http::response::{Response, Status};
use crate::http::route::{Outcome, Routes};
use crate::hub::Reply;
use crate::notice::Notice;
use crate::poller::{Interest, Poller};
use crate::{Handler, HubHandle, limits};

/// How long a request's head may take, from the connection on; a login form as long again.
const HEAD: Duration = Duration::from_secs(5);
/// How long the hub may take to answer: stats that nobody listened to yet take a second or two.
const ANSWER: Duration = Duration::from_secs(4);
/// How long the peer may take to read the answer.
const WRITE: Duration = Duration::from_secs(10);
/// How long the peer has to close after its answer.
const DRAIN: Duration = Duration::from_secs(1);
/// A head that has waited this long makes room for a new connection when there is none.
const PATIENCE: Duration = Duration::from_millis(500);
pub(super) struct Front {
    hub: HubHandle,
    base: Base,
    gate: Gate,
    routes: Routes,
    max_requests: usize,
    poller: Poller,
    /// New connections; bounded, so that the rest wait in the kernel.
    accepted: Receiver<(TcpStream, SocketAddr)>,
    events: Sender<Event>,
    inbox: Receiver<Event>,
    next: u64,
    requests: HashMap<u64, Request>,
    /// When each request must have got on; the first is the next to be ended.
    deadlines: BTreeSet<(Instant, u64)>,
    clients: Clients,
    notices: Notices,
}

/// What is told in the log of those who ask.
#[derive(Default)]
struct Notices {
    busy: Notice,
    late: Notice,
    large: Notice,
    form: Notice,
    wrong_token: Notice,
}

impl Front {
    pub(super) fn new(
        hub: HubHandle,
        config: ServerConfig,
        poller: Poller,
        accepted: Receiver<(TcpStream, SocketAddr)>,
        (events, inbox): (Sender<Event>, Receiver<Event>),
    ) -> io::Result<Self> {
        let gate = Gate::new(config.checks, config.access.token())?;
        let rules = Rules {
            max_message: config.max_message,
            max_rate: config.max_rate,
            silence_limit: limits::time(config.silence_limit),
            notices: connection::Notices::default(),
        };
        let most =
            Most { clients: config.max_clients, per_address: config.max_clients_per_address };
        let clients = Clients::new(hub.clone(), rules, most, config.ping_interval);
        Ok(Self {
            hub,
            base: config.base,
            gate,
            routes: config.routes,
            max_requests: limits::requests(),
            poller,
            accepted,
            events,
            inbox,
            next: 0,
            requests: HashMap::new(),
            deadlines: BTreeSet::new(),
            clients,
            notices: Notices::default(),
        })
    }

    pub(super) fn run(mut self) {
        loop {
            while let Ok(event) = self.inbox.try_recv() {
                match event {
                    Event::Answered(id, reply) => self.answered(id, reply),
                    Event::Ended(client) => self.clients.ended(client),
                    Event::Stop => {
                        self.requests.clear();
                        return self.clients.stop(&self.inbox);
                    }
                }
            }
            for _ in 0..super::INBOX {
                let Ok((socket, peer)) = self.accepted.try_recv() else { break };
                self.accept(socket, peer);
            }
            self.end_the_late(Instant::now());
            self.clients.ping(Instant::now());
            let next = self.deadlines.first().map(|&(deadline, _)| deadline);
            let next = next.into_iter().chain(self.clients.next_ping()).min();
            // More connections wait, of which the waker has told already.
            let next = if self.accepted.is_empty() { next } else { Some(Instant::now()) };
            for id in self.poller.wait(next) {
                self.step(id);
            }
        }
    }

    fn accept(&mut self, socket: TcpStream, peer: SocketAddr) {
        if let Err(error) = socket.set_nonblocking(true).and_then(|()| socket.set_nodelay(true)) {
            log::debug!("{peer} is gone already: {error}");
            return;
        }
        let now = Instant::now();
        if self.requests.len() >= self.max_requests && !self.make_room(now) {
            self.notices.busy.warn(|| {
                format!(
                    "{} requests at a time are as many as may be: {peer} gets 503",
                    self.max_requests
                )
            });
            let busy = Response::text(Status::Unavailable, "too many requests at a time");
            return turn_away(&socket, &busy);
        }
        let id = self.next;
        self.next += 1;
        if let Err(error) = self.poller.add(&socket, id, Interest::Read) {
            log::warn!("cannot await {peer}: {error}");
            return;
        }
        let deadline = now + HEAD;
        self.deadlines.insert((deadline, id));
        let stage = Stage::Head(Vec::new());
        self.requests.insert(id, Request { socket, peer, since: now, deadline, stage });
        self.step(id);
    }

    /// Ends the request whose time is over first, where it has waited long or has its answer:
    /// whoever drips its head or lingers after the answer must not keep others out.
    fn make_room(&mut self, now: Instant) -> bool {
        let Some(&(_, id)) = self.deadlines.first() else { return false };
        let Some(Request { since, stage, .. }) = self.requests.get(&id) else { return false };
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
                if response.status() == Status::HeadTooLarge {
                    let peer = request.peer;
                    self.notices.large.warn(|| format!("{peer} gets {}", response.summary()));
                }
                self.respond(id, response.bytes(false));
            }
            Step::Sent => self.stage(id, Stage::Drain, Interest::Read, DRAIN),
        }
    }

    /// A head is there: its way leads to an answer, to the hub or to a WebSocket.
    fn whole(&mut self, id: u64, mut head: Head, rest: Vec<u8>) {
        let head_only = head.method == "HEAD";
        if let Err(response) = self.base.enter(&mut head) {
            return self.respond(id, response.bytes(head_only));
        }
        let Some(request) = self.requests.get_mut(&id) else { return };
        let (from, pass) = self.gate.pass(request.peer, &head);
        request.peer = from;
        let own_page = match pass {
            Pass::Through { own_page } => own_page,
            Pass::Answer(response) => {
                if response.status() == Status::ContentTooLarge {
                    self.notices.form.warn(|| format!("{from} gets {}", response.summary()));
                }
                return self.respond(id, response.bytes(head_only));
            }
            Pass::Wrong(response) => return self.wrong_token(id, &response, head_only),
            Pass::Form(form) => {
                self.stage(id, Stage::Form { form, bytes: rest }, Interest::Read, HEAD);
                return self.step(id);
            }
        };
        match self.routes.outcome(&head, own_page) {
            Outcome::Respond(response) => self.respond(id, response.bytes(head_only)),
            Outcome::Ask(api) => self.ask(id, api, head_only),
            Outcome::Upgrade(answer, handler) => self.upgrade(id, answer, handler, rest),
        }
    }

    /// A login form is there.
    fn login(&mut self, id: u64, form: &Form, body: &[u8]) {
        match self.gate.login(form, body, &self.base) {
            Ok(response) => self.respond(id, response.bytes(false)),
            Err(response) => self.wrong_token(id, &response, false),
        }
    }

    /// Guessing is told; nobody is kept waiting for it, as a token is too long to be guessed.
    fn wrong_token(&mut self, id: u64, response: &Response, head_only: bool) {
        if let Some(Request { peer, .. }) = self.requests.get(&id) {
            self.notices.wrong_token.warn(|| format!("{peer} showed a wrong token"));
        }
        self.respond(id, response.bytes(head_only));
    }

    fn ask(&mut self, id: u64, api: Api, head_only: bool) {
        let (events, waker) = (self.events.clone(), self.poller.waker());
        let question = api.question();
        self.stage(id, Stage::Answer { api, head_only }, Interest::End, ANSWER);
        let asked = self
            .hub
            .ask(question, Box::new(move |reply| Event::Answered(id, reply).tell(&events, &waker)));
        if asked.is_err() {
            self.answered(id, Err("the hub has stopped".into()));
        }
    }

    fn answered(&mut self, id: u64, reply: Result<Reply, String>) {
        // The peer may have gone, or the time may be over.
        if let Some(Request { stage: Stage::Answer { api, head_only }, .. }) =
            self.requests.get(&id)
        {
            let bytes = api.response(reply, &self.hub.counters()).bytes(*head_only);
            self.respond(id, bytes);
        }
    }

    fn respond(&mut self, id: u64, bytes: Vec<u8>) {
        self.stage(id, Stage::Write { bytes, sent: 0 }, Interest::Write, WRITE);
        self.step(id);
    }

    fn stage(&mut self, id: u64, stage: Stage, interest: Interest, within: Duration) {
        let Some(request) = self.requests.get_mut(&id) else { return };
        self.deadlines.remove(&(request.deadline, id));
        request.deadline = Instant::now() + within;
        request.stage = stage;
        self.deadlines.insert((request.deadline, id));
        let _ = self.poller.change(&request.socket, id, interest);
    }

    /// The connection becomes a client with a thread of its own.
    fn upgrade(&mut self, id: u64, answer: Vec<u8>, handler: Arc<dyn Handler>, rest: Vec<u8>) {
        let Some(Request { peer, .. }) = self.requests.get(&id) else { return };
        if let Err(why) = self.clients.room(*peer) {
            return self.turn_away(id, answer, why);
        }
        let Some(Request { socket, peer, .. }) = self.take(id) else { return };
        let newcomer = Newcomer { socket, peer, answer, handler, early: rest };
        self.clients.serve(newcomer, self.events.clone(), self.poller.waker());
    }

    /// Accepts the WebSocket only to close it: a browser shows a Close, but no status.
    fn turn_away(&mut self, id: u64, mut answer: Vec<u8>, why: &str) {
        answer.extend_from_slice(Frame::close(1013, why).bytes());
        self.respond(id, answer);
    }

    fn take(&mut self, id: u64) -> Option<Request> {
        let request = self.requests.remove(&id)?;
        self.deadlines.remove(&(request.deadline, id));
        self.poller.remove(&request.socket);
        Some(request)
    }

    fn end(&mut self, id: u64) {
        self.take(id);
    }

    fn end_the_late(&mut self, now: Instant) {
        while let Some(&(deadline, id)) = self.deadlines.first() {
            if deadline > now {
                return;
            }
            let Some(Request { stage, .. }) = self.requests.get(&id) else { return };
            // It may be this thread that is late, on a busy machine: what has come in time counts.
            if !matches!(stage, Stage::Answer { .. }) {
                self.step(id);
                if self.deadlines.first() != Some(&(deadline, id)) {
                    continue;
                }
            }
            let Some(Request { peer, stage, .. }) = self.requests.get(&id) else { return };
            match stage {
                Stage::Head(_) | Stage::Form { .. } => {
                    self.notices.late.warn(|| {
                        format!("{peer} took more than five seconds for its request: it gets 408")
                    });
                    let late = Response::text(
                        Status::RequestTimeout,
                        "the request's head, or its form, took more than five seconds",
                    );
                    self.respond(id, late.bytes(false));
                }
                Stage::Answer { api, head_only } => {
                    let bytes = api.too_late(&self.hub.counters()).bytes(*head_only);
                    self.respond(id, bytes);
                }
                _ => self.end(id),
            }
        }
    }
}

/// Answers a connection that nobody can wait for. It fits at once; but whoever closes a socket
/// whose input is unread resets the connection, and the answer is lost.
fn turn_away(mut socket: &TcpStream, response: &Response) {
    let _ = socket.write(&response.bytes(false));
    let _ = socket.shutdown(Shutdown::Write);
    let mut input = [0; 2048];
    for _ in 0..MAX_HEAD / input.len() {
        if !socket.read(&mut input).is_ok_and(|n| n > 0) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use crossbeam_channel::{bounded, unbounded};

    use super::*;
    use crate::{Hub, HubConfig};

    #[test]
    fn whoever_is_turned_away_reads_why_though_its_request_was_not_looked_at() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        for _ in 0..20 {
            let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            peer.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
            let (socket, _) = listener.accept().unwrap();
            socket.set_nonblocking(true).unwrap();
            turn_away(&socket, &Response::text(Status::Unavailable, "too many"));
            drop(socket);
            let mut answer = String::new();
            peer.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("too many\n"));
        }
    }

    #[test]
    fn a_front_that_comes_late_still_takes_what_came_in_time() {
        let hub = Hub::spawn(HubConfig::default()).unwrap();
        let (connected, accepted) = bounded(1);
        let (poller, config) = (Poller::new().unwrap(), ServerConfig::default());
        let mut front = Front::new(hub.handle(), config, poller, accepted, unbounded()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        for (head, status) in
            [("GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n", 404), ("GET /", 408)]
        {
            let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (socket, addr) = listener.accept().unwrap();
            front.accept(socket, addr);
            peer.write_all(head.as_bytes()).unwrap();
            front.end_the_late(Instant::now() + HEAD);
            let mut answer = [0; 12];
            peer.read_exact(&mut answer).unwrap();
            assert_eq!(String::from_utf8_lossy(&answer), format!("HTTP/1.1 {status}"));
        }
        drop(connected);
    }
}
