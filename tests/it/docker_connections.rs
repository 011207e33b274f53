//! `DockerSource` over connections that servers and proxies break.

use kentros::{DockerSource, StatsSource};

use crate::harness::breaking_proxy::{Breakage, BreakingProxy};
use crate::harness::docker::{read, until};
use crate::harness::fake_engine::{FakeContainer, FakeEngine, Kind};

/// Collects until all containers have a CPU value, and then five more times. Each of these readings
/// must have all values, from samples that are not older than the previous reading's.
fn collect_without_gaps(engine: &FakeEngine, source: &mut DockerSource, ids: &[String]) {
    until(engine, source, "all CPU values", |reading| {
        reading.as_ref().is_ok_and(|reading| ids.iter().all(|id| reading.cpu(id).is_some()))
    })
    .unwrap();
    let mut previous = vec![None; ids.len()];
    for n in 0..5 {
        until(engine, source, "a reading", Result::is_ok).unwrap();
        let reading = read(source).unwrap();
        for (id, previous) in ids.iter().zip(&mut previous) {
            assert!(reading.cpu(id).is_some(), "reading {n}: {:?}", reading.row(id));
            let at = reading.sampled_at(id);
            assert!(at >= *previous, "reading {n}: {:?}", reading.row(id));
            *previous = at;
        }
    }
}

/// RFC 9112, section 9.3.1: a request on a reused connection that closes without a response is sent
/// again on a new one.
#[test]
fn a_server_that_closes_reused_connections_costs_no_sample() {
    for kind in [Kind::Direct, Kind::Stream] {
        let engine = FakeEngine::start(kind);
        let ids: Vec<String> =
            (0..5).map(|n| engine.add(FakeContainer::new(&format!("c{n}"), "shop"))).collect();
        let proxy = BreakingProxy::start(engine.path(), Breakage::CloseOnReuse);
        let mut source = DockerSource::new(proxy.host());
        collect_without_gaps(&engine, &mut source, &ids);
        assert!(proxy.broken() > 0, "{kind:?}: no connection was reused");
        // The probe of an engine that waits for its collector times out.
        let expected = u64::from(kind == Kind::Stream);
        assert_eq!(source.engine_info().errors, expected, "{kind:?}");
    }
}

#[test]
fn a_cut_response_to_the_probe_costs_one_sample() {
    let engine = FakeEngine::start(Kind::Direct);
    let ids: Vec<String> =
        (0..3).map(|n| engine.add(FakeContainer::new(&format!("c{n}"), "shop"))).collect();
    let proxy = BreakingProxy::start(engine.path(), Breakage::CutFirstSample);
    let mut source = DockerSource::new(proxy.host());
    let first = read(&mut source);
    assert!(proxy.broken() > 0, "no sample was requested");
    assert!(first.is_ok(), "{first:?}");
    collect_without_gaps(&engine, &mut source, &ids);
}

#[test]
fn informational_responses_are_skipped() {
    for kind in [Kind::Direct, Kind::Stream, Kind::Podman] {
        let engine = FakeEngine::start(kind);
        let ids = [engine.add(FakeContainer::new("web", "shop"))];
        let proxy = BreakingProxy::start(engine.path(), Breakage::Informational);
        let mut source = DockerSource::new(proxy.host());
        collect_without_gaps(&engine, &mut source, &ids);
        assert!(proxy.broken() > 3, "{kind:?}");
    }
}
