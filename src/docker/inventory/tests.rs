#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::entry::MAX_OUTDATED_LISTS;
use super::*;
use crate::docker::engine::list::ContainerList;

fn parse_list(json: &str) -> Vec<ContainerSummary> {
    serde_json::from_str::<ContainerList>(json).unwrap().containers
}

pub(super) fn event(id: &str, action: &str, attributes: &str) -> EngineEvent {
    let json = format!(
        r#"{{"Type":"container","Action":"{action}","timeNano":1,
            "Actor":{{"ID":"{id}","Attributes":{{"name":"web-{id}","image":"busybox",
            "com.docker.compose.project":"shop","com.docker.compose.service":"web"{attributes}}}}}}}"#
    );
    serde_json::from_str(&json).unwrap()
}

pub(super) fn one(id: &str, state: &str) -> ContainerSummary {
    ContainerSummary { id: id.to_owned(), state: state.to_owned(), ..ContainerSummary::default() }
}

/// Inspects a container, with this response.
pub(super) fn inspect(inventory: &mut Inventory, id: &str, json: &str) {
    let response: ContainerInspect = serde_json::from_str(json).unwrap();
    inventory.begin_inspection(id);
    inventory.apply_inspection(id, Some(&response));
}

/// The state of the only container.
pub(super) fn state(inventory: &Inventory) -> String {
    inventory.projects()[0].containers[0].state.clone()
}

#[test]
fn a_list_is_grouped_by_project() {
    // Shortened entries of docker-20.10.24-cgroupv1-list-all.json, and constructed ones.
    let mut inventory = Inventory::default();
    inventory.apply_full_list(parse_list(
        r#"[{"Id":"2f57","Names":["/shop-web-1"],"Image":"busybox:local","Created":1795374042,
             "Ports":[{"IP":"::","PrivatePort":80,"PublicPort":8080,"Type":"tcp"},
             {"IP":"0.0.0.0","PrivatePort":80,"PublicPort":8080,"Type":"tcp"},
             {"PrivatePort":443,"Type":"tcp"},{"PrivatePort":53,"PublicPort":53,"Type":"udp"}],
             "Labels":{"com.docker.compose.project":"shop","com.docker.compose.service":"web",
             "com.docker.compose.oneoff":"False","lab":"docker"},
             "State":"running","Status":"Up 3 seconds (healthy)",
             "HostConfig":{"NetworkMode":"default"}},
            {"Id":"1061","Names":["/shop-run-1"],"Image":"b","Created":1,"Ports":null,
             "Labels":{"com.docker.compose.project":"shop","com.docker.compose.oneoff":"True"},
             "State":"exited","Status":"Exited (3) 2 seconds ago","HostConfig":{}},
            {"Id":"f6c2","Names":["/lone"],"Image":"b","Created":1,"Labels":null,
             "State":"running","Status":"Up 1 second (health: starting)"},
            {"Id":"5a3c","Names":["/mon_web.1.x"],"Labels":{"com.docker.stack.namespace":"mon",
             "com.docker.swarm.service.name":"mon_web"},"State":"paused","Status":"(Paused)"},
            {"Id":"90d0","Names":["/pods"],"Labels":{"io.podman.compose.project":"pods"},
             "State":"created","Status":"Created"}]"#,
    ));
    let projects = inventory.projects();
    let ids: Vec<(&str, &str)> = projects.iter().map(|p| (p.id, p.status)).collect();
    let expected =
        [("_standalone", "running"), ("mon", "running"), ("pods", "stopped"), ("shop", "partial")];
    assert_eq!(ids, expected);
    assert_eq!(projects[0].containers[0].health.as_deref(), Some("starting"));
    assert_eq!(projects[1].containers[0].service_name.as_deref(), Some("web"));
    let shop = &projects[3].containers;
    assert_eq!(shop[0].name, "shop-run-1", "a one-off container belongs to its project");
    let web = &shop[1];
    assert_eq!(web.name, "shop-web-1");
    assert_eq!(web.service_name.as_deref(), Some("web"));
    assert_eq!(web.health.as_deref(), Some("healthy"));
    assert_eq!(web.created_at.as_deref(), Some("2026-11-22T19:00:42Z"));
    assert_eq!(web.ports, ["0.0.0.0:8080->80/tcp", "443/tcp", "53->53/udp", "[::]:8080->80/tcp"]);
}

#[test]
fn only_running_containers_in_the_interest_are_sampled() {
    let mut inventory = Inventory::default();
    let mut list: Vec<ContainerSummary> =
        ["running", "paused", "exited", "created", "dead", "restarting"]
            .iter()
            .map(|state| one(state, state))
            .collect();
    list.push(one("../version", "running"));
    inventory.apply_full_list(list);
    let mut ids: Vec<String> =
        inventory.targets(&Interest::all()).into_iter().map(|target| target.id).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["paused", "running"]);
    assert!(inventory.targets(&Interest::only(["shop"])).is_empty());
}

#[test]
fn events_change_states_as_in_states20_txt() {
    let mut inventory = Inventory::default();
    for (action, attributes, expected) in [
        ("create", "", "created"),
        ("start", "", "running"),
        ("pause", "", "paused"),
        ("unpause", "", "running"),
        ("die", r#","exitCode":"3""#, "exited"),
        ("start", "", "running"),
        ("update", "", "running"),
    ] {
        let (project, message) = inventory.apply(&event("a", action, attributes)).unwrap();
        assert_eq!(project, "shop");
        assert_eq!(message.status, action);
        assert_eq!(message.container.state, expected, "{action}");
        assert_eq!(message.container.name, "web-a");
        assert_eq!(message.container.exit_code, (action == "die").then_some(3), "{action}");
        assert_eq!(state(&inventory), expected);
    }
    let (_, message) = inventory.apply(&event("a", "destroy", "")).unwrap();
    assert_eq!(message.container.state, "removed");
    assert!(inventory.projects().is_empty());
}

#[test]
fn status_messages_have_health_and_oom_kills() {
    let mut inventory = Inventory::default();
    inventory.apply(&event("a", "start", ""));
    let (_, message) = inventory.apply(&event("a", "health_status: unhealthy", "")).unwrap();
    assert_eq!(message.status, "health_status");
    assert_eq!(message.container.health.as_deref(), Some("unhealthy"));
    inventory.apply(&event("a", "oom", ""));
    let (_, message) = inventory.apply(&event("a", "die", r#","exitCode":"137""#)).unwrap();
    assert!(message.container.oom_killed);
    assert_eq!(message.container.exit_code, Some(137));
    let (_, message) = inventory.apply(&event("a", "start", "")).unwrap();
    assert!(!message.container.oom_killed, "a start resets it");
    assert_eq!(message.container.exit_code, None);
}

/// Podman's lists have no health. Its event has the action `health_status` without a detail.
#[test]
fn podmans_health_comes_from_events_and_inspections() {
    let health = |inventory: &Inventory| inventory.projects()[0].containers[0].health.clone();
    let up = || ContainerSummary { status: "Up 5 seconds".to_owned(), ..one("a", "running") };
    let mut inventory = Inventory::default();
    inventory.apply_full_list(vec![up()]);
    assert_eq!(health(&inventory), None);
    inspect(&mut inventory, "a", r#"{"State":{"Health":{"Status":"starting"}}}"#);
    assert_eq!(health(&inventory).as_deref(), Some("starting"));
    let event =
        r#"{"Action":"health_status","HealthStatus":"healthy","timeNano":2,"Actor":{"ID":"a"}}"#;
    let (_, message) = inventory.apply(&serde_json::from_str(event).unwrap()).unwrap();
    assert_eq!(message.container.health.as_deref(), Some("healthy"));
    inventory.apply_list(&["a".to_owned()], vec![up()]);
    assert_eq!(health(&inventory).as_deref(), Some("healthy"), "a list keeps it");
    inventory.apply_list(&["a".to_owned()], vec![one("a", "exited")]);
    assert_eq!(health(&inventory), None, "not running");
}

#[test]
fn other_events_are_ignored() {
    let mut inventory = Inventory::default();
    for action in ["exec_create: sh", "exec_start: sh", "exec_die", "kill", "top", "init", ""] {
        assert!(inventory.apply(&event("a", action, "")).is_none(), "{action}");
    }
    assert!(inventory.apply(&event("", "start", "")).is_none());
    assert!(inventory.projects().is_empty());
    assert!(!inventory.has_changed());
}

#[test]
fn a_list_does_not_undo_an_event_during_the_call() {
    let mut inventory = Inventory::default();
    inventory.apply_full_list(vec![one("a", "running"), one("gone", "running")]);
    inventory.begin_list();
    inventory.apply(&event("a", "die", ""));
    inventory.apply(&event("gone", "destroy", ""));
    inventory.apply(&event("new", "start", ""));
    // The engine made this list before the events.
    inventory.apply_full_list(vec![one("a", "running"), one("gone", "running")]);
    let states: BTreeMap<String, String> = inventory
        .projects()
        .into_iter()
        .flat_map(|project| project.containers)
        .map(|container| (container.id.clone(), container.state.clone()))
        .collect();
    assert_eq!(states.len(), 2, "{states:?}");
    assert_eq!(states["a"], "exited");
    assert_eq!(states["new"], "running");
    assert!(inventory.has_changed(), "listed once more");
}

#[test]
fn an_outdated_list_does_not_undo_an_event() {
    let up = || ContainerSummary { status: "Up 5 seconds".to_owned(), ..one("a", "running") };
    let mut inventory = Inventory::default();
    inventory.apply_full_list(vec![up()]);
    inventory.apply(&event("a", "die", ""));
    for _ in 0..MAX_OUTDATED_LISTS {
        let changed = inventory.begin_list();
        assert_eq!(changed, ["a"], "listed again");
        inventory.apply_list(&changed, vec![up()]);
        let container = inventory.projects()[0].containers[0].clone();
        assert_eq!((container.state.as_str(), container.status.as_str()), ("exited", ""));
    }
    // After that many lists the engine is right.
    let changed = inventory.begin_list();
    inventory.apply_list(&changed, vec![up()]);
    assert_eq!(state(&inventory), "running");
    assert!(!inventory.has_changed());

    inventory.apply(&event("a", "die", ""));
    let changed = inventory.begin_list();
    inventory.apply_list(&changed, vec![one("a", "restarting")]);
    assert_eq!(state(&inventory), "restarting", "any other state is new");
    assert!(!inventory.has_changed());
}

#[test]
fn changed_containers_are_listed_by_id() {
    let mut inventory = Inventory::default();
    inventory.apply_full_list(vec![one("a", "running"), one("b", "running")]);
    inventory.apply(&event("a", "die", ""));
    inventory.apply(&event("c", "create", ""));
    let changed = inventory.begin_list();
    assert_eq!(changed, ["a", "c"]);
    assert!(!inventory.has_changed());
    inventory.abort_list(changed);
    assert_eq!(inventory.begin_list(), ["a", "c"], "the list failed");
    inventory.apply_list(&["a".to_owned(), "c".to_owned()], vec![one("a", "restarting")]);
    let states: Vec<String> = inventory
        .projects()
        .into_iter()
        .flat_map(|project| project.containers)
        .map(|container| container.id.clone() + " " + &container.state)
        .collect();
    assert_eq!(states.len(), 2);
    assert!(states.contains(&"a restarting".to_owned()));
    assert!(states.contains(&"b running".to_owned()), "c was removed, b was not listed");
}

#[test]
fn a_shared_network_is_resolved_to_its_owner() {
    let with = |id: &str, mode: &str| {
        let json = format!(r#"{{"Id":"{id}","State":"running","Names":["/name-{id}"]}}"#);
        let mut listed: ContainerSummary = serde_json::from_str(&json).unwrap();
        listed.host_config.network_mode = Some(mode.to_owned());
        listed
    };
    let mut inventory = Inventory::default();
    inventory.apply_full_list(vec![
        with("own", "shop_default"),
        with("host", "host"),
        with("none", "none"),
        with("guest", "container:own"),
        with("named", "container:name-own"),
        with("hosts", "container:host"),
        with("orphan", "container:gone"),
    ]);
    let networks: HashMap<String, NetworkMode> =
        inventory.targets(&Interest::all()).into_iter().map(|t| (t.id, t.network)).collect();
    assert_eq!(networks["own"], NetworkMode::Own);
    assert_eq!(networks["host"], NetworkMode::Host);
    assert_eq!(networks["none"], NetworkMode::None);
    assert_eq!(networks["guest"], NetworkMode::SharedWith("own".to_owned()));
    assert_eq!(networks["named"], NetworkMode::SharedWith("own".to_owned()));
    assert_eq!(networks["hosts"], NetworkMode::Host);
    assert_eq!(networks["orphan"], NetworkMode::SharedWith("gone".to_owned()));
}

#[test]
fn a_container_is_inspected_once_per_start() {
    let mut inventory = Inventory::default();
    inventory.apply_full_list(vec![one("a", "running")]);
    assert_eq!(inventory.uninspected(25), ["a"]);
    for (limits, cpus) in [
        (r#"{"NanoCpus":500000000}"#, Some(0.5)),
        (r#"{"CpuQuota":150000,"CpuPeriod":100000}"#, Some(1.5)),
        (r#"{"CpuQuota":50000,"CpuPeriod":0}"#, Some(0.5)),
        (r#"{"CpuQuota":-1}"#, None),
        (r#"{"NanoCpus":null,"NetworkMode":"host"}"#, None),
    ] {
        let json = format!(
            r#"{{"State":{{"StartedAt":"2026-11-22T20:28:22.3Z"}},"HostConfig":{limits}}}"#
        );
        inspect(&mut inventory, "a", &json);
        assert_eq!(inventory.targets(&Interest::all())[0].cpu_limit, Ok(cpus), "{limits}");
    }
    assert!(inventory.uninspected(25).is_empty());
    assert_eq!(inventory.targets(&Interest::all())[0].network, NetworkMode::Host, "Podman's lists");
    let container = |inventory: &Inventory| inventory.projects()[0].containers[0].clone();
    assert_eq!(container(&inventory).started_at.as_deref(), Some("2026-11-22T20:28:22.3Z"));
    inventory.apply_list(&["a".to_owned()], vec![one("a", "running")]);
    assert!(container(&inventory).started_at.is_some(), "a list keeps it");
    inventory.apply(&event("a", "start", ""));
    assert!(inventory.uninspected(25).is_empty(), "the engine's list may be older than the event");
    let changed = inventory.begin_list();
    inventory.apply_list(&changed, vec![one("a", "running")]);
    assert_eq!(inventory.uninspected(25), ["a"], "inspected again after a start");
    inventory.begin_inspection("a");
    inventory.apply_inspection("a", None);
    assert!(inventory.uninspected(25).is_empty(), "not retried at once after a failure");
    assert!(inventory.targets(&Interest::all())[0].cpu_limit.is_err());
    inventory.apply_full_list(vec![one("a", "running")]);
    assert_eq!(inventory.uninspected(25), ["a"], "retried after the next full list");
}

#[test]
fn containers_known_from_events_count_against_the_limit() {
    let mut inventory = Inventory::default();
    inventory.begin_list();
    inventory.apply_full_list(vec![one("web", "running")]);
    inventory.begin_list();
    for n in 0..2 * MAX_CONTAINERS {
        let status = inventory.apply(&event(&format!("e{n}"), "create", ""));
        assert_eq!(status.is_some(), n < MAX_CONTAINERS - 1, "{n}");
    }
    assert_eq!(inventory.entries.len(), MAX_CONTAINERS);
    assert_eq!(inventory.events_during_list.as_ref().map(Vec::len), Some(MAX_CHANGES));
    assert_eq!(inventory.changed.len(), MAX_CHANGES);
    assert!(inventory.apply(&event("web", "die", "")).is_some(), "a known one");
    assert!(inventory.apply(&event("web", "start", "")).is_some());
    // The list of a new container takes the place of a stopped one.
    assert!(inventory.apply(&event("new", "start", "")).is_none());
    inventory.abort_list(Vec::new());
    let created = |created| ContainerSummary { created, ..one("old", "exited") };
    inventory.apply_list(&["old".to_owned()], vec![created(Some(7))]);
    inventory.apply_list(&["new".to_owned()], vec![one("new", "running")]);
    assert_eq!(inventory.entries.len(), MAX_CONTAINERS);
    for id in ["web", "old", "new"] {
        assert!(inventory.entries.contains_key(id), "{id}");
    }
}

#[test]
fn an_event_with_a_long_id_is_ignored() {
    let mut inventory = Inventory::default();
    assert!(inventory.apply(&event(&"a".repeat(128), "start", "")).is_some());
    assert!(inventory.apply(&event(&"a".repeat(129), "start", "")).is_none());
    assert!(inventory.apply(&event("../version", "start", "")).is_none());
    assert_eq!((inventory.entries.len(), inventory.changed.len()), (1, 1));
}

#[test]
fn long_texts_of_a_container_are_cut() {
    let long = "x".repeat(1 << 20);
    let ports: Vec<String> = (0..5_000).map(|n| format!(r#"{{"PrivatePort":{n}}},"#)).collect();
    let ports = ports.concat();
    let list = format!(
        r#"[{{"Id":"a","Names":["/{long}"],"Image":"{long}","State":"{long}","Status":"{long}",
             "Labels":{{"com.docker.compose.project":"{long}","com.docker.compose.service":"{long}"}},
             "Ports":[{ports}{{"Type":"{long}"}}],"HostConfig":{{"NetworkMode":"{long}"}}}}]"#
    );
    let mut inventory = Inventory::default();
    inventory.apply_full_list(parse_list(&list));
    let published = |inventory: &Inventory| serde_json::to_string(&inventory.projects()).unwrap();
    assert!(published(&inventory).len() < 50_000);
    let json = format!(
        r#"{{"Action":"health_status: {long}","Actor":{{"ID":"b","Attributes":{{"name":"{long}",
            "image":"{long}","com.docker.compose.project":"{long}"}}}}}}"#
    );
    let (project, status) = inventory.apply(&serde_json::from_str(&json).unwrap()).unwrap();
    assert!(project.len() + serde_json::to_string(&status).unwrap().len() < 10_000);
    assert!(published(&inventory).len() < 60_000);
}
