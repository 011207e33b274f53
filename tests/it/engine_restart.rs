//! A real Docker Engine that is killed and started again while a WebSocket client is connected.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use kentros::DockerSource;
use rustix::process::{Pid, Signal, geteuid, kill_process};
use serde_json::Value;

use crate::harness::real_engine::{RealEngine, skip, turn, unique};
use crate::harness::{GUARD, Served, Ws, until};

/// An engine in its own network, mount and PID namespaces. Killing its first process ends all of its
/// processes and containers. It has its own `/run`, or it would use the host's containerd.
#[derive(Debug)]
struct OwnEngine {
    root: PathBuf,
    /// The cgroup of its containers.
    group: String,
    process: Option<Child>,
}

impl OwnEngine {
    /// Starts an empty engine. Returns the reason if that is not possible.
    fn start() -> Result<Self, String> {
        if !geteuid().is_root() {
            return Err("only root can start an engine".to_owned());
        }
        for tool in ["dockerd", "unshare"] {
            let found = Command::new(tool).arg("--version").stdout(Stdio::null()).status();
            found.map_err(|error| format!("{tool}: {error}"))?;
        }
        let group = unique("kentros-engine");
        let root = std::env::temp_dir().join(&group);
        fs::create_dir_all(&root).unwrap();
        let mut engine = Self { root, group, process: None };
        engine.run()?;
        Ok(engine)
    }

    fn socket(&self) -> PathBuf {
        self.root.join("docker.sock")
    }

    fn client(&self) -> RealEngine {
        RealEngine::at(format!("unix://{}", self.socket().display()).parse().unwrap())
    }

    /// Starts it with the data of its last run, and waits until it responds.
    fn run(&mut self) -> Result<(), String> {
        let log = self.root.join("log");
        let err = File::create(&log).unwrap();
        let mut command = Command::new("unshare");
        command.args(["--net", "--mount", "--pid", "--mount-proc", "--fork", "--kill-child"]);
        command.args(["sh", "-c", "mount -t tmpfs tmpfs /run && exec dockerd \"$@\"", "dockerd"]);
        command.args(["--bridge=none", "--iptables=false", "--ip-forward=false"]);
        command.arg("--cgroup-parent").arg(format!("/{}", self.group));
        command.arg("--data-root").arg(self.root.join("data"));
        command.arg("--host").arg(format!("unix://{}", self.socket().display()));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(err);
        let process = self.process.insert(command.spawn().map_err(|e| format!("unshare: {e}"))?);
        let socket = self.root.join("docker.sock");
        let mut ended = false;
        until("the engine to listen", || {
            ended = process.try_wait().unwrap().is_some();
            ended || UnixStream::connect(&socket).is_ok()
        });
        // It listens before it is ready, and responds once it is.
        if ended || !pings(&socket) {
            let log = fs::read_to_string(log).unwrap_or_default();
            return Err(log.lines().last().unwrap_or("no response").to_owned());
        }
        Ok(())
    }

    /// Kills it and waits for the end of all of its processes.
    fn kill(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        // `unshare` ends after the first process of the namespace, which the kernel reaps last.
        let children = format!("/proc/{0}/task/{0}/children", process.id());
        let first = fs::read_to_string(children).ok().and_then(|c| c.trim().parse().ok());
        match first.and_then(Pid::from_raw) {
            Some(first) => drop(kill_process(first, Signal::KILL)),
            None => drop(process.kill()),
        }
        let _ = process.wait();
    }
}

impl Drop for OwnEngine {
    fn drop(&mut self) {
        self.kill();
        // A killed engine does not remove the cgroups of its containers.
        for controller in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            remove_group(&controller.path().join(&self.group));
        }
        remove_group(&Path::new("/sys/fs/cgroup").join(&self.group));
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// Removes a cgroup and all cgroups in it.
fn remove_group(group: &Path) {
    for inner in fs::read_dir(group).into_iter().flatten().flatten() {
        if inner.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_group(&inner.path());
        }
    }
    let _ = fs::remove_dir(group);
}

fn pings(socket: &Path) -> bool {
    let answer = UnixStream::connect(socket).and_then(|mut stream| {
        stream.set_read_timeout(Some(GUARD))?;
        stream.write_all(b"GET /_ping HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    });
    answer.is_ok_and(|answer| answer.contains(" 200 "))
}

/// The next row of this container.
fn next_row(client: &mut Ws, id: &str) -> Value {
    let has_row = |stats: &Value| stats["payload"][id].is_object();
    client.find_where("container_stats", has_row)["payload"][id].take()
}

/// The next engine status with this state.
fn status(client: &mut Ws, state: &str) -> Value {
    let has_state = |status: &Value| status["payload"]["state"] == state;
    client.find_where("engine_status", has_state)["payload"].take()
}

#[test]
fn stats_resume_after_the_engine_is_killed_and_restarted() {
    const TEST: &str = "stats_resume_after_the_engine_is_killed_and_restarted";
    let _turn = turn();
    let mut engine = match OwnEngine::start() {
        Ok(engine) => engine,
        Err(why) => return skip(TEST, "Docker Engine of its own", &why),
    };
    let docker = engine.client();
    docker.import_image().unwrap();
    // It uses half a core at most, so a higher CPU usage is wrong.
    let container = docker.start_with(
        "shop",
        "burner",
        &["--network", "none", "--cpus", "0.5"],
        &["/bin/sh", "-c", "while :; do :; done"],
    );
    let spike = 100.0;
    let served = Served::new();
    let source = DockerSource::new(docker.host.clone());
    served.handle().start_stats_streamer(Duration::from_secs(1), source).unwrap();
    let mut client = served.client();
    status(&mut client, "connected");
    while next_row(&mut client, &container.id)["cpu_percent"].is_null() {}
    assert_eq!(served.get("/readyz").status, 200);

    engine.kill();
    // The client learns of it before the engine runs again.
    let gone = status(&mut client, "unreachable");
    assert!(gone["error"].as_str().is_some_and(|error| !error.is_empty()), "{gone}");
    assert_eq!(served.get("/readyz").status, 503);
    assert_eq!(served.get("/healthz").status, 200);
    assert_eq!(served.handle().client_count(), 1, "the client stays connected");

    // Like a browser, the client reads all the time.
    let rows = thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let back = status(&mut client, "connected");
            assert!(back["error"].is_null(), "{back}");
            [(); 4].map(|()| next_row(&mut client, &container.id))
        });
        engine.run().unwrap();
        container.act("start");
        watcher.join().unwrap()
    });
    let [first, later @ ..] = &rows;
    assert!(first["cpu_percent"].is_null(), "no CPU usage across the restart: {first}");
    assert_eq!(first["unavailable"]["cpu_percent"], "first_sample", "{first}");
    assert!(later.iter().any(|row| row["cpu_percent"].is_f64()), "{later:?}");
    for row in later {
        let cpu = row["cpu_percent"].as_f64();
        assert!(cpu.is_none_or(|cpu| (0.0..spike).contains(&cpu)), "a spike: {row}");
    }
    assert_eq!(served.get("/readyz").status, 200);
    assert_eq!(served.handle().client_count(), 1);
}
