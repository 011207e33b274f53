//! The memory of clients that do not read and do not share their messages with others.

use std::collections::BTreeMap;

use kentros::{HubConfig, HubHandle, ServerConfig, Snapshot};
use serde_json::{Value, json};

use crate::harness::{GUARD, Served, Ws, in_own_process, numbered, peak_memory, until};

const MIB: usize = 1 << 20;
const PROJECTS: usize = 50;
const TICKS: usize = 6;

/// All projects without the two with these numbers.
fn all_but(without: [usize; 2]) -> Vec<String> {
    let projects = (0..PROJECTS).filter(|project| !without.contains(project));
    projects.map(|project| format!("p{project}")).collect()
}

/// Publishes a snapshot of 1 MiB. That of the first tick is smaller and fits into all queues together,
/// so that later ticks show which clients read.
fn publish(handle: &HubHandle, tick: usize) {
    let bytes = if tick == 0 { MIB / 3 } else { MIB };
    let filler = "x".repeat(bytes / PROJECTS);
    let row = |project| json!({"project_id": project, "tick": tick, "filler": filler});
    let rows: BTreeMap<String, Value> =
        all_but([PROJECTS; 2]).into_iter().map(|p| (format!("id-{p}"), row(p))).collect();
    handle.publish_snapshot(Snapshot::from_payload(rows).unwrap()).unwrap();
}

/// The memory that the clients that do not read have taken, in bytes.
struct Attack {
    served: Served,
    /// The peak memory of this process, without that before the first snapshot.
    most: usize,
    queued: usize,
}

/// Publishes snapshots to clients with these subscriptions that do not read, and to three that do.
/// These must receive every snapshot.
fn attack(subscriptions: impl Iterator<Item = Vec<String>>) -> Attack {
    // No client is slow enough to be evicted for anything but its memory.
    let config = HubConfig::default().with_write_deadline(100 * GUARD);
    let served = Served::with(config, ServerConfig::default().with_silence_limit(100 * GUARD));
    let handle = served.handle();
    let subscribe = |mut client: Ws, projects: Vec<String>| {
        client.subscribe(projects);
        client
    };
    let stopped: Vec<Ws> = subscriptions.map(|s| subscribe(served.narrow_client(), s)).collect();
    let [some, others] =
        [[0, 1], [7, 9]].map(|without| subscribe(served.client(), all_but(without)));
    let mut reading = [served.client(), some, others];
    let idle = peak_memory();
    let mut queued = 0;
    for tick in 0..TICKS {
        publish(&handle, tick);
        for client in &mut reading {
            assert_eq!(client.find("container_stats")["payload"]["id-p20"]["tick"], tick);
        }
        // A message of the next turn: the hub has sent the snapshot to all clients.
        handle.broadcast(&numbered(tick)).unwrap();
        for client in &mut reading {
            assert_eq!(client.find("n")["payload"], tick);
        }
        queued = queued.max(handle.counters().queued_bytes);
    }
    let counters = handle.counters();
    assert_eq!(counters.clients as u64 + counters.evicted_memory, stopped.len() as u64 + 3);
    assert_eq!((counters.evicted_slow, counters.evicted_deadline), (0, 0));
    drop(stopped);
    served.until_clients(3);
    until("the memory of all queues is free", || handle.counters().queued_bytes == 0);
    Attack { served, most: peak_memory() - idle, queued }
}

/// Fails if each view has its own messages, which take 300 MiB.
#[test]
fn ids_that_match_no_project_cost_no_memory() {
    if !in_own_process("queue_memory::ids_that_match_no_project_cost_no_memory", &[]) {
        return;
    }
    let invented = |n| {
        let mut projects = all_but([PROJECTS; 2]);
        projects.push(format!("invented-{n}"));
        projects
    };
    let Attack { served, most, queued } = attack((0..300).map(invented));
    assert_eq!(served.handle().counters().evicted_memory, 0);
    assert!(queued <= 3 * MIB, "{queued} bytes were queued");
    assert!(most <= 64 * MIB, "{most} bytes");
}

/// Fails if the queues together are not bounded: they would take 400 MiB.
#[test]
fn the_memory_of_all_queues_is_bounded() {
    if !in_own_process("queue_memory::the_memory_of_all_queues_is_bounded", &[]) {
        return;
    }
    let pairs = (0..PROJECTS).flat_map(|a| (0..a).map(move |b| [a, b]));
    let own = pairs.filter(|pair| !pair.contains(&20)).skip(50).take(400).map(all_but);
    let Attack { served, most, queued } = attack(own);
    let evicted = served.handle().counters().evicted_memory;
    assert!((100..400).contains(&evicted), "{evicted} of 400 clients were evicted");
    assert!(queued <= 256 * MIB, "{queued} bytes were queued");
    assert!(most <= 400 * MIB, "{most} bytes");
}
