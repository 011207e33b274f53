//! Sources and sessions that take their time at the end, or never come to one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, after, bounded};
use kentros::{
    Client, CloseReason, HubConfig, Incoming, Interest, ServerConfig, Session, Snapshot,
    SourceError, StatsSource,
};
use tungstenite::Message as Frame;

use crate::harness::{GUARD, SHUTDOWN, Served, Ws, dial};
use crate::shutdown::{WAYS, Way, end};
use crate::source::{Call, Script};

#[test]
fn the_source_has_been_let_go_of_when_the_hub_is_down() {
    for way in WAYS {
        let served = Served::new();
        let script = Script::start(&served.handle());
        let client = served.client();
        assert_eq!(script.call(), Call::Start);
        drop(client);
        end(way, served);
        assert_eq!(script.calls.try_iter().collect::<Vec<_>>(), [Call::Pause, Call::Dropped]);
    }
}

/// A source that takes its time to pause. Stopping the hub waits for it.
struct Leisurely(Arc<AtomicUsize>);

impl StatsSource for Leisurely {
    fn collect(&mut self, _: &Interest) -> Result<Snapshot, SourceError> {
        Ok(Snapshot::default())
    }

    fn pause(&mut self) {
        after(Duration::from_millis(300)).recv().unwrap();
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_source_may_take_its_time_to_pause() {
    let paused = Arc::new(AtomicUsize::new(0));
    let Served { server, hub } = Served::new();
    let source = Leisurely(Arc::clone(&paused));
    hub.handle().start_stats_streamer(Duration::from_millis(20), source).unwrap();
    let mut client = Ws::over(dial(server.local_addr()), server.local_addr(), "/ws/stats");
    client.find("container_stats");
    drop(client);
    hub.shutdown();
    assert_eq!(paused.load(Ordering::SeqCst), 1, "its thread has been joined");
}

#[test]
fn a_source_that_never_returns_does_not_hold_the_shutdown_up() {
    let served = Served::new();
    let script = Script::start(&served.handle());
    let client = served.client();
    assert_eq!(script.call(), Call::Start);
    script.tick();
    assert!(matches!(script.call(), Call::Collect(_)));
    drop(client);
    end(Way::HubFirst, served);
    assert!(script.calls.try_recv().is_err(), "it is in its reading still");
}

/// A session that waits for ever, or for as long as the test does.
struct Stuck(Receiver<()>, Arc<AtomicUsize>);

impl Session for Stuck {
    fn message(&mut self, _: &Client, message: Incoming<'_>) {
        if message == Incoming::Text("stick") {
            // The first is the test's, which knows then that this is reached.
            let _ = self.0.recv();
            let _ = self.0.recv();
        }
    }

    fn close(&mut self, _: &Client, _: CloseReason) {
        self.1.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_session_that_never_returns_does_not_hold_the_shutdown_up_and_the_others_are_told() {
    let (hold, stuck) = bounded(0);
    let closed = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&closed);
    let config = ServerConfig::default()
        .sessions("/stuck", move |_| Ok(Stuck(stuck.clone(), Arc::clone(&count))));
    let served = Served::with(HubConfig::default(), config);
    let mut clients: Vec<Ws> = (0..10).map(|_| served.client_at("/stuck")).collect();
    clients[0].send_frame(Frame::text("stick"));
    hold.send_timeout((), GUARD).unwrap();
    let readers = thread::spawn(move || {
        for mut client in clients {
            assert_eq!(client.closed().0, 1001);
        }
    });
    let Served { server, hub } = served;
    let begun = Instant::now();
    server.shutdown();
    assert_eq!(closed.load(Ordering::SeqCst), 9, "their threads have ended, but for the stuck one");
    assert!(begun.elapsed() < SHUTDOWN, "{:?}", begun.elapsed());
    drop(hub);
    readers.join().unwrap();
    drop(hold);
}
