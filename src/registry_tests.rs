//! The registry beside a plain map that is asked the same.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation)]

use super::*;
use crate::random::Random;

fn ids<const N: usize>(names: [&str; N]) -> Vec<String> {
    names.iter().map(|&n| n.to_owned()).collect()
}

/// Every client with its projects, found by walking shards and views as a fan-out does.
fn walked(registry: &Registry<u64>) -> BTreeMap<u64, Projects> {
    let views: BTreeMap<ViewId, &Projects> = registry.views().collect();
    let mut seen = BTreeMap::new();
    for shard in &registry.shards {
        let members: usize = shard.groups().map(|(_, members)| members.len()).sum();
        assert_eq!(members, shard.len);
        for (view, members) in shard.groups() {
            assert!(!members.is_empty(), "a view that nobody of the shard has");
            for (id, client) in members {
                assert_eq!(id, client);
                assert!(seen.insert(*id, views[&view].clone()).is_none(), "{id} sits twice");
            }
        }
    }
    seen
}

/// What must hold after each call, whatever came before.
fn compare(registry: &Registry<u64>, model: &BTreeMap<u64, Projects>) {
    assert_eq!(walked(registry), *model);
    assert_eq!(registry.len(), model.len());
    for id in 0..CLIENTS {
        assert_eq!(registry.projects(id), model.get(&id));
        assert_eq!(registry.get(id).copied(), model.contains_key(&id).then_some(id));
    }
    let views: BTreeSet<&Projects> = registry.views().map(|(_, projects)| projects).collect();
    assert_eq!(views, model.values().collect(), "one view for each wish, and none for nobody");
    assert_eq!(registry.views().count(), views.len());
    let union: BTreeSet<String> = model.values().flatten().cloned().collect();
    let demand = if model.is_empty() {
        None
    } else if model.values().any(BTreeSet::is_empty) {
        Some(Demand::all())
    } else {
        Some(Demand::only(union))
    };
    assert_eq!(registry.demand(), demand);
}

const CLIENTS: u64 = 8;

#[test]
fn it_does_what_a_plain_map_does_whatever_the_order_of_calls() {
    for seed in 1..=2_000 {
        against_the_model(Random::new(seed));
    }
}

fn against_the_model(mut random: Random) {
    let mut registry = Registry::new(random.below(4));
    let mut model: BTreeMap<u64, Projects> = BTreeMap::new();
    for _ in 0..24 {
        let id = random.below(CLIENTS as usize) as u64;
        let projects: Vec<String> =
            (0..random.below(3)).map(|_| format!("p{}", random.below(4))).collect();
        match random.below(16) {
            0..5 => {
                assert_eq!(registry.add(id, id), !model.contains_key(&id));
                model.entry(id).or_default();
            }
            5..7 => assert_eq!(registry.remove(id).is_some(), model.remove(&id).is_some()),
            7..12 => {
                registry.subscribe(id, &projects).unwrap();
                if let Some(wanted) = model.get_mut(&id) {
                    wanted.extend(projects);
                }
            }
            12..15 => {
                registry.unsubscribe(id, &projects);
                if let Some(wanted) = model.get_mut(&id) {
                    wanted.retain(|project| !projects.contains(project));
                }
            }
            _ => {
                let shards = registry.take_shards();
                registry.return_shards(shards);
            }
        }
        compare(&registry, &model);
    }
    let mut drained = registry.drain();
    drained.sort_unstable();
    assert_eq!(drained, model.into_keys().collect::<Vec<_>>());
    compare(&registry, &BTreeMap::new());
}

#[test]
fn the_last_subscription_allowed_is_served_and_the_next_refused() {
    let mut registry = Registry::new(1);
    registry.add(1, ());
    let all: Vec<String> = (0..MAX_SUBSCRIPTIONS).map(|n| n.to_string()).collect();
    assert_eq!(registry.subscribe(1, &all), Ok(()));
    assert_eq!(registry.subscribe(1, &ids(["one more"])), Err(TooMany));
    assert_eq!(registry.projects(1).unwrap().len(), MAX_SUBSCRIPTIONS);
}

#[test]
fn a_demand_for_very_many_projects_is_one_for_all() {
    let mut registry = Registry::new(1);
    for id in 0..=MAX_DEMAND as u64 {
        registry.add(id, ());
        registry.subscribe(id, &[id.to_string()]).unwrap();
    }
    assert_eq!(registry.demand(), Some(Demand::all()));
    registry.remove(0);
    assert!(!registry.demand().unwrap().wants("0"));
}

#[test]
fn clients_that_want_the_same_share_a_view() {
    let mut registry = Registry::new(2);
    for id in 0..10 {
        registry.add(id, ());
        registry.subscribe(id, &ids(["b", "a"])).unwrap();
    }
    assert_eq!(registry.views().count(), 1);
}

#[test]
fn clients_are_spread_evenly_over_the_shards_also_after_some_have_left() {
    let mut registry = Registry::new(3);
    for id in 0..30 {
        assert!(registry.add(id, ()));
    }
    for id in 0..9 {
        registry.remove(id * 3);
    }
    for id in 30..39 {
        assert!(registry.add(id, ()));
    }
    assert_eq!(registry.shards.iter().map(|shard| shard.len).collect::<Vec<_>>(), [10; 3]);
}
