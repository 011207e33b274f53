//! The program under test, in a process of its own: its log, metrics and resources.

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

use super::socket::TOKEN;
use super::{CLIENTS, GUARD, until};

/// The descriptor limit that both processes need. All clients may connect at once, and the program
/// handles only an eighth of its limit in requests at a time.
const DESCRIPTORS: u64 = CLIENTS as u64 * 8 + 1000;

#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) addr: SocketAddr,
    child: Child,
    idle: Held,
    errors: Arc<Mutex<Vec<String>>>,
}

/// The resources of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) rss_kib: u64,
    pub(crate) threads: u64,
    pub(crate) descriptors: u64,
}

/// The metrics of the program.
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
            "the soak needs {DESCRIPTORS} descriptors, but the hard limit is {most}. Raise it with \
             ulimit -n {DESCRIPTORS}."
        );
        limit.current = limit.maximum;
        setrlimit(Resource::Nofile, limit).unwrap();
        let program = std::env::var_os("KENTROS_SOAK_PROGRAM");
        let mut command = Command::new(program.unwrap_or(env!("CARGO_BIN_EXE_kentros").into()));
        command.args(["--addr", "127.0.0.1:0"]).env_clear();
        command.args(["--docker-host", &engine.to_string()]);
        command.args(["--trust-proxy", "127.0.0.1"]).env("KENTROS_TOKEN", TOKEN);
        // With one arena for all threads, resident memory follows what the program uses.
        command.env("MALLOC_ARENA_MAX", "1");
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let errors = Arc::new(Mutex::new(Vec::new()));
        let (found, addr) = bounded(1);
        let kept = Arc::clone(&errors);
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
        let addr = addr.recv_timeout(GUARD).expect("the program listens");
        // The thread that it starts last.
        until("the thread of the stats", || has_thread(child.id(), "kentros-stats"));
        let idle = held(child.id());
        Self { addr, child, idle, errors }
    }

    /// The errors in its log.
    pub(crate) fn errors(&self) -> Vec<String> {
        self.errors.lock().unwrap().clone()
    }

    pub(crate) fn held(&self) -> Held {
        held(self.child.id())
    }

    /// Its resources before the first client.
    pub(crate) fn idle(&self) -> Held {
        self.idle
    }

    /// Requests its metrics. The request counts as a listener for 30 s.
    pub(crate) fn counted(&self) -> Counted {
        let begun = Instant::now();
        let text = loop {
            match self.metrics() {
                Ok(text) => break text,
                Err(why) => assert!(begun.elapsed() < GUARD, "/metrics: {why}"),
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

    /// The body of `/metrics`. Fails also if this process was too busy to send the request or to read
    /// the response in time.
    fn metrics(&self) -> Result<String, String> {
        let mut response = String::new();
        let mut request = || {
            let mut stream = TcpStream::connect(self.addr)?;
            stream.set_read_timeout(Some(GUARD))?;
            let bearer = format!("Authorization: Bearer {TOKEN}");
            let head = format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\n{bearer}\r\n\r\n");
            stream.write_all(head.as_bytes())?;
            stream.read_to_string(&mut response)
        };
        let result = request();
        let whole = response.split_once("\r\n\r\n").filter(|(head, body)| {
            let length = format!("content-length: {}", body.len());
            head.starts_with("HTTP/1.1 200 ")
                && head.lines().any(|line| line.eq_ignore_ascii_case(&length))
        });
        match whole {
            Some((_, body)) => Ok(body.to_owned()),
            None => Err(format!("{result:?}, {response}")),
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
