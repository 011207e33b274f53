//! The thread `kentros-flush`: empties the backlogs of the few clients that have one, by the
//! readiness of their sockets, and ends those that take longer than their deadline.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

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
    tally: Arc<Tally>,
}

enum Order {
    Watch(Arc<Outbox>),
    /// End once nothing is watched, at this moment at the latest.
    Finish(Instant),
}

impl Flusher {
    pub(crate) fn spawn(tally: Arc<Tally>) -> io::Result<(Self, JoinHandle<()>)> {
        let poller = Poller::new()?;
        let (inbox, orders) = unbounded();
        let flusher = Self { inbox, waker: poller.waker(), tally: Arc::clone(&tally) };
        let run = Run { poller, orders, watched: HashMap::new(), tally, finish: None };
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

    /// Counts a client that was evicted before its deadline, for more than its bounds.
    pub(crate) fn count_slow(&self) {
        counters::add(&self.tally.evicted_slow, 1);
    }

    /// Ends the thread once nothing is watched, or after `limit`; whoever is left is cut then.
    pub(crate) fn finish(&self, limit: Duration) {
        let _ = self.inbox.send(Order::Finish(Instant::now() + limit));
        self.waker.wake();
    }
}

struct Run {
    poller: Poller,
    orders: Receiver<Order>,
    /// By the outbox's address, which is its token too: unique while this map holds it.
    watched: HashMap<u64, (Arc<Outbox>, Interest)>,
    tally: Arc<Tally>,
    finish: Option<Instant>,
}

impl Run {
    fn run(mut self) {
        loop {
            while let Ok(order) = self.orders.try_recv() {
                match order {
                    Order::Watch(outbox) => self.watch(outbox),
                    Order::Finish(at) => self.finish = Some(at),
                }
            }
            let next = self.end_the_late();
            if self.finish.is_some() && self.watched.is_empty() && self.orders.is_empty() {
                return;
            }
            for token in self.poller.wait(next) {
                self.serve(token);
            }
        }
    }

    fn watch(&mut self, outbox: Arc<Outbox>) {
        let token = Arc::as_ptr(&outbox) as u64;
        if self.watched.contains_key(&token) {
            return self.serve(token);
        }
        if outbox.flush() == Flushed::Shut {
            return;
        }
        if let Err(error) = self.poller.add(&*outbox, token, Interest::Write) {
            log::warn!("cannot await a slow client's socket, so it is cut: {error}");
            outbox.shut();
            return;
        }
        self.watched.insert(token, (outbox, Interest::Write));
    }

    /// Does what an outbox's readiness allows.
    fn serve(&mut self, token: u64) {
        let Some((outbox, interest)) = self.watched.get_mut(&token) else { return };
        match (outbox.flush(), *interest) {
            (Flushed::Waits, _) | (Flushed::HalfClosed, Interest::Nothing | Interest::Read) => {}
            (Flushed::HalfClosed, Interest::Write) => {
                *interest = Interest::End;
                let _ = self.poller.change(&**outbox, token, Interest::End);
            }
            // The peer has ended its side, which the poller would tell again and again. What it
            // sent before may be unread: closing now would reset the connection and take our Close
            // with it. The client's own thread reads it and tells when it has; or it is too busy,
            // and the deadline cuts it.
            (Flushed::HalfClosed, Interest::End) => {
                *interest = Interest::Nothing;
                self.poller.remove(&**outbox);
            }
            (Flushed::Empty | Flushed::Shut, _) => {
                self.poller.remove(&**outbox);
                self.watched.remove(&token);
            }
        }
    }

    /// Cuts whoever is past its deadline; tells the next one.
    fn end_the_late(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let finish = self.finish;
        let mut next = finish;
        self.watched.retain(|_, (outbox, _)| {
            match outbox.deadline().into_iter().chain(finish).min() {
                Some(deadline) if deadline <= now => {
                    if outbox.is_open() && finish.is_none() {
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
            }
        });
        next
    }
}
