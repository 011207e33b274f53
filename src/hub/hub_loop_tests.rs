//! Counts the system calls of a turn: the clients' sockets preserve packet boundaries, so that a peer
//! receives one packet per `send`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::net::TcpStream;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicUsize;
use std::thread::JoinHandle;

use crossbeam_channel::{bounded, unbounded};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, recv, socketpair};

use super::*;
use crate::Client;
use crate::connection::client::Registrar;
use crate::connection::flusher::Flusher;
use crate::connection::queue::QueueBounds;

const HUB: u64 = 0;

struct NoRegistrar;

impl Registrar for NoRegistrar {
    fn connection_ended(&self, _: u64) {}
}

/// A hub that runs on the test's thread, and the peers of its clients.
struct TestHub {
    hub: HubLoop,
    commands: Sender<HubCommand>,
    clients: Vec<Client>,
    peers: Vec<OwnedFd>,
    flusher: (Flusher, JoinHandle<()>),
    _stop: Sender<()>,
}

impl TestHub {
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
            let bounds = QueueBounds { messages: 256, bytes: 1 << 20 };
            let addr = ([127, 0, 0, 1], 9).into();
            let deadline = config.write_deadline;
            let client =
                Client::new(addr, TcpStream::from(socket), bounds, deadline, flusher.0.clone());
            client.add_hub(HUB, Arc::new(NoRegistrar)).unwrap();
            let subscriber = Subscriber::Client(client.clone());
            hub.execute(HubCommand::Register(subscriber, Interest::all()));
            clients.push(client);
        }
        Self { hub, commands, clients, peers, flusher, _stop: stop }
    }

    /// Queues these publications, then executes all queued commands.
    fn publish(&mut self, publications: impl IntoIterator<Item = Publication>) {
        for publication in publications {
            self.commands.send(HubCommand::Publish { key: None, publication }).unwrap();
        }
        while let Ok(command) = self.hub.commands.try_recv() {
            self.hub.execute(command);
        }
    }

    fn subscribe(&mut self, client: usize, project: &str) {
        let (reply, _replied) = bounded(1);
        let (client, project) = (self.clients[client].id(), project.to_owned());
        self.hub.execute(HubCommand::Subscribe { client, project, reply });
    }

    /// The packets that each peer received.
    fn sent(&self) -> Vec<Vec<Vec<u8>>> {
        self.peers.iter().map(packets).collect()
    }

    fn end(self) {
        drop(self.hub);
        self.flusher.0.finish(Duration::ZERO);
        self.flusher.1.join().unwrap();
    }
}

/// The packets received so far.
fn packets(peer: &OwnedFd) -> Vec<Vec<u8>> {
    let mut buffer = vec![0; 256 * 1024];
    std::iter::from_fn(|| {
        let (n, _) = recv(peer, buffer.as_mut_slice(), RecvFlags::DONTWAIT).ok()?;
        // Zero is the end.
        (n > 0).then(|| buffer[..n].to_vec())
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
fn a_message_costs_one_system_call_per_client() {
    for shards in [1, 2] {
        let mut hub = TestHub::new(100, shards);
        let frames = frames(1);
        hub.publish(frames.iter().cloned().map(Publication::Everyone));
        assert_eq!(hub.sent(), vec![vec![joined(&frames)]; 100]);
        hub.end();
    }
}

#[test]
fn a_burst_costs_one_system_call_per_client() {
    let mut hub = TestHub::new(100, 2);
    let frames = frames(200);
    hub.publish(frames.iter().cloned().map(Publication::Everyone));
    assert_eq!(hub.sent(), vec![vec![joined(&frames)]; 100]);
    hub.end();
}

#[test]
fn fifty_projects_in_one_turn_cost_one_system_call_per_client() {
    let mut hub = TestHub::new(100, 2);
    let project = |n: usize| format!("p{}", n % 50);
    for client in 0..100 {
        hub.subscribe(client, &project(client));
    }
    let frames = frames(50);
    let publication =
        |(n, frame)| Publication::Project { project: project(n).into(), frame, except: None };
    hub.publish(frames.iter().cloned().enumerate().map(publication));
    let expected: Vec<_> = (0..100).map(|n| vec![frames[n % 50].bytes().to_vec()]).collect();
    assert_eq!(hub.sent(), expected);
    hub.end();
}

#[test]
fn a_turn_is_bounded() {
    let mut hub = TestHub::new(1, 1);
    let frames: Vec<Frame> = (0..600).map(|n| Frame::text(&n.to_string())).collect();
    hub.publish(frames.iter().cloned().map(Publication::Everyone));
    let turns: Vec<_> = frames.chunks(TURN_MESSAGES).map(joined).collect();
    assert_eq!((turns.len(), &hub.sent()[0]), (3, &turns));
    let large = Frame::text(&"x".repeat(TURN_BYTES / 2));
    hub.publish(vec![Publication::Everyone(large.clone()); 4]);
    assert_eq!(hub.sent()[0], vec![joined(&[large.clone(), large]); 2]);
    hub.end();
}

#[test]
fn excluded_messages_cost_no_extra_system_call() {
    let mut hub = TestHub::new(5, 2);
    for client in 0..4 {
        hub.subscribe(client, "room");
    }
    hub.subscribe(4, "other room");
    let frames = frames(4);
    let ids: Vec<u64> = hub.clients.iter().map(Client::id).collect();
    hub.publish(frames.iter().cloned().enumerate().map(|(n, frame)| Publication::Project {
        project: "room".into(),
        frame,
        except: Some(ids[n]),
    }));
    let sent = hub.sent();
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
    // Its only message is excluded: no system call.
    hub.publish([Publication::Project {
        project: "other room".into(),
        frame: frames[0].clone(),
        except: Some(ids[4]),
    }]);
    assert!(hub.sent().iter().all(Vec::is_empty));
    hub.end();
}

#[test]
fn clients_whose_interests_select_the_same_content_share_one_message() {
    let mut hub = TestHub::new(5, 2);
    for (client, projects) in ["", "a b x", "a y b", "a z", "z a"].iter().enumerate() {
        projects.split_whitespace().for_each(|project| hub.subscribe(client, project));
    }
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let content = move |interest: &Interest| {
        count.fetch_add(1, Ordering::SeqCst);
        let projects = ["a", "b", "x"].map(|project| interest.includes(project));
        vec![crate::Message::new("state", projects), crate::Message::new("second", ())]
    };
    let projects = ["a", "b"].map(str::to_owned).into();
    let queued = Arc::clone(&hub.hub.counters.queued_bytes);
    let publication = Publication::by_interest(content, Some(projects), &queued);
    hub.publish([publication.clone(), Publication::Everyone(Frame::text("after"))]);
    let sent = hub.sent();
    assert_eq!(calls.load(Ordering::SeqCst), 2, "for all, and for a alone");
    assert!(sent[0] == sent[1] && sent[1] == sent[2] && sent[3] == sent[4] && sent[0] != sent[3]);
    assert!(sent.iter().all(|packets| packets.len() == 1), "one system call per client");
    let mut frames = Vec::new();
    publication.frames(&Interest::only(["b", "a", "new"]), &mut frames);
    publication.frames(&Interest::only(["a", "newer"]), &mut frames);
    assert_eq!(calls.load(Ordering::SeqCst), 2, "nor do later clients of these projects");
    hub.end();
}

#[test]
fn when_all_queues_are_full_the_slowest_clients_are_closed() {
    let mut hub = TestHub::new(6, 2);
    let queued = Arc::clone(&hub.hub.counters.queued_bytes);
    hub.hub.max_queued_bytes = 1 << 20;
    for client in 0..5 {
        hub.subscribe(client, &format!("p{client}"));
    }
    let state = |project: usize, key: usize| Publication::Project {
        project: format!("p{project}").into(),
        frame: Frame::raw(&vec![0; 64 * 1024]).latest(key.to_string().into()).counted(&queued),
        except: None,
    };
    // The later clients stall later. The last one reads.
    for client in 0..5 {
        for key in 0..10 {
            hub.publish([state(client, key)]);
            packets(&hub.peers[5]);
        }
        assert!(queued.get() <= 1 << 20, "{} bytes are queued", queued.get());
    }
    let gone: Vec<bool> =
        hub.clients.iter().map(|client| hub.hub.registry.get(client.id()).is_none()).collect();
    let evicted = gone.iter().filter(|gone| **gone).count();
    assert!((2..=4).contains(&evicted) && gone.is_sorted_by(|a, b| a >= b), "{gone:?}");
    let counters = hub.hub.counters.read();
    assert_eq!((counters.evicted_memory, counters.evicted_slow), (evicted as u64, 0));
    let last = packets(&hub.peers[0]);
    assert_eq!(
        hub.clients[0].server_close_reason().map(|reason| match reason {
            crate::CloseReason::Server { code, .. } => code,
            _ => 0,
        }),
        Some(1008)
    );
    until_close(&hub.peers[0], last);
    // The messages of the others are unique, so all of them count.
    let held = 10 * 64 * 1024 * (5 - evicted);
    assert!(queued.get() <= held && queued.get() > 0);
    hub.end();
    assert_eq!(queued.get(), 0);
}

/// Waits for a Close with 1008.
fn until_close(peer: &OwnedFd, mut packets: Vec<Vec<u8>>) {
    // A guard against a test that never ends.
    set_socket_timeout(peer, Timeout::Recv, Some(Duration::from_secs(60))).unwrap();
    let mut buffer = [0; 256];
    while packets.last().is_none_or(|packet| packet[0] != 0x88) {
        let (n, _) = recv(peer, &mut buffer, RecvFlags::empty()).unwrap();
        assert!(n > 0, "the end without a Close");
        packets.push(buffer[..n].to_vec());
    }
    assert_eq!(packets.last().unwrap()[2..4], 1008_u16.to_be_bytes());
}
