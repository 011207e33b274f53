//! The examples, each run as a process with real clients.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};
use tungstenite::Message as Frame;

use crate::harness::raw::{
    Answer, ask, get, handshake, handshake_with, masked, read_frame, read_head,
};
use crate::harness::{Ws, dial, report_skipped, until};

/// A running example. It is killed when the test ends.
struct Example {
    child: Child,
    addr: SocketAddr,
    /// Kept open: an example that prints to a closed pipe would end.
    _stdout: BufReader<ChildStdout>,
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Example {
    /// Starts an example on a free port and waits until it listens. Returns `None` if the example
    /// is not built: `cargo test` builds the examples, `cargo test --test it` does not.
    fn start(name: &str) -> Option<Self> {
        Self::start_at(name, "127.0.0.1:0")
    }

    fn start_at(name: &str, addr: &str) -> Option<Self> {
        let folder = Path::new(env!("CARGO_BIN_EXE_kentros")).with_file_name("examples");
        let path = folder.join(name);
        if !path.exists() {
            report_skipped(name, "the example is not built");
            return None;
        }
        let mut command = Command::new(path);
        let mut child = command.args(["--addr", addr]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let addr = line.strip_prefix("listening on ").and_then(|url| url.split_once("://"));
        let addr = addr.and_then(|(_, rest)| rest.trim().split('/').next()?.parse().ok());
        let addr = addr.unwrap_or_else(|| panic!("{name} printed {line:?}"));
        Some(Self { child, addr, _stdout: stdout })
    }

    fn client(&self, path: &str) -> Ws {
        Ws::over(dial(self.addr), self.addr, path)
    }

    /// The HTTP response to a handshake that is refused.
    #[track_caller]
    fn refusal(&self, path: &str, field: &str) -> Answer {
        let (mut stream, mut response) = self.handshake(path, field);
        assert!(!response.starts_with("HTTP/1.1 101 "), "{path} and {field} are accepted");
        stream.read_to_string(&mut response).unwrap();
        Answer::parse(&response)
    }

    /// A client that sends this field with its handshake.
    #[track_caller]
    fn client_with(&self, path: &str, field: &str) -> TcpStream {
        let (stream, head) = self.handshake(path, field);
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        stream
    }

    #[track_caller]
    fn handshake(&self, path: &str, field: &str) -> (TcpStream, String) {
        let mut stream = dial(self.addr);
        let request = handshake_with(field).replace("/ws/stats", path);
        stream.write_all(request.as_bytes()).unwrap();
        let head = read_head(&mut stream);
        (stream, head)
    }
}

/// The next message on a connection from `client_with`.
#[track_caller]
fn next(stream: &mut TcpStream) -> Value {
    let (first, payload) = read_frame(stream).expect("a message before the end");
    assert_eq!(first, 0x81, "a text message in one frame");
    serde_json::from_slice(&payload).unwrap()
}

#[test]
fn chat_messages_stay_in_their_room() {
    let Some(chat) = Example::start("chat") else { return };
    let mut ann = chat.client("/ws/chat/kitchen?name=ann");
    assert_eq!(ann.expect("joined")["payload"], "ann");
    let mut eve = chat.client("/ws/chat/garden?name=eve");
    assert_eq!(eve.expect("joined")["payload"], "eve");
    let mut bob = chat.client("/ws/chat/kitchen?name=b%C3%B6b");
    assert_eq!(bob.expect("joined")["payload"], "böb");
    assert_eq!(ann.expect("joined")["payload"], "böb");

    bob.send_frame(Frame::text("hello"));
    let said = ann.expect("said");
    assert_eq!(said["payload"], json!({"name": "böb", "text": "hello"}));
    assert_eq!(said["project_id"], "kitchen");
    ann.send_frame(Frame::text("hello yourself"));
    assert_eq!(
        bob.expect("said")["payload"]["text"],
        "hello yourself",
        "bob does not receive his own message"
    );
    bob.close();
    assert_eq!(ann.expect("left")["payload"], "böb");

    // The kitchen's messages were sent before this one.
    let _zoe = chat.client("/ws/chat/garden?name=zoe");
    assert_eq!(eve.expect("joined")["payload"], "zoe");
}

#[test]
fn the_chat_requires_a_name_and_accepts_text_only() {
    let Some(chat) = Example::start("chat") else { return };
    for query in ["", "?name=", "?nickname=ann"] {
        let refused = chat.refusal(&format!("/ws/chat/kitchen{query}"), "X-Test: 1");
        assert_eq!(refused.status, 400, "{query}");
        assert!(refused.body.starts_with("choose a name"), "{refused:?}");
    }
    let mut ann = chat.client("/ws/chat/kitchen?name=ann");
    ann.send_frame(Frame::binary(vec![1]));
    assert_eq!(ann.closed(), (1003, "text only".to_owned()));
}

#[test]
fn progress_refuses_unknown_users_and_projects_without_access() {
    let Some(progress) = Example::start("progress") else { return };
    for field in ["X-Test: 1", "Authorization: Bearer wrong", "Cookie: token=wrong"] {
        let refused = progress.refusal("/ws/progress/shop", field);
        assert_eq!((refused.status, refused.body.as_str()), (401, "unknown token\n"), "{field}");
        assert_eq!(refused.field("www-authenticate"), "Bearer");
    }
    for project in ["shop", "unknown", "docs/x", ""] {
        let path = format!("/ws/progress/{project}");
        let refused = progress.refusal(&path, "Cookie: token=ben-90e2");
        let body = "ben has no access to this project\n";
        assert_eq!((refused.status, refused.body.as_str()), (403, body), "{project}");
    }

    assert!(get(progress.addr, "/").body.contains("progress.js"));
    let user = |field: &str| {
        let addr = progress.addr;
        ask(addr, &format!("GET /user HTTP/1.1\r\nHost: {addr}\r\n{field}\r\n\r\n"))
    };
    assert_eq!(user("Cookie: token=wrong").status, 401);
    let user: Value = serde_json::from_str(&user("Cookie: token=ben-90e2").body).unwrap();
    assert_eq!(user, json!({"name": "ben", "projects": ["docs"]}));
}

#[test]
fn a_late_viewer_of_progress_receives_the_newest_state_of_each_job() {
    let Some(progress) = Example::start("progress") else { return };
    let both = BTreeSet::from(["build".to_owned(), "test".to_owned()]);
    let name = |message: &Value| message["payload"]["name"].as_str().unwrap().to_owned();

    let mut early = progress.client_with("/ws/progress/shop", "Authorization: Bearer ann-5f1c");
    let mut seen = BTreeSet::new();
    while seen != both {
        let message = next(&mut early);
        if message["type"] == "job" {
            seen.insert(name(&message));
        }
    }

    let mut late = progress.client_with("/ws/progress/shop", "Cookie: a=b; token=ann-5f1c");
    let retained = [next(&mut late), next(&mut late)];
    assert!(retained.iter().all(|message| message["type"] == "job"), "{retained:?}");
    assert_eq!(retained.iter().map(name).collect::<BTreeSet<_>>(), both);
    // Live messages follow, of this project only.
    loop {
        let message = next(&mut late);
        assert_eq!(message["project_id"], "shop", "{message}");
        if message["type"] == "log" {
            break;
        }
    }
}

#[test]
fn sensors_serves_its_own_page_route_and_websocket_and_nothing_else() {
    let Some(sensors) = Example::start("sensors") else { return };
    let page = get(sensors.addr, "/");
    assert!(page.body.contains("<script>"), "{page:?}");
    let policy = page.field("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; style-src 'unsafe-inline'"), "{policy}");

    let read = || {
        let answer = get(sensors.addr, "/sensors.json");
        assert_eq!((answer.status, answer.field("content-type")), (200, "application/json"));
        serde_json::from_str::<Value>(&answer.body).unwrap()["uptime"].as_f64().unwrap()
    };
    let first = read();
    until("the uptime rises", || read() > first);

    let mut client = sensors.client("/ws/sensors");
    let mut uptime = || client.expect("sensors")["payload"]["uptime"].as_f64().unwrap();
    let first = uptime();
    assert!(uptime() > first);

    assert_eq!(get(sensors.addr, "/healthz").status, 200);
    for path in ["/metrics", "/api/v1/stats", "/api/v1/projects", "/login", "/app.js"] {
        assert_eq!(get(sensors.addr, path).status, 404, "{path}");
    }
    assert_eq!(sensors.refusal("/ws/stats", "X-Test: 1").status, 404);
}

#[test]
fn own_listener_serves_its_own_pages_and_hands_over_websockets() {
    let Some(example) = Example::start("own_listener") else { return };
    assert!(get(example.addr, "/").body.contains("echo.js"));
    let script = get(example.addr, "/echo.js");
    assert_eq!((script.status, script.field("server")), (200, ""));
    assert_eq!(get(example.addr, "/healthz").status, 404, "kentros's own pages are not served");

    let mut client = example.client("/ws/echo");
    client.send_frame(Frame::text("hello"));
    assert_eq!(client.frame(), Frame::text("hello"));
    client.close();
    assert_eq!(example.refusal("/ws/other", "X-Test: 1").status, 404);

    // A client that sends its first message together with its handshake.
    let mut stream = dial(example.addr);
    let request = handshake().replace("/ws/stats", "/ws/echo");
    stream.write_all(&[request.as_bytes(), &masked(0x81, b"early")].concat()).unwrap();
    assert!(read_head(&mut stream).starts_with("HTTP/1.1 101 "));
    assert_eq!(read_frame(&mut stream), Some((0x81, b"early".to_vec())));
}

#[test]
fn a_custom_source_shows_processes_with_their_rates() {
    let Some(example) = Example::start("custom_source") else { return };
    let mut client = example.client("/ws/stats");
    assert_eq!(client.find("engine_status")["payload"]["engine"], "/proc");
    // The first sample has no rates.
    while !client.find("container_stats")["payload"]
        .as_object()
        .unwrap()
        .values()
        .any(|row| row["cpu_percent"].is_number() && row["memory_usage"].is_number())
    {}
    let projects: Value =
        serde_json::from_str(&get(example.addr, "/api/v1/projects").body).unwrap();
    assert!(projects["payload"][0]["id"].as_str().unwrap().starts_with("user-"), "{projects}");
}

#[test]
fn embed_publishes_its_own_values_and_messages() {
    let Some(example) = Example::start("embed") else { return };
    let mut client = example.client("/ws/stats");
    assert!(client.find("clients")["payload"].is_number());
    let mut client = example.client("/ws/stats");
    assert!(client.find("load")["payload"].as_str().unwrap().contains('/'));
}

#[test]
fn echo_dashboard_returns_messages_and_shows_them_on_its_page() {
    let Some(example) = Example::start("echo_dashboard") else { return };
    assert!(get(example.addr, "/").body.contains("<h1>Echo</h1>"));
    let mut page = example.client("/ws/stats");
    let mut client = example.client("/ws/echo");
    client.send_frame(Frame::text("hello"));
    assert_eq!(client.frame(), Frame::text("hello"));
    let shown = page.find("echo");
    assert_eq!(shown["payload"]["text"], "hello");
    let id = shown["payload"]["client"].to_string();
    client.close();
    until("the client is removed from the list", || {
        page.find("clients")["payload"].get(&id).is_none()
    });
}

#[test]
fn reuse_port_lets_two_processes_share_a_port() {
    let Some(first) = Example::start("reuse_port") else { return };
    let second = Example::start_at("reuse_port", &first.addr.to_string()).unwrap();
    assert_eq!(first.addr, second.addr);
    drop(first);
    let mut client = second.client("/ws/stats");
    assert_eq!(client.find("process")["payload"], second.child.id());
}
