//! The soak: the program among two thousand clients of every kind, well-behaved and not, while the
//! engine restarts and containers come and go. `tests/soak [SECONDS]`.
//!
//! It goes in rounds. In each every well-behaved client must have seen what a witness of its view
//! saw, in that order, and what the program counted must be what clients got. After the last it must
//! hold what it held two rounds before.
#![allow(clippy::print_stderr)]

mod clients;
mod engine;
mod program;
mod record;

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::never;

use clients::{Crowd, Stay, listen};
use engine::Engine;
use program::{Counted, Program};
use record::{Log, VIEWS, View};

/// Clients at any time.
const CLIENTS: usize = 2000;
/// Rounds of the same length, of which two warm up.
const ROUNDS: u32 = 4;
/// The most rounds there are where memory has grown: after a busy moment the heap keeps more, but
/// once; a leak goes on.
const MOST_ROUNDS: usize = 6;
/// Clients of whom each message is counted.
const STEADY: usize = 100;
/// The longest that anything is waited for: somebody who asked over HTTP counts as a listener for
/// 30 s, and the source keeps what it holds for another 30 s.
const GUARD: Duration = Duration::from_secs(120);

#[test]
#[ignore = "takes minutes: tests/soak"]
fn two_thousand_clients_of_every_kind_while_the_engine_restarts() {
    let seconds = std::env::var("KENTROS_SOAK_SECONDS").map_or(600, |text| text.parse().unwrap());
    let mut engine = Engine::start();
    let program = Program::start(&engine.host());
    let (mut held, mut evicted) = (Vec::new(), 0);
    let (warm, end) = loop {
        let (now, more) = soak(&program, &mut engine, Duration::from_secs(seconds) / ROUNDS);
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
    assert!(end.rss_kib * 10 <= warm.rss_kib * 11, "memory grows and grows: {held:?}");
    // Only a long history is too much for a socket.
    assert!(evicted > 0 || seconds < 600, "nobody was slow enough, or the machine is too busy");
    assert_eq!(program.complaints(), Vec::<String>::new());
}

/// One round: what the program holds after it, and how many clients it evicted.
fn soak(program: &Program, engine: &mut Engine, time: Duration) -> (program::Held, u64) {
    let addr = program.addr;
    let staying = Stay::default();
    let _leaving = Leaving(staying.clone());
    let witnesses: Vec<_> =
        VIEWS.into_iter().map(|view| stay(&staying, addr, view, view.is_none())).collect();
    until("an engine that is heard of", || staying.received() > 50);
    engine.stop();
    let begun = quiet(program, &staying);

    engine.restart();
    let crowd = Crowd::start(addr, CLIENTS);
    engine.churn(Instant::now() + time);
    let crowd = crowd.end();
    let faults = &crowd.faults;
    assert!(faults.is_empty(), "{} faults, the first of them: {:#?}", faults.len(), {
        &faults[..faults.len().min(10)]
    });
    engine.stop();
    let stormed = quiet(program, &staying);
    let evicted = stormed.0.evicted - begun.0.evicted;
    assert_eq!(evicted, crowd.evicted, "counted, and as the clients saw it");

    let steady: Vec<_> =
        (0..STEADY).map(|n| stay(&staying, addr, VIEWS[n % VIEWS.len()], false)).collect();
    until("steady clients", || program.counted().clients == (STEADY + VIEWS.len()) as u64);
    let from = quiet(program, &staying);
    engine.restart();
    engine.churn(Instant::now() + Duration::from_secs(5));
    engine.stop();
    let to = quiet(program, &staying);
    let conflated = to.0.conflated - from.0.conflated;
    assert_eq!(to.0.delivered - from.0.delivered - conflated, to.1 - from.1, "delivered, received");
    assert!(to.1 > from.1);
    assert_eq!(to.0.published - begun.0.published, to.2 - begun.2, "published, seen by a witness");

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
        "{number} well-behaved clients saw {seen} messages, all in order, and not {skipped} of \
         {conflated} that were conflated; {evicted} clients were evicted; {} misbehaved",
        crowd.misbehaved
    );
    assert!(skipped as u64 <= conflated);
    until("no client any more", || program.counted().clients == 0);

    engine.restart();
    // Whoever asked for the counters listens on for a while; then the source rests.
    until("an engine that is asked again", || engine.connections() > 0);
    until("an engine left alone", || engine.connections() == 0);
    until("the last thread's end", || program.held().threads <= program.idle().threads);
    (program.held(), evicted)
}

/// Where a round fails, whoever stays leaves before the program does, and has nothing to tell.
struct Leaving(Stay);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// A client that stays until it is told to leave; one of them counts what is `published`.
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
            let fault = format!("a client of {view:?} that was to stay, {age:.1?} old: {why:.600}");
            if !stay.is_over() {
                eprintln!("{fault}");
            }
            fault
        })
    })
}

/// Waits until nothing is sent any more: the counters, what was received, what was published as
/// the witness of everything saw it.
fn quiet(program: &Program, stay: &Stay) -> (Counted, u64, u64) {
    let now = || {
        let received = stay.received.load(Ordering::SeqCst);
        (program.counted(), received, stay.published.load(Ordering::SeqCst))
    };
    let (mut last, mut since, mut looks) = (now(), Instant::now(), 0);
    until("silence", || {
        let next = now();
        looks += 1;
        if next != last {
            (last, since, looks) = (next, Instant::now(), 0);
        }
        // Each look is a turn of the program too, however busy the machine.
        looks > 20 && since.elapsed() > Duration::from_secs(3)
    });
    last
}

/// Waits until `condition` holds: for what nothing tells but a counter.
#[track_caller]
fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + GUARD;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not within {GUARD:?}");
        pause(Duration::from_millis(100));
    }
}

/// Lets others run.
fn pause(time: Duration) {
    let _ = never::<()>().recv_timeout(time);
}
