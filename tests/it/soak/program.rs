//! The program under test, as a process of its own: its log, its counters, what it holds.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use crossbeam_channel::bounded;
use kentros::DockerHost;
use rustix::process::{Resource, getrlimit, setrlimit};

use super::{CLIENTS, GUARD, until};

/// The descriptors that each of the two processes must be able to have. One for each client would
/// do, but of requests the program takes only an eighth of this at a time, and all the clients may
/// come at once.
const DESCRIPTORS: u64 = CLIENTS as u64 * 8 + 1000;

#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) addr: SocketAddr,
    child: Child,
    idle: Held,
    complaints: Arc<Mutex<Vec<String>>>,
}

/// What it holds at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) rss_kib: u64,
    pub(crate) threads: u64,
    pub(crate) descriptors: u64,
}

/// What it has counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) clients: u64,
    pub(crate) published: u64,
    pub(crate) delivered: u64,
    pub(crate) conflated: u64,
    pub(crate) evicted: u64,
}

impl Program {
    pub(crate) fn start(engine: &DockerHost) -> Self {
        let mut limit = getrlimit(Resource::Nofile);
        let most = limit.maximum.unwrap_or(u64::MAX);
        assert!(
            most >= DESCRIPTORS,
            "the soak takes {DESCRIPTORS} descriptors, and the hard limit is {most}: raise it, as \
             with ulimit -n {DESCRIPTORS}"
        );
        limit.current = limit.maximum;
        setrlimit(Resource::Nofile, limit).unwrap();
        let program = std::env::var_os("KENTROS_SOAK_PROGRAM");
        let mut command = Command::new(program.unwrap_or(env!("CARGO_BIN_EXE_kentros").into()));
        command.args(["--addr", "127.0.0.1:0"]).env_clear();
        command.args(["--docker-host", &engine.to_string()]);
        // With one heap for all threads, what the process has is what it holds.
        command.env("MALLOC_ARENA_MAX", "1");
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let complaints = Arc::new(Mutex::new(Vec::new()));
        let (found, addr) = bounded(1);
        let kept = Arc::clone(&complaints);
        thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                if let Some((_, addr)) = line.split_once("listening on http://") {
                    let _ = found.send(addr.parse().unwrap());
                } else if line.contains("[ERROR]") || line.contains("panicked") {
                    kept.lock().unwrap().push(line);
                } else if line.contains("[WARN]") && !line.contains("cannot collect stats: ") {
                    eprintln!("{line}");
                }
            }
        });
        let addr = addr.recv_timeout(GUARD).expect("it listens");
        // Its last thread, begun after it listens.
        until("the thread of the stats", || has_thread(child.id(), "kentros-stats"));
        let idle = held(child.id());
        Self { addr, child, idle, complaints }
    }

    /// Errors in its log.
    pub(crate) fn complaints(&self) -> Vec<String> {
        self.complaints.lock().unwrap().clone()
    }

    pub(crate) fn held(&self) -> Held {
        held(self.child.id())
    }

    /// What it held before the first client.
    pub(crate) fn idle(&self) -> Held {
        self.idle
    }

    /// Asks for its counters; whoever does counts as a listener for 30 s.
    pub(crate) fn counted(&self) -> Counted {
        let begun = Instant::now();
        let text = loop {
            match self.metrics() {
                Ok(text) => break text,
                Err(why) => assert!(begun.elapsed() < GUARD, "its counters: {why}"),
            }
        };
        let of = |name: &str| {
            let series = text.lines().filter(|line| line.starts_with(name));
            let values =
                series.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap());
            values.sum()
        };
        Counted {
            clients: of("kentros_clients "),
            published: of("kentros_messages_published_total"),
            delivered: of("kentros_messages_delivered_total"),
            conflated: of("kentros_messages_conflated_total"),
            evicted: of("kentros_clients_evicted_total"),
        }
    }

    /// What it says at `/metrics`; an error also where this process was too busy to ask in time, or
    /// to read all of it.
    fn metrics(&self) -> Result<String, String> {
        let mut answer = String::new();
        let mut ask = || {
            let mut stream = TcpStream::connect(self.addr)?;
            stream.set_read_timeout(Some(GUARD))?;
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
            stream.read_to_string(&mut answer)
        };
        let asked = ask();
        let whole = answer.split_once("\r\n\r\n").filter(|(head, body)| {
            let length = format!("content-length: {}", body.len());
            head.starts_with("HTTP/1.1 200 ")
                && head.lines().any(|line| line.eq_ignore_ascii_case(&length))
        });
        match whole {
            Some((_, body)) => Ok(body.to_owned()),
            None => Err(format!("{asked:?}, {answer}")),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn has_thread(pid: u32, name: &str) -> bool {
    let mut tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    tasks.any(|task| {
        fs::read_to_string(task.unwrap().path().join("comm")).is_ok_and(|comm| comm.trim() == name)
    })
}

fn held(pid: u32) -> Held {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    };
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count() as u64;
    Held { rss_kib: field("VmRSS:"), threads: field("Threads:"), descriptors }
}
