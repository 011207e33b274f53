//! The examples, run as a reader would run them.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::harness::{Ws, dial, say_skipped};
use crate::raw::get;

/// An example that runs, until the test ends.
struct Example {
    child: Child,
    addr: SocketAddr,
    /// It may say more, and would end where nobody could hear it.
    _said: BufReader<ChildStdout>,
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Example {
    /// Starts it, and waits for its address. `cargo test` builds examples, `cargo test --test it`
    /// does not.
    fn start(name: &str, args: &[&str]) -> Option<Self> {
        let folder = Path::new(env!("CARGO_BIN_EXE_kentros")).with_file_name("examples");
        let path = folder.join(name);
        if !path.exists() {
            say_skipped(name, "the example is not built");
            return None;
        }
        let mut command = Command::new(path);
        let mut child = command.args(args).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        said.read_line(&mut line).unwrap();
        let addr = line.split_once("://").map(|(_, rest)| rest.trim().split('/').next().unwrap());
        let addr = addr.and_then(|addr| addr.parse().ok());
        let addr = addr.unwrap_or_else(|| panic!("{name} says {line:?}"));
        Some(Self { child, addr, _said: said })
    }

    fn client(&self, path: &str) -> Ws {
        Ws::over(dial(self.addr), self.addr, path)
    }
}

#[test]
fn in_the_chat_a_room_hears_what_is_said_in_it() {
    let Some(chat) = Example::start("chat", &["127.0.0.1:0"]) else { return };
    let mut first = chat.client("/ws/chat/kitchen");
    first.find("comes");
    let mut elsewhere = chat.client("/ws/chat/garden");
    elsewhere.find("comes");
    let mut second = chat.client("/ws/chat/kitchen");
    let id = first.find("comes")["payload"].clone();
    second.send_frame(tungstenite::Message::text("hello"));
    let said = first.find("says");
    assert_eq!((&said["payload"]["by"], &said["payload"]["words"]), (&id, &"hello".into()));
    assert_eq!(said["project_id"], "kitchen");
    second.close();
    assert_eq!(first.find("goes")["payload"], id);
    elsewhere.send_frame(tungstenite::Message::text("quiet here"));
    assert_eq!(elsewhere.next()["payload"]["words"], "quiet here");
}

#[test]
fn a_source_of_ones_own_shows_processes() {
    let Some(example) = Example::start("custom_source", &["127.0.0.1:0"]) else { return };
    let mut client = example.client("/ws/stats");
    assert_eq!(client.find("engine_status")["payload"]["engine"], "/proc");
    // The first reading has no rates.
    while !client.find("container_stats")["payload"]
        .as_object()
        .unwrap()
        .values()
        .any(|row| row["cpu_percent"].is_number() && row["memory_usage"].is_number())
    {}
    let projects: serde_json::Value =
        serde_json::from_str(&get(example.addr, "/api/v1/projects").body).unwrap();
    assert!(projects["payload"][0]["id"].as_str().unwrap().starts_with("user-"), "{projects}");
}

#[test]
fn two_processes_have_one_port_of_their_own() {
    let Some(first) = Example::start("bring_your_own_listener", &["0"]) else { return };
    let port = first.addr.port().to_string();
    let second = Example::start("bring_your_own_listener", &[&port]).unwrap();
    assert_eq!(first.addr, second.addr);
    drop(first);
    let mut client = second.client("/ws/stats");
    assert_eq!(client.find("process")["payload"], second.child.id());
}
