//! Publishers where the hub is busy.

use std::time::Instant;

use crossbeam_channel::{Sender, bounded};

use super::*;
use crate::hub::Query;
use crate::hub::handle::INBOX;
use crate::{Hub, HubConfig};

/// Keeps the hub's thread from its work until what this returns is dropped.
fn hold(hub: &HubHandle) -> Sender<()> {
    let (release, held) = bounded::<()>(0);
    let (reached, begun) = bounded::<()>(1);
    let busy = move |_| {
        let _ = reached.send(());
        let _ = held.recv();
    };
    hub.query(Query::Alive, Box::new(busy)).unwrap();
    begun.recv().unwrap();
    release
}

#[test]
fn a_publisher_waits_a_second_for_a_busy_hub_and_is_told_that_its_message_went_to_nobody() {
    let hub = Hub::spawn(HubConfig::default()).unwrap();
    let handle = hub.handle();
    let message = Message::new("n", ());
    let release = hold(&handle);
    for _ in 0..INBOX {
        handle.broadcast(&message).unwrap();
    }
    for publish in [
        &|| handle.broadcast(&message),
        &|| handle.broadcast_to_subscribers("shop", &message),
        &|| handle.publish_by_interest("state", |_| Vec::new()),
    ] as [&dyn Fn() -> Result<(), Error>; 3]
    {
        let begun = Instant::now();
        assert!(publish().unwrap_err().is_busy());
        let took = begun.elapsed();
        assert!(took >= PUBLISH_WAIT && took < 10 * PUBLISH_WAIT, "{took:?}");
    }
    drop(release);
    // Each that was taken is published, and none of the others.
    let (say, done) = bounded(1);
    handle.query(Query::Alive, Box::new(move |_| say.send(()).unwrap())).unwrap();
    done.recv().unwrap();
    assert_eq!(handle.counters().published, INBOX as u64);
    handle.broadcast(&message).unwrap();
}

#[test]
fn a_stop_waits_for_no_room_and_a_publisher_that_waits_is_told_of_it() {
    let hub = Hub::spawn(HubConfig::default()).unwrap();
    let handle = hub.handle();
    let release = hold(&handle);
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
    // It found room, gave up, or learnt of the end: one of these, and soon.
    if let Err(error) = publisher.join().unwrap() {
        assert!(error.is_stopped() || error.is_busy(), "{error}");
    }
    assert!(handle.broadcast(&Message::new("n", ())).unwrap_err().is_stopped());
}
