//! A real Docker Engine, used through the docker command.
//!
//! Without an engine the tests report that they are skipped; with `KENTROS_TEST_ENGINE=require` they
//! fail. All objects have unique names and are removed at the end.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use crossbeam_channel::{Receiver, Sender, bounded};
use kentros::DockerHost;

use super::report_skipped;

/// The image of all test containers, with nothing but busybox.
const IMAGE: &str = "kentros-busybox:test";

/// A real engine, used by one test at a time: a test that starts fifty containers would delay the
/// others.
#[derive(Clone, Debug)]
pub(crate) struct RealEngine {
    pub(crate) host: DockerHost,
    _turn: Option<Turn>,
}

/// The exclusive right to load the machine with an engine, released when the last copy is dropped.
pub(crate) type Turn = Arc<TurnGuard>;

#[derive(Debug)]
pub(crate) struct TurnGuard;

/// A channel with one permit.
fn permit() -> &'static (Sender<()>, Receiver<()>) {
    static PERMIT: OnceLock<(Sender<()>, Receiver<()>)> = OnceLock::new();
    PERMIT.get_or_init(|| {
        let (release, acquire) = bounded(1);
        release.send(()).unwrap();
        (release, acquire)
    })
}

/// Waits until no other test uses a real engine.
pub(crate) fn turn() -> Turn {
    permit().1.recv().unwrap();
    Arc::new(TurnGuard)
}

impl Drop for TurnGuard {
    fn drop(&mut self) {
        permit().0.send(()).unwrap();
    }
}

impl RealEngine {
    /// The engine. Without one, reports that the test is skipped, or fails if it is required.
    pub(crate) fn find(test: &str) -> Option<Self> {
        static FOUND: OnceLock<Result<DockerHost, String>> = OnceLock::new();
        match FOUND.get_or_init(Self::connect) {
            Ok(host) => Some(Self { host: host.clone(), _turn: Some(turn()) }),
            Err(why) => {
                skip(test, "Docker Engine", why);
                None
            }
        }
    }

    /// The engine at `host`, without waiting for other tests.
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

    /// Imports an image with the host's static busybox. No image is pulled.
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

    /// Runs `docker ARGS...` and returns its output.
    pub(crate) fn run(&self, args: &[&str]) -> Result<String, String> {
        let output = Command::new("docker")
            .arg("--host")
            .arg(self.host.to_string())
            .args(args)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("docker: {error}"))?;
        stdout_of(&output)
    }

    /// Runs `docker ARGS...`, which must succeed, and returns its output.
    pub(crate) fn docker(&self, args: &[&str]) -> String {
        self.run(args).unwrap_or_else(|error| panic!("docker {args:?}: {error}"))
    }

    /// The rows of `docker stats` for these containers, by full id.
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

    /// Starts a container without a network in this Compose project.
    pub(crate) fn start(&self, project: &str, service: &str, command: &[&str]) -> RealContainer {
        self.start_with(project, service, &["--network", "none"], command)
    }

    /// Starts a container with options of `docker run`. It starts much faster with `--network none`.
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

/// Reports that a test is skipped because it lacks something, or fails if that is required.
#[track_caller]
pub(crate) fn skip(test: &str, lacking: &str, why: &str) {
    let required = std::env::var("KENTROS_TEST_ENGINE").is_ok_and(|v| v == "require");
    assert!(!required, "{test} needs a {lacking}: {why}");
    report_skipped(test, &format!("no {lacking}: {why}"));
}

/// A row of `docker stats`.
#[derive(Debug)]
pub(crate) struct DockerStats {
    /// In percent of one core.
    pub(crate) cpu: f64,
    /// In bytes, with four significant digits.
    pub(crate) memory: f64,
    pub(crate) pids: u64,
    /// Bytes received and sent, with three significant digits.
    pub(crate) network: (f64, f64),
    /// Bytes read and written, with three significant digits.
    pub(crate) block: (f64, f64),
}

/// Converts `44.85MiB` or `1.05MB` to bytes.
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
        other => panic!("unknown unit {other}"),
    };
    digits.parse::<f64>().unwrap() * unit
}

/// A container, removed on drop.
#[derive(Debug)]
pub(crate) struct RealContainer {
    engine: RealEngine,
    pub(crate) id: String,
    pub(crate) name: String,
}

impl RealContainer {
    /// Runs `docker ACTION` with this container.
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

/// A name that no other process uses.
pub(crate) fn unique(name: &str) -> String {
    format!("{name}-{}", std::process::id())
}

/// Packs a root file system with the host's busybox. Returns the path of the archive.
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
    stdout_of(&tar.output().map_err(text)?)?;
    Ok(packed)
}

fn stdout_of(output: &Output) -> Result<String, String> {
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}
