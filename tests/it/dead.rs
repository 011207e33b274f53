//! Peers that are gone without a word, and how soon that is known.

use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use kentros::{HubConfig, Message, ServerConfig};
use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Served, Ws, alone, dial, numbered, say_skipped, until};

const SILENCE: Duration = Duration::from_secs(2);

/// A server that gives its clients up soon, and one of them that stays.
fn served() -> (Served, Ws) {
    let mut config = ServerConfig::default();
    config.ping_interval = Duration::from_millis(200);
    config.silence_limit = SILENCE;
    let served = Served::with(HubConfig::default(), config);
    let client = served.client();
    (served, client)
}

/// Has the other client read on, which answers pings, until only it is left.
fn until_alone(served: &Served, mut good: Ws) -> Duration {
    let begun = Instant::now();
    let reader = thread::spawn(move || good.find("end"));
    served.until_clients(1);
    let took = begun.elapsed();
    served.handle().broadcast(&Message::new("end", ())).unwrap();
    reader.join().unwrap();
    took
}

/// The address for the test that is the client of another process.
const PEER: &str = "KENTROS_IT_PEER";

/// No test of its own: it listens where `PEER` says, until it is ended.
#[test]
fn a_client_in_another_process() {
    let Ok(addr) = std::env::var(PEER) else { return };
    let addr: SocketAddr = addr.parse().unwrap();
    let mut client = Ws::over(dial(addr), addr, "/ws/stats");
    loop {
        client.frame();
    }
}

/// A client that is a process; killed at the end.
struct Peer(Child);

impl Peer {
    fn start(served: &Served) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "dead::a_client_in_another_process", "--test-threads=1"])
            .env(PEER, served.addr().to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let peer = Self(child);
        served.until_clients(2);
        peer
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

#[test]
fn a_killed_client_is_known_to_be_gone() {
    let (served, good) = served();
    let peer = Peer::start(&served);
    peer.signal(Signal::KILL);
    until_alone(&served, good);
}

#[test]
fn a_stopped_client_is_given_up_at_the_limit_of_silence() {
    let (served, good) = served();
    let peer = Peer::start(&served);
    peer.signal(Signal::STOP);
    // It may have answered a ping a moment ago.
    assert!(until_alone(&served, good) >= SILENCE / 2);
}

#[test]
fn a_client_whose_packets_all_vanish_is_given_up_at_the_limit_of_silence() {
    let name = "a_client_whose_packets_all_vanish_is_given_up_at_the_limit_of_silence";
    // A network of its own: the firewall of the machine stays as it is.
    let network = ["unshare", "--net"];
    let drops = "ip link set lo up && iptables -A INPUT -p tcp --sport 9 -j DROP";
    let able = Command::new(network[0])
        .args([network[1], "sh", "-c", drops])
        .output()
        .is_ok_and(|output| output.status.success());
    if !able {
        let required = std::env::var("KENTROS_TEST_NETWORK").is_ok_and(|v| v == "require");
        assert!(!required, "{name} needs root, unshare, ip and iptables");
        return say_skipped(name, "no network of its own: it takes root, unshare, ip and iptables");
    }
    if !alone(&format!("dead::{name}"), &network) {
        return;
    }
    run("ip link set lo up");
    let (served, good) = served();
    let gone = served.client();
    let port = gone.stream().local_addr().unwrap().port();
    served.until_clients(2);
    run(&format!("iptables -A INPUT -p tcp --sport {port} -j DROP"));
    run(&format!("iptables -A INPUT -p tcp --dport {port} -j DROP"));
    // Something is on its way to it, of which it never learns.
    served.handle().broadcast(&numbered(1)).unwrap();
    assert!(until_alone(&served, good) >= SILENCE / 2);
    // And the kernel has let go of it too, though nothing was acknowledged.
    let port = format!(":{port:04X} ");
    let ours = format!(":{:04X} ", served.addr().port());
    until("no connection is left", || {
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
