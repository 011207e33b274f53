//! The program without free descriptors, threads or a writable log.

use std::fs::{self, File};
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, Signal, prlimit};

use crate::binary::{Running, demo, kentros};
use crate::harness::raw::{get, read_frame};
use crate::harness::{Ws, dial, until, unused_addr};

impl Running {
    /// Sets the soft limit of a resource; `None` for unlimited.
    fn limit(&self, resource: Resource, current: Option<u64>) {
        let maximum =
            prlimit(None, resource, rustix::process::getrlimit(resource)).unwrap().maximum;
        prlimit(Some(self.pid()), resource, Rlimit { current, maximum }).unwrap();
    }

    fn proc(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.pid())).unwrap()
    }

    fn descriptors(&self) -> u64 {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count() as u64
    }

    /// The CPU time of the process.
    fn cpu(&self) -> Duration {
        let stat = self.proc("stat");
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        // proc(5): utime and stime, in hundredths of a second, are fields 14 and 15.
        let ticks = fields.split(' ').skip(11).take(2).map(|n| n.parse::<u64>().unwrap());
        Duration::from_millis(10 * ticks.sum::<u64>())
    }

    /// A value of `/proc/<pid>/status` in bytes.
    fn status(&self, name: &str) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        1024 * line
            .trim_start_matches(':')
            .split_whitespace()
            .next()
            .unwrap()
            .parse::<u64>()
            .unwrap()
    }
}

fn client(addr: SocketAddr) -> Ws {
    Ws::over(dial(addr), addr, "/ws/stats")
}

/// Fails if the server accepts in a busy loop: it would use all the CPU time it gets.
#[test]
fn without_free_descriptors_accepting_pauses_and_resumes() {
    let running = demo();
    let addr = running.addr();
    let mut served = client(addr);
    served.find("container_stats");
    running.limit(Resource::Nofile, Some(running.descriptors() + 2));
    let silent: Vec<TcpStream> = (0..10).map(|_| dial(addr)).collect();
    let line = running.line("cannot accept connections");
    assert!(line.contains("ERROR") && line.contains("Too many open files"), "{line}");
    let (start, before) = (Instant::now(), running.cpu());
    for _ in 0..10 {
        served.find("container_stats");
    }
    let (took, used) = (start.elapsed(), running.cpu().saturating_sub(before));
    assert!(used < took / 4, "{used:?} of CPU time in {took:?}");
    drop(silent);
    assert_eq!(get(addr, "/healthz").status, 200, "descriptors are free again");
    client(addr).find("container_stats");
    served.find("container_stats");
}

#[test]
fn clients_without_a_free_thread_are_closed_with_1013() {
    let running = demo();
    let addr = running.addr();
    let mut served = client(addr);
    served.find("container_stats");
    // The stack of a thread takes 256 KiB of address space.
    running.limit(Resource::As, Some(running.status("VmSize") + 160 * 1024));
    for _ in 0..5 {
        assert_eq!(client(addr).closed().0, 1013);
    }
    assert!(running.line("with close code 1013: cannot spawn a thread").contains("WARN"));
    assert_eq!(get(addr, "/healthz").status, 200);
    served.find("container_stats");
    running.limit(Resource::As, None);
    client(addr).find("container_stats");
}

#[test]
fn an_unwritable_log_does_not_stop_the_server() {
    thread::scope(|scope| {
        for format in ["text", "json"] {
            for log in [Log::Full, Log::Gone, Log::Closed] {
                scope.spawn(move || serves_without(log, format));
            }
        }
    });
}

/// Why the log cannot be written.
#[derive(Clone, Copy, Debug)]
enum Log {
    /// The disk is full.
    Full,
    /// Its reader has closed the pipe.
    Gone,
    /// Standard error is closed.
    Closed,
}

fn serves_without(log: Log, format: &str) {
    // There is no log line with the port.
    let (_reserved, addr) = unused_addr();
    let (text, args) = (addr.to_string(), ["--log-level", "trace", "--log-format", format]);
    let mut command =
        kentros(&[&["--demo", "3", "--interval", "100ms", "--addr", &text], &args[..]].concat());
    match log {
        Log::Full => {
            command.stderr(File::options().write(true).open("/dev/full").unwrap());
        }
        Log::Gone => {
            let (read, write) = std::io::pipe().unwrap();
            drop(read);
            command.stderr(write);
        }
        Log::Closed => {
            let mut shell = Command::new("sh");
            shell.args(["-c", "exec \"$0\" \"$@\" 2>&-"]).arg(command.get_program());
            shell.args(command.get_args()).env_clear();
            command = shell;
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        }
    }
    let mut running = Running::start(command);
    until("the program to listen", || TcpStream::connect(addr).is_ok());
    let mut good = client(addr);
    for _ in 0..20 {
        // Each client logs a line or two. One violates the protocol, the other does not.
        let mut bad = dial(addr);
        bad.write_all(crate::harness::raw::handshake().as_bytes()).unwrap();
        crate::harness::raw::read_head(&mut bad);
        bad.write_all(&[0x83, 0]).unwrap();
        while read_frame(&mut bad).is_some() {}
        good.find("container_stats");
        assert_eq!(get(addr, "/healthz").status, 200, "{log:?}, {format}");
    }
    running.signal(Signal::TERM);
    assert_eq!(good.closed().0, 1001);
    assert_eq!(running.ended().code(), Some(0), "{log:?}, {format}");
}
