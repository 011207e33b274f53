//! The WebSocket clients of a server and their threads.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::event::Event;
use super::pings::Pings;
use crate::connection::{self, Rules};
use crate::frame::Frame;
use crate::hub::{Question, SHUTTING_DOWN};
use crate::notice::Notice;
use crate::poller::Waker;
use crate::{Client, Handler, HubHandle, limits, threads};

/// How long the hub may take at the stop to send what it was asked to before.
const HUB: Duration = Duration::from_millis(500);
/// How long clients have at the stop, and how much longer their threads.
const GOODBYE: Duration = Duration::from_secs(2);
const LAST: Duration = Duration::from_secs(2);
/// How long a client without a thread has to take its Close.
const NO_THREAD: Duration = Duration::from_secs(1);
/// The stack of a client's thread: what it does not touch costs no memory.
const STACK: usize = 256 * 1024;

/// Those connected now, each with its thread.
pub(super) struct Clients {
    hub: HubHandle,
    rules: Arc<Rules>,
    most: Most,
    connected: HashMap<u64, (Client, JoinHandle<()>)>,
    pings: Pings,
    /// How many of them are from each neighbourhood; none where that is not limited.
    from: HashMap<IpAddr, usize>,
    full: Notice,
    full_from_one: Notice,
    no_thread: Notice,
}

/// How many clients there may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Most {
    pub(super) clients: usize,
    /// From one address.
    pub(super) per_address: Option<usize>,
}

/// A connection whose handshake is done.
pub(super) struct Newcomer {
    pub(super) socket: TcpStream,
    pub(super) peer: SocketAddr,
    /// The bytes that accept the handshake.
    pub(super) answer: Vec<u8>,
    pub(super) handler: Arc<dyn Handler>,
    /// What came with the handshake.
    pub(super) early: Vec<u8>,
}

impl Clients {
    pub(super) fn new(hub: HubHandle, rules: Rules, most: Most, ping_interval: Duration) -> Self {
        Self {
            hub,
            rules: Arc::new(rules),
            most,
            connected: HashMap::new(),
            pings: Pings::new(limits::time(ping_interval)),
            from: HashMap::new(),
            full: Notice::default(),
            full_from_one: Notice::default(),
            no_thread: Notice::default(),
        }
    }

    /// Whether there is room for one more.
    ///
    /// # Errors
    /// The reason that its Close, with 1013, gives.
    pub(super) fn room(&self, peer: SocketAddr) -> Result<(), &'static str> {
        let most = self.most.clients;
        if self.connected.len() >= most {
            self.full.warn(|| format!("{most} clients are as many as may be: {peer} gets 1013"));
            return Err("as many clients as may be are connected");
        }
        let from = self.from.get(&neighbourhood(peer)).copied().unwrap_or_default();
        if let Some(most) = self.most.per_address
            && from >= most
        {
            let say =
                || format!("{most} clients are as many as may be of one address: {peer} gets 1013");
            self.full_from_one.warn(say);
            return Err("as many clients as may be are connected from this address");
        }
        Ok(())
    }

    /// Serves a client on a thread of its own, whose end `events` will tell.
    pub(super) fn serve(&mut self, newcomer: Newcomer, events: Sender<Event>, waker: Waker) {
        let Newcomer { socket, peer, answer, handler, early } = newcomer;
        if let Err(error) = socket.set_nonblocking(false) {
            log::debug!("{peer} is gone already: {error}");
            return;
        }
        let client = self.hub.client(peer, socket);
        client.outbox().preface(&Frame::raw(&answer));
        let (served, hub, rules) = (client.clone(), self.hub.clone(), Arc::clone(&self.rules));
        let name = format!("client-{}", client.id());
        let thread = threads::spawn_with_stack(name, Some(STACK), move || {
            connection::serve(&served, &*handler, early, &rules);
            let _ = hub.unregister(&served);
            let ended = Event::Ended(served.id());
            drop((served, handler, hub, rules));
            ended.tell(&events, &waker);
        });
        match thread {
            Ok(thread) => {
                if self.most.per_address.is_some() {
                    *self.from.entry(neighbourhood(peer)).or_default() += 1;
                }
                self.pings.add(client.id(), Instant::now());
                self.connected.insert(client.id(), (client, thread));
            }
            Err(error) => {
                self.no_thread.warn(|| format!("no thread for one more client: {error}"));
                client.end(&Frame::close(1013, "try again later"), false, NO_THREAD);
            }
        }
    }

    /// Pings whoever is due: the front's work, because a client's own thread would have to be woken.
    pub(super) fn ping(&mut self, now: Instant) {
        let (ping, connected) = (Frame::ping(), &self.connected);
        self.pings
            .send(now, |id| connected.get(&id).map(|(client, _)| client.post(&ping)).is_some());
    }

    /// When [`ping`](Self::ping) should be called next.
    pub(super) fn next_ping(&self) -> Option<Instant> {
        self.pings.next()
    }

    /// A client's thread is at its end.
    pub(super) fn ended(&mut self, client: u64) {
        let Some((client, thread)) = self.connected.remove(&client) else { return };
        let _ = thread.join();
        self.pings.tidy(self.connected.len(), |id| self.connected.contains_key(&id));
        if let Entry::Occupied(mut from) = self.from.entry(neighbourhood(client.peer_addr())) {
            *from.get_mut() -= 1;
            if *from.get() == 0 {
                from.remove();
            }
        }
    }

    /// Closes every client and waits for their threads, a bounded time.
    pub(super) fn stop(mut self, events: &Receiver<Event>) {
        self.await_hub();
        for (client, _) in self.connected.values() {
            client.end(&Frame::close(1001, SHUTTING_DOWN), false, GOODBYE);
        }
        let begun = Instant::now();
        self.await_ends(events, begun + GOODBYE);
        for (client, _) in self.connected.values() {
            client.outbox().shut();
        }
        self.await_ends(events, begun + GOODBYE + LAST);
        if !self.connected.is_empty() {
            let left = self.connected.len();
            log::error!("{left} clients' handlers do not return, their threads are left");
        }
    }

    /// Has the hub do first what it was asked before: what was broadcast a moment ago must reach
    /// the clients before their Close.
    fn await_hub(&self) {
        let (done, doing) = bounded::<()>(0);
        // It is dropped once the hub has come to it, or at once where the hub has stopped.
        let _ = self.hub.ask(Question::Alive, Box::new(move |_| drop(done)));
        let _ = doing.recv_timeout(HUB);
    }

    fn await_ends(&mut self, events: &Receiver<Event>, deadline: Instant) {
        while !self.connected.is_empty() {
            match events.recv_deadline(deadline) {
                Ok(Event::Ended(client)) => self.ended(client),
                Ok(_) => {}
                Err(_) => return,
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
