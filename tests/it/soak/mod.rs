//! The soak test: the program with two thousand clients, well-behaved and not, while the engine
//! restarts and containers come and go. Run it with `tests/soak [SECONDS]`.
//!
//! In each round, every well-behaved client must receive the messages that a witness of the same
//! view receives, in the same order, and the metrics must equal what the clients received: the witness
//! misses no tick, whatever the other clients do. Meanwhile each health check is answered, and the
//! memory of the program and of the kernel's TCP is bounded. After the last round the program must
//! use the resources that it used two rounds before.
#![allow(clippy::print_stderr)]

mod attacks;
mod clients;
mod crowd;
mod engine;
mod misbehavior;
mod program;
mod record;
mod socket;
mod watch;

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use clients::{Stay, listen};
use crowd::Crowd;
use engine::Engine;
use fastrand::Rng;
use program::{Counted, Program};
use record::{Log, VIEWS, View};
use watch::Figures;

use crate::harness::pause;

/// The number of clients in the crowd.
const CLIENTS: usize = 2000;
/// The number of rounds of equal length, of which two warm up.
const ROUNDS: u32 = 4;
/// The most rounds if memory has grown. After a busy moment the heap stays larger once; with a leak
/// it grows in each round.
const MOST_ROUNDS: usize = 6;
/// The number of clients whose messages are counted.
const STEADY: usize = 100;
/// An HTTP request counts as a listener for 30 s, and the source keeps its connections for another
/// 30 s.
const GUARD: Duration = Duration::from_secs(2 * crate::harness::GUARD.as_secs());

#[test]
#[ignore = "takes minutes: tests/soak"]
fn two_thousand_clients_while_the_engine_restarts() {
    let seconds = std::env::var("KENTROS_SOAK_SECONDS").map_or(600, |text| text.parse().unwrap());
    let seed = std::env::var("KENTROS_SOAK_SEED")
        .map_or_else(|_| fastrand::u64(..), |text| text.parse().unwrap());
    eprintln!("KENTROS_SOAK_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let mut engine = Engine::start(rng.fork());
    let program = Program::start(&engine.host());
    let (mut held, mut evicted) = (Vec::new(), 0);
    let (warm, end) = loop {
        let (now, more) =
            round(&program, &mut engine, &mut rng, Duration::from_secs(seconds) / ROUNDS);
        eprintln!("round {}: {now:?}", held.len());
        held.push(now);
        evicted += more;
        if let [_, .., warm, _, end] = held[..]
            && (end.rss_kib * 10 <= warm.rss_kib * 11 || held.len() == MOST_ROUNDS)
        {
            break (warm, end);
        }
    };
    assert_eq!((end.threads, end.descriptors), (warm.threads, warm.descriptors));
    assert!(end.rss_kib * 10 <= warm.rss_kib * 11, "memory grows in each round: {held:?}");
    // Clients are evicted only once the history is long.
    assert!(evicted > 0 || seconds < 600, "no client was evicted: the machine may be too busy");
    assert_eq!(program.errors(), Vec::<String>::new());
}

/// Runs one round. Returns the resources of the program after it and how many clients it evicted.
fn round(
    program: &Program,
    engine: &mut Engine,
    rng: &mut Rng,
    time: Duration,
) -> (program::Held, u64) {
    let addr = program.addr;
    let staying = Stay::default();
    let _leave = LeaveOnDrop(staying.clone());
    let witnesses: Vec<_> =
        VIEWS.into_iter().map(|view| stay(&staying, addr, view, view.is_none())).collect();
    until("messages from the engine", || staying.received() > 50);
    engine.stop();
    let begun = wait_for_silence(program, &staying);

    engine.restart();
    let (crowd, figures) = Figures::during(program, || {
        let crowd = Crowd::start(addr, CLIENTS, rng);
        engine.churn(Instant::now() + time);
        crowd.end()
    });
    eprintln!("{figures:?}");
    figures.check();
    let faults = &crowd.faults;
    assert!(faults.is_empty(), "{} faults, the first: {:#?}", faults.len(), {
        &faults[..faults.len().min(10)]
    });
    engine.stop();
    let stormed = wait_for_silence(program, &staying);
    let evicted = stormed.0.evicted - begun.0.evicted;
    assert_eq!(evicted, crowd.evicted, "evictions counted and seen by the clients");

    let steady: Vec<_> =
        (0..STEADY).map(|n| stay(&staying, addr, VIEWS[n % VIEWS.len()], false)).collect();
    until("the steady clients to connect", || {
        program.counted().clients == (STEADY + VIEWS.len()) as u64
    });
    let from = wait_for_silence(program, &staying);
    engine.restart();
    engine.churn(Instant::now() + Duration::from_secs(5));
    engine.stop();
    let to = wait_for_silence(program, &staying);
    let conflated = to.0.conflated - from.0.conflated;
    assert_eq!(
        to.0.delivered - from.0.delivered - conflated,
        to.1 - from.1,
        "messages delivered and received"
    );
    assert!(to.1 > from.1);
    eprintln!(
        "{} messages published, {} received by the witness",
        to.0.published - begun.0.published,
        to.2 - begun.2
    );
    assert_eq!(
        to.0.published - begun.0.published,
        to.2 - begun.2,
        "messages published and received by a witness"
    );

    staying.leave();
    let logs = |stay: Vec<JoinHandle<Result<Log, String>>>| -> Vec<Log> {
        let log = |client: JoinHandle<Result<Log, String>>| client.join().unwrap();
        stay.into_iter().map(|client| log(client).unwrap_or_else(|why| panic!("{why}"))).collect()
    };
    let (witnesses, steady) = (logs(witnesses), logs(steady));
    let steady = steady.into_iter().enumerate().map(|(n, log)| (VIEWS[n % VIEWS.len()], log));
    let (mut seen, mut skipped, mut number) = (0, 0, 0);
    for (view, log) in crowd.logs.into_iter().chain(steady) {
        let at = VIEWS.iter().position(|v| *v == view).unwrap();
        skipped += log
            .skipped_of(&witnesses[at])
            .unwrap_or_else(|why| panic!("a client of {view:?}: {why}"));
        seen += log.len();
        number += 1;
    }
    let conflated = to.0.conflated - begun.0.conflated;
    eprintln!(
        "{number} well-behaved clients received {seen} messages in order, without {skipped} of \
         {conflated} conflated messages; {evicted} clients were evicted; {} misbehaved",
        crowd.misbehaved
    );
    assert!(skipped as u64 <= conflated);
    until("no clients", || program.counted().clients == 0);

    engine.restart();
    // The requests for metrics count as listeners for a while. Then the source pauses.
    until("connections to the engine", || engine.connections() > 0);
    until("no connections to the engine", || engine.connections() == 0);
    until("the end of the last thread", || program.held().threads <= program.idle().threads);
    (program.held(), evicted)
}

/// Makes the staying clients leave before the program ends, so that they report no faults if the
/// round fails.
struct LeaveOnDrop(Stay);

impl Drop for LeaveOnDrop {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// Starts a client that stays until the round ends. With `published` it counts publications.
fn stay(
    stay: &Stay,
    addr: SocketAddr,
    view: View,
    published: bool,
) -> JoinHandle<Result<Log, String>> {
    let stay = stay.clone();
    thread::spawn(move || {
        let begun = Instant::now();
        let log = listen(addr, view, &|| stay.is_over(), &|kind| stay.note(kind, published));
        log.map_err(|why| {
            let age = begun.elapsed();
            let fault = format!("a staying client of {view:?}, after {age:.1?}: {why:.600}");
            if !stay.is_over() {
                eprintln!("{fault}");
            }
            fault
        })
    })
}

/// Waits until no more messages are sent. Returns the metrics and the numbers of messages received
/// and of publications.
fn wait_for_silence(program: &Program, stay: &Stay) -> (Counted, u64, u64) {
    let now = || {
        let received = stay.received.load(Ordering::SeqCst);
        (program.counted(), received, stay.published.load(Ordering::SeqCst))
    };
    let (mut last, mut since, mut polls) = (now(), Instant::now(), 0);
    until("silence", || {
        let next = now();
        polls += 1;
        if next != last {
            (last, since, polls) = (next, Instant::now(), 0);
        }
        // The program must run for each of these requests, however busy the machine is.
        polls > 20 && since.elapsed() > Duration::from_secs(3)
    });
    last
}

/// Polls `condition` until it holds.
#[track_caller]
fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + GUARD;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not within {GUARD:?}");
        pause(Duration::from_millis(100));
    }
}
