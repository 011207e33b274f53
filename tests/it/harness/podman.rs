//! A Podman service of the test's own, and `podman stats`.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, unbounded};
use kentros::DockerHost;

use super::real_engine::{bytes, pack, unique};
use super::{GUARD, pause, report_skipped, until};

/// A Podman service with its own storage, removed on drop.
pub(crate) struct Podman {
    root: PathBuf,
    service: Option<Child>,
}

impl Podman {
    /// Starts Podman. Without it, reports that the test is skipped, or fails if it is required.
    pub(crate) fn find(test: &str) -> Option<Self> {
        let root = std::env::temp_dir().join(unique("kentros-podman"));
        let mut podman = Self { root, service: None };
        match podman.start_service() {
            Ok(()) => Some(podman),
            Err(why) => {
                let required = std::env::var("KENTROS_TEST_PODMAN").is_ok_and(|v| v == "require");
                assert!(!required, "{test} needs Podman: {why}");
                report_skipped(test, &format!("no Podman: {why}"));
                None
            }
        }
    }

    fn start_service(&mut self) -> Result<(), String> {
        Command::new("podman").arg("--version").output().map_err(|e| format!("podman: {e}"))?;
        let image = pack(&self.root.join("image"))?;
        self.run(&["import", &image.to_string_lossy(), "kentros-busybox:test"])?;
        let socket = self.socket();
        let mut service = self.command();
        service.args(["system", "service", "--time=0"]).arg(format!("unix://{}", socket.display()));
        service.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.service = Some(service.spawn().map_err(|error| error.to_string())?);
        until("Podman's service", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
        Ok(())
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.root.join("podman.sock")
    }

    pub(crate) fn host(&self) -> DockerHost {
        format!("unix://{}", self.socket().display()).parse().unwrap()
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

    /// Starts a container that runs this script and returns its id. It sets limits because Podman's
    /// defaults may be above the limits of this process.
    pub(crate) fn start(&self, script: &str) -> Result<String, String> {
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
        // The cleanup process of each container is not our child and would recreate the storage.
        let deadline = Instant::now() + GUARD;
        while is_in_use(&self.root) && Instant::now() < deadline {
            pause(Duration::from_millis(20));
        }
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// Whether a process has this folder in its arguments.
pub(crate) fn is_in_use(folder: &Path) -> bool {
    let folder = folder.to_string_lossy();
    fs::read_dir("/proc").into_iter().flatten().flatten().any(|process| {
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(folder.as_ref())
    })
}

/// A row of `podman stats`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PodmanStats {
    pub(crate) cpu: f64,
    pub(crate) memory: f64,
    pub(crate) pids: u64,
    /// Bytes received, sent, read and written.
    pub(crate) counters: [f64; 4],
}

impl PodmanStats {
    /// Parses `ID CPU% USED / LIMIT PIDS RECEIVED / SENT READ / WRITTEN`.
    fn parse(line: &str) -> (String, Self) {
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

/// A running `podman stats`. With `--no-stream` it would show averages over a container's life.
pub(crate) struct PodmanView {
    child: Child,
    frames: Receiver<HashMap<String, PodmanStats>>,
    reader: Option<JoinHandle<()>>,
}

impl PodmanView {
    /// Starts it for these containers, with one frame a second. The first frame is dropped: it has
    /// averages over a container's life.
    pub(crate) fn open(podman: &Podman, ids: &[&str]) -> Self {
        let mut command = podman.command();
        command.args(["stats", "--no-reset", "--no-trunc", "--interval", "1", "--format"]);
        command.arg("{{.ID}} {{.CPUPerc}} {{.MemUsageBytes}} {{.PIDS}} {{.NetIO}} {{.BlockIO}}");
        command.args(ids).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
        let (send, frames) = unbounded();
        let reader = thread::spawn(move || {
            let mut frame = HashMap::new();
            for line in lines.map_while(Result::ok) {
                let (short, stats) = PodmanStats::parse(&line);
                // The length of the id differs between versions.
                let id = ids.iter().find(|id| id.starts_with(&short)).unwrap();
                frame.insert(id.clone(), stats);
                if frame.len() == ids.len() {
                    let _ = send.send(std::mem::take(&mut frame));
                }
            }
        });
        frames.recv_timeout(GUARD).expect("a first frame");
        Self { child, frames, reader: Some(reader) }
    }

    /// The frames since the last call, at least one, by full id.
    pub(crate) fn newest(&self) -> Vec<HashMap<String, PodmanStats>> {
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
