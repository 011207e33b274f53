//! Publishing while the hub is busy.

use std::time::Instant;

use crossbeam_channel::{Sender, bounded};

use super::*;
use crate::hub::Query;
use crate::hub::handle::INBOX;
use crate::{Hub, HubConfig};

/// Blocks the hub's thread until the returned value is dropped.
fn block(hub: &HubHandle) -> Sender<()> {
    let (release, held) = bounded::<()>(0);
    let (started, blocked) = bounded::<()>(1);
    let busy = move |_| {
        let _ = started.send(());
        let _ = held.recv();
    };
    hub.query(Query::Alive, Box::new(busy)).unwrap();
    blocked.recv().unwrap();
    release
}

#[test]
fn publishing_to_a_busy_hub_fails_after_a_second() {
    let hub = Hub::spawn(HubConfig::default()).unwrap();
    let handle = hub.handle();
    let message = Message::new("n", ());
    let release = block(&handle);
    for _ in 0..INBOX {
        handle.broadcast(&message).unwrap();
    }
    for publish in [
        &|| handle.broadcast(&message),
        &|| handle.broadcast_to_subscribers("shop", &message),
        &|| handle.publish_by_interest("state", |_| Vec::new()),
    ] as [&dyn Fn() -> Result<(), Error>; 3]
    {
        let start = Instant::now();
        assert!(publish().unwrap_err().is_busy());
        assert!(start.elapsed() >= PUBLISH_WAIT);
    }
    drop(release);
    // The queued messages are published, the rejected ones are not.
    let (reply, done) = bounded(1);
    handle.query(Query::Alive, Box::new(move |_| reply.send(()).unwrap())).unwrap();
    done.recv().unwrap();
    assert_eq!(handle.counters().published, INBOX as u64);
    handle.broadcast(&message).unwrap();
}

#[test]
fn a_shutdown_does_not_wait_for_a_full_queue() {
    let hub = Hub::spawn(HubConfig::default()).unwrap();
    let handle = hub.handle();
    let release = block(&handle);
    for _ in 0..INBOX {
        handle.broadcast(&Message::new("n", ())).unwrap();
    }
    let publisher = {
        let handle = handle.clone();
        std::thread::spawn(move || handle.broadcast(&Message::new("n", ())))
    };
    let stopper = std::thread::spawn(|| hub.shutdown());
    drop(release);
    stopper.join().unwrap();
    // It was queued, timed out, or failed because of the shutdown.
    if let Err(error) = publisher.join().unwrap() {
        assert!(error.is_stopped() || error.is_busy(), "{error}");
    }
    assert!(handle.broadcast(&Message::new("n", ())).unwrap_err().is_stopped());
}
