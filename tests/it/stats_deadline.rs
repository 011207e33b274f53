//! `kentros stats --once` ends, even if the hub is hostile.

use serde_json::json;
use tungstenite::{Bytes, Message};

use crate::binary::{Running, kentros};
use crate::harness::fake_server;

#[test]
fn once_ends_whatever_the_hub_sends() {
    let ping = || Message::Ping(Bytes::from_static(&[0; 125]));
    let text = |kind: &str, payload: serde_json::Value| {
        Message::text(json!({"type": kind, "payload": payload, "timestamp": 1}).to_string())
    };
    let error = json!({"state": "unreachable", "engine": null, "version": null,
        "api_version": null, "mode": null, "interval_ms": 1000, "error": "gone", "since": 1});
    let flood = |message: Message| {
        fake_server::hub(move |socket| {
            loop {
                socket.send(message.clone())?;
            }
        })
    };
    let head = b"HTTP/1.1 101 Switching Protocols\r\nX: ".to_vec();
    let cases = [
        ("pings", flood(ping())),
        ("events", flood(text("project_list", json!([])))),
        ("errors", flood(text("engine_status", error))),
        ("a head that never ends", fake_server::dribbling(head, b'x')),
        ("no stats", fake_server::hub(|_| Ok(()))),
    ];
    let mut running = Vec::new();
    for (name, addr) in cases {
        for project in [&[][..], &["--project", "shop"]] {
            let url = format!("ws://{addr}/ws/stats");
            let mut command = kentros(&["stats", "--once", "--url", &url]);
            command.args(project);
            running.push((format!("{name} {project:?}"), Running::start(command)));
        }
    }
    for (name, mut stats) in running {
        println!("{name}");
        assert_eq!(stats.ended().code(), Some(1), "{name}");
        let err: Vec<String> = stats.lines.iter().collect();
        assert!(err.len() == 1 && err[0].starts_with("error: "), "{name}: {err:?}");
    }
}
