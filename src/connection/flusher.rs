//! The thread `kentros-flush`, which sends queued frames when sockets become ready, and disconnects
//! clients that exceed their deadline.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::outbox::{FlushResult, Outbox};
use crate::counters::{self, AtomicCounters, QueuedBytes};
use crate::poller::{Poller, Readiness, Waker};
use crate::rate_limited::RateLimitedWarning;
use crate::threads;

/// Passes outboxes to the flusher's thread.
#[derive(Clone, Debug)]
pub(crate) struct Flusher {
    inbox: Sender<FlushCommand>,
    waker: Waker,
    counters: Arc<AtomicCounters>,
    /// Warns about full queues.
    slow_warning: Arc<RateLimitedWarning>,
    /// Warns about full queues of all clients together.
    memory_warning: Arc<RateLimitedWarning>,
}

enum FlushCommand {
    Watch(Arc<Outbox>),
    /// End once nothing is watched, or at this time.
    Finish(Instant),
}

impl Flusher {
    pub(crate) fn spawn(counters: Arc<AtomicCounters>) -> io::Result<(Self, JoinHandle<()>)> {
        let poller = Poller::new()?;
        let (inbox, commands) = unbounded();
        let flusher = Self {
            inbox,
            waker: poller.waker(),
            counters: Arc::clone(&counters),
            slow_warning: Arc::default(),
            memory_warning: Arc::default(),
        };
        let late_warning = RateLimitedWarning::default();
        let run = FlushLoop {
            poller,
            commands,
            watched: HashMap::new(),
            counters,
            late_warning,
            finish: None,
        };
        let thread = threads::spawn("kentros-flush", || run.run())?;
        Ok((flusher, thread))
    }

    /// Sends what is queued in `outbox` and enforces its deadline. Disconnects it if the flusher has
    /// ended.
    pub(crate) fn watch(&self, outbox: &Arc<Outbox>) {
        match self.inbox.send(FlushCommand::Watch(Arc::clone(outbox))) {
            Ok(()) => self.waker.wake(),
            Err(_) => outbox.disconnect(),
        }
    }

    /// Counts a client that was evicted for a full queue, and logs a warning.
    pub(crate) fn count_slow(&self, peer: SocketAddr) {
        counters::add(&self.counters.evicted_slow, 1);
        self.slow_warning.warn(|| {
            format!(
                "disconnected {peer} with close code 1008: it reads too slowly, and its queue is full"
            )
        });
    }

    /// Counts a client that was evicted because all queues together are full, and logs a warning.
    pub(crate) fn count_for_memory(&self, peer: SocketAddr) {
        counters::add(&self.counters.evicted_memory, 1);
        self.memory_warning.warn(|| {
            format!(
                "disconnected {peer}: the queues of all clients together are full, and it was one of \
                 the slowest"
            )
        });
    }

    pub(crate) fn queued_bytes(&self) -> &Arc<QueuedBytes> {
        &self.counters.queued_bytes
    }

    /// Ends the thread once nothing is watched, or after `limit`. Then it disconnects the remaining
    /// clients.
    pub(crate) fn finish(&self, limit: Duration) {
        let _ = self.inbox.send(FlushCommand::Finish(Instant::now() + limit));
        self.waker.wake();
    }
}

struct FlushLoop {
    poller: Poller,
    commands: Receiver<FlushCommand>,
    /// By token: the address of the outbox, which is unique as long as the map holds it.
    watched: HashMap<u64, (Arc<Outbox>, Readiness)>,
    counters: Arc<AtomicCounters>,
    /// Warns about exceeded deadlines.
    late_warning: RateLimitedWarning,
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
            let next = self.enforce_deadlines(Instant::now());
            if self.finish.is_some() && self.watched.is_empty() && self.commands.is_empty() {
                return;
            }
            for token in self.poller.wait(next) {
                self.advance(token);
            }
        }
    }

    fn watch(&mut self, outbox: Arc<Outbox>) {
        let token = Arc::as_ptr(&outbox) as u64;
        if self.watched.contains_key(&token) {
            return self.advance(token);
        }
        if outbox.flush() == FlushResult::Shut {
            return;
        }
        if let Err(error) = self.poller.add(&*outbox, token, Readiness::Write) {
            log::warn!("cannot poll a slow client's socket, disconnecting it: {error}");
            outbox.disconnect();
            return;
        }
        self.watched.insert(token, (outbox, Readiness::Write));
    }

    /// Continues with an outbox whose socket is ready.
    fn advance(&mut self, token: u64) {
        let Some((outbox, interest)) = self.watched.get_mut(&token) else { return };
        match (outbox.flush(), *interest) {
            (FlushResult::Blocked, _)
            | (FlushResult::HalfClosed, Readiness::Nothing | Readiness::Read) => {}
            (FlushResult::HalfClosed, Readiness::Write) => {
                *interest = Readiness::End;
                let _ = self.poller.change(&**outbox, token, Readiness::End);
            }
            // The peer has closed its side, which the poller would report again and again. Closing
            // with unread input would reset the connection before the peer has read our Close. So
            // the client's thread reads the rest and then disconnects, or the deadline expires.
            (FlushResult::HalfClosed, Readiness::End) => {
                *interest = Readiness::Nothing;
                self.poller.remove(&**outbox);
            }
            (FlushResult::Empty | FlushResult::Shut, _) => {
                self.poller.remove(&**outbox);
                self.watched.remove(&token);
            }
        }
    }

    /// Disconnects clients past their deadline. Returns the next deadline.
    fn enforce_deadlines(&mut self, now: Instant) -> Option<Instant> {
        let (finish, late_warning) = (self.finish, &self.late_warning);
        let mut next = finish;
        self.watched.retain(|_, (outbox, _)| {
            // This thread may be late on a busy machine. Count what the peer has read meanwhile.
            if outbox.deadline().is_some_and(|deadline| deadline <= now) {
                outbox.flush();
            }
            match outbox.deadline().into_iter().chain(finish).min() {
                Some(deadline) if deadline <= now => {
                    if outbox.is_open() && finish.is_none() {
                        counters::add(&self.counters.evicted_deadline, 1);
                        late_warning.warn(|| {
                            let limit = outbox.write_deadline();
                            format!(
                                "disconnected a client: it took more than {limit:?} to read one \
                                 message"
                            )
                        });
                    }
                    self.poller.remove(&**outbox);
                    outbox.abort();
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
    use crate::connection::outbox::OfferResult;
    use crate::connection::queue::QueueBounds;

    #[test]
    fn clients_disconnected_at_shutdown_do_not_count_as_slow() {
        let counters = Arc::new(AtomicCounters::default());
        let (flusher, thread) = Flusher::spawn(Arc::clone(&counters)).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, _) = listener.accept().unwrap();
        let bounds = QueueBounds { messages: 1, bytes: 1 };
        let outbox = Arc::new(Outbox::new(socket, bounds, Duration::from_secs(1000)));
        // More than the kernel buffers for a peer that does not read.
        let frame = Frame::raw(&vec![b'x'; 32 << 20]);
        outbox.offer(std::slice::from_ref(&frame), frame.bytes());
        flusher.watch(&outbox);
        flusher.finish(Duration::ZERO);
        thread.join().unwrap();
        assert!(!outbox.is_open());
        assert_eq!(counters.evicted_deadline.load(Ordering::Relaxed), 0);
    }

    /// The deadline passed an hour before the flusher checks it.
    #[test]
    fn a_late_flusher_disconnects_only_clients_that_did_not_read() {
        for reads in [true, false] {
            let (ours, mut peer) = UnixStream::pair().unwrap();
            let socket = TcpStream::from(std::os::fd::OwnedFd::from(ours));
            let bounds = QueueBounds { messages: 1000, bytes: 1 << 20 };
            let outbox = Arc::new(Outbox::new(socket, bounds, Duration::from_secs(10)));
            let frame = Frame::raw(&[7; 4096]);
            let mut sent = 1;
            while outbox.offer(std::slice::from_ref(&frame), frame.bytes()) == OfferResult::Sent {
                sent += 1;
            }
            let (_, commands) = unbounded();
            let (poller, counters) = (Poller::new().unwrap(), Arc::default());
            let (watched, late_warning) = (HashMap::new(), RateLimitedWarning::default());
            let mut run =
                FlushLoop { poller, commands, watched, counters, late_warning, finish: None };
            run.watch(Arc::clone(&outbox));
            assert_eq!(run.watched.len(), 1);
            peer.set_nonblocking(true).unwrap();
            let mut all = Vec::new();
            if reads {
                peer.read_to_end(&mut all).unwrap_err();
            }
            run.enforce_deadlines(Instant::now() + Duration::from_secs(3600));
            assert_eq!(outbox.is_open(), reads);
            assert_eq!(run.counters.read().evicted_deadline, u64::from(!reads));
            peer.read_to_end(&mut all).unwrap_or_default();
            assert_eq!(all.len() == sent * frame.bytes().len(), reads, "everything arrived");
        }
    }
}
