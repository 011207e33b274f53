//! Our figures against those of `docker stats` and `podman stats`, over the same seconds, of
//! containers that burn CPU, hold memory, write to disk and send traffic.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, after, unbounded};
use kentros::{ContainerStats, DockerSource, Interest, Mode, StatsSource};

use crate::docker_source::{Reading, read_only};
use crate::harness::say_skipped;
use crate::harness::until;
use crate::real_engine::{DockerStats, RealEngine, bytes, pack, turn, unique};

/// A guard against waiting for ever; no test waits for it.
const GUARD: Duration = Duration::from_secs(60);
/// Rounds compared, at least and at most. Both sides measure a second at a time, but on a busy
/// machine not exactly the same ones: the mean of some rounds tells, and a wrong figure stays
/// wrong however many there are.
const ROUNDS: (usize, usize) = (5, 20);

/// Burns some half of a core: as much work, then as much rest.
const HALF: &str = "while :; do i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done; sleep 0.1; done";
const WHOLE: &str = "while :; do :; done";
const IDLE: &str = "while :; do sleep 1000; done";

/// Two figures of the same thing: ours and theirs, summed over rounds.
#[derive(Clone, Copy, Debug, Default)]
struct Pair {
    ours: f64,
    theirs: f64,
}

impl Pair {
    /// Within 2 points of a core or 5 % of the mean, over so many rounds.
    fn is_close(self, rounds: usize) -> bool {
        #[allow(clippy::cast_precision_loss)]
        let n = rounds as f64;
        let (ours, theirs) = (self.ours / n, self.theirs / n);
        (ours - theirs).abs() <= (0.05 * f64::midpoint(ours, theirs)).max(2.0)
    }
}

/// Whether `theirs`, written with few digits, is `ours` within this part of it.
#[allow(clippy::cast_precision_loss)]
fn agrees(ours: Option<u64>, theirs: f64, part: f64) -> bool {
    ours.is_some_and(|ours| (ours as f64 - theirs).abs() <= theirs * part)
}

/// One reading, at the pace of a second: a direct engine would be read at once.
fn read(source: &mut DockerSource, interest: &Interest) -> Reading {
    if source.engine_info().mode == Some(Mode::Direct) {
        let _ = after(Duration::from_secs(1)).recv();
    }
    read_only(source, interest).unwrap()
}

fn mean(figures: impl ExactSizeIterator<Item = f64>) -> f64 {
    #[allow(clippy::cast_precision_loss)]
    let n = figures.len() as f64;
    figures.sum::<f64>() / n
}

/// Reads until every one of these has a CPU figure and this holds.
fn ready(
    source: &mut DockerSource,
    interest: &Interest,
    ids: &[&str],
    what: &str,
    wished: impl Fn(&Reading) -> bool,
) -> Reading {
    let start = Instant::now();
    loop {
        let reading = read(source, interest);
        if ids.iter().all(|id| reading.cpu(id).is_some()) && wished(&reading) {
            return reading;
        }
        assert!(start.elapsed() < GUARD, "never {what}: {reading:?}");
    }
}

/// Compares CPU round by round until the means agree. `round` gives our readings of some seconds
/// and their figures of the same.
fn compare_cpu(
    who: &str,
    ids: &[(&str, &str)],
    mut round: impl FnMut() -> (Vec<Reading>, HashMap<String, f64>),
) {
    let mut sums = vec![Pair::default(); ids.len()];
    for n in 1..=ROUNDS.1 {
        let (ours, theirs) = round();
        let off = |reading: &&Reading| {
            let each = ids.iter().map(|(_, id)| {
                reading.cpu(id).map_or(f64::INFINITY, |cpu| (cpu - theirs[*id]).abs())
            });
            each.sum::<f64>()
        };
        // Theirs is of one of the last two passes of the engine: of that which fits it better.
        let last = ours.iter().rev().take(2).min_by(|a, b| off(a).total_cmp(&off(b))).unwrap();
        for (sum, (_, id)) in sums.iter_mut().zip(ids) {
            sum.ours += last.cpu(id).unwrap();
            sum.theirs += theirs[*id];
        }
        if n >= ROUNDS.0 && sums.iter().all(|sum| sum.is_close(n)) {
            for (Pair { ours, theirs }, (name, _)) in sums.iter().zip(ids) {
                #[allow(clippy::cast_precision_loss)]
                let (ours, theirs) = (ours / n as f64, theirs / n as f64);
                println!("PARITY {who} {name}: CPU {ours:.2} % here, {theirs:.2} % there");
            }
            return;
        }
    }
    panic!("CPU over {} rounds, in sum: {ids:?} {sums:?}", ROUNDS.1);
}

/// A bridge of the test's own, removed at its end.
struct Bridge<'a> {
    engine: &'a RealEngine,
    name: String,
}

impl Drop for Bridge<'_> {
    fn drop(&mut self) {
        let _ = self.engine.run(&["network", "rm", &self.name]);
    }
}

/// Received and sent on `eth0`, by the container's own kernel.
fn own_count(engine: &RealEngine, id: &str) -> (u64, u64) {
    let text = engine.docker(&["exec", id, "/bin/cat", "/proc/net/dev"]);
    let line = text.lines().find_map(|line| line.trim().strip_prefix("eth0:")).unwrap();
    let figures: Vec<u64> = line.split_whitespace().map(|word| word.parse().unwrap()).collect();
    // The first of eight columns each way is bytes.
    (figures[0], figures[8])
}

fn agree(row: &ContainerStats, docker: &DockerStats) -> bool {
    // Three digits there: half of the last one.
    agrees(row.network_rx, docker.network.0, 0.005)
        && agrees(row.network_tx, docker.network.1, 0.005)
        && agrees(row.block_read, docker.block.0, 0.005)
        && agrees(row.block_write, docker.block.1, 0.005)
        && row.pids == Some(docker.pids)
}

#[test]
fn every_figure_is_that_of_docker_stats() {
    let Some(engine) = RealEngine::find("every_figure_is_that_of_docker_stats") else { return };
    let project = unique("figures");
    let bridge = Bridge { engine: &engine, name: unique("kentros-test-net") };
    let network = match engine.run(&["network", "create", &bridge.name]) {
        Ok(_) => bridge.name.as_str(),
        Err(why) => {
            say_skipped("the traffic of every_figure_is_that_of_docker_stats", &why);
            "none"
        }
    };
    let start = |service: &str, options: &[&str], script: &str| {
        engine.start_with(&project, service, options, &["/bin/sh", "-c", script])
    };
    let none = ["--network", "none"];
    let whole = start("whole", &none, WHOLE);
    let half = start("half", &none, HALF);
    // 64 MiB of shared memory: it is in the kernel's `cache`, and yet no page cache.
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
    ready(&mut source, &interest, &all, "at work", |r| {
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
    // What rests by now is the same whenever it is read, but for a late packet of the network.
    let mut theirs = latest.unwrap();
    let start = Instant::now();
    let reading = loop {
        let reading = read(&mut source, &interest);
        if idle.iter().all(|c| agree(reading.row(&c.id), &theirs[&c.id])) {
            break reading;
        }
        assert!(start.elapsed() < GUARD, "other counters than {theirs:?}: {reading:?}");
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
    assert!(agrees(ours, docker, 0.01), "memory: {ours:?} here, {docker} there");
    if network != "none" {
        // Three digits hide much: the container's own kernel counts to the byte.
        until("the container's own count", || {
            let row = read(&mut source, &interest);
            let row = row.row(&client.id);
            let (rx, tx) = own_count(&engine, &client.id);
            (row.network_rx, row.network_tx) == (Some(rx), Some(tx))
        });
    }
}

/// Podman with storage of its own, and its service. All of it goes when this is dropped.
struct Podman {
    root: PathBuf,
    service: Option<Child>,
}

impl Podman {
    /// Says why where it cannot be had; fails there if it is required.
    fn find(test: &str) -> Option<Self> {
        let root = std::env::temp_dir().join(unique("kentros-podman"));
        let mut podman = Self { root, service: None };
        match podman.begin() {
            Ok(()) => Some(podman),
            Err(why) => {
                let required = std::env::var("KENTROS_TEST_PODMAN").is_ok_and(|v| v == "require");
                assert!(!required, "{test} needs Podman: {why}");
                say_skipped(test, &format!("no Podman: {why}"));
                None
            }
        }
    }

    fn begin(&mut self) -> Result<(), String> {
        Command::new("podman").arg("--version").output().map_err(|e| format!("podman: {e}"))?;
        let image = pack(&self.root.join("image"))?;
        self.run(&["import", &image.to_string_lossy(), "kentros-busybox:test"])?;
        let socket = self.root.join("podman.sock");
        let mut service = self.command();
        service.args(["system", "service", "--time=0"]).arg(format!("unix://{}", socket.display()));
        service.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.service = Some(service.spawn().map_err(|error| error.to_string())?);
        until("Podman's service", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
        Ok(())
    }

    fn command(&self) -> Command {
        let mut command = Command::new("podman");
        command.arg("--root").arg(self.root.join("data"));
        command.arg("--runroot").arg(self.root.join("run"));
        command.args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"]);
        command
    }

    fn run(&self, args: &[&str]) -> Result<String, String> {
        let output = self.command().args(args).output().map_err(|error| error.to_string())?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
        }
    }

    /// The id of a container that runs this script. The limits are set since those that Podman
    /// would set may be above what this process may have.
    fn start(&self, script: &str) -> Result<String, String> {
        let mut args = vec!["run", "-d", "--network", "none", "--shm-size", "80m"];
        args.extend(["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]);
        args.extend(["kentros-busybox:test", "/bin/sh", "-c", script]);
        self.run(&args)
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        if self.service.is_some() {
            let _ = self.run(&["rm", "--all", "--force", "--time", "0"]);
        }
        if let Some(mut service) = self.service.take() {
            let _ = service.kill();
            let _ = service.wait();
        }
        // What cleans up after each container is no child of ours, and would make the storage anew.
        let deadline = Instant::now() + Duration::from_secs(10);
        while is_in_use(&self.root) && Instant::now() < deadline {
            let _ = after(Duration::from_millis(20)).recv();
        }
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// Whether a process was started with this folder among its arguments.
fn is_in_use(folder: &Path) -> bool {
    let folder = folder.to_string_lossy();
    fs::read_dir("/proc").into_iter().flatten().flatten().any(|process| {
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(folder.as_ref())
    })
}

/// A row of `podman stats`.
#[derive(Clone, Copy, Debug)]
struct PodmanStats {
    cpu: f64,
    memory: f64,
    pids: u64,
    /// Received, sent, read, written.
    counters: [f64; 4],
}

impl PodmanStats {
    /// Reads `ID CPU% USED / LIMIT PIDS RECEIVED / SENT READ / WRITTEN`.
    fn read(line: &str) -> (String, Self) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let stats = Self {
            cpu: words[1].trim_end_matches('%').parse().unwrap(),
            memory: bytes(words[2]),
            pids: words[5].parse().unwrap(),
            counters: [6, 8, 9, 11].map(|n| bytes(words[n])),
        };
        (words[0].to_owned(), stats)
    }
}

/// `podman stats` as it runs: `--no-stream` would give averages over a container's life.
struct PodmanView {
    child: Child,
    frames: Receiver<HashMap<String, PodmanStats>>,
    reader: Option<JoinHandle<()>>,
}

impl PodmanView {
    /// The figures of these containers, by full id, a second at a time.
    fn open(podman: &Podman, ids: &[&str]) -> Self {
        let mut command = podman.command();
        command.args(["stats", "--no-reset", "--no-trunc", "--interval", "1", "--format"]);
        command.arg("{{.ID}} {{.CPUPerc}} {{.MemUsageBytes}} {{.PIDS}} {{.NetIO}} {{.BlockIO}}");
        command.args(ids).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
        let (say, frames) = unbounded();
        let reader = thread::spawn(move || {
            let mut frame = HashMap::new();
            for line in lines.map_while(Result::ok) {
                let (short, stats) = PodmanStats::read(&line);
                // Versions differ in how long they show an id.
                let id = ids.iter().find(|id| id.starts_with(&short)).unwrap();
                frame.insert(id.clone(), stats);
                if frame.len() == ids.len() {
                    let _ = say.send(std::mem::take(&mut frame));
                }
            }
        });
        Self { child, frames, reader: Some(reader) }
    }

    /// What came since the last time, one frame at least.
    fn newest(&self) -> Vec<HashMap<String, PodmanStats>> {
        let first = self.frames.recv_timeout(GUARD).unwrap();
        std::iter::once(first).chain(self.frames.try_iter()).collect()
    }
}

impl Drop for PodmanView {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = self.reader.take().map(JoinHandle::join);
    }
}

#[test]
fn every_figure_is_that_of_podman_stats() {
    let _turn = turn();
    let Some(podman) = Podman::find("every_figure_is_that_of_podman_stats") else { return };
    let fill = format!("dd if=/dev/zero of=/dev/shm/f bs=1M count=64; {IDLE}");
    let started = [WHOLE, HALF, &fill].map(|script| podman.start(script).unwrap());
    let [whole, half, holder] = started.each_ref().map(String::as_str);
    let all = [whole, half, holder];
    let socket = podman.root.join("podman.sock");
    let host = format!("unix://{}", socket.display()).parse().unwrap();
    let mut source = DockerSource::new(host);
    let interest = Interest::all();
    let wished = |r: &Reading| r.row(holder).memory_usage > Some(64 << 20);
    ready(&mut source, &interest, &all, "at work", wished);
    let view = PodmanView::open(&podman, &all);
    // The first frame has averages over a container's life.
    view.frames.recv_timeout(GUARD).unwrap();
    let mut latest = None;
    compare_cpu("Podman", &[("whole", whole), ("half", half)], || {
        let ours = vec![read(&mut source, &interest)];
        let theirs = view.newest();
        let cpu = |id: &str| mean(theirs.iter().map(|frame| frame[id].cpu));
        let cpu = all.iter().map(|id| ((*id).to_owned(), cpu(id))).collect();
        latest = theirs.last().map(|frame| frame[holder]);
        (ours, cpu)
    });
    let theirs = latest.unwrap();
    let reading = read(&mut source, &interest);
    let row = reading.row(holder);
    println!(
        "PARITY Podman holder: memory {:?}, PIDs {:?} and {theirs:?}",
        row.memory_usage, row.pids
    );
    assert!(agrees(row.memory_usage, theirs.memory, 0.01), "{row:?} {theirs:?}");
    assert_eq!(row.pids, Some(theirs.pids));
    let counters = [row.network_rx, row.network_tx, row.block_read, row.block_write];
    for (ours, theirs) in counters.into_iter().zip(theirs.counters) {
        assert!(agrees(ours, theirs, 0.005), "{ours:?} here, {theirs} there");
    }
}
