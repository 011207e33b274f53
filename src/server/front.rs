//! The thread `kentros-http`: every connection that is not yet a WebSocket client, by readiness,
//! each under an absolute deadline; and the threads of those that are.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

use super::ServerConfig;
use crate::connection::{self, Rules};
use crate::frame::Frame;
use crate::http::api::Api;
use crate::http::head::Head;
use crate::http::response::{Response, Status};
use crate::http::route::{Outcome, Routes};
use crate::hub::{Reply, SHUTTING_DOWN};
use crate::poller::{Interest, Poller, Waker};
use crate::{Client, Handler, HubHandle, limits, threads};

/// How long a request's head may take, from the connection on.
const HEAD: Duration = Duration::from_secs(5);
/// How long the hub may take to answer: stats that nobody listened to yet take a second or two.
const ANSWER: Duration = Duration::from_secs(4);
/// How long the peer may take to read the answer.
const WRITE: Duration = Duration::from_secs(10);
/// How long the peer has to close after its answer.
const DRAIN: Duration = Duration::from_secs(1);
/// A head that has waited this long makes room for a new connection when there is none.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long clients have at the stop, and how much longer their threads.
const GOODBYE: Duration = Duration::from_secs(2);
const LAST: Duration = Duration::from_secs(2);
/// The stack of a client's thread: what it does not touch costs no memory.
const STACK: usize = 256 * 1024;

/// What the front is told. The hub's thread tells too, so nobody ever waits to tell it.
#[derive(Debug)]
pub(super) enum Event {
    /// The hub has answered this connection's question.
    Answered(u64, Result<Reply, String>),
    /// A client's thread is at its end.
    Ended(u64),
    Stop,
}

pub(super) struct Front {
    hub: HubHandle,
    routes: Routes,
    rules: Rules,
    max_clients: usize,
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
    clients: HashMap<u64, (Client, JoinHandle<()>)>,
    /// Whether the limit of clients has been told in the log since it was last kept.
    full: bool,
}

/// A connection from its acceptance to the end of its answer, or to its WebSocket.
struct Request {
    socket: TcpStream,
    peer: SocketAddr,
    since: Instant,
    deadline: Instant,
    stage: Stage,
}

enum Stage {
    /// What has come of the head.
    Head(Vec<u8>),
    /// The hub is asked.
    Answer { api: Api, head_only: bool },
    /// What is left of the answer.
    Write { bytes: Vec<u8>, sent: usize },
    /// The answer is out and our half is shut: the peer must have time to read it.
    Drain,
}

/// What a step left.
enum Step {
    /// Wait for readiness.
    Wait,
    /// The connection is over.
    Over,
    /// The head is whole.
    Whole(Head, Vec<u8>),
    /// Give this answer.
    Refuse(Response),
    /// The answer is out.
    Sent,
}

impl Front {
    pub(super) fn new(
        hub: HubHandle,
        config: ServerConfig,
        poller: Poller,
        accepted: Receiver<(TcpStream, SocketAddr)>,
        (events, inbox): (Sender<Event>, Receiver<Event>),
    ) -> Self {
        let rules = Rules {
            max_message: config.max_message,
            max_rate: config.max_rate,
            ping_interval: limits::time(config.ping_interval),
            silence_limit: limits::time(config.silence_limit),
        };
        Self {
            hub,
            routes: config.routes,
            rules,
            max_clients: config.max_clients,
            max_requests: limits::requests(),
            poller,
            accepted,
            events,
            inbox,
            next: 0,
            requests: HashMap::new(),
            deadlines: BTreeSet::new(),
            clients: HashMap::new(),
            full: false,
        }
    }

    pub(super) fn run(mut self) {
        loop {
            while let Ok(event) = self.inbox.try_recv() {
                match event {
                    Event::Answered(id, reply) => self.answered(id, reply),
                    Event::Ended(client) => self.ended(client),
                    Event::Stop => return self.stop(),
                }
            }
            while let Ok((socket, peer)) = self.accepted.try_recv() {
                self.accept(socket, peer);
            }
            self.end_the_late(Instant::now());
            let next = self.deadlines.first().map(|&(deadline, _)| deadline);
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
            let busy = Response::text(Status::Unavailable, "too many requests at a time");
            // The peer gets it if it fits at once, which it does.
            let _ = (&socket).write(&busy.bytes(false));
            return;
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
            Step::Whole(head, rest) => self.whole(id, &head, rest),
            Step::Refuse(response) => self.respond(id, response.bytes(false)),
            Step::Sent => self.stage(id, Stage::Drain, Interest::Read, DRAIN),
        }
    }

    /// A head is there: its way leads to an answer, to the hub or to a WebSocket.
    fn whole(&mut self, id: u64, head: &Head, rest: Vec<u8>) {
        let head_only = head.method == "HEAD";
        match self.routes.outcome(head) {
            Outcome::Respond(response) => self.respond(id, response.bytes(head_only)),
            Outcome::Ask(api) => self.ask(id, api, head_only),
            Outcome::Upgrade(answer, handler) => self.upgrade(id, answer, handler, rest),
        }
    }

    fn ask(&mut self, id: u64, api: Api, head_only: bool) {
        let (events, waker) = (self.events.clone(), self.poller.waker());
        let question = api.question();
        self.stage(id, Stage::Answer { api, head_only }, Interest::End, ANSWER);
        let asked = self.hub.ask(
            question,
            Box::new(move |reply| tell(&events, &waker, Event::Answered(id, reply))),
        );
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
        let full = self.clients.len() >= self.max_clients;
        if full {
            if !std::mem::replace(&mut self.full, true) {
                log::warn!("the limit of {} clients is reached: more get 1013", self.max_clients);
            }
            return self.turn_away(id, answer, "as many clients as may be are connected");
        }
        self.full = false;
        let Some(Request { socket, peer, .. }) = self.take(id) else { return };
        if let Err(error) = socket.set_nonblocking(false) {
            log::debug!("{peer} is gone already: {error}");
            return;
        }
        let client = self.hub.client(peer, socket);
        client.outbox().preface(&Frame::raw(&answer));
        let (events, waker, rules) = (self.events.clone(), self.poller.waker(), self.rules);
        let (served, hub) = (client.clone(), self.hub.clone());
        let name = format!("client-{}", client.id());
        let thread = threads::spawn_with_stack(name, Some(STACK), move || {
            connection::serve(&served, &*handler, rest, rules);
            let _ = hub.unregister(&served);
            let ended = Event::Ended(served.id());
            drop((served, handler, hub));
            tell(&events, &waker, ended);
        });
        match thread {
            Ok(thread) => {
                self.clients.insert(client.id(), (client, thread));
            }
            Err(error) => {
                log::error!("no thread for one more client: {error}");
                client.end(&Frame::close(1013, "try again later"), false, DRAIN);
            }
        }
    }

    /// Accepts the WebSocket only to close it: a browser shows a Close, but no status.
    fn turn_away(&mut self, id: u64, mut answer: Vec<u8>, why: &str) {
        answer.extend_from_slice(Frame::close(1013, why).bytes());
        self.respond(id, answer);
    }

    fn ended(&mut self, client: u64) {
        if let Some((_, thread)) = self.clients.remove(&client) {
            let _ = thread.join();
        }
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
            match self.requests.get(&id).map(|request| &request.stage) {
                Some(Stage::Head(_)) => {
                    let late = Response::text(
                        Status::RequestTimeout,
                        "the request's head took more than five seconds",
                    );
                    self.respond(id, late.bytes(false));
                }
                Some(Stage::Answer { api, head_only }) => {
                    let bytes = api.too_late(&self.hub.counters()).bytes(*head_only);
                    self.respond(id, bytes);
                }
                _ => self.end(id),
            }
        }
    }

    /// Closes every client and waits for their threads, a bounded time.
    fn stop(mut self) {
        self.requests.clear();
        for (client, _) in self.clients.values() {
            client.end(&Frame::close(1001, SHUTTING_DOWN), false, GOODBYE);
        }
        let begun = Instant::now();
        self.await_clients(begun + GOODBYE);
        for (client, _) in self.clients.values() {
            client.outbox().shut();
        }
        self.await_clients(begun + GOODBYE + LAST);
        if !self.clients.is_empty() {
            log::error!(
                "{} clients' handlers do not return, their threads are left",
                self.clients.len()
            );
        }
    }

    fn await_clients(&mut self, deadline: Instant) {
        while !self.clients.is_empty() {
            match self.inbox.recv_deadline(deadline) {
                Ok(Event::Ended(client)) => self.ended(client),
                Ok(_) => {}
                Err(_) => return,
            }
        }
    }
}

impl Request {
    fn step(&mut self) -> Step {
        let mut buffer = [0; 2048];
        match &mut self.stage {
            Stage::Head(bytes) => loop {
                match self.socket.read(&mut buffer) {
                    Ok(0) => return Step::Over,
                    Ok(n) => bytes.extend_from_slice(buffer.get(..n).unwrap_or_default()),
                    Err(error) => return paused(&error),
                }
                match Head::parse(bytes) {
                    Ok(None) => {}
                    Ok(Some(head)) => {
                        let rest = bytes.split_off(head.length.min(bytes.len()));
                        return Step::Whole(head, rest);
                    }
                    Err(response) => return Step::Refuse(response),
                }
            },
            // Only the end of the connection is awaited.
            Stage::Answer { .. } => Step::Over,
            Stage::Write { bytes, sent } => loop {
                let rest = bytes.get(*sent..).unwrap_or_default();
                if rest.is_empty() {
                    // Only our half: closing with unread input would take the answer with it.
                    let _ = self.socket.shutdown(Shutdown::Write);
                    return Step::Sent;
                }
                match self.socket.write(rest) {
                    Ok(n) => *sent += n,
                    Err(error) => return paused(&error),
                }
            },
            Stage::Drain => match self.socket.read(&mut buffer) {
                Ok(0) => Step::Over,
                Ok(_) => Step::Wait,
                Err(error) => paused(&error),
            },
        }
    }
}

fn paused(error: &io::Error) -> Step {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Step::Wait,
        _ => Step::Over,
    }
}

fn tell(events: &Sender<Event>, waker: &Waker, event: Event) {
    // A front that has stopped needs to know no more.
    let _ = events.send(event);
    waker.wake();
}
