//! The `kentros` program: flags, environment, signals, exit status and logs.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, unbounded};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::harness::raw::{Answer, get};
use crate::harness::{GUARD, Ws, dial, until};

/// The program with an empty environment.
pub(crate) fn kentros(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kentros"));
    command.args(args).env_clear().stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A running `kentros` server. It is killed when the test ends.
pub(crate) struct Running {
    child: Child,
    /// The lines of its log.
    pub(crate) lines: Receiver<String>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let (say, lines) = unbounded();
        if let Some(log) = child.stderr.take() {
            thread::spawn(move || {
                for line in BufReader::new(log).lines().map_while(Result::ok) {
                    let _ = say.send(line);
                }
            });
        }
        Self { child, lines }
    }

    /// Waits for the next log line that contains `part`.
    #[track_caller]
    pub(crate) fn line(&self, part: &str) -> String {
        let deadline = Instant::now() + GUARD;
        let mut seen = Vec::new();
        loop {
            match self.lines.recv_deadline(deadline) {
                Ok(line) if line.contains(part) => return line,
                Ok(line) => seen.push(line),
                Err(error) => panic!("no line with {part:?}: {error}, in {seen:#?}"),
            }
        }
    }

    /// The address that its log names.
    #[track_caller]
    pub(crate) fn addr(&self) -> SocketAddr {
        let line = self.line("listening on http://");
        let (_, addr) = line.split_once("http://").unwrap();
        let addr = addr.split('/').next().unwrap();
        addr.trim_matches(|c| c == '"' || c == '}').parse().unwrap_or_else(|_| panic!("{line}"))
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Waits until it exits.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let child = &mut self.child;
        let mut status = None;
        until("the process exits", || {
            status = child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

/// Runs a command to its end. Returns its status, stdout and stderr.
#[track_caller]
pub(crate) fn run(mut command: Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().expect("no signal"), text(output.stdout), text(output.stderr))
}

pub(crate) fn demo() -> Running {
    Running::start(kentros(&["--demo", "12", "--addr", "127.0.0.1:0", "--interval", "100ms"]))
}

/// A demo that may have 128 descriptors, with these flags.
pub(crate) fn demo_with_128_descriptors(flags: &str) -> Running {
    let script = format!("ulimit -n 128; exec \"$0\" --demo 1 --addr 127.0.0.1:0 {flags}");
    let mut command = Command::new("sh");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_kentros")]).env_clear();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    Running::start(command)
}

#[test]
fn the_demo_serves_the_dashboard_and_stats_in_demo_mode() {
    let running = demo();
    let addr = running.addr();
    assert_ne!(addr.port(), 0);
    let page = get(addr, "/");
    assert_eq!(page.status, 200);
    assert!(page.body.to_lowercase().contains("<!doctype html>"), "{page:?}");
    let mut client = Ws::over(dial(addr), addr, "/ws/stats");
    let status = client.find("engine_status");
    assert_eq!(status["payload"]["mode"], "demo");
    assert_eq!(status["payload"]["interval_ms"], 100);
    let rows = client.find("container_stats");
    assert!(rows["payload"].as_object().unwrap().len() > 5, "{rows}");
    assert_eq!(get(addr, "/readyz").status, 200);
    let projects: Value = serde_json::from_str(&get(addr, "/api/v1/projects").body).unwrap();
    let projects = projects["payload"].as_array().unwrap();
    let containers = projects.iter().map(|p| p["containers"].as_array().unwrap().len());
    assert_eq!(containers.sum::<usize>(), 12);
}

#[test]
fn sigterm_and_sigint_close_clients_with_1001_and_exit_with_status_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut running = demo();
        let addr = running.addr();
        let mut client = Ws::over(dial(addr), addr, "/ws/stats");
        // A client that never closes its side must not delay the exit forever.
        let silent = (signal == Signal::TERM).then(|| Ws::over(dial(addr), addr, "/ws/stats"));
        client.find("container_stats");
        running.signal(signal);
        assert_eq!(client.closed().0, 1001);
        drop(client);
        assert_eq!(running.ended().code(), Some(0), "{signal:?}");
        assert!(TcpStream::connect(addr).is_err());
        drop(silent);
    }
}

#[test]
fn a_port_in_use_exits_with_status_1_and_names_the_address() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let (status, out, err) = run(kentros(&["--demo", "1", "--addr", &addr]));
    assert_eq!(status, 1, "{err}");
    assert!(err.contains(&addr) && err.contains("--addr HOST:PORT"), "{err}");
    assert_eq!(out, "");
}

#[test]
fn an_invalid_option_exits_with_status_2_and_names_the_valid_values() {
    let cases: [(&[&str], &[&str]); 7] = [
        (&["--adr", "127.0.0.1:0"], &["--adr"]),
        (&["--demo"], &["--demo"]),
        (&["--demo", "many"], &["--demo", "many", "1 to 10000"]),
        (&["--addr", "somewhere"], &["--addr", "somewhere", "HOST:PORT"]),
        (&["--interval", "0"], &["--interval", "100ms"]),
        (&["--log-level", "loud"], &["--log-level", "loud", "debug"]),
        (&["--docker-host", "ssh://me@there"], &["--docker-host", "ssh"]),
    ];
    for (args, parts) in cases {
        let (status, out, err) = run(kentros(args));
        assert_eq!(status, 2, "{args:?}: {err}");
        for part in parts {
            assert!(err.contains(part), "{args:?}: {err}");
        }
        assert!(err.contains("--help"), "{args:?}: {err}");
        assert_eq!(out, "");
    }
    let variables = [
        ("KENTROS_ADDR", "nowhere"),
        ("KENTROS_DEMO", "0"),
        ("KENTROS_INTERVAL", "soon"),
        ("KENTROS_LOG_LEVEL", "loud"),
        ("KENTROS_LOG_FORMAT", "xml"),
        ("KENTROS_DOCKER_HOST", "carrier-pigeon"),
        ("DOCKER_HOST", "ssh://me@there"),
    ];
    for (name, value) in variables {
        let mut command = kentros(&[]);
        command.env(name, value);
        let (status, _, err) = run(command);
        assert_eq!(status, 2, "{name}: {err}");
        assert!(err.contains(name) && err.contains(value), "{err}");
    }
}

#[test]
fn help_lists_every_option_and_version_prints_the_version() {
    let (status, help, err) = run(kentros(&["--help"]));
    assert_eq!((status, err.as_str()), (0, ""));
    let options =
        ["--addr", "--docker-host", "--interval", "--demo", "--log-level", "--log-format"];
    for option in options.iter().chain(&["--help", "--version"]) {
        assert!(help.contains(option), "{option}: {help}");
    }
    for option in options {
        let variable = format!("KENTROS_{}", option[2..].replace('-', "_").to_uppercase());
        assert!(help.contains(&variable), "{variable}: {help}");
    }
    let (status, version, _) = run(kentros(&["--version"]));
    assert_eq!(status, 0);
    assert_eq!(version, concat!("kentros ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn environment_variables_apply_and_the_command_line_wins() {
    let mut command = kentros(&["--demo", "3"]);
    command.env("KENTROS_ADDR", "127.0.0.1:0").env("KENTROS_DEMO", "99");
    command.env("KENTROS_INTERVAL", "").env("KENTROS_LOG_FORMAT", "json");
    let running = Running::start(command);
    let line = running.line("listening on http://127.0.0.1:");
    assert!(line.starts_with('{'), "{line}");
    let addr = line.split_once("http://").unwrap().1.split_once('"').unwrap().0.parse().unwrap();
    let projects: Value = serde_json::from_str(&get(addr, "/api/v1/projects").body).unwrap();
    let projects = projects["payload"].as_array().unwrap();
    let containers = projects.iter().map(|p| p["containers"].as_array().unwrap().len());
    assert_eq!(containers.sum::<usize>(), 3, "the command line wins");
}

#[test]
fn each_line_of_a_json_log_is_one_json_document() {
    let args =
        ["--demo", "3", "--addr", "127.0.0.1:0", "--log-format", "json", "--log-level", "debug"];
    let mut running = Running::start(kentros(&args));
    let first = running.line("listening on");
    let first: Value = serde_json::from_str(&first).unwrap();
    let message = first["message"].as_str().unwrap();
    let addr: SocketAddr = message.split_once("http://").unwrap().1.parse().unwrap();
    let mut client = Ws::over(dial(addr), addr, "/ws/stats");
    client.find("container_stats");
    client.close();
    // Control characters from a client must not break the log format.
    crate::harness::raw::ask(addr, "GET /\u{7f}\"\\ HTTP/1.1\r\nHost: localhost\r\n\r\n");
    running.signal(Signal::TERM);
    assert_eq!(running.ended().code(), Some(0));
    let lines: Vec<String> = running.lines.iter().collect();
    assert!(!lines.is_empty());
    for line in lines {
        let line: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
        for field in ["timestamp", "level", "target", "message"] {
            assert!(line[field].is_string(), "{field} of {line}");
        }
    }
}

#[test]
fn without_an_engine_the_server_stays_up_and_reports_the_error() {
    let mut command = kentros(&["--addr", "127.0.0.1:0", "--interval", "100ms"]);
    command.env("DOCKER_HOST", "unix:///nowhere/kentros.sock");
    let mut running = Running::start(command);
    let addr = running.addr();
    let mut client = Ws::over(dial(addr), addr, "/ws/stats");
    let status = client.find("engine_status");
    assert_eq!(status["payload"]["state"], "unreachable");
    let error = status["payload"]["error"].as_str().unwrap();
    assert!(error.contains("/nowhere/kentros.sock"), "{error}");
    let ready = get(addr, "/readyz");
    assert_eq!(ready.status, 503);
    assert!(ready.body.contains("/nowhere/kentros.sock"), "{ready:?}");
    assert_eq!(get(addr, "/healthz").status, 200);
    assert_eq!(get(addr, "/").status, 200);
    assert!(running.line("WARN").contains("/nowhere/kentros.sock"));
    client.close();
    running.signal(Signal::TERM);
    assert_eq!(running.ended().code(), Some(0));
}

#[test]
fn silent_connections_do_not_lock_out_requests_when_descriptors_are_few() {
    // With 128 descriptors the server handles 16 requests at a time.
    let running = demo_with_128_descriptors("");
    let addr = running.addr();
    let silent: Vec<TcpStream> = (0..60).map(|_| dial(addr)).collect();
    // Some silent connections get 503 at once, others are closed after half a second.
    let pauses = crossbeam_channel::tick(Duration::from_millis(100));
    let mut answer = None;
    for _ in pauses.iter().take(100) {
        let mut stream = dial(addr);
        std::io::Write::write_all(&mut stream, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .unwrap();
        let mut text = String::new();
        // Without a free slot the server responds and closes before it reads the request.
        if stream.read_to_string(&mut text).is_ok() && text.starts_with("HTTP/1.1 200 ") {
            answer = Some(Answer::parse(&text));
            break;
        }
    }
    assert!(answer.is_some(), "sixty silent connections lock out every request");
    // The silent connections were accepted before this request.
    let turned_away = silent.into_iter().filter_map(|mut stream| {
        let mut text = String::new();
        stream.set_nonblocking(true).unwrap();
        stream.read_to_string(&mut text).ok()?;
        text.starts_with("HTTP/1.1 503 ").then_some(())
    });
    assert!(turned_away.count() > 0, "connections without a free slot get 503");
}
