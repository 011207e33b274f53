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
use crate::Client;
use crate::connection::client::Registrar;
use crate::connection::flusher::Flusher;
use crate::connection::queue::Bounds;

const HUB: u64 = 0;

struct NoRegistrar;

impl Registrar for NoRegistrar {
    fn connection_ended(&self, _: u64) {}
}

/// A hub that does what it is told on the test's own thread, and the peers of its clients.
struct Bench {
    hub: HubLoop,
    commands: Sender<Command>,
    clients: Vec<Client>,
    peers: Vec<OwnedFd>,
    flusher: (Flusher, JoinHandle<()>),
    _stop: Sender<()>,
}

impl Bench {
    fn new(count: usize, shards: usize) -> Self {
        let shards = NonZeroUsize::new(shards).unwrap();
        let config = HubConfig { shards, ..HubConfig::default() };
        let (commands, inbox) = unbounded();
        let (stop, stopped) = bounded(0);
        let counters = Arc::new(AtomicCounters::default());
        let flusher = Flusher::spawn(Arc::clone(&counters)).unwrap();
        let mut hub = HubLoop::new(HUB, &config, inbox, stopped, Arc::default(), counters);
        let (mut peers, mut clients) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let (socket, peer) =
                socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                    .unwrap();
            peers.push(peer);
            let bounds = Bounds { messages: 256, bytes: 1 << 20 };
            let addr = ([127, 0, 0, 1], 9).into();
            let deadline = config.write_deadline;
            let client =
                Client::new(addr, TcpStream::from(socket), bounds, deadline, flusher.0.clone());
            client.enter(HUB, Arc::new(NoRegistrar)).unwrap();
            let subscriber = Subscriber::Client(client.clone());
            hub.execute(Command::Register(subscriber, Interest::all()));
            clients.push(client);
        }
        Self { hub, commands, clients, peers, flusher, _stop: stop }
    }

    /// Publishes all of these before the hub looks: it then does what waits, to the end.
    fn publish(&mut self, publications: impl IntoIterator<Item = Publication>) {
        for publication in publications {
            self.commands.send(Command::Publish { key: None, publication }).unwrap();
        }
        while let Ok(command) = self.hub.commands.try_recv() {
            self.hub.execute(command);
        }
    }

    fn subscribe(&mut self, client: usize, project: &str) {
        let (answer, _answered) = bounded(1);
        let (client, project) = (self.clients[client].id(), project.to_owned());
        self.hub.execute(Command::Subscribe { client, project, answer });
    }

    /// What each peer got, a `send` each.
    fn sent(&self) -> Vec<Vec<Vec<u8>>> {
        self.peers.iter().map(packets).collect()
    }

    fn end(self) {
        drop(self.hub);
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
        bench.publish(frames.iter().cloned().map(Publication::Everyone));
        assert_eq!(bench.sent(), vec![vec![joined(&frames)]; 100]);
        bench.end();
    }
}

#[test]
fn a_burst_of_two_hundred_messages_is_one_system_call_for_each_client() {
    let mut bench = Bench::new(100, 2);
    let frames = frames(200);
    bench.publish(frames.iter().cloned().map(Publication::Everyone));
    assert_eq!(bench.sent(), vec![vec![joined(&frames)]; 100]);
    bench.end();
}

#[test]
fn fifty_projects_in_one_turn_are_one_system_call_for_each_subscriber() {
    let mut bench = Bench::new(100, 2);
    let project = |n: usize| format!("p{}", n % 50);
    for client in 0..100 {
        bench.subscribe(client, &project(client));
    }
    let frames = frames(50);
    let publication =
        |(n, frame)| Publication::Project { project: project(n).into(), frame, except: None };
    bench.publish(frames.iter().cloned().enumerate().map(publication));
    let expected: Vec<_> = (0..100).map(|n| vec![frames[n % 50].bytes().to_vec()]).collect();
    assert_eq!(bench.sent(), expected);
    bench.end();
}

#[test]
fn a_turn_has_its_end_however_much_waits() {
    let mut bench = Bench::new(1, 1);
    let frames: Vec<Frame> = (0..600).map(|n| Frame::text(&n.to_string())).collect();
    bench.publish(frames.iter().cloned().map(Publication::Everyone));
    let turns: Vec<_> = frames.chunks(TURN_MESSAGES).map(joined).collect();
    assert_eq!((turns.len(), &bench.sent()[0]), (3, &turns));
    let large = Frame::text(&"x".repeat(TURN_BYTES / 2));
    bench.publish(vec![Publication::Everyone(large.clone()); 4]);
    assert_eq!(bench.sent()[0], vec![joined(&[large.clone(), large]); 2]);
    bench.end();
}

#[test]
fn in_a_turn_with_exceptions_each_client_gets_all_but_its_own_in_one_system_call() {
    let mut bench = Bench::new(5, 2);
    for client in 0..4 {
        bench.subscribe(client, "room");
    }
    bench.subscribe(4, "other room");
    let frames = frames(4);
    let ids: Vec<u64> = bench.clients.iter().map(Client::id).collect();
    bench.publish(frames.iter().cloned().enumerate().map(|(n, frame)| Publication::Project {
        project: "room".into(),
        frame,
        except: Some(ids[n]),
    }));
    let sent = bench.sent();
    for (client, sent) in sent.iter().take(4).enumerate() {
        let others: Vec<Frame> = frames
            .iter()
            .enumerate()
            .filter(|(n, _)| *n != client)
            .map(|(_, f)| f.clone())
            .collect();
        assert_eq!(*sent, [joined(&others)], "client {client}");
    }
    assert!(sent[4].is_empty());
    // The only one there was is not for it: no system call at all.
    bench.publish([Publication::Project {
        project: "other room".into(),
        frame: frames[0].clone(),
        except: Some(ids[4]),
    }]);
    assert!(bench.sent().iter().all(Vec::is_empty));
    bench.end();
}
