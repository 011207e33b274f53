//! `DockerSource` with an engine whose responses are larger than kentros accepts.

use kentros::{Mode, Unavailable};
use time::OffsetDateTime;

use crate::harness::docker::{Reading, serve_engine, source_in, until, until_cpu};
use crate::harness::fake_engine::{FakeContainer, FakeEngine, Kind};
use crate::harness::{in_own_process, memory, peak_memory, reset_peak_memory};

/// The largest sample that kentros accepts.
const MAX_SAMPLE: usize = 4 << 20;

#[test]
fn a_sample_of_up_to_4_mib_is_read_and_a_larger_one_costs_only_that_container() {
    for (kind, mode) in [(Kind::Direct, Mode::Direct), (Kind::Stream, Mode::Stream)] {
        let engine = FakeEngine::start(kind);
        let ids =
            ["large", "oversized", "good"].map(|name| engine.add(FakeContainer::new(name, "shop")));
        let all = ids.each_ref().map(String::as_str);
        let [large, oversized, good] = all;
        let mut source = source_in(mode, &engine);
        until_cpu(&engine, &mut source, &all);
        engine.edit(large, |container| container.sample_size = Some(MAX_SAMPLE - 1));
        engine.edit(oversized, |container| container.sample_size = Some(MAX_SAMPLE + 1));
        let mut since = OffsetDateTime::now_utc();
        for _ in 0..3 {
            let sampled = |reading: &Result<Reading, String>| {
                let reading = reading.as_ref().unwrap();
                // No CPU usage: a busy machine reads the large sample too late.
                let is_fresh = |id: &&str| reading.sampled_at(id) > Some(since);
                reading.row(oversized).memory_usage.is_none()
                    && reading.row(large).block_read == Some(7)
                    && [large, good].iter().all(is_fresh)
            };
            let reading = until(&engine, &mut source, "samples of all but one", sampled).unwrap();
            let row = reading.row(oversized);
            assert!(
                row.unavailable.values().all(|why| *why == Unavailable::EngineError),
                "{row:?}"
            );
            // On a busy machine the large sample may arrive too late to count.
            let sums = &reading.project_stats["shop"];
            assert!(sums.running == 3 && sums.sampled < 3, "{mode:?}: {sums:?}");
            since = OffsetDateTime::now_utc();
        }
    }
}

/// Lists with many elements, or with an element of many or long parts. Everything that kentros keeps
/// of them is bounded; the response itself is in memory while it is parsed.
#[test]
fn a_hostile_list_takes_little_memory() {
    if !in_own_process("docker_limits::a_hostile_list_takes_little_memory", &[]) {
        return;
    }
    let containers = |fields: &str| {
        let each = (0..1_000).map(|n| format!(r#"{{"Id":"{n:040x}"{fields}}},"#));
        each.collect::<Vec<_>>().concat()
    };
    let ports =
        format!(r#"{{"Id":"a","State":"running","Ports":[{}{{}}]}},"#, "{},".repeat(700_000));
    let name = format!(r#"{{"Id":"a","State":"running","Names":["{}"]}},"#, "x".repeat(8 << 20));
    // Far below the accepted 64 MiB, because a test build parses slowly.
    for (what, elements, times) in [
        ("nothing", "{},".repeat(1_000), 700),
        ("running", containers(r#","State":"running""#), 100),
        ("stopped", containers(""), 100),
        ("ports", ports, 1),
        ("name", name, 1),
    ] {
        let engine = FakeEngine::start(Kind::Direct);
        engine.set_list(&elements, times);
        drop(elements);
        let before = memory();
        reset_peak_memory();
        let served = serve_engine(engine.host());
        served.client().find("project_list");
        let used = peak_memory().saturating_sub(before) >> 20;
        println!("MEMORY {what}: {used} MiB");
        // Two threads list containers, and a growing response is copied.
        assert!(used < 96, "{what}: {used} MiB");
    }
}
