//! kentros's figures and those of `podman stats`, for containers that use CPU and memory.

use kentros::{DockerSource, Interest, Mode, StatsSource};

use crate::harness::docker::Reading;
use crate::harness::parity::{HALF, IDLE, WHOLE, agrees, compare_cpu, mean, read, ready};
use crate::harness::podman::{Podman, PodmanView};
use crate::harness::real_engine::turn;
use crate::harness::strict_proxy::StrictProxy;

#[test]
fn every_figure_matches_podman_stats() {
    let _turn = turn();
    let Some(podman) = Podman::find("every_figure_matches_podman_stats") else { return };
    let mut source = DockerSource::new(podman.host());
    compare(&podman, &mut source);
    assert_eq!(source.engine_info().mode, Some(Mode::Podman));
}

#[test]
fn every_figure_matches_podman_stats_behind_a_proxy_that_forbids_libpod() {
    let _turn = turn();
    let name = "every_figure_matches_podman_stats_behind_a_proxy_that_forbids_libpod";
    let Some(podman) = Podman::find(name) else { return };
    let proxy = StrictProxy::start(&podman.host());
    let mut source = proxy.source();
    compare(&podman, &mut source);
    assert_eq!(source.engine_info().mode, Some(Mode::Direct));
    assert_eq!(proxy.refused(), ["GET /libpod/containers/stats"], "once");
}

/// Compares the figures of `source` with those of `podman stats`.
fn compare(podman: &Podman, source: &mut DockerSource) {
    let fill = format!("dd if=/dev/zero of=/dev/shm/f bs=1M count=64; {IDLE}");
    let started = [WHOLE, HALF, &fill].map(|script| podman.start(script).unwrap());
    let [whole, half, holder] = started.each_ref().map(String::as_str);
    let all = [whole, half, holder];
    let interest = Interest::all();
    let condition = |r: &Reading| r.row(holder).memory_usage > Some(64 << 20);
    ready(source, &interest, &all, "the containers at work", condition);
    let view = PodmanView::open(podman, &all);
    let mut latest = None;
    compare_cpu("Podman", &[("whole", whole), ("half", half)], || {
        let ours = vec![read(source, &interest)];
        let theirs = view.newest();
        let cpu = |id: &str| mean(theirs.iter().map(|frame| frame[id].cpu));
        let cpu = all.iter().map(|id| ((*id).to_owned(), cpu(id))).collect();
        latest = theirs.last().map(|frame| frame[holder]);
        (ours, cpu)
    });
    let theirs = latest.unwrap();
    let reading = read(source, &interest);
    let row = reading.row(holder);
    println!(
        "PARITY Podman holder: memory {:?}, PIDs {:?} and {theirs:?}",
        row.memory_usage, row.pids
    );
    assert!(agrees(row.memory_usage, theirs.memory, 0.01), "{row:?} {theirs:?}");
    assert_eq!(row.pids, Some(theirs.pids));
    let counters = [row.network_rx, row.network_tx, row.block_read, row.block_write];
    for (ours, theirs) in counters.into_iter().zip(theirs.counters) {
        assert!(agrees(ours, theirs, 0.005), "{ours:?} by kentros, {theirs} by podman");
    }
}
