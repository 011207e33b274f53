//! System calls, counted without a clock: the clients' sockets keep the bounds of each `send`, so
//! what their peers receive one by one is what was sent one by one.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::net::TcpStream;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::thread::JoinHandle;

use crossbeam_channel::{bounded, unbounded};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, recv, socketpair};

use super::*;
use crate::flusher::Flusher;
use crate::queue::Bounds;

/// A hub that does what it is told on the test's own thread, and the peers of its clients.
struct Bench {
    run: Run,
    commands: Sender<Command>,
    peers: Vec<OwnedFd>,
    flusher: (Flusher, JoinHandle<()>),
    _stop: Sender<()>,
}

impl Bench {
    fn new(clients: usize, shards: usize) -> Self {
        let shards = NonZeroUsize::new(shards).unwrap();
        let config = HubConfig { shards, ..HubConfig::default() };
        let (commands, inbox) = unbounded();
        let (stop, stopped) = bounded(0);
        let tally = Arc::new(Tally::default());
        let flusher = Flusher::spawn(Arc::clone(&tally)).unwrap();
        let mut run = Run::new(&config, inbox, stopped, Arc::default(), tally);
        let mut peers = Vec::new();
        for id in 0..clients as u64 {
            let (socket, peer) =
                socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                    .unwrap();
            peers.push(peer);
            let bounds = Bounds { messages: 256, bytes: 1 << 20 };
            let addr = ([127, 0, 0, 1], 9).into();
            let deadline = config.write_deadline;
            let client =
                Client::new(id, addr, TcpStream::from(socket), bounds, deadline, flusher.0.clone());
            run.take(Command::Register(client));
        }
        Self { run, commands, peers, flusher, _stop: stop }
    }

    /// Publishes all of these before the hub looks: it then does what waits, to the end.
    fn publish(&mut self, items: impl IntoIterator<Item = Item>) {
        for item in items {
            self.commands.send(Command::Publish { topic: None, item }).unwrap();
        }
        while let Ok(command) = self.run.commands.try_recv() {
            self.run.take(command);
        }
    }

    /// What each peer got, a `send` each.
    fn sent(&self) -> Vec<Vec<Vec<u8>>> {
        self.peers.iter().map(packets).collect()
    }

    fn end(self) {
        drop(self.run);
        self.flusher.0.finish(Duration::ZERO);
        self.flusher.1.join().unwrap();
    }
}

fn packets(peer: &OwnedFd) -> Vec<Vec<u8>> {
    let mut buffer = vec![0; 256 * 1024];
    std::iter::from_fn(|| {
        let (n, _) = recv(peer, buffer.as_mut_slice(), RecvFlags::DONTWAIT).ok()?;
        Some(buffer[..n].to_vec())
    })
    .collect()
}

fn frames(count: usize) -> Vec<Frame> {
    (0..count).map(|n| Frame::text(&format!("message {n:04} {}", "x".repeat(200)))).collect()
}

fn joined(frames: &[Frame]) -> Vec<u8> {
    frames.iter().flat_map(Frame::bytes).copied().collect()
}

#[test]
fn a_message_is_one_system_call_for_each_client() {
    for shards in [1, 2] {
        let mut bench = Bench::new(100, shards);
        let frames = frames(1);
        bench.publish(frames.iter().cloned().map(Item::All));
        assert_eq!(bench.sent(), vec![vec![joined(&frames)]; 100]);
        bench.end();
    }
}

#[test]
fn a_burst_of_two_hundred_messages_is_one_system_call_for_each_client() {
    let mut bench = Bench::new(100, 2);
    let frames = frames(200);
    bench.publish(frames.iter().cloned().map(Item::All));
    assert_eq!(bench.sent(), vec![vec![joined(&frames)]; 100]);
    bench.end();
}

#[test]
fn fifty_projects_in_one_turn_are_one_system_call_for_each_subscriber() {
    let mut bench = Bench::new(100, 2);
    let project = |n: usize| format!("p{}", n % 50);
    for client in 0..100 {
        let projects = vec![project(client)];
        bench.run.take(Command::Subscribe { client: client as u64, projects, on: true });
    }
    for answers in bench.sent() {
        assert_eq!(answers.len(), 1, "the answer to the subscription");
    }
    let frames = frames(50);
    bench.publish(frames.iter().cloned().enumerate().map(|(n, f)| Item::Project(project(n), f)));
    let expected: Vec<_> = (0..100).map(|n| vec![frames[n % 50].bytes().to_vec()]).collect();
    assert_eq!(bench.sent(), expected);
    bench.end();
}

#[test]
fn a_turn_has_its_end_however_much_waits() {
    let mut bench = Bench::new(1, 1);
    let frames: Vec<Frame> = (0..600).map(|n| Frame::text(&n.to_string())).collect();
    bench.publish(frames.iter().cloned().map(Item::All));
    let turns: Vec<_> = frames.chunks(TURN_MESSAGES).map(joined).collect();
    assert_eq!((turns.len(), &bench.sent()[0]), (3, &turns));
    let large = Frame::text(&"x".repeat(TURN_BYTES / 2));
    bench.publish(vec![Item::All(large.clone()); 4]);
    assert_eq!(bench.sent()[0], vec![joined(&[large.clone(), large]); 2]);
    bench.end();
}
