//! Clients that disappear without a Close.

use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use kentros::{HubConfig, Message, ServerConfig};
use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{GUARD, Served, Ws, dial, in_own_process, numbered, report_skipped, until};

const SILENCE: Duration = Duration::from_secs(2);

/// A server with this silence limit, and a client that stays.
fn served(silence_limit: Duration) -> (Served, Ws) {
    let mut config = ServerConfig::default();
    config.ping_interval = Duration::from_millis(200);
    config.silence_limit = silence_limit;
    let served = Served::with(HubConfig::default(), config);
    let client = served.client();
    (served, client)
}

/// Waits until only `good` is left, which reads on and so answers pings. Returns the time taken.
fn until_only(mut good: Ws, served: &Served) -> Duration {
    let start = Instant::now();
    let reader = thread::spawn(move || good.find("end"));
    served.until_clients(1);
    let took = start.elapsed();
    served.handle().broadcast(&Message::new("end", ())).unwrap();
    reader.join().unwrap();
    took
}

/// Set to the server's address in the process of a [`Peer`].
const PEER: &str = "KENTROS_IT_PEER";

/// A client in a process of its own, killed on drop.
struct Peer(Child);

impl Peer {
    /// Starts the client by running `test` in another process.
    fn start(served: &Served, test: &str) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--test-threads=1"])
            .env(PEER, served.addr().to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let peer = Self(child);
        served.until_clients(2);
        peer
    }

    /// In the process of a peer, runs the client until the process is killed.
    fn run_if_this_is_one() {
        let Ok(addr) = std::env::var(PEER) else { return };
        let addr: SocketAddr = addr.parse().unwrap();
        let mut client = Ws::over(dial(addr), addr, "/ws/stats");
        loop {
            client.frame();
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.0.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Fails if the server waits for the silence limit, which is longer than the guard.
#[test]
fn a_killed_client_is_removed_at_once() {
    Peer::run_if_this_is_one();
    let (served, good) = served(4 * GUARD);
    let peer = Peer::start(&served, "dead::a_killed_client_is_removed_at_once");
    peer.signal(Signal::KILL);
    until_only(good, &served);
}

#[test]
fn a_stopped_client_is_removed_at_the_silence_limit() {
    Peer::run_if_this_is_one();
    let (served, good) = served(SILENCE);
    let peer = Peer::start(&served, "dead::a_stopped_client_is_removed_at_the_silence_limit");
    peer.signal(Signal::STOP);
    // Its last pong may be some time old.
    assert!(until_only(good, &served) >= SILENCE / 2);
}

#[test]
fn a_client_whose_packets_are_dropped_is_removed_at_the_silence_limit() {
    let name = "a_client_whose_packets_are_dropped_is_removed_at_the_silence_limit";
    // In a network namespace, so that the firewall of the machine is not changed.
    let network = ["unshare", "--net"];
    let drops = "ip link set lo up && iptables -A INPUT -p tcp --sport 9 -j DROP";
    let able = Command::new(network[0])
        .args([network[1], "sh", "-c", drops])
        .output()
        .is_ok_and(|output| output.status.success());
    if !able {
        let required = std::env::var("KENTROS_TEST_NETWORK").is_ok_and(|v| v == "require");
        assert!(!required, "{name} needs root, unshare, ip and iptables");
        return report_skipped(name, "it needs root, unshare, ip and iptables");
    }
    if !in_own_process(&format!("dead::{name}"), &network) {
        return;
    }
    run("ip link set lo up");
    let (served, good) = served(SILENCE);
    let gone = served.client();
    let port = gone.stream().local_addr().unwrap().port();
    served.until_clients(2);
    run(&format!("iptables -A INPUT -p tcp --sport {port} -j DROP"));
    run(&format!("iptables -A INPUT -p tcp --dport {port} -j DROP"));
    // A message in transit, which is never acknowledged.
    served.handle().broadcast(&numbered(1)).unwrap();
    assert!(until_only(good, &served) >= SILENCE / 2);
    // The kernel must drop the connection too, although data is unacknowledged.
    let port = format!(":{port:04X} ");
    let ours = format!(":{:04X} ", served.addr().port());
    until("the connection to disappear from the kernel", || {
        let table = fs::read_to_string("/proc/self/net/tcp").unwrap();
        !table.lines().any(|line| {
            let local = line.split_whitespace().nth(1).unwrap_or_default();
            line.contains(&port) && format!("{local} ").ends_with(&ours)
        })
    });
    drop(gone);
}

fn run(command: &str) {
    assert!(Command::new("sh").args(["-c", command]).status().unwrap().success(), "{command}");
}
