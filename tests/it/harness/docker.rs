//! `DockerSource`s: their readings, and servers with their stats.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kentros::{
    ContainerStats, DockerHost, DockerSource, Interest, Mode, ProjectTotals, StatsSource,
};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::fake_engine::FakeEngine;
use super::{GUARD, Served};

/// A snapshot as an embedder sees it.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct Reading {
    pub(crate) container_stats: BTreeMap<String, ContainerStats>,
    pub(crate) project_stats: BTreeMap<String, ProjectTotals>,
}

impl Reading {
    pub(crate) fn row(&self, id: &str) -> &ContainerStats {
        self.container_stats.get(id).unwrap_or_else(|| panic!("no row of {id}: {self:?}"))
    }

    pub(crate) fn cpu(&self, id: &str) -> Option<f64> {
        self.container_stats.get(id)?.cpu_percent
    }

    /// The time of a container's sample; `None` without one.
    pub(crate) fn sampled_at(&self, id: &str) -> Option<OffsetDateTime> {
        let timestamp = self.container_stats.get(id)?.timestamp.as_deref()?;
        Some(OffsetDateTime::parse(timestamp, &Rfc3339).unwrap())
    }
}

/// Takes one reading of all containers.
pub(crate) fn read(source: &mut DockerSource) -> Result<Reading, String> {
    read_only(source, &Interest::all())
}

/// Takes one reading. It must return even if the engine hangs; the fake engine hangs for [`GUARD`].
pub(crate) fn read_only(source: &mut DockerSource, interest: &Interest) -> Result<Reading, String> {
    let start = Instant::now();
    let snapshot = source.collect(interest);
    assert!(start.elapsed() < GUARD, "a reading took {:?}", start.elapsed());
    let snapshot = snapshot.map_err(|error| error.to_string())?;
    Ok(serde_json::from_str(&snapshot.to_json()).unwrap())
}

/// Takes a reading at each pass of the engine until one satisfies `condition`.
pub(crate) fn until(
    engine: &FakeEngine,
    source: &mut DockerSource,
    what: &str,
    condition: impl Fn(&Result<Reading, String>) -> bool,
) -> Result<Reading, String> {
    let start = Instant::now();
    loop {
        let reading = read(source);
        if condition(&reading) {
            return reading;
        }
        assert!(start.elapsed() < GUARD, "{what}: not within {GUARD:?}: {reading:?}");
        engine.wait_for_passes(1);
    }
}

/// Takes readings until each of these containers has a CPU usage.
pub(crate) fn until_cpu(engine: &FakeEngine, source: &mut DockerSource, ids: &[&str]) -> Reading {
    let all = |r: &Result<Reading, String>| {
        r.as_ref().is_ok_and(|r| ids.iter().all(|id| r.cpu(id).is_some()))
    };
    until(engine, source, "the CPU usage of each container", all).unwrap()
}

/// A source that has detected this mode. On a busy machine a direct engine may be slow enough to be
/// taken for one that streams.
pub(crate) fn source_in(mode: Mode, engine: &FakeEngine) -> DockerSource {
    let start = Instant::now();
    loop {
        let mut source = DockerSource::new(engine.host());
        while source.engine_info().mode.is_none() {
            read(&mut source).unwrap();
        }
        if source.engine_info().mode == Some(mode) {
            return source;
        }
        assert!(start.elapsed() < GUARD, "mode {mode:?} not detected");
    }
}

/// Whether this is the CPU usage of a container that uses a quarter of a core.
pub(crate) fn is_quarter(cpu: Option<f64>) -> bool {
    cpu.is_some_and(|cpu| (cpu - 25.0).abs() < 0.1)
}

/// A server with the stats of an engine, which it samples each second.
pub(crate) fn serve_engine(host: DockerHost) -> Served {
    let served = Served::new();
    let source = DockerSource::new(host);
    served.handle().start_stats_streamer(Duration::from_secs(1), source).unwrap();
    served
}
