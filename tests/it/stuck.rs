//! Sources and sessions that block during a shutdown.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, after, bounded};
use kentros::{
    Client, CloseReason, HubConfig, Incoming, Interest, ServerConfig, Session, Snapshot,
    SourceError, StatsSource,
};
use tungstenite::Message as Frame;

use crate::harness::shutdown::{WAYS, Way, end, within_guard};
use crate::harness::{GUARD, Served, Ws, dial};
use crate::source::{Call, Script};

#[test]
fn the_source_is_paused_and_dropped_before_the_shutdown_returns() {
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

/// A source that takes 300 ms to pause.
struct SlowToPause(Arc<AtomicUsize>);

impl StatsSource for SlowToPause {
    fn collect(&mut self, _: &Interest) -> Result<Snapshot, SourceError> {
        Ok(Snapshot::default())
    }

    fn pause(&mut self) {
        after(Duration::from_millis(300)).recv().unwrap();
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn shutdown_waits_until_the_source_has_paused() {
    let paused = Arc::new(AtomicUsize::new(0));
    let Served { server, hub } = Served::new();
    let source = SlowToPause(Arc::clone(&paused));
    hub.handle().start_stats_streamer(Duration::from_millis(20), source).unwrap();
    let mut client = Ws::over(dial(server.local_addr()), server.local_addr(), "/ws/stats");
    client.find("container_stats");
    drop(client);
    hub.shutdown();
    assert_eq!(paused.load(Ordering::SeqCst), 1, "its thread is joined");
}

/// Fails if a shutdown waits for a reading that has not returned.
#[test]
fn a_source_that_never_returns_does_not_block_shutdown() {
    let served = Served::new();
    let script = Script::start(&served.handle());
    let client = served.client();
    assert_eq!(script.call(), Call::Start);
    script.tick();
    assert!(matches!(script.call(), Call::Collect(_)));
    drop(client);
    end(Way::HubFirst, served);
    assert!(script.calls.try_recv().is_err(), "the reading has not returned");
}

/// A session that blocks until the test ends, and counts calls of `close`.
struct Stuck(Receiver<()>, Arc<AtomicUsize>);

impl Session for Stuck {
    fn message(&mut self, _: &Client, message: Incoming<'_>) {
        if message == Incoming::Text("stick") {
            // The test sends the first message to see that the session is here.
            let _ = self.0.recv();
            // Blocks until the test drops the sender.
            let _ = self.0.recv();
        }
    }

    fn close(&mut self, _: &Client, _: CloseReason) {
        self.1.fetch_add(1, Ordering::SeqCst);
    }
}

/// Fails if a shutdown waits for a callback that has not returned, or forgets the other sessions.
#[test]
fn a_session_that_never_returns_does_not_block_shutdown() {
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
    within_guard("Server::shutdown", || server.shutdown());
    assert_eq!(closed.load(Ordering::SeqCst), 9, "all threads but the stuck one have ended");
    drop(hub);
    readers.join().unwrap();
    // The session was stuck until here.
    drop(hold);
}
