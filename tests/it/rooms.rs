//! Rooms: clients that the embedding program subscribes to projects.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crossbeam_channel::bounded;
use kentros::{ErrorKind, HubConfig, HubHandle, Interest, Message};
use serde_json::Value;

use crate::harness::GUARD;
use crate::harness::members::{Member, Members, NOTHING, said};

/// A configuration that evicts no client, even on a busy machine.
fn large_queues() -> HubConfig {
    HubConfig::default()
        .with_queue_messages(1_000_000)
        .with_queue_bytes(1 << 30)
        .with_write_deadline(2 * GUARD)
}

#[test]
fn two_rooms_on_one_hub_do_not_leak_into_each_other() {
    let members = Members::new();
    let hub = members.handle();
    let (mut a, mut b) = (members.enter(["A"]), members.enter(["B"]));
    hub.broadcast(&said(1).project("A")).unwrap();
    hub.broadcast_to_subscribers("B", &said(2)).unwrap();
    hub.broadcast(&said(3).project("A").latest()).unwrap();
    hub.broadcast(&said(4).project("C")).unwrap();
    hub.broadcast(&said(5)).unwrap();
    assert_eq!(a.heard(), ["said A 1", "said A 3", "said - 5"]);
    assert_eq!(b.heard(), ["said B 2", "said - 5"]);
}

#[test]
fn a_client_without_interest_receives_nothing_until_it_subscribes() {
    let members = Members::new();
    let hub = members.handle();
    hub.broadcast(&Message::new("notice", 0).latest()).unwrap();
    hub.broadcast(&said(1).project("A").latest()).unwrap();
    let mut client = members.enter([]);
    assert_eq!(hub.client_count(), 1);
    hub.broadcast(&said(2)).unwrap();
    hub.broadcast(&said(3).project("A").latest()).unwrap();
    hub.broadcast_to_subscribers("A", &said(4)).unwrap();
    assert_eq!(client.heard(), NOTHING);
    hub.subscribe(&client.client, "A").unwrap();
    hub.broadcast(&said(5).project("A")).unwrap();
    hub.broadcast(&said(6).project("B")).unwrap();
    hub.broadcast(&said(7)).unwrap();
    assert_eq!(client.heard(), ["notice - 0", "said A 3", "said A 5", "said - 7"]);
}

#[test]
fn a_client_that_left_its_last_room_receives_nothing() {
    let members = Members::new();
    let hub = members.handle();
    let mut client = members.enter(["A", "B"]);
    hub.unsubscribe(&client.client, "A").unwrap();
    hub.broadcast(&said(1).project("A")).unwrap();
    hub.broadcast(&said(2).project("B")).unwrap();
    assert_eq!(client.heard(), ["said B 2"]);
    hub.unsubscribe(&client.client, "B").unwrap();
    hub.unsubscribe(&client.client, "a room it was never in").unwrap();
    for project in ["A", "B"] {
        hub.broadcast(&said(3).project(project).latest()).unwrap();
        hub.broadcast_to_subscribers(project, &said(4)).unwrap();
    }
    hub.broadcast(&said(5)).unwrap();
    assert_eq!(client.heard(), NOTHING);
    assert_eq!(hub.client_count(), 1, "the client is still registered");
    hub.subscribe(&client.client, "B").unwrap();
    hub.broadcast(&said(6).project("B")).unwrap();
    assert_eq!(client.heard(), ["said B 3", "said B 6"]);
}

#[test]
fn subscribing_sends_the_retained_messages_of_the_room_once() {
    let members = Members::new();
    let hub = members.handle();
    hub.broadcast(&Message::new("state", 1).project("A").latest()).unwrap();
    hub.broadcast_to_subscribers("A", &Message::new("job", 2).latest_of("job 2")).unwrap();
    hub.broadcast(&Message::new("state", 3).project("B").latest()).unwrap();
    hub.broadcast(&Message::new("event", 4).project("A")).unwrap();
    let mut client = members.enter(["A"]);
    assert_eq!(client.heard(), ["state A 1", "job A 2"]);
    hub.subscribe(&client.client, "B").unwrap();
    assert_eq!(client.heard(), ["state B 3"], "those of A were sent before");
    hub.subscribe(&client.client, "A").unwrap();
    assert_eq!(client.heard(), NOTHING, "the client was subscribed before");
    hub.broadcast(&Message::new("state", 5).project("A").latest()).unwrap();
    assert_eq!(client.heard(), ["state A 5"]);
    hub.unsubscribe(&client.client, "A").unwrap();
    hub.broadcast(&Message::new("state", 6).project("A").latest()).unwrap();
    hub.subscribe(&client.client, "A").unwrap();
    assert_eq!(
        client.heard(),
        ["state A 6", "job A 2"],
        "all are sent again: those sent before may be outdated"
    );
}

#[test]
fn broadcast_except_reaches_everyone_in_the_room_but_one() {
    let members = Members::new();
    let hub = members.handle();
    let (mut speaker, mut other) = (members.enter(["A"]), members.enter(["A"]));
    let (mut all, mut outside) = (members.enter_all(), members.enter(["B"]));
    hub.broadcast_except("A", &speaker.client, &said(1)).unwrap();
    hub.broadcast_except("A", &outside.client, &said(2)).unwrap();
    assert_eq!(speaker.heard(), ["said A 2"]);
    assert_eq!(other.heard(), ["said A 1", "said A 2"]);
    assert_eq!(all.heard(), ["said A 1", "said A 2"]);
    assert_eq!(outside.heard(), NOTHING);
}

#[test]
fn in_a_burst_each_broadcast_except_skips_only_its_own_client() {
    const MEMBERS: u64 = 5;
    const MESSAGES: u64 = 500;
    let members = Members::with(large_queues());
    let hub = members.handle();
    let mut room: Vec<Member> = (0..MEMBERS).map(|_| members.enter(["A"])).collect();
    // Faster than the hub can send, so it handles many in one batch.
    for n in 0..MESSAGES {
        let except = &room[usize::try_from(n % MEMBERS).unwrap()].client;
        hub.broadcast_except("A", except, &said(n)).unwrap();
        if n % 7 == 0 {
            hub.broadcast(&Message::new("all", n)).unwrap();
        }
    }
    for (me, member) in (0..).zip(&mut room) {
        let expected: Vec<String> = (0..MESSAGES)
            .flat_map(|n| {
                let said = (n % MEMBERS != me).then(|| format!("said A {n}"));
                said.into_iter().chain((n % 7 == 0).then(|| format!("all - {n}")))
            })
            .collect();
        assert_eq!(member.heard(), expected, "client {me}");
    }
}

#[test]
fn two_jobs_of_one_project_are_both_kept_for_a_late_joiner() {
    let members = Members::new();
    let hub = members.handle();
    let job = |kind: &str, project: &str, job: &str, n: u64| {
        let message = Message::new(kind, n).project(project).latest_of(job);
        hub.broadcast(&message).unwrap();
    };
    job("started", "ci", "lint", 1);
    job("started", "ci", "test", 2);
    job("started", "other", "lint", 3);
    job("finished", "ci", "lint", 4);
    let mut late = members.enter(["ci"]);
    assert_eq!(late.heard(), ["finished ci 4", "started ci 2"], "the newest of each job");
    assert_eq!(members.enter(["other"]).heard(), ["started other 3"], "kept apart by project");
    hub.broadcast(&Message::new("state", 5).project("ci").latest()).unwrap();
    hub.clear_latest("lint").unwrap();
    assert_eq!(members.enter(["ci"]).heard(), ["started ci 2", "state ci 5"]);
    assert_eq!(members.enter(["other"]).heard(), NOTHING, "cleared for every project");
    hub.clear_latest("state").unwrap();
    assert_eq!(
        members.enter(["ci"]).heard(),
        ["started ci 2"],
        "without a key, latest() uses the kind"
    );
    assert_eq!(late.heard(), ["state ci 5"], "clearing sends nothing to connected clients");
}

#[test]
fn a_client_registered_for_everything_receives_every_room_until_it_subscribes_to_one() {
    let members = Members::new();
    let hub = members.handle();
    let mut client = members.enter_all();
    let publish = || {
        hub.broadcast(&said(1).project("A")).unwrap();
        hub.broadcast_to_subscribers("B", &said(2)).unwrap();
        hub.broadcast(&said(3)).unwrap();
    };
    publish();
    assert_eq!(client.heard(), ["said A 1", "said B 2", "said - 3"]);
    hub.subscribe(&client.client, "A").unwrap();
    publish();
    assert_eq!(client.heard(), ["said A 1", "said - 3"]);
    hub.unsubscribe(&client.client, "A").unwrap();
    publish();
    assert_eq!(
        client.heard(),
        NOTHING,
        "without its last subscription the client receives nothing"
    );
}

#[test]
fn an_acknowledgement_precedes_the_messages_of_the_new_interest() {
    let members = Members::new();
    let hub = members.handle();
    hub.broadcast(&said(1).project("A").latest()).unwrap();
    hub.broadcast(&said(2).project("B").latest()).unwrap();
    let mut client = members.enter(["B"]);
    assert_eq!(client.heard(), ["said B 2"]);
    let done = Message::new("done", ());
    hub.set_interest(&client.client, Interest::only(["A"]), Some(&done)).unwrap();
    hub.broadcast(&said(3).project("B")).unwrap();
    hub.broadcast(&said(4).project("A")).unwrap();
    assert_eq!(client.heard(), ["done - null", "said A 1", "said A 4"]);
    hub.set_interest(&client.client, Interest::none(), None).unwrap();
    hub.broadcast(&said(5).project("A")).unwrap();
    assert_eq!(client.heard(), NOTHING);
}

#[test]
fn an_unregistered_or_closed_client_cannot_be_subscribed() {
    let members = Members::new();
    let hub = members.handle();
    let Member { ws, client, .. } = members.join();
    let kind = |outcome: Result<(), kentros::Error>| outcome.unwrap_err().kind();
    assert_eq!(kind(hub.subscribe(&client, "A")), ErrorKind::Invalid);
    hub.register_with(&client, Interest::none()).unwrap();
    hub.subscribe(&client, "A").unwrap();
    hub.unregister(&client).unwrap();
    assert_eq!(kind(hub.subscribe(&client, "A")), ErrorKind::Invalid);
    hub.register_with(&client, Interest::none()).unwrap();
    ws.close();
    members.served.until_clients(0);
    assert_eq!(kind(hub.subscribe(&client, "A")), ErrorKind::Stopped);
}

/// Checks the messages of one subscription: the retained state first, not older than `published`,
/// then every later message. Each state is followed by the event of the same number.
#[track_caller]
fn check_subscription(messages: &[Value], published: u64) {
    let heard: Vec<(bool, u64)> =
        messages.iter().map(|m| (m["type"] == "state", m["payload"].as_u64().unwrap())).collect();
    assert!(
        heard.first().is_some_and(|first| first.0),
        "the retained state must be first: {heard:?}"
    );
    assert!(
        heard[0].1 >= published,
        "older than {published}, which was published before: {heard:?}"
    );
    for (n, pair) in heard.windows(2).enumerate() {
        let ((state, number), next) = (pair[0], pair[1]);
        let follows = if state { (false, number) } else { (true, number + 1) };
        // The event of the retained state may have been sent before the subscription.
        let event_missed = n == 0 && next == (true, number + 1);
        assert!(next == follows || event_missed, "{pair:?} in {heard:?}");
    }
}

#[test]
fn a_subscription_that_races_with_publishes_misses_and_duplicates_nothing() {
    const ROUNDS: usize = 100;
    const BURST: u64 = 20;
    let members = Members::with(large_queues());
    let hub = &members.handle();
    let published = &AtomicU64::new(0);
    let publish = |n: u64| {
        hub.broadcast(&Message::new("state", n).project("A").latest()).unwrap();
        hub.broadcast(&Message::new("event", n).project("A")).unwrap();
        published.store(n, Ordering::SeqCst);
    };
    publish(0);
    let (start_burst, burst) = bounded::<()>(0);
    let longest = thread::scope(|scope| {
        scope.spawn(move || {
            for n in 1.. {
                if n % BURST == 1 && burst.recv().is_err() {
                    return;
                }
                publish(n);
            }
        });
        let subscribers: Vec<_> = (0..4)
            .map(|_| {
                let (mut member, start_burst) = (members.enter([]), start_burst.clone());
                scope.spawn(move || {
                    subscribe_repeatedly(&mut member, hub, ROUNDS, || {
                        start_burst.send(()).unwrap();
                        published.load(Ordering::SeqCst)
                    })
                })
            })
            .collect();
        drop(start_burst);
        subscribers.into_iter().map(|s| s.join().unwrap()).max().unwrap()
    });
    assert!(longest > 1, "no subscription raced with a burst");
}

/// Subscribes and unsubscribes. Returns the largest number of messages of one subscription.
fn subscribe_repeatedly(
    member: &mut Member,
    hub: &HubHandle,
    rounds: usize,
    start: impl Fn() -> u64,
) -> usize {
    let mut longest = 0;
    for round in 0..rounds {
        let published = start();
        hub.subscribe(&member.client, "A").unwrap();
        // Every other subscription lasts until its first message.
        let mut messages: Vec<Value> = (0..round % 2).map(|_| member.ws.next()).collect();
        hub.unsubscribe(&member.client, "A").unwrap();
        hub.send_to(&member.client, &Message::new("end", ())).unwrap();
        messages.extend(member.ws.all_until("end"));
        check_subscription(&messages, published);
        longest = longest.max(messages.len());
    }
    longest
}

/// Pseudo-random numbers, the same in each run: `SplitMix64`.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % n as u64).unwrap()
    }
}

/// A simple model of the hub: rooms with members and retained messages.
struct Model {
    /// The retained messages of each room with their keys, in the order in which the keys appeared.
    retained: Vec<Vec<(usize, String)>>,
    /// The rooms of each client, and the messages it should receive.
    clients: Vec<(BTreeSet<usize>, Vec<String>)>,
}

impl Model {
    fn subscribe(&mut self, client: usize, room: usize) {
        let (rooms, heard) = &mut self.clients[client];
        if rooms.insert(room) {
            heard.extend(self.retained[room].iter().map(|(_, message)| message.clone()));
        }
    }

    fn publish(&mut self, room: usize, except: Option<usize>, message: &str) {
        for (client, (rooms, heard)) in self.clients.iter_mut().enumerate() {
            if rooms.contains(&room) && except != Some(client) {
                heard.push(message.to_owned());
            }
        }
    }

    fn retain(&mut self, room: usize, key: usize, message: &str) {
        let retained = &mut self.retained[room];
        match retained.iter_mut().find(|(other, _)| *other == key) {
            Some(slot) => message.clone_into(&mut slot.1),
            None => retained.push((key, message.to_owned())),
        }
    }
}

#[test]
fn random_joins_leaves_and_messages_match_a_simple_model() {
    const CLIENTS: usize = 300;
    const ROOMS: usize = 30;
    const STEPS: usize = 6_000;
    let members = Members::with(large_queues());
    let hub = members.handle();
    let mut sockets: Vec<Member> = (0..CLIENTS).map(|_| members.enter([])).collect();
    let clients = (0..CLIENTS).map(|_| (BTreeSet::new(), Vec::new())).collect();
    let mut model = Model { retained: vec![Vec::new(); ROOMS], clients };
    let mut random = Random(11);
    for n in 0..STEPS {
        let (client, room, key) = (random.below(CLIENTS), random.below(ROOMS), random.below(3));
        let (socket, project) = (&sockets[client].client, format!("r{room}"));
        let (event, state) = (format!("event {project} {n}"), format!("state {project} {n}"));
        match random.below(20) {
            0..8 => {
                hub.subscribe(socket, project).unwrap();
                model.subscribe(client, room);
            }
            8..12 => {
                hub.unsubscribe(socket, &project).unwrap();
                model.clients[client].0.remove(&room);
            }
            12..15 => {
                hub.broadcast(&Message::new("event", n).project(project)).unwrap();
                model.publish(room, None, &event);
            }
            15..17 => {
                hub.broadcast_except(&project, socket, &Message::new("event", n)).unwrap();
                model.publish(room, Some(client), &event);
            }
            17..19 => {
                let message = Message::new("state", n).latest_of(key.to_string());
                hub.broadcast_to_subscribers(&project, &message).unwrap();
                model.publish(room, None, &state);
                model.retain(room, key, &state);
            }
            _ => {
                hub.send_to(socket, &Message::new("word", n)).unwrap();
                model.clients[client].1.push(format!("word - {n}"));
            }
        }
    }
    for (client, (socket, (_, expected))) in sockets.iter_mut().zip(&model.clients).enumerate() {
        assert_eq!(&socket.heard(), expected, "client {client}");
    }
    assert_eq!(hub.counters().conflated, 0, "a slow client would receive fewer messages");
}
