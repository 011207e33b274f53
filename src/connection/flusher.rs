//! The thread `kentros-flush`: empties the backlogs of the few clients that have one, by the
//! readiness of their sockets, and ends those that take longer than their deadline.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::outbox::{Flushed, Outbox};
use crate::counters::{self, AtomicCounters};
use crate::poller::{Poller, Readiness, Waker};
use crate::rate_limited::RateLimitedWarning;
use crate::threads;

/// Hands outboxes to the flusher's thread.
#[derive(Clone, Debug)]
pub(crate) struct Flusher {
    inbox: Sender<FlushCommand>,
    waker: Waker,
    counters: Arc<AtomicCounters>,
    /// That more waits for somebody than may.
    slow: Arc<RateLimitedWarning>,
}

enum FlushCommand {
    Watch(Arc<Outbox>),
    /// End once nothing is watched, at this moment at the latest.
    Finish(Instant),
}

impl Flusher {
    pub(crate) fn spawn(counters: Arc<AtomicCounters>) -> io::Result<(Self, JoinHandle<()>)> {
        let poller = Poller::new()?;
        let (inbox, commands) = unbounded();
        let (waker, slow) = (poller.waker(), Arc::default());
        let flusher = Self { inbox, waker, counters: Arc::clone(&counters), slow };
        let late = RateLimitedWarning::default();
        let run =
            FlushLoop { poller, commands, watched: HashMap::new(), counters, late, finish: None };
        let thread = threads::spawn("kentros-flush", || run.run())?;
        Ok((flusher, thread))
    }

    /// Has `outbox` emptied as its socket allows, and its deadline kept. Once the flusher has
    /// ended, the connection is cut instead: nobody would ever empty it.
    pub(crate) fn watch(&self, outbox: &Arc<Outbox>) {
        match self.inbox.send(FlushCommand::Watch(Arc::clone(outbox))) {
            Ok(()) => self.waker.wake(),
            Err(_) => outbox.shut(),
        }
    }

    /// Counts a client that was evicted before its deadline, for more than its bounds, and tells.
    pub(crate) fn count_slow(&self, peer: SocketAddr) {
        counters::add(&self.counters.evicted_slow, 1);
        self.slow.warn(|| format!("{peer} is too slow, too much waits for it: it gets 1008"));
    }

    /// Ends the thread once nothing is watched, or after `limit`; whoever is left is cut then.
    pub(crate) fn finish(&self, limit: Duration) {
        let _ = self.inbox.send(FlushCommand::Finish(Instant::now() + limit));
        self.waker.wake();
    }
}

struct FlushLoop {
    poller: Poller,
    commands: Receiver<FlushCommand>,
    /// By the outbox's address, which is its token too: unique while this map holds it.
    watched: HashMap<u64, (Arc<Outbox>, Readiness)>,
    counters: Arc<AtomicCounters>,
    /// That somebody takes too long to read.
    late: RateLimitedWarning,
    finish: Option<Instant>,
}

impl FlushLoop {
    fn run(mut self) {
        loop {
            while let Ok(command) = self.commands.try_recv() {
                match command {
                    FlushCommand::Watch(outbox) => self.watch(outbox),
                    FlushCommand::Finish(at) => self.finish = Some(at),
                }
            }
            let next = self.end_the_late(Instant::now());
            if self.finish.is_some() && self.watched.is_empty() && self.commands.is_empty() {
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
        if let Err(error) = self.poller.add(&*outbox, token, Readiness::Write) {
            log::warn!("cannot await a slow client's socket, so it is cut: {error}");
            outbox.shut();
            return;
        }
        self.watched.insert(token, (outbox, Readiness::Write));
    }

    /// Does what an outbox's readiness allows.
    fn serve(&mut self, token: u64) {
        let Some((outbox, interest)) = self.watched.get_mut(&token) else { return };
        match (outbox.flush(), *interest) {
            (Flushed::Waits, _) | (Flushed::HalfClosed, Readiness::Nothing | Readiness::Read) => {}
            (Flushed::HalfClosed, Readiness::Write) => {
                *interest = Readiness::End;
                let _ = self.poller.change(&**outbox, token, Readiness::End);
            }
            // The peer has ended its side, which the poller would tell again and again. What it
            // sent before may be unread: closing now would reset the connection and take our Close
            // with it. The client's own thread reads it and tells when it has; or it is too busy,
            // and the deadline cuts it.
            (Flushed::HalfClosed, Readiness::End) => {
                *interest = Readiness::Nothing;
                self.poller.remove(&**outbox);
            }
            (Flushed::Empty | Flushed::Shut, _) => {
                self.poller.remove(&**outbox);
                self.watched.remove(&token);
            }
        }
    }

    /// Cuts whoever is past its deadline; tells the next one.
    fn end_the_late(&mut self, now: Instant) -> Option<Instant> {
        let (finish, late) = (self.finish, &self.late);
        let mut next = finish;
        self.watched.retain(|_, (outbox, _)| {
            // It may be this thread that is late, on a busy machine: what the peer has read counts.
            if outbox.deadline().is_some_and(|deadline| deadline <= now) {
                outbox.flush();
            }
            match outbox.deadline().into_iter().chain(finish).min() {
                Some(deadline) if deadline <= now => {
                    if outbox.is_open() && finish.is_none() {
                        counters::add(&self.counters.evicted_deadline, 1);
                        late.warn(|| {
                            let limit = outbox.write_deadline();
                            format!("a client takes more than {limit:?} for one message: it is cut")
                        });
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

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::connection::frame::Frame;
    use crate::connection::outbox::Offered;
    use crate::connection::queue::Bounds;

    #[test]
    fn whoever_is_cut_at_the_end_counts_as_no_slow_client() {
        let counters = Arc::new(AtomicCounters::default());
        let (flusher, thread) = Flusher::spawn(Arc::clone(&counters)).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, _) = listener.accept().unwrap();
        let bounds = Bounds { messages: 1, bytes: 1 };
        let outbox = Arc::new(Outbox::new(socket, bounds, Duration::from_secs(1000)));
        // More than the kernel takes for a peer that does not read.
        let frame = Frame::raw(&vec![b'x'; 32 << 20]);
        outbox.offer(std::slice::from_ref(&frame), frame.bytes());
        flusher.watch(&outbox);
        flusher.finish(Duration::ZERO);
        thread.join().unwrap();
        assert!(!outbox.is_open());
        assert_eq!(counters.evicted_deadline.load(Ordering::Relaxed), 0);
    }

    /// Its deadline is an hour ago before the flusher comes to it: whether it is served or cut.
    #[test]
    fn a_flusher_that_comes_late_cuts_only_those_who_have_not_read() {
        for reads in [true, false] {
            let (ours, mut peer) = UnixStream::pair().unwrap();
            let socket = TcpStream::from(std::os::fd::OwnedFd::from(ours));
            let bounds = Bounds { messages: 1000, bytes: 1 << 20 };
            let outbox = Arc::new(Outbox::new(socket, bounds, Duration::from_secs(10)));
            let frame = Frame::raw(&[7; 4096]);
            let mut sent = 1;
            while outbox.offer(std::slice::from_ref(&frame), frame.bytes()) == Offered::Sent {
                sent += 1;
            }
            let (_, commands) = unbounded();
            let (poller, counters) = (Poller::new().unwrap(), Arc::default());
            let (watched, late) = (HashMap::new(), RateLimitedWarning::default());
            let mut run = FlushLoop { poller, commands, watched, counters, late, finish: None };
            run.watch(Arc::clone(&outbox));
            assert_eq!(run.watched.len(), 1);
            peer.set_nonblocking(true).unwrap();
            let mut all = Vec::new();
            if reads {
                peer.read_to_end(&mut all).unwrap_err();
            }
            run.end_the_late(Instant::now() + Duration::from_secs(3600));
            assert_eq!(outbox.is_open(), reads);
            assert_eq!(run.counters.read().evicted_deadline, u64::from(!reads));
            peer.read_to_end(&mut all).unwrap_or_default();
            assert_eq!(all.len() == sent * frame.bytes().len(), reads, "all of it arrived");
        }
    }
}
