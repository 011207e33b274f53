//! A real Docker Engine, where there is one, driven through the docker command.
//!
//! Without one the tests print that they were skipped; with `KENTROS_TEST_ENGINE=require` they
//! fail instead. Everything made here has a name of its own and is removed again.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use crossbeam_channel::{Receiver, Sender, bounded};
use kentros::DockerHost;

use crate::harness::say_skipped;

/// The image of every test container: busybox and nothing else.
const IMAGE: &str = "kentros-busybox:test";

/// A real engine that answers, for one test at a time: two cores that start fifty containers for
/// one test would make the engine late for the others.
#[derive(Clone, Debug)]
pub(crate) struct RealEngine {
    pub(crate) host: DockerHost,
    _turn: Option<Turn>,
}

/// Leave to keep the machine busy, given back when the last copy is dropped.
pub(crate) type Turn = Arc<Taken>;

#[derive(Debug)]
pub(crate) struct Taken;

/// The leave lies in this channel while nobody has it.
fn leave() -> &'static (Sender<()>, Receiver<()>) {
    static LEAVE: OnceLock<(Sender<()>, Receiver<()>)> = OnceLock::new();
    LEAVE.get_or_init(|| {
        let (back, leave) = bounded(1);
        back.send(()).unwrap();
        (back, leave)
    })
}

/// Waits until no other test keeps a real engine busy.
pub(crate) fn turn() -> Turn {
    leave().1.recv().unwrap();
    Arc::new(Taken)
}

impl Drop for Taken {
    fn drop(&mut self) {
        leave().0.send(()).unwrap();
    }
}

impl RealEngine {
    /// The engine, or `None`, said plainly, where there is none.
    pub(crate) fn find(test: &str) -> Option<Self> {
        static FOUND: OnceLock<Result<DockerHost, String>> = OnceLock::new();
        match FOUND.get_or_init(Self::connect) {
            Ok(host) => Some(Self { host: host.clone(), _turn: Some(turn()) }),
            Err(why) => {
                skip(test, "a Docker Engine", why);
                None
            }
        }
    }

    /// The engine at `host`, whoever else uses it.
    pub(crate) fn at(host: DockerHost) -> Self {
        Self { host, _turn: None }
    }

    fn connect() -> Result<DockerHost, String> {
        let host = match std::env::var("DOCKER_HOST") {
            Ok(host) => host.parse().map_err(|error: kentros::Error| error.to_string())?,
            Err(_) => DockerHost::default(),
        };
        let engine = Self::at(host);
        engine.run(&["version", "--format", "{{.Server.Version}}"])?;
        if engine.run(&["image", "inspect", IMAGE]).is_err() {
            engine.import_image()?;
        }
        Ok(engine.host)
    }

    /// Packs the host's static busybox: no image can be pulled here, and none is needed.
    pub(crate) fn import_image(&self) -> Result<(), String> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("kentros-image-{}-{number}", std::process::id());
        let root = std::env::temp_dir().join(name);
        let packed = pack(&root).map_err(|error| format!("packing busybox: {error}"))?;
        let imported = self.run(&["import", &packed.to_string_lossy(), IMAGE]);
        let _ = fs::remove_dir_all(&root);
        imported.map(|_| ())
    }

    /// The standard output of `docker ARGS...`.
    pub(crate) fn run(&self, args: &[&str]) -> Result<String, String> {
        let output = Command::new("docker")
            .arg("--host")
            .arg(self.host.to_string())
            .args(args)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("docker: {error}"))?;
        read(&output)
    }

    /// The same, where it must work.
    pub(crate) fn docker(&self, args: &[&str]) -> String {
        self.run(args).unwrap_or_else(|error| panic!("docker {args:?}: {error}"))
    }

    /// What `docker stats` shows of these containers, by full id.
    pub(crate) fn docker_stats(&self, ids: &[&str]) -> HashMap<String, DockerStats> {
        let format = "{{.ID}} {{.CPUPerc}} {{.MemUsage}} {{.PIDs}} {{.NetIO}} {{.BlockIO}}";
        let mut args = vec!["stats", "--no-stream", "--no-trunc", "--format", format];
        args.extend(ids);
        let shown = self.docker(&args);
        let row = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            // ID CPU% USED / LIMIT PIDS RECEIVED / SENT READ / WRITTEN
            let stats = DockerStats {
                cpu: words[1].trim_end_matches('%').parse().unwrap(),
                memory: bytes(words[2]),
                pids: words[5].parse().unwrap(),
                network: (bytes(words[6]), bytes(words[8])),
                block: (bytes(words[9]), bytes(words[11])),
            };
            (words[0].to_owned(), stats)
        };
        shown.lines().map(row).collect()
    }

    /// Starts a container of this project that runs `command`.
    pub(crate) fn start(&self, project: &str, service: &str, command: &[&str]) -> RealContainer {
        self.start_with(project, service, &["--network", "none"], command)
    }

    /// The same with options of `docker run` (`--network none` starts a container much faster).
    pub(crate) fn start_with(
        &self,
        project: &str,
        service: &str,
        options: &[&str],
        command: &[&str],
    ) -> RealContainer {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("kentros-test-{}-{number}", std::process::id());
        let project = format!("com.docker.compose.project={project}");
        let service = format!("com.docker.compose.service={service}");
        let mut args = vec!["run", "-d", "--name", &name, "--label", &project, "--label", &service];
        args.extend(options);
        args.push(IMAGE);
        args.extend(command);
        let id = self.docker(&args).trim().to_owned();
        RealContainer { engine: self.clone(), id, name }
    }
}

/// Says that a test is skipped for the lack of what only root or an engine gives; fails it where
/// that is required.
#[track_caller]
pub(crate) fn skip(test: &str, lacking: &str, why: &str) {
    let required = std::env::var("KENTROS_TEST_ENGINE").is_ok_and(|v| v == "require");
    assert!(!required, "{test} needs {lacking}: {why}");
    say_skipped(test, &format!("it lacks {lacking}: {why}"));
}

/// A row of `docker stats`.
#[derive(Debug)]
pub(crate) struct DockerStats {
    /// Percent of one core.
    pub(crate) cpu: f64,
    /// Bytes, as exact as four digits are.
    pub(crate) memory: f64,
    pub(crate) pids: u64,
    /// Bytes received and sent, as exact as three digits are.
    pub(crate) network: (f64, f64),
    /// Bytes read and written, as exact as three digits are.
    pub(crate) block: (f64, f64),
}

/// `44.85MiB` or `1.05MB` in bytes.
pub(crate) fn bytes(shown: &str) -> f64 {
    let digits = shown.trim_end_matches(char::is_alphabetic);
    let unit = match &shown[digits.len()..] {
        "B" => 1.0,
        "kB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        "GiB" => 1024.0 * 1024.0 * 1024.0,
        other => panic!("an unknown unit: {other}"),
    };
    digits.parse::<f64>().unwrap() * unit
}

/// A container, killed and removed when it is dropped.
#[derive(Debug)]
pub(crate) struct RealContainer {
    engine: RealEngine,
    pub(crate) id: String,
    pub(crate) name: String,
}

impl RealContainer {
    /// `docker ACTION THIS`.
    pub(crate) fn act(&self, action: &str) {
        self.engine.docker(&[action, &self.id]);
    }
}

impl Drop for RealContainer {
    fn drop(&mut self) {
        // The test may have removed it.
        let _ = self.engine.run(&["rm", "--force", &self.id]);
    }
}

/// A project name no other test and no other process has.
pub(crate) fn unique(name: &str) -> String {
    format!("{name}-{}", std::process::id())
}

pub(crate) fn pack(root: &Path) -> Result<PathBuf, String> {
    let bin = root.join("root/bin");
    let text = |error: std::io::Error| error.to_string();
    fs::create_dir_all(&bin).map_err(text)?;
    fs::copy("/bin/busybox", bin.join("busybox")).map_err(text)?;
    for applet in ["sh", "sleep", "dd", "cat", "true", "wget", "httpd", "nc", "tail", "tr", "yes"] {
        std::os::unix::fs::symlink("busybox", bin.join(applet)).map_err(text)?;
    }
    let packed = root.join("busybox.tar");
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(root.join("root")).arg("-cf").arg(&packed).arg(".");
    read(&tar.output().map_err(text)?)?;
    Ok(packed)
}

fn read(output: &Output) -> Result<String, String> {
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}
