//! The thread `kentros-flush`: empties the backlogs of the few clients that have one, by the
//! readiness of their sockets, and ends those that take longer than their deadline.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::counters::{self, Tally};
use crate::outbox::{Flushed, Outbox};
use crate::poller::{Interest, Poller, Waker};
use crate::threads;

/// Hands outboxes to the flusher's thread.
#[derive(Clone, Debug)]
pub(crate) struct Flusher {
    inbox: Sender<Order>,
    waker: Waker,
}

enum Order {
    Watch(Arc<Outbox>),
    /// End once nothing is watched: every outbox has a deadline by then.
    Finish,
}

impl Flusher {
    pub(crate) fn spawn(tally: Arc<Tally>) -> io::Result<(Self, JoinHandle<()>)> {
        let poller = Poller::new()?;
        let (inbox, orders) = unbounded();
        let flusher = Self { inbox, waker: poller.waker() };
        let run = Run { poller, orders, watched: HashMap::new(), tally, finishing: false };
        let thread = threads::spawn("kentros-flush", || run.run())?;
        Ok((flusher, thread))
    }

    /// Has `outbox` emptied as its socket allows, and its deadline kept. Once the flusher has
    /// ended, the connection is cut instead: nobody would ever empty it.
    pub(crate) fn watch(&self, outbox: &Arc<Outbox>) {
        match self.inbox.send(Order::Watch(Arc::clone(outbox))) {
            Ok(()) => self.waker.wake(),
            Err(_) => outbox.shut(),
        }
    }

    pub(crate) fn finish(&self) {
        let _ = self.inbox.send(Order::Finish);
        self.waker.wake();
    }
}

struct Run {
    poller: Poller,
    orders: Receiver<Order>,
    /// By the outbox's address, which is its token too: unique while this map holds it.
    watched: HashMap<u64, (Arc<Outbox>, Interest)>,
    tally: Arc<Tally>,
    finishing: bool,
}

impl Run {
    fn run(mut self) {
        loop {
            while let Ok(order) = self.orders.try_recv() {
                match order {
                    Order::Watch(outbox) => self.watch(outbox),
                    Order::Finish => self.finishing = true,
                }
            }
            let next = self.end_the_late();
            if self.finishing && self.watched.is_empty() && self.orders.is_empty() {
                return;
            }
            for token in self.poller.wait(next) {
                self.serve(token);
            }
        }
    }

    fn watch(&mut self, outbox: Arc<Outbox>) {
        let token = Arc::as_ptr(&outbox) as u64;
        if !self.watched.contains_key(&token) {
            if let Err(error) = self.poller.add(&*outbox, token, Interest::Write) {
                log::warn!("cannot await a slow client's socket, so it is cut: {error}");
                outbox.shut();
                return;
            }
            self.watched.insert(token, (outbox, Interest::Write));
        }
        self.serve(token);
    }

    fn serve(&mut self, token: u64) {
        let Some((outbox, interest)) = self.watched.get_mut(&token) else { return };
        let wanted = match outbox.flush() {
            Flushed::Waits => Interest::Write,
            Flushed::HalfClosed => Interest::End,
            Flushed::Empty | Flushed::Shut => {
                self.poller.remove(&**outbox);
                self.watched.remove(&token);
                return;
            }
        };
        if *interest != wanted {
            *interest = wanted;
            let _ = self.poller.change(&**outbox, token, wanted);
        }
    }

    /// Cuts whoever is past its deadline; tells the next one.
    fn end_the_late(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let mut next: Option<Instant> = None;
        self.watched.retain(|_, (outbox, _)| match outbox.deadline() {
            Some(deadline) if deadline <= now => {
                if outbox.is_open() {
                    counters::add(&self.tally.evicted_deadline, 1);
                    log::info!(
                        "a client took more than {:?} to read one message: evicted",
                        outbox.write_deadline()
                    );
                }
                self.poller.remove(&**outbox);
                outbox.shut();
                false
            }
            deadline => {
                next = match (next, deadline) {
                    (Some(a), Some(b)) => Some(a.min(b)),
                    (a, b) => a.or(b),
                };
                true
            }
        });
        next
    }
}
