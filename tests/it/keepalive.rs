//! Pings, and clients that do not answer them.

use std::thread;
use std::time::{Duration, Instant};

use kentros::{HubConfig, Message, ServerConfig};

use crate::harness::raw::{read_close, read_frame};
use crate::harness::{Served, numbered};

const SILENCE: Duration = Duration::from_secs(2);

fn served_with_frequent_pings() -> Served {
    let mut config = ServerConfig::default();
    config.ping_interval = Duration::from_millis(100);
    config.silence_limit = SILENCE;
    Served::with(HubConfig::default(), config)
}

#[test]
fn a_client_that_answers_no_pings_is_closed_and_others_stay() {
    let served = served_with_frequent_pings();
    let mut good = served.client();
    let start = Instant::now();
    let mut silent = served.raw_client();
    // tungstenite answers pings while it reads.
    let reader = thread::spawn(move || {
        good.expect("end");
        good
    });
    assert_eq!(read_frame(&mut silent), Some((0x89, Vec::new())), "a ping");
    assert_eq!(read_close(&mut silent), 1008);
    assert!(start.elapsed() >= SILENCE, "closed after only {:?}", start.elapsed());
    drop(silent);
    served.until_clients(1);
    served.handle().broadcast(&Message::new("end", ())).unwrap();
    let mut good = reader.join().unwrap();
    served.handle().broadcast(&numbered(1)).unwrap();
    good.expect("n");
}

#[test]
fn pings_come_between_whole_messages() {
    let served = served_with_frequent_pings();
    let handle = served.handle();
    let mut stream = served.raw_client();
    let (mut pings, mut messages) = (0, 0);
    while pings < 3 || messages < 300 {
        handle.broadcast(&numbered(messages)).unwrap();
        match read_frame(&mut stream).unwrap() {
            (0x81, payload) => {
                serde_json::from_slice::<serde_json::Value>(&payload).unwrap();
                messages += 1;
            }
            (0x89, payload) => {
                assert!(payload.is_empty());
                pings += 1;
            }
            other => panic!("{other:?}"),
        }
    }
}
