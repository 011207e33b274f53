//! The crowd of clients, well-behaved and not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::clients::listen;
use super::pause;
use super::record::{Log, VIEWS, View};

/// A number of clients at a time, each replaced by another when it leaves.
#[derive(Debug)]
pub(crate) struct Crowd {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Seen>>,
}

/// What a crowd, or one place in it, has seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The messages of the well-behaved clients.
    pub(crate) logs: Vec<(View, Log)>,
    /// The number of clients that were evicted because they were too slow.
    pub(crate) evicted: u64,
    /// The number of clients that did not behave well.
    pub(crate) misbehaved: usize,
    /// What the server must not have done: to which client, when and what.
    pub(crate) faults: Vec<String>,
}

impl Crowd {
    pub(crate) fn start(addr: SocketAddr, clients: usize, rng: &mut Rng) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let begun = Instant::now();
        let place = |n: usize| {
            let over = Arc::clone(&over);
            let place = Place { addr, over, begun, number: n, rng: rng.fork() };
            let thread = thread::Builder::new().name(format!("place-{n}")).stack_size(256 << 10);
            thread.spawn(|| place.run()).unwrap_or_else(|error| {
                panic!(
                    "no thread for client {n} (see ulimit -u and pids.max of the cgroup): {error}"
                )
            })
        };
        let threads = (0..clients).map(place).collect();
        Self { over, threads }
    }

    pub(crate) fn end(self) -> Seen {
        self.over.store(true, Ordering::SeqCst);
        self.threads.into_iter().fold(Seen::default(), |mut all, thread| {
            let seen = thread.join().unwrap_or_else(|panic| {
                let words = panic.downcast_ref::<String>();
                Seen { faults: vec![format!("a panic: {words:?}")], ..Seen::default() }
            });
            all.logs.extend(seen.logs);
            all.evicted += seen.evicted;
            all.misbehaved += seen.misbehaved;
            all.faults.extend(seen.faults);
            all
        })
    }
}

/// A place in the crowd, with one client at a time.
pub(super) struct Place {
    pub(super) addr: SocketAddr,
    over: Arc<AtomicBool>,
    begun: Instant,
    number: usize,
    pub(super) rng: Rng,
}

impl Place {
    fn run(mut self) -> Seen {
        let mut seen = Seen::default();
        self.wait(3_000);
        while !self.is_over() {
            let since = Instant::now();
            let (kind, result) = self.run_client(&mut seen);
            if let Err(why) = result {
                let fault = format!(
                    "place {}, {:.1?} after the start: a client that {kind}, after {:.1?}: {why:.600}",
                    self.number,
                    self.begun.elapsed(),
                    since.elapsed()
                );
                eprintln!("{fault}");
                seen.faults.push(fault);
            }
        }
        seen
    }

    /// Runs one client. Returns what it does, and an error if the server did what it must not.
    fn run_client(&mut self, seen: &mut Seen) -> (&'static str, Result<(), String>) {
        if self.rng.u64(..100) < 60 {
            let view = if self.rng.u64(..2) == 0 { None } else { VIEWS[self.rng.usize(..5)] };
            let end = Instant::now() + Duration::from_millis(self.rng.u64(..30_000));
            let over = || self.is_over() || Instant::now() > end;
            let log = listen(self.addr, view, &over, &|_| {});
            let name = view.map_or("listens to everything", |_| "listens to a project");
            return (name, log.map(|log| seen.logs.push((view, log))));
        }
        seen.misbehaved += 1;
        let mut slow = |evicted| seen.evicted += u64::from(evicted);
        match self.rng.u64(..12) {
            0 => ("changes its subscriptions", self.changes_subscriptions()),
            1 => ("stalls", self.stalls().map(&mut slow)),
            2 => ("sends and reads single bytes", self.drips().map(&mut slow)),
            3 => ("resets the connection", self.resets()),
            4 => ("sends garbage", self.sends_garbage()),
            5 => ("sends garbage frames", self.sends_garbage_frames()),
            6 => ("floods", self.floods()),
            7 => ("leaves responses unread", self.leaves_responses_unread()),
            8 => ("probes", self.probes()),
            9 => ("guesses tokens", self.guesses_tokens()),
            10 => ("sends slashes", self.sends_slashes()),
            _ => ("connects and disconnects", self.reconnects()),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// Waits for a random time below `most` milliseconds, or until the crowd ends.
    pub(super) fn wait(&mut self, most: u64) {
        let end = Instant::now() + Duration::from_millis(self.rng.u64(..most));
        while Instant::now() < end && !self.is_over() {
            pause(end.saturating_duration_since(Instant::now()).min(Duration::from_millis(200)));
        }
    }
}
