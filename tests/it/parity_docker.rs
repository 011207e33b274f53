//! kentros's figures and those of `docker stats`, for containers that use CPU, memory, disk and
//! network.

use std::thread;
use std::time::Instant;

use kentros::{ContainerStats, DockerSource, Interest};

use crate::harness::parity::{HALF, IDLE, WHOLE, agrees, compare_cpu, read, ready};
use crate::harness::real_engine::{DockerStats, RealEngine, unique};
use crate::harness::{GUARD, report_skipped, until};

/// A bridge network, removed on drop.
struct Bridge<'a> {
    engine: &'a RealEngine,
    name: String,
}

impl Drop for Bridge<'_> {
    fn drop(&mut self) {
        let _ = self.engine.run(&["network", "rm", &self.name]);
    }
}

/// The bytes received and sent on `eth0` as the container reads them in `/proc`.
fn counters_in_container(engine: &RealEngine, id: &str) -> (u64, u64) {
    let text = engine.docker(&["exec", id, "/bin/cat", "/proc/net/dev"]);
    let line = text.lines().find_map(|line| line.trim().strip_prefix("eth0:")).unwrap();
    let figures: Vec<u64> = line.split_whitespace().map(|word| word.parse().unwrap()).collect();
    // Eight columns for each direction, the first of which is bytes.
    (figures[0], figures[8])
}

fn agree(row: &ContainerStats, docker: &DockerStats) -> bool {
    // docker shows three digits: allow half of the last one.
    agrees(row.network_rx, docker.network.0, 0.005)
        && agrees(row.network_tx, docker.network.1, 0.005)
        && agrees(row.block_read, docker.block.0, 0.005)
        && agrees(row.block_write, docker.block.1, 0.005)
        && row.pids == Some(docker.pids)
}

#[test]
fn every_figure_matches_docker_stats() {
    let Some(engine) = RealEngine::find("every_figure_matches_docker_stats") else { return };
    let project = unique("figures");
    let bridge = Bridge { engine: &engine, name: unique("kentros-test-net") };
    let network = match engine.run(&["network", "create", &bridge.name]) {
        Ok(_) => bridge.name.as_str(),
        Err(why) => {
            report_skipped("the network part of every_figure_matches_docker_stats", &why);
            "none"
        }
    };
    let start = |service: &str, options: &[&str], script: &str| {
        engine.start_with(&project, service, options, &["/bin/sh", "-c", script])
    };
    let none = ["--network", "none"];
    let whole = start("whole", &none, WHOLE);
    let half = start("half", &none, HALF);
    // 64 MiB of shared memory, which the kernel counts in `cache` although it is not page cache.
    let fill = format!("dd if=/dev/zero of=/dev/shm/f bs=1M count=64; {IDLE}");
    let holder = start("holder", &["--network", "none", "--shm-size", "80m"], &fill);
    let write = format!("dd if=/dev/zero of=/f bs=1M count=8 conv=fsync; {IDLE}");
    let writer = start("writer", &none, &write);
    let mut idle = vec![&holder, &writer];
    let serve =
        "dd if=/dev/zero of=/f bs=64k count=16; [ -d /sys/class/net/eth0 ] && httpd -p 80 -h /;";
    let server = start("server", &["--network", network], &format!("{serve} {IDLE}"));
    let address = engine.docker(&[
        "inspect",
        "--format",
        "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}",
        &server.id,
    ]);
    let fetch = format!(
        "n=0; while [ $n -lt 4 ]; do wget -q -O /dev/null http://{}/f && n=$((n+1)) || sleep 0.2; done",
        address.trim()
    );
    let fetch = if network == "none" { String::new() } else { format!("{fetch}; ") };
    let client = start("client", &["--network", network], &format!("{fetch}{IDLE}"));
    idle.extend([&server, &client]);
    let burners = [("whole", whole.id.as_str()), ("half", half.id.as_str())];
    let all: Vec<&str> =
        burners.iter().map(|(_, id)| *id).chain(idle.iter().map(|c| c.id.as_str())).collect();

    let mut source = DockerSource::new(engine.host.clone());
    let interest = Interest::only([project.as_str()]);
    ready(&mut source, &interest, &all, "the containers at work", |r| {
        r.row(&holder.id).memory_usage > Some(64 << 20)
            && (network == "none" || r.row(&client.id).network_rx > Some(4 << 20))
    });
    let mut latest = None;
    compare_cpu("Docker", &burners, || {
        let (theirs, ours) = thread::scope(|scope| {
            let theirs = scope.spawn(|| engine.docker_stats(&all));
            let mut ours = Vec::new();
            while !theirs.is_finished() || ours.is_empty() {
                ours.push(read(&mut source, &interest));
            }
            (theirs.join().unwrap(), ours)
        });
        let cpu = theirs.iter().map(|(id, stats)| (id.clone(), stats.cpu)).collect();
        latest = Some(theirs);
        (ours, cpu)
    });
    // The counters of idle containers no longer change, apart from late network packets.
    let mut theirs = latest.unwrap();
    let start = Instant::now();
    let reading = loop {
        let reading = read(&mut source, &interest);
        if idle.iter().all(|c| agree(reading.row(&c.id), &theirs[&c.id])) {
            break reading;
        }
        assert!(start.elapsed() < GUARD, "the counters differ from {theirs:?}: {reading:?}");
        theirs = engine.docker_stats(&all);
    };
    for (name, container) in ["holder", "writer", "server", "client"].into_iter().zip(idle) {
        let (row, docker) = (reading.row(&container.id), &theirs[&container.id]);
        println!(
            "PARITY Docker {name}: memory {:?} and {}, network {:?} {:?} and {:?}, block {:?} {:?} \
             and {:?}, PIDs {:?} and {}",
            row.memory_usage,
            docker.memory,
            row.network_rx,
            row.network_tx,
            docker.network,
            row.block_read,
            row.block_write,
            docker.block,
            row.pids,
            docker.pids,
        );
    }
    let (ours, docker) = (reading.row(&holder.id).memory_usage, theirs[&holder.id].memory);
    assert!(agrees(ours, docker, 0.01), "memory: {ours:?} by kentros, {docker} by docker");
    if network != "none" {
        // Compare all digits with the counters inside the container.
        until("the counters inside the container", || {
            let row = read(&mut source, &interest);
            let row = row.row(&client.id);
            let (rx, tx) = counters_in_container(&engine, &client.id);
            (row.network_rx, row.network_tx) == (Some(rx), Some(tx))
        });
    }
}
