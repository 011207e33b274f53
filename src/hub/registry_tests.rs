//! The registry compared with a plain map.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation)]

use super::*;
use crate::random::Random;

/// All clients with their interests, found in the shards and views as in a fan-out.
fn contents(registry: &Registry<u64>) -> BTreeMap<u64, Interest> {
    let mut seen = BTreeMap::new();
    for shard in &registry.shards {
        let members: usize = shard.groups.values().map(Vec::len).sum();
        assert_eq!(members, shard.len);
        for (view, members) in &shard.groups {
            assert!(!members.is_empty(), "an empty view in this shard");
            for (id, client) in members {
                assert_eq!(id, client);
                let interest = registry.views[view].interest.clone();
                assert!(seen.insert(*id, interest).is_none(), "{id} is registered twice");
            }
        }
    }
    seen
}

/// The clients that receive a message of `project`.
fn reached(registry: &Registry<u64>, project: Option<&str>) -> BTreeSet<u64> {
    let mut reached = BTreeSet::new();
    for (view, _) in registry.receivers(project) {
        for (id, _) in registry.shards.iter().flat_map(|shard| shard.members(view)) {
            assert!(reached.insert(*id), "{id} is reached twice");
        }
    }
    reached
}

/// Checks the invariants.
fn compare(registry: &Registry<u64>, model: &BTreeMap<u64, Interest>, projects: &[&str]) {
    assert_eq!(contents(registry), *model);
    assert_eq!(registry.len(), model.len());
    let interests: BTreeSet<&Interest> = model.values().collect();
    assert_eq!(registry.views.len(), interests.len(), "one view for each interest");
    for project in projects.iter().map(|project| Some(*project)).chain([None]) {
        let expected = model.iter().filter(|(_, interest)| interest.receives(project));
        assert_eq!(reached(registry, project), expected.map(|(id, _)| *id).collect());
    }
    let named: BTreeSet<&String> =
        model.values().filter_map(Interest::projects).flatten().collect();
    let combined = if model.values().any(Interest::is_all) || named.len() > MAX_COMBINED {
        Some(Interest::all())
    } else {
        Some(Interest::only(named.into_iter().map(String::as_str))).filter(|i| !i.is_none())
    };
    assert_eq!(registry.combined(), combined);
}

#[test]
fn random_calls_have_the_same_result_as_on_a_plain_map() {
    for seed in 1..=2_000 {
        compare_random_calls(Random::new(seed));
    }
}

fn compare_random_calls(mut random: Random) {
    let mut registry = Registry::new(random.below(4));
    let mut model: BTreeMap<u64, Interest> = BTreeMap::new();
    let projects = ["p0", "p1", "p2", "p3"];
    for _ in 0..24 {
        let id = random.below(8) as u64;
        let interest = match random.below(4) {
            0 => Interest::all(),
            n => Interest::only((1..n).map(|_| projects[random.below(4)])),
        };
        match random.below(16) {
            0..5 => {
                assert_eq!(registry.add(id, id, interest.clone()), !model.contains_key(&id));
                model.entry(id).or_insert(interest);
            }
            5..7 => assert_eq!(registry.remove(id).is_some(), model.remove(&id).is_some()),
            7..15 => {
                registry.set_interest(id, interest.clone());
                model.entry(id).and_modify(|old| *old = interest);
            }
            _ => {
                let shards = registry.take_shards();
                registry.return_shards(shards);
            }
        }
        compare(&registry, &model, &projects);
        for id in 0..8 {
            assert_eq!(registry.interest(id), model.get(&id));
            assert_eq!(registry.get(id).copied(), model.contains_key(&id).then_some(id));
        }
    }
    let mut drained = registry.drain();
    drained.sort_unstable();
    assert_eq!(drained, model.into_keys().collect::<Vec<_>>());
    compare(&registry, &BTreeMap::new(), &projects);
}

#[test]
fn ten_thousand_clients_in_a_thousand_rooms_match_a_plain_map() {
    let mut random = Random::new(11);
    let mut registry = Registry::new(2);
    let rooms: Vec<String> = (0..1_000).map(|n| format!("room {n}")).collect();
    let mut members: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
    for id in 0..10_000 {
        registry.add(id, id, Interest::none());
    }
    for step in 1..=60_000 {
        let (id, room) = (random.below(10_000) as u64, rooms[random.below(1_000)].as_str());
        let interest = registry.interest(id).unwrap();
        let room_members = members.entry(room).or_default();
        if interest.includes(room) {
            let interest = interest.without(room);
            registry.set_interest(id, interest);
            assert!(room_members.remove(&id));
        } else {
            let interest = interest.with(room.to_owned());
            registry.set_interest(id, interest);
            assert!(room_members.insert(id));
        }
        if step % 20 == 0 {
            let room = rooms[random.below(1_000)].as_str();
            let expected = members.get(room).cloned().unwrap_or_default();
            assert_eq!(reached(&registry, Some(room)), expected);
        }
    }
    for room in &rooms {
        let expected = members.get(room.as_str()).cloned().unwrap_or_default();
        assert_eq!(reached(&registry, Some(room)), expected);
    }
    let in_any: BTreeSet<u64> = members.into_values().flatten().collect();
    assert_eq!(reached(&registry, None), in_any);
}

#[test]
fn a_combined_interest_in_many_projects_becomes_everything() {
    let mut registry = Registry::new(1);
    for id in 0..=MAX_COMBINED as u64 {
        registry.add(id, id, Interest::only([id.to_string()]));
    }
    assert_eq!(registry.combined(), Some(Interest::all()));
    registry.remove(0);
    assert!(!registry.combined().unwrap().includes("0"));
}

#[test]
fn clients_with_the_same_interest_share_a_view() {
    let mut registry = Registry::new(2);
    for id in 0..10 {
        registry.add(id, id, Interest::only(["b", "a"]));
    }
    assert_eq!(registry.receivers(None).count(), 1);
}

#[test]
fn clients_are_spread_evenly_over_the_shards() {
    let mut registry = Registry::new(3);
    for id in 0..30 {
        assert!(registry.add(id, id, Interest::all()));
    }
    for id in 0..9 {
        registry.remove(id * 3);
    }
    for id in 30..39 {
        assert!(registry.add(id, id, Interest::all()));
    }
    assert_eq!(registry.shards.iter().map(|shard| shard.len).collect::<Vec<_>>(), [10; 3]);
}
