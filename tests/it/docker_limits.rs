//! `DockerSource` with an engine whose responses are larger than kentros accepts.

use kentros::{Mode, Unavailable};
use time::OffsetDateTime;

use crate::harness::docker::{Reading, is_quarter, source_in, until, until_cpu};
use crate::harness::fake_engine::{FakeContainer, FakeEngine, Kind};

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
                let is_fresh =
                    |id: &&str| is_quarter(reading.cpu(id)) && reading.sampled_at(id) > Some(since);
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
