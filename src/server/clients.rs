//! The WebSocket clients of a server, their limits and their threads.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::client_thread::{
    ClientThread, PendingHandshake, REJECTION_TIMEOUT, SessionOrHandshake, ThreadEnd,
};
use super::http_event::{AdoptedConnection, HttpEvent};
use super::network::network_of;
use super::pings::Pings;
use super::routes::TryCreateSession;
use crate::connection::frame::Frame;
use crate::connection::reader::ConnectionLimits;
use crate::connection::socket::limit_buffers;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::http::status;
use crate::hub::{Query, SHUTTING_DOWN};
use crate::poller::Waker;
use crate::rate_limited::RateLimitedWarning;
use crate::{Client, Error, HubHandle, Session, limits, threads};

/// Time that the hub has at shutdown to send what it was asked to send before.
const HUB_TIMEOUT: Duration = Duration::from_millis(500);
/// Time that clients have at shutdown to close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Time that their threads have after that.
const THREAD_TIMEOUT: Duration = Duration::from_secs(2);
/// Stack size of a client's thread. Pages that are never touched cost no memory.
const STACK: usize = 256 * 1024;

/// The connected clients and their threads.
pub(super) struct Clients {
    hub: HubHandle,
    connection_limits: Arc<ConnectionLimits>,
    content_security_policy: Arc<str>,
    limits: ClientLimits,
    events: Sender<HttpEvent>,
    waker: Waker,
    connected: HashMap<u64, (Client, JoinHandle<()>)>,
    /// The threads of rejected clients, which end soon.
    rejected: HashMap<u64, JoinHandle<()>>,
    pings: Pings,
    /// Number of clients in each network; empty if there is no limit per address.
    per_network: HashMap<IpAddr, usize>,
    limit_reached: RateLimitedWarning,
    address_limit_reached: RateLimitedWarning,
    no_thread: RateLimitedWarning,
}

/// How many clients may be connected.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClientLimits {
    pub(super) total: usize,
    pub(super) per_address: Option<usize>,
}

/// Where the session of a new client comes from.
pub(super) enum NewSession {
    Ready(Box<dyn Session>),
    /// Created on the client's thread, as this may block.
    Create(TryCreateSession, Request),
}

impl Clients {
    pub(super) fn new(
        hub: HubHandle,
        connection_limits: ConnectionLimits,
        content_security_policy: Arc<str>,
        limits: ClientLimits,
        ping_interval: Duration,
        (events, waker): (Sender<HttpEvent>, Waker),
    ) -> Self {
        Self {
            hub,
            connection_limits: Arc::new(connection_limits),
            content_security_policy,
            limits,
            events,
            waker,
            connected: HashMap::new(),
            rejected: HashMap::new(),
            pings: Pings::new(limits::time(ping_interval)),
            per_network: HashMap::new(),
            limit_reached: RateLimitedWarning::default(),
            address_limit_reached: RateLimitedWarning::default(),
            no_thread: RateLimitedWarning::default(),
        }
    }

    /// Checks whether one more client may connect.
    ///
    /// # Errors
    /// The reason for its Close frame, whose code is 1013.
    pub(super) fn check_limits(&self, peer: SocketAddr) -> Result<(), &'static str> {
        let limit = self.limits.total;
        if self.connected.len() >= limit {
            self.limit_reached.warn(|| {
                format!(
                    "rejected {peer} with close code 1013: the limit of {limit} clients is reached"
                )
            });
            return Err("client limit reached");
        }
        let connected = self.per_network.get(&network_of(peer)).copied().unwrap_or_default();
        if let Some(limit) = self.limits.per_address
            && connected >= limit
        {
            self.address_limit_reached.warn(|| {
                format!(
                    "rejected {peer} with close code 1013: the limit of {limit} clients per address \
                     is reached"
                )
            });
            return Err("client limit for this address reached");
        }
        Ok(())
    }

    /// Serves a client on a thread of its own. `accept` is the response that accepts its
    /// handshake.
    pub(super) fn start(
        &mut self,
        socket: TcpStream,
        peer: SocketAddr,
        accept: &Frame,
        session: NewSession,
        early: Vec<u8>,
    ) {
        if let Err(error) = socket.set_nonblocking(false) {
            log::debug!("{peer} has already disconnected: {error}");
            return;
        }
        limit_buffers(&socket, self.connection_limits.max_message);
        let client = self.hub.client(peer, socket);
        client.outbox().await_handshake();
        if let NewSession::Ready(_) = session {
            client.outbox().accept_handshake(accept);
        }
        if !self.spawn(&client, accept, session, early) {
            // Accept and close: browsers expose the code of a Close frame, but no HTTP status.
            client.outbox().accept_handshake(accept);
            client.close_within(1013, "try again later", false, REJECTION_TIMEOUT);
        }
    }

    /// Serves a connection whose handshake is done.
    pub(super) fn adopt(&mut self, adopted: AdoptedConnection) {
        let AdoptedConnection { socket, peer, already_read, session, result } = adopted;
        let allowed = self.check_limits(peer);
        limit_buffers(&socket, self.connection_limits.max_message);
        let client = self.hub.client(peer, socket);
        let adopted = match allowed {
            Ok(()) => {
                let no_response = Frame::raw(&[]);
                if self.spawn(&client, &no_response, NewSession::Ready(session), already_read) {
                    Ok(client)
                } else {
                    client.close_within(1013, "try again later", false, REJECTION_TIMEOUT);
                    Err(Error::busy())
                }
            }
            Err(why) => {
                client.close_within(1013, why, false, REJECTION_TIMEOUT);
                Err(Error::busy())
            }
        };
        let _ = result.send(adopted);
    }

    /// Spawns the client's thread. Returns `false` if the operating system has none.
    fn spawn(
        &mut self,
        client: &Client,
        accept: &Frame,
        session: NewSession,
        early: Vec<u8>,
    ) -> bool {
        let session = match session {
            NewSession::Ready(session) => SessionOrHandshake::Session(session),
            NewSession::Create(create_session, request) => {
                SessionOrHandshake::Handshake(Box::new(PendingHandshake {
                    create_session,
                    request,
                    accept: accept.clone(),
                    content_security_policy: Arc::clone(&self.content_security_policy),
                }))
            }
        };
        let mut thread = ClientThread {
            client: client.clone(),
            session: Some(session),
            early,
            limits: Arc::clone(&self.connection_limits),
            end: ThreadEnd {
                client: client.id(),
                events: self.events.clone(),
                waker: self.waker.clone(),
            },
        };
        let name = format!("client-{}", client.id());
        match threads::spawn_with_stack(name, Some(STACK), move || thread.run()) {
            Ok(thread) => {
                if self.limits.per_address.is_some() {
                    *self.per_network.entry(network_of(client.peer_addr())).or_default() += 1;
                }
                self.pings.add(client.id(), Instant::now());
                self.connected.insert(client.id(), (client.clone(), thread));
                true
            }
            Err(error) => {
                let peer = client.peer_addr();
                self.no_thread.warn(|| {
                    format!("rejected {peer} with close code 1013: cannot spawn a thread: {error}")
                });
                false
            }
        }
    }

    /// Pings the clients that are due. Not done by the clients' own threads: each ping would wake
    /// one.
    pub(super) fn ping(&mut self, now: Instant) {
        let (ping, connected) = (Frame::ping(), &self.connected);
        self.pings.send(now, |id| {
            connected.get(&id).map(|(client, _)| client.send_control(&ping)).is_some()
        });
    }

    /// When to call [`ping`](Self::ping) next.
    pub(super) fn next_ping(&self) -> Option<Instant> {
        self.pings.next()
    }

    /// Stops counting a rejected client.
    pub(super) fn rejected(&mut self, client: u64) {
        if let Some(thread) = self.remove(client) {
            self.rejected.insert(client, thread);
        }
    }

    /// Joins a client's thread.
    pub(super) fn ended(&mut self, client: u64) {
        if let Some(thread) = self.rejected.remove(&client).or_else(|| self.remove(client)) {
            let _ = thread.join();
        }
    }

    fn remove(&mut self, client: u64) -> Option<JoinHandle<()>> {
        let (client, thread) = self.connected.remove(&client)?;
        self.pings.compact(self.connected.len(), |id| self.connected.contains_key(&id));
        if let Entry::Occupied(mut count) = self.per_network.entry(network_of(client.peer_addr())) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        Some(thread)
    }

    /// Closes every client, then waits a bounded time for their threads and those of `routes`
    /// route handlers.
    pub(super) fn stop(mut self, events: &Receiver<HttpEvent>, mut routes: usize) {
        self.await_hub();
        let response = Response::line(status::UNAVAILABLE, SHUTTING_DOWN);
        let response = response.bytes(&self.content_security_policy, false);
        for (client, _) in self.connected.values() {
            if !client.reject_handshake(&response, CLOSE_TIMEOUT) {
                client.close_within(1001, SHUTTING_DOWN, false, CLOSE_TIMEOUT);
            }
        }
        let start = Instant::now();
        self.await_threads(events, &mut routes, start + CLOSE_TIMEOUT);
        for (client, _) in self.connected.values() {
            client.outbox().disconnect();
        }
        self.await_threads(events, &mut routes, start + CLOSE_TIMEOUT + THREAD_TIMEOUT);
        let left = self.connected.len() + self.rejected.len() + routes;
        if left > 0 {
            log::error!(
                "{left} sessions and route handlers did not return within the shutdown timeout: \
                 their threads keep running"
            );
        }
    }

    /// Waits until the hub has processed all earlier commands: earlier broadcasts must reach the
    /// clients before their Close frame.
    fn await_hub(&self) {
        let (done, wait) = bounded::<()>(0);
        // The sender is dropped when the hub answers the query, or at once if it has stopped.
        let _ = self.hub.query(Query::Alive, Box::new(move |_| drop(done)));
        let _ = wait.recv_timeout(HUB_TIMEOUT);
    }

    fn await_threads(
        &mut self,
        events: &Receiver<HttpEvent>,
        routes: &mut usize,
        deadline: Instant,
    ) {
        while self.connected.len() + self.rejected.len() + *routes > 0 {
            match events.recv_deadline(deadline) {
                Ok(HttpEvent::ClientRejected(client)) => self.rejected(client),
                Ok(HttpEvent::ClientEnded(client)) => self.ended(client),
                Ok(HttpEvent::HandlerDone(..)) => *routes = routes.saturating_sub(1),
                Ok(_) => {}
                Err(_) => return,
            }
        }
    }
}
