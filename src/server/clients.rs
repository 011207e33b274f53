//! The WebSocket clients of a server and their threads.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::event::{Adoption, Event};
use super::pings::Pings;
use super::routes::Decide;
use crate::connection::frame::Frame;
use crate::connection::reader::{self, ConnectionLimits};
use crate::http::request::Request;
use crate::http::response::Response;
use crate::http::status;
use crate::hub::{Query, SHUTTING_DOWN};
use crate::poller::Waker;
use crate::rate_limited::RateLimitedWarning;
use crate::{Client, Error, HubHandle, Session, limits, threads};

/// How long the hub may take at the stop to send what it was asked to before.
const HUB: Duration = Duration::from_millis(500);
/// How long clients have at the stop, and how much longer their threads.
const GOODBYE: Duration = Duration::from_secs(2);
const LAST: Duration = Duration::from_secs(2);
/// How long a client that is turned away has to take its Close or its response.
const TURNED_AWAY: Duration = Duration::from_secs(1);
/// The stack of a client's thread: what it does not touch costs no memory.
const STACK: usize = 256 * 1024;

/// The connected clients, each with its thread.
pub(super) struct Clients {
    hub: HubHandle,
    limits: Arc<ConnectionLimits>,
    content_security_policy: Arc<str>,
    most: Most,
    events: Sender<Event>,
    waker: Waker,
    connected: HashMap<u64, (Client, JoinHandle<()>)>,
    /// The threads of refused clients, which end soon.
    refused: HashMap<u64, JoinHandle<()>>,
    pings: Pings,
    /// How many of them are from each neighbourhood; none where that is not limited.
    from: HashMap<IpAddr, usize>,
    full: RateLimitedWarning,
    full_from_one: RateLimitedWarning,
    no_thread: RateLimitedWarning,
}

/// How many clients there may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Most {
    pub(super) clients: usize,
    /// From one address.
    pub(super) per_address: Option<usize>,
}

impl Clients {
    pub(super) fn new(
        hub: HubHandle,
        limits: ConnectionLimits,
        content_security_policy: Arc<str>,
        most: Most,
        ping_interval: Duration,
        (events, waker): (Sender<Event>, Waker),
    ) -> Self {
        Self {
            hub,
            limits: Arc::new(limits),
            content_security_policy,
            most,
            events,
            waker,
            connected: HashMap::new(),
            refused: HashMap::new(),
            pings: Pings::new(limits::time(ping_interval)),
            from: HashMap::new(),
            full: RateLimitedWarning::default(),
            full_from_one: RateLimitedWarning::default(),
            no_thread: RateLimitedWarning::default(),
        }
    }

    /// Whether there is room for one more.
    ///
    /// # Errors
    /// The reason in its Close, with 1013.
    pub(super) fn room(&self, peer: SocketAddr) -> Result<(), &'static str> {
        let most = self.most.clients;
        if self.connected.len() >= most {
            self.full.warn(|| format!("the limit of {most} clients is reached: {peer} gets 1013"));
            return Err("the client limit is reached");
        }
        let from = self.from.get(&neighbourhood(peer)).copied().unwrap_or_default();
        if let Some(most) = self.most.per_address
            && from >= most
        {
            let line = || {
                format!("the limit of {most} clients from one address is reached: {peer} gets 1013")
            };
            self.full_from_one.warn(line);
            return Err("the client limit of this address is reached");
        }
        Ok(())
    }

    /// Has a client accepted with `answer`, or refused, and served on a thread of its own.
    pub(super) fn serve(
        &mut self,
        socket: TcpStream,
        peer: SocketAddr,
        answer: &Frame,
        opening: Opening,
        early: Vec<u8>,
    ) {
        if let Err(error) = socket.set_nonblocking(false) {
            log::debug!("{peer} has disconnected already: {error}");
            return;
        }
        let client = self.hub.client(peer, socket);
        client.outbox().await_handshake();
        if let Opening::Begin(_) = opening {
            client.outbox().accept_handshake(answer);
        }
        if !self.spawn(&client, answer, opening, early) {
            // Accepted only to be closed: a browser shows a Close, but no status.
            client.outbox().accept_handshake(answer);
            client.end(1013, "try again later", false, TURNED_AWAY);
        }
    }

    /// Serves a connection that is upgraded already.
    pub(super) fn adopt(&mut self, adoption: Adoption) {
        let Adoption { socket, peer, already_read, session, answer } = adoption;
        let room = self.room(peer);
        let client = self.hub.client(peer, socket);
        let adopted = match room {
            Ok(()) => {
                let nothing = Frame::raw(&[]);
                if self.spawn(&client, &nothing, Opening::Begin(session), already_read) {
                    Ok(client)
                } else {
                    client.end(1013, "try again later", false, TURNED_AWAY);
                    Err(Error::busy())
                }
            }
            Err(why) => {
                client.end(1013, why, false, TURNED_AWAY);
                Err(Error::busy())
            }
        };
        let _ = answer.send(adopted);
    }

    /// Starts the client's thread; `false` if there is none to be had.
    fn spawn(&mut self, client: &Client, answer: &Frame, opening: Opening, early: Vec<u8>) -> bool {
        let opening = match opening {
            Opening::Begin(session) => Ok(session),
            Opening::Decide(decide, request) => Err(Box::new(PendingHandshake {
                decide,
                request,
                answer: answer.clone(),
                content_security_policy: Arc::clone(&self.content_security_policy),
            })),
        };
        let mut thread = ClientThread {
            client: client.clone(),
            opening: Some(opening),
            early,
            limits: Arc::clone(&self.limits),
            ended: ThreadEnd {
                client: client.id(),
                events: self.events.clone(),
                waker: self.waker.clone(),
            },
        };
        let name = format!("client-{}", client.id());
        match threads::spawn_with_stack(name, Some(STACK), move || thread.run()) {
            Ok(thread) => {
                if self.most.per_address.is_some() {
                    *self.from.entry(neighbourhood(client.peer_addr())).or_default() += 1;
                }
                self.pings.add(client.id(), Instant::now());
                self.connected.insert(client.id(), (client.clone(), thread));
                true
            }
            Err(error) => {
                self.no_thread.warn(|| format!("no thread for one more client: {error}"));
                false
            }
        }
    }

    /// Pings the clients that are due: the HTTP thread's work, because a client's own thread would
    /// have to be woken.
    pub(super) fn ping(&mut self, now: Instant) {
        let (ping, connected) = (Frame::ping(), &self.connected);
        self.pings
            .send(now, |id| connected.get(&id).map(|(client, _)| client.post(&ping)).is_some());
    }

    /// When [`ping`](Self::ping) should be called next.
    pub(super) fn next_ping(&self) -> Option<Instant> {
        self.pings.next()
    }

    /// A client is refused: it no longer counts.
    pub(super) fn refused(&mut self, client: u64) {
        if let Some(thread) = self.remove(client) {
            self.refused.insert(client, thread);
        }
    }

    /// A client's thread is at its end.
    pub(super) fn ended(&mut self, client: u64) {
        if let Some(thread) = self.refused.remove(&client).or_else(|| self.remove(client)) {
            let _ = thread.join();
        }
    }

    fn remove(&mut self, client: u64) -> Option<JoinHandle<()>> {
        let (client, thread) = self.connected.remove(&client)?;
        self.pings.tidy(self.connected.len(), |id| self.connected.contains_key(&id));
        if let Entry::Occupied(mut from) = self.from.entry(neighbourhood(client.peer_addr())) {
            *from.get_mut() -= 1;
            if *from.get() == 0 {
                from.remove();
            }
        }
        Some(thread)
    }

    /// Closes every client and waits for their threads, a bounded time, and for those of routes.
    pub(super) fn stop(mut self, events: &Receiver<Event>, mut routes: usize) {
        self.await_hub();
        let stopping = Response::line(status::UNAVAILABLE, SHUTTING_DOWN);
        let stopping = stopping.bytes(&self.content_security_policy, false);
        for (client, _) in self.connected.values() {
            if !client.refuse(&stopping, GOODBYE) {
                client.end(1001, SHUTTING_DOWN, false, GOODBYE);
            }
        }
        let begun = Instant::now();
        self.await_ends(events, &mut routes, begun + GOODBYE);
        for (client, _) in self.connected.values() {
            client.outbox().shut();
        }
        self.await_ends(events, &mut routes, begun + GOODBYE + LAST);
        let left = self.connected.len() + self.refused.len() + routes;
        if left > 0 {
            log::error!(
                "{left} sessions and routes have not returned: their threads are left behind"
            );
        }
    }

    /// Has the hub do first what it was asked before: what was broadcast a moment ago must reach
    /// the clients before their Close.
    fn await_hub(&self) {
        let (done, doing) = bounded::<()>(0);
        // It is dropped once the hub has come to it, or at once if the hub has stopped.
        let _ = self.hub.query(Query::Alive, Box::new(move |_| drop(done)));
        let _ = doing.recv_timeout(HUB);
    }

    fn await_ends(&mut self, events: &Receiver<Event>, routes: &mut usize, deadline: Instant) {
        while self.connected.len() + self.refused.len() + *routes > 0 {
            match events.recv_deadline(deadline) {
                Ok(Event::Refused(client)) => self.refused(client),
                Ok(Event::Ended(client)) => self.ended(client),
                Ok(Event::Computed(..)) => *routes = routes.saturating_sub(1),
                Ok(_) => {}
                Err(_) => return,
            }
        }
    }
}

/// How a client's session begins.
pub(super) enum Opening {
    Begin(Box<dyn Session>),
    /// On the client's thread, which may wait for it.
    Decide(Decide, Request),
}

/// A valid handshake that is to be accepted or refused.
struct PendingHandshake {
    decide: Decide,
    request: Request,
    /// What accepts it.
    answer: Frame,
    content_security_policy: Arc<str>,
}

/// What a client's thread has to do.
struct ClientThread {
    client: Client,
    opening: Option<Result<Box<dyn Session>, Box<PendingHandshake>>>,
    early: Vec<u8>,
    limits: Arc<ConnectionLimits>,
    /// The last field: everything else is gone before the end is told.
    ended: ThreadEnd,
}

/// Tells the HTTP thread that a client's thread is at its end, also after a panic.
struct ThreadEnd {
    client: u64,
    events: Sender<Event>,
    waker: Waker,
}

impl Drop for ThreadEnd {
    fn drop(&mut self) {
        Event::Ended(self.client).send(&self.events, &self.waker);
    }
}

impl ClientThread {
    /// By reference: each copy would be on the stack for as long as the client is served.
    fn run(&mut self) {
        let session = match self.opening.take() {
            Some(Ok(session)) => Some(session),
            Some(Err(handshake)) => handshake.decide(&self.client, &self.ended),
            None => None,
        };
        if let Some(mut session) = session {
            let early = std::mem::take(&mut self.early);
            reader::serve(&self.client, &mut *session, early, &self.limits);
        }
    }
}

impl PendingHandshake {
    /// The session; `None` if the client is refused. Not inlined: the stack that this takes is free
    /// again while the client is served, for hours.
    #[inline(never)]
    fn decide(&self, client: &Client, ended: &ThreadEnd) -> Option<Box<dyn Session>> {
        let accepted = threads::guarded("a session", || (self.decide)(&self.request));
        let session = accepted.unwrap_or_else(|| {
            let why = "internal server error: the log says why";
            Err(Response::line(status::INTERNAL_ERROR, why))
        });
        match session {
            // It may have been refused by a shutdown meanwhile.
            Ok(session) => client.outbox().accept_handshake(&self.answer).then_some(session),
            Err(response) => {
                // Its place is free before it knows, so that it may try again at once. The
                // flusher waits for it to read the response.
                Event::Refused(client.id()).send(&ended.events, &ended.waker);
                client.refuse(&response.bytes(&self.content_security_policy, false), TURNED_AWAY);
                None
            }
        }
    }
}

/// What counts as one address: all of IPv4's, the network of IPv6's, in which one visitor has as
/// many addresses as it likes.
fn neighbourhood(peer: SocketAddr) -> IpAddr {
    match peer.ip().to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_visitor_is_its_network() {
        let of = |ip: &str| neighbourhood(SocketAddr::new(ip.parse().unwrap(), 1)).to_string();
        assert_eq!(of("203.0.113.7"), "203.0.113.7");
        assert_eq!(of("::ffff:203.0.113.7"), "203.0.113.7");
        assert_eq!(of("2001:db8:0:1:2:3:4:5"), "2001:db8:0:1::");
    }
}
