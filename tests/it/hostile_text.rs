//! Hostile text from outside is escaped in logs, errors and on terminals. Each case passes it through
//! one entry point.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use kentros::{
    ContainerStats, EngineInfo, EngineState, EngineStatus, HubHandle, Interest, ProjectTotals,
    Snapshot, SourceError, StatsSource,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tungstenite::Message;
use tungstenite::protocol::CloseFrame;

use crate::binary::kentros;
use crate::harness::fake_engine::{FakeContainer, FakeEngine, Fault, Kind};
use crate::harness::raw::{ask, get};
use crate::harness::{Served, Warnings, Ws, dial, fake_server, in_own_process, until};
use crate::top::Terminal;

/// ANSI, CRLF, bidirectional controls, C1 and NUL.
const HOSTILE: &str = "\x1b[2J\r\nFORGED\u{202e}\u{61c}\u{2066}\u{85}\u{9b}2J\0";
/// The same without NUL, for arguments and variables.
const HOSTILE_ARG: &str = "\x1b[2J\r\nFORGED\u{202e}\u{61c}\u{2066}\u{85}\u{9b}2J";
const ESCAPED: &str = r"\u001b[2J\r\nFORGED";
const BIDI: [char; 3] = ['\u{202e}', '\u{61c}', '\u{2066}'];

/// Checks text of `kentros` that quotes [`HOSTILE`].
#[track_caller]
fn check(entry: &str, output: &str) {
    let harmful = output.chars().find(|c| BIDI.contains(c) || (c.is_control() && *c != '\n'));
    assert_eq!(harmful, None, "{entry}: {output:?}");
    let forged = output.lines().any(|line| line.starts_with("FORGED"));
    assert!(!forged, "{entry}: {output:?}");
    // Some text is quoted as in Rust's debug format, which is safe too.
    let quoted = output.contains(ESCAPED) || output.contains(r"\u{1b}[2J\r\nFORGED");
    assert!(quoted, "{entry} does not quote the text: {output:?}");
}

/// Runs a command to its end and checks its output.
#[track_caller]
fn check_run(entry: &str, mut command: Command) {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    check(entry, &(text(output.stdout) + &text(output.stderr)));
}

/// A server whose log goes to a file, which keeps carriage returns.
struct Logged {
    child: Child,
    log: PathBuf,
}

impl Logged {
    fn start(engine: &FakeEngine, format: &str) -> Self {
        let host = engine.host().to_string();
        let socket = engine.path().file_name().unwrap().to_string_lossy();
        let log = std::env::temp_dir().join(format!("{socket}-{format}.log"));
        let args = ["--addr", "127.0.0.1:0", "--docker-host", &host, "--interval", "100ms"];
        let mut command = kentros(&args);
        command.args(["--log-level", "trace", "--log-format", format]);
        let child = command.stderr(File::create(&log).unwrap()).stdout(Stdio::null()).spawn();
        Self { child: child.unwrap(), log }
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    fn wait_for(&self, part: &str) -> String {
        until(part, || self.text().contains(part));
        self.text()
    }

    fn addr(&self) -> std::net::SocketAddr {
        let log = self.wait_for("listening on http://");
        let (_, addr) = log.split_once("http://").unwrap();
        until("a whole line", || self.text().contains('\n'));
        let end = addr.find(['\n', '"']).unwrap_or(addr.len());
        addr[..end].parse().unwrap()
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.log);
    }
}

/// An engine whose names, version and errors are hostile.
fn engine(kind: Kind) -> FakeEngine {
    let engine = FakeEngine::start(kind);
    engine.add(FakeContainer::new(HOSTILE, HOSTILE));
    engine.set_version(HOSTILE);
    engine.fault("events", Fault::Message(500, HOSTILE));
    engine.fault("inspect", Fault::Message(403, HOSTILE));
    engine
}

#[test]
fn the_engines_text_is_escaped_by_every_command() {
    for kind in [Kind::Direct, Kind::Podman] {
        let engine = engine(kind);
        let host = engine.host().to_string();
        for format in ["text", "json"] {
            let mut server = Logged::start(&engine, format);
            let addr = server.addr();
            let mut client = Ws::over(dial(addr), addr, "/ws/stats");
            // The wire protocol does not escape names.
            let rows = client.find("container_stats");
            let rows = rows["payload"].as_object().unwrap();
            assert!(rows.values().any(|row| row["name"] == HOSTILE), "{rows:?}");
            server.wait_for("cannot read events");
            server.wait_for("start times, exit codes and limits are not available");
            server.wait_for("collecting stats from");
            let pid = Pid::from_raw(i32::try_from(server.child.id()).unwrap()).unwrap();
            kill_process(pid, Signal::TERM).unwrap();
            server.child.wait().unwrap();
            let log = server.text();
            for entry in ["cannot read events", "start times", "collecting stats from"] {
                // Podman is not asked for its version.
                if kind == Kind::Direct || entry != "collecting stats from" {
                    let line = log.lines().find(|line| line.contains(entry)).unwrap();
                    let message = if format == "text" {
                        line.to_owned()
                    } else {
                        let line: Value = serde_json::from_str(line).unwrap();
                        line["message"].as_str().unwrap().to_owned()
                    };
                    check(entry, &message);
                }
            }
            check(format, &log.replace(r"\\", r"\"));
        }
        for args in [&["--once"][..], &["--once", "--json"]] {
            let mut command = kentros(&["stats", "--docker-host", &host, "--log-level", "trace"]);
            command.args(args);
            check_run(&format!("{kind:?} {args:?}"), command);
        }
        let mut top = Terminal::top(&["--docker-host", &host], &[]);
        top.shows_text("1 container in 1 project");
        top.shows_text(r"\u001b[2J");
        top.press("q");
        check_terminal(&top.ended().1);
    }
}

#[test]
fn the_engines_errors_are_escaped_by_every_command() {
    let engine = engine(Kind::Direct);
    engine.fault("list", Fault::Message(500, HOSTILE));
    let host = engine.host().to_string();
    check_run("stats", kentros(&["stats", "--once", "--docker-host", &host]));
    let server = Logged::start(&engine, "text");
    let addr = server.addr();
    let url = format!("ws://{addr}/ws/stats");
    let mut client = Ws::over(dial(addr), addr, "/ws/stats");
    let status = client.find_where("engine_status", |status| !status["payload"]["error"].is_null());
    check("engine_status", status["payload"]["error"].as_str().unwrap());
    for path in ["/readyz", "/api/v1/stats"] {
        check(path, &get(addr, path).body);
    }
    let healthcheck = ["healthcheck", "--ready", "--addr", &addr.to_string()];
    check_run("healthcheck", kentros(&healthcheck));
    check_run("stats --url", kentros(&["stats", "--url", &url]));
    // No request is logged.
    for field in ["Host: \u{202e}", "Origin: http://\u{202e}", "X-Forwarded-For: \x1b[2J"] {
        ask(addr, &format!("GET /{HOSTILE_ARG} HTTP/1.1\r\n{field}\r\n\r\n"));
        ask(addr, &format!("GET /ws/stats HTTP/1.1\r\nHost: localhost\r\n{field}\r\n\r\n"));
    }
    check("the log", &server.wait_for("cannot collect stats"));
}

/// Checks what `kentros top` wrote. Its own sequences move the cursor and erase lines.
#[track_caller]
fn check_terminal(output: &str) {
    let harmful = ["\x1b[2J", "\r\nFORGED", "\u{85}", "\u{9b}", "\0"];
    let harmful = harmful.into_iter().find(|part| output.contains(part));
    assert_eq!(harmful, None, "{output:?}");
    assert!(!output.contains(BIDI), "{output:?}");
    assert!(output.contains(r"\u001b[2J"), "{output:?}");
}

#[test]
fn text_of_a_hub_is_escaped_by_its_clients() {
    let message = |kind: &str, payload: Value| {
        Message::text(json!({"type": kind, "payload": payload, "timestamp": 1}).to_string())
    };
    let values = serde_json::to_value(ContainerStats::new(HOSTILE, HOSTILE)).unwrap();

    let mut totals = serde_json::to_value(ProjectTotals::default()).unwrap();
    totals["running"] = 1.into();
    let rows = [
        message("project_stats", json!({ HOSTILE: totals })),
        message("container_stats", json!({ HOSTILE: values })),
    ];
    let status = |error: Value| {
        let state = if error.is_null() { EngineState::Connected } else { EngineState::Unreachable };
        let mut status = serde_json::to_value(EngineStatus::new(state)).unwrap();
        status["engine"] = HOSTILE.into();
        status["version"] = HOSTILE.into();
        status["error"] = error;
        message("engine_status", status)
    };
    let close = Message::Close(Some(CloseFrame { code: 1008.into(), reason: HOSTILE.into() }));
    let cases = [
        ("rows", rows.to_vec()),
        ("an engine error", vec![status(HOSTILE.into())]),
        ("a close reason", vec![close]),
        ("another type", vec![message("container_stats", HOSTILE.into())]),
    ];
    for (entry, messages) in cases {
        let url = format!("ws://{}/ws/stats", fake_server::hub_sending(messages));
        for args in [&["--once"][..], &["--once", "--json"], &["--once", "--project", "x"]] {
            // A project filter waits for a reply, which only the close ends.
            if !args.contains(&"--project") || entry == "a close reason" {
                let mut command = kentros(&["stats", "--url", &url]);
                check_run(&format!("{entry} {args:?}"), {
                    command.args(args);
                    command
                });
            }
        }
    }
    for response in [
        format!("HTTP/1.1 404 {HOSTILE}\r\n\r\n{HOSTILE}"),
        format!("HTTP/1.1 503 X\r\nContent-Length: 60\r\n\r\n{HOSTILE}"),
    ] {
        let addr = fake_server::http(&response).to_string();
        check_run("healthcheck", kentros(&["healthcheck", "--addr", &addr]));
    }
    let shown = [vec![status(Value::Null)], rows.to_vec()].concat();
    let failed = [rows.to_vec(), vec![status(HOSTILE.into())]].concat();
    for (messages, text) in [(shown, "1 container in 1 project"), (failed, "stats are stale")] {
        let url = format!("ws://{}/ws/stats", fake_server::hub_sending(messages));
        let mut top = Terminal::top(&["--url", &url], &[]);
        top.shows_text(text);
        top.press("q");
        check_terminal(&top.ended().1);
    }
}

#[test]
fn arguments_and_variables_are_escaped() {
    check_run("a command", kentros(&[HOSTILE_ARG]));
    check_run("a flag", kentros(&[&format!("--{HOSTILE_ARG}")]));
    let value = ["--addr", "--interval", "--base", "--docker-host", "--token-file", "--allow-host"];
    for flag in value {
        check_run(flag, kentros(&[flag, HOSTILE_ARG]));
    }
    check_run("--url", kentros(&["stats", "--url", &format!("ws://{HOSTILE_ARG}")]));
    let absent = format!("unix:///nowhere/{HOSTILE_ARG}");
    check_run("a socket", kentros(&["stats", "--once", "--docker-host", &absent]));
    for variable in ["DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_API_VERSION", "KENTROS_LOG_FORMAT"] {
        let mut command = kentros(&[]);
        command.env("DOCKER_CONFIG", "/nowhere").env(variable, HOSTILE_ARG);
        check_run(variable, command);
    }
}

/// A source with hostile text of its own.
struct HostileSource;

impl StatsSource for HostileSource {
    fn collect(&mut self, _: &Interest) -> Result<Snapshot, SourceError> {
        Err(HOSTILE.into())
    }

    fn start(&mut self, _: &HubHandle) -> Result<(), SourceError> {
        panic!("{HOSTILE}")
    }

    fn engine_info(&self) -> EngineInfo {
        EngineInfo::new(HOSTILE)
    }
}

#[test]
fn an_embedders_log_has_no_hostile_text() {
    if !in_own_process("hostile_text::an_embedders_log_has_no_hostile_text", &[]) {
        return;
    }
    let warnings = Warnings::of_this_process();
    let served = Served::new();
    let every = Duration::from_millis(100);
    let hub = served.handle();
    hub.start_stats_streamer(every, HostileSource).unwrap();
    hub.publish_every(every, "news", || Err::<(), _>(SourceError::from(HOSTILE))).unwrap();
    let mut client = served.client();
    let status = client.find("engine_status");
    check("engine", status["payload"]["engine"].as_str().unwrap());
    for (entry, part) in [
        ("a panic", "the stats source panicked"),
        ("a source", "cannot collect stats"),
        ("publish_every", "cannot publish"),
    ] {
        let line = || warnings.lines().iter().find(|line| line.contains(part)).cloned();
        until(part, || line().is_some());
        check(entry, &line().unwrap());
    }
}
