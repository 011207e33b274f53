//! The hub's loop compared with a plain model: 10,000 clients join and leave 1,000 rooms at random,
//! and each must receive exactly the model's messages in order.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation)]

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use crossbeam_channel::{bounded, unbounded};

use super::*;
use crate::Message;
use crate::connection::queue::QueueBounds;
use crate::hub::listener::ListenerQueue;
use crate::random::Random;

const CLIENTS: usize = 10_000;
const ROOMS: usize = 1_000;
const STEPS: usize = 20_000;

/// The expected state of a client.
#[derive(Clone, Default)]
struct Expected {
    rooms: BTreeSet<usize>,
    received: Vec<usize>,
}

#[test]
fn ten_thousand_clients_in_a_thousand_rooms_match_a_plain_model() {
    let mut random = Random::new(2);
    let shards = NonZeroUsize::new(2).unwrap();
    let config = HubConfig { shards, ..HubConfig::default() };
    let (commands, inbox) = unbounded();
    let (_stop, stopped) = bounded(0);
    let counters = Arc::new(AtomicCounters::default());
    let mut hub = HubLoop::new(0, &config, inbox, stopped, Arc::default(), Arc::clone(&counters));
    let bounds = QueueBounds { messages: usize::MAX, bytes: usize::MAX };
    let queues: Vec<Arc<ListenerQueue>> =
        (0..CLIENTS).map(|_| Arc::new(ListenerQueue::new(bounds, Arc::clone(&counters)))).collect();
    for queue in &queues {
        let subscriber = Subscriber::Listener(Arc::clone(queue));
        hub.execute(HubCommand::Register(subscriber, Interest::none()));
    }

    let mut model = vec![Expected::default(); CLIENTS];
    let mut members: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); ROOMS];
    let mut retained: Vec<Option<usize>> = vec![None; ROOMS];
    let mut number = 0;
    for _ in 0..STEPS {
        let (client, room) = (random.below(CLIENTS), random.below(ROOMS));
        let (id, project) = (queues[client].id(), room.to_string());
        match random.below(8) {
            0..5 => {
                let (reply, replied) = bounded(1);
                hub.execute(HubCommand::Subscribe { client: id, project, reply });
                assert!(replied.recv().unwrap());
                if model[client].rooms.insert(room) {
                    model[client].received.extend(retained[room]);
                    members[room].insert(client);
                }
            }
            5 => {
                hub.execute(HubCommand::Unsubscribe { client: id, project });
                model[client].rooms.remove(&room);
                members[room].remove(&client);
            }
            // A burst, sent in one turn.
            _ => {
                for _ in 0..=random.below(6) {
                    number += 1;
                    let room = random.below(ROOMS);
                    let except = members[room].iter().next().copied();
                    let except = except.filter(|_| random.below(2) == 0);
                    let message = Message::new("n", number);
                    let key = (random.below(3) == 0).then(|| Arc::from(room.to_string()));
                    if key.is_some() {
                        retained[room] = Some(number);
                    }
                    let publication = Publication::Project {
                        project: room.to_string().into(),
                        frame: Frame::message(&message).unwrap(),
                        except: except.map(|client| queues[client].id()),
                    };
                    commands.send(HubCommand::Publish { key, publication }).unwrap();
                    for &member in members[room].iter().filter(|member| Some(**member) != except) {
                        model[member].received.push(number);
                    }
                }
                while let Ok(command) = hub.commands.try_recv() {
                    hub.execute(command);
                }
            }
        }
    }
    let mut all = 0;
    for (queue, expected) in queues.iter().zip(model) {
        let next = || queue.take(Some(Duration::ZERO));
        let received: Vec<usize> =
            std::iter::from_fn(next).map(|message| message.payload().unwrap()).collect();
        assert_eq!(received, expected.received);
        all += received.len();
    }
    assert!(all > 10_000, "{all} messages");
}
