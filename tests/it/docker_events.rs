//! Event streams that proxies cut, engines whose clock is wrong, and engines that are slow to list
//! their containers.

use std::time::Duration;

use kentros::DockerSource;
use serde_json::Value;

use crate::harness::breaking_proxy::{Breakage, BreakingProxy};
use crate::harness::docker::serve_engine;
use crate::harness::fake_engine::{FakeContainer, FakeEngine, Fault, Kind};
use crate::harness::real_engine::{RealEngine, unique};
use crate::harness::{Served, Ws};

const KINDS: [Kind; 3] = [Kind::Direct, Kind::Stream, Kind::Podman];

/// The action of the project's next `project_status`.
fn next_action(client: &mut Ws, project: &str) -> String {
    let status = client.find_where("project_status", |event| event["project_id"] == project);
    status["payload"]["status"].as_str().unwrap().to_owned()
}

fn has_cpu(id: &str) -> impl Fn(&Value) -> bool + '_ {
    move |stats| stats["payload"][id]["cpu_percent"].is_number()
}

/// Each event arrives once and in order, also those between two streams. The session continues.
#[test]
fn a_cut_event_stream_is_opened_again_where_it_ended() {
    for kind in KINDS {
        let engine = FakeEngine::start(kind);
        let id = engine.add(FakeContainer::new("web", "shop"));
        let served = serve_engine(engine.host());
        let mut client = served.client();
        client.find_where("container_stats", has_cpu(&id));
        let (versions, lists) = (engine.calls("version"), engine.calls("list"));
        for round in 1..=6 {
            engine.event(&id, "pause", &[]);
            engine.cut_events();
            engine.event(&id, "unpause", &[]);
            engine.wait_for_calls("events", round + 1);
            engine.event(&id, "oom", &[]);
            for expected in ["pause", "unpause", "oom"] {
                assert_eq!(next_action(&mut client, "shop"), expected, "{kind:?}, round {round}");
            }
        }
        // Each row still has a rate, because the samples before the cuts were kept.
        let mut others = 0;
        while others < 3 {
            let message = client.next();
            match message["type"].as_str().unwrap() {
                "container_stats" => {
                    assert!(has_cpu(&id)(&message), "{kind:?}: {message}");
                    others += 1;
                }
                "engine_status" => assert_eq!(message["payload"]["state"], "connected"),
                _ => {}
            }
        }
        assert_eq!(engine.calls("version"), versions, "{kind:?}: the session was opened again");
        assert!(engine.calls("list") <= lists + 6 * 3, "{kind:?}: events caused the lists");
    }
}

/// Waits for a message. Fails if an event arrives before it.
fn find_before_events(client: &mut Ws, is_it: impl Fn(&Value) -> bool) {
    loop {
        let message = client.next();
        assert_ne!(message["type"], "project_status", "{message}");
        if is_it(&message) {
            return;
        }
    }
}

/// `since` is a time of the engine's clock, and Docker repeats the events from then on.
#[test]
fn old_events_are_not_new_whatever_the_engines_clock_says() {
    for minutes in [-6, 0, 6] {
        let mut engine = FakeEngine::start(Kind::Direct);
        let id = engine.add(FakeContainer::new("web", "shop"));
        engine.set_clock_ahead(time::Duration::minutes(minutes) - time::Duration::seconds(90));
        engine.event(&id, "die", &[]);
        engine.set_clock_ahead(time::Duration::minutes(minutes));
        let served = serve_engine(engine.host());
        let mut client = served.client();
        for round in 0..3 {
            find_before_events(&mut client, has_cpu(&id));
            engine.event(&id, "pause", &[]);
            assert_eq!(next_action(&mut client, "shop"), "pause", "{minutes} min, session {round}");
            engine.event(&id, "unpause", &[]);
            assert_eq!(next_action(&mut client, "shop"), "unpause", "{minutes} min");
            // A new session repeats the events of the one before.
            engine.stop();
            find_before_events(&mut client, |s| s["payload"]["state"] == "unreachable");
            engine.restart();
        }
    }
}

#[test]
fn events_that_a_proxy_cuts_off_arrive_from_a_real_engine() {
    const TEST: &str = "events_that_a_proxy_cuts_off_arrive_from_a_real_engine";
    let Some(engine) = RealEngine::find(TEST) else { return };
    let host = engine.host.to_string();
    let path = host.strip_prefix("unix://").unwrap();
    let project = unique("cut");
    let container = engine.start(&project, "web", &["sleep", "1000"]);
    let proxy = BreakingProxy::start(path.as_ref(), Breakage::CutEvents);
    let served = Served::new();
    let source = DockerSource::new(proxy.host());
    served.handle().start_stats_streamer(Duration::from_secs(1), source).unwrap();
    let mut client = served.client();
    client.find_where("container_stats", has_cpu(&container.id));
    for round in 1..=4 {
        container.act("pause");
        assert_eq!(next_action(&mut client, &project), "pause");
        proxy.cut();
        // The engine may or may not have a stream by now.
        container.act("unpause");
        assert_eq!(next_action(&mut client, &project), "unpause", "round {round}");
    }
    assert!(proxy.broken() >= 4);
    container.act("kill");
    assert_eq!(next_action(&mut client, &project), "die");
    assert!(served.handle().engine_counters().up);
}

/// With many containers or busy disks an engine needs seconds for its list.
#[test]
fn a_slow_first_list_is_waited_for_and_shown_as_connecting() {
    for kind in KINDS {
        let engine = FakeEngine::start(kind);
        let id = engine.add(FakeContainer::new("web", "shop"));
        engine.fault("list", Fault::Wait);
        let served = serve_engine(engine.host());
        let mut client = served.client();
        let status = client.find("engine_status")["payload"].clone();
        assert_eq!(status["state"], "connecting", "{kind:?}: {status}");
        assert!(status["engine"].is_string(), "{kind:?}: {status}");
        assert!(status["error"].as_str().unwrap().contains("list of containers"), "{status}");
        let calls = engine.total_calls();
        // Longer than the four seconds after which an engine that does not respond is lost.
        engine.wait_for_passes(12);
        assert_eq!(engine.calls("list"), 1, "{kind:?}");
        assert_eq!(engine.total_calls(), calls, "{kind:?}: a call was repeated");
        engine.heal("list");
        let status = client.find("engine_status")["payload"].clone();
        assert_eq!(status["state"], "connected", "{kind:?}: {status}");
        client.find_where("container_stats", has_cpu(&id));
    }
}

#[test]
fn an_engine_that_is_lost_while_connecting_is_unreachable() {
    let mut engine = FakeEngine::start(Kind::Direct);
    let id = engine.add(FakeContainer::new("web", "shop"));
    engine.fault("list", Fault::Wait);
    let served = serve_engine(engine.host());
    let mut client = served.client();
    client.find_where("engine_status", |s| s["payload"]["state"] == "connecting");
    engine.stop();
    let status = client.find("engine_status");
    assert_eq!(status["payload"]["state"], "unreachable", "{status}");
    engine.heal("list");
    engine.restart();
    client.find_where("container_stats", has_cpu(&id));
}
