//! The servers: how to find, start and end each.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::load::Target;
use crate::process::Process;
use crate::publish::Sink;
use crate::serve;

/// How long a server may take to listen, and to end.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A server to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A bare loop of `write` with this many threads: the cost of the kernel's part.
    Floor(usize),
    /// kentros with this many shards, or with the default of one per core.
    Kentros(Option<usize>),
    Tokio,
    Gorilla,
    Nchan,
    Bun,
}

impl Peer {
    pub const ALL: [Self; 8] = [
        Self::Floor(1),
        Self::Floor(2),
        Self::Kentros(None),
        Self::Kentros(Some(1)),
        Self::Tokio,
        Self::Gorilla,
        Self::Nchan,
        Self::Bun,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Floor(1) => "floor-1",
            Self::Floor(_) => "floor-2",
            Self::Kentros(None) => "kentros",
            Self::Kentros(Some(_)) => "kentros-1",
            Self::Tokio => "tokio",
            Self::Gorilla => "gorilla",
            Self::Nchan => "nchan",
            Self::Bun => "bun",
        }
    }

    /// The description in the list of servers.
    pub fn about(self) -> &'static str {
        match self {
            Self::Floor(1) => "a bare loop of write(2) over the sockets, one thread",
            Self::Floor(_) => "the same with two threads",
            Self::Kentros(None) => "kentros by default: one shard per core",
            Self::Kentros(Some(_)) => "kentros with one shard",
            Self::Tokio => "tokio-tungstenite, a broadcast channel",
            Self::Gorilla => "Go, the hub of gorilla/websocket's chat example",
            Self::Nchan => "nginx with nchan",
            Self::Bun => "Bun.serve with publish (uWebSockets)",
        }
    }

    /// How to install it, if it is missing.
    pub fn missing(self) -> Option<&'static str> {
        match self {
            Self::Gorilla if gorilla().is_err() => {
                Some("apt-get install golang-go golang-github-gorilla-websocket-dev")
            }
            Self::Nchan if nginx().is_none() => {
                Some("apt-get install nginx-light libnginx-mod-nchan")
            }
            Self::Bun if bun().is_none() => {
                Some("npm install --prefix target/bun bun, here; or bun in the PATH")
            }
            _ => None,
        }
    }

    pub fn start(self) -> io::Result<Server> {
        // If another program takes this port before the server binds it, one run fails.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut command = self.command(port)?;
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
        let input = child.stdin.take().ok_or(ErrorKind::BrokenPipe)?;
        let path = match self {
            Self::Kentros(_) => "/ws/stats",
            Self::Nchan => "/sub",
            _ => "/",
        };
        let target = Target { addr, host: addr.to_string(), path: path.into() };
        let mut server = Server { child, target, sink: None };
        let start = Instant::now();
        let socket = loop {
            match TcpStream::connect(addr) {
                Ok(socket) => break socket,
                Err(error) if start.elapsed() > TIMEOUT => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
            if let Some(status) = server.child.try_wait()? {
                return Err(io::Error::other(format!("{} ended: {status}", self.name())));
            }
        };
        server.sink = Some(match self {
            Self::Nchan => Sink::Http(socket),
            Self::Kentros(_) => Sink::Lines(input, serve::kentros::ENVELOPE),
            _ => Sink::Lines(input, 0),
        });
        Ok(server)
    }

    fn command(self, port: u16) -> io::Result<Command> {
        let missing = || io::Error::other(format!("{} is not installed", self.name()));
        let mut command = match self {
            Self::Gorilla => Command::new(gorilla()?),
            Self::Nchan => {
                let mut command = Command::new(nginx().ok_or_else(missing)?);
                let conf = scratch()?.join("nginx.conf");
                fs::write(
                    &conf,
                    include_str!("../nchan/nginx.conf").replace("PORT", &port.to_string()),
                )?;
                command.arg("-p").arg(scratch()?).arg("-c").arg(conf).arg("-e").arg("stderr");
                return Ok(command);
            }
            Self::Bun => {
                let mut command = Command::new(bun().ok_or_else(missing)?);
                command.arg(package_folder().join("bun/server.js"));
                command
            }
            Self::Floor(_) | Self::Kentros(_) | Self::Tokio => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg("serve").arg(self.name());
                command
            }
        };
        command.arg(port.to_string());
        Ok(command)
    }
}

/// A running server. It is stopped on drop.
pub struct Server {
    child: Child,
    pub target: Target,
    /// Taken by the publisher.
    pub sink: Option<Sink>,
}

impl Server {
    pub fn process(&self) -> Process {
        Process(self.child.id())
    }

    /// Whether it is still running.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Not SIGKILL at first, because nginx must end its workers.
        let _ = kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM);
        let start = Instant::now();
        while self.is_running() {
            if start.elapsed() > TIMEOUT {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn package_folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The folder for files that the servers need.
fn scratch() -> io::Result<PathBuf> {
    let folder = package_folder().join("target/peers");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// The Go hub, built once.
fn gorilla() -> io::Result<PathBuf> {
    let binary = scratch()?.join("gorilla");
    let source = package_folder().join("gorilla/main.go");
    let modified = |path: &Path| fs::metadata(path).and_then(|meta| meta.modified()).ok();
    if modified(&binary) < modified(&source) {
        // Debian installs the sources of its Go packages there.
        let built = Command::new("go")
            .env("GO111MODULE", "off")
            .env("GOPATH", "/usr/share/gocode")
            .args(["build", "-o"])
            .arg(&binary)
            .arg(&source)
            .stderr(Stdio::null())
            .status()?;
        if !built.success() {
            return Err(io::Error::other("the Go hub does not build"));
        }
    }
    Ok(binary)
}

fn nginx() -> Option<PathBuf> {
    Path::new("/usr/lib/nginx/modules/ngx_nchan_module.so").exists().then_some(())?;
    find("nginx", &["/usr/sbin"])
}

fn bun() -> Option<PathBuf> {
    let local = package_folder().join("target/bun/node_modules/.bin");
    find("bun", &[local.to_str()?])
}

/// A program in the PATH or in one of these folders.
fn find(name: &str, folders: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = folders.iter().map(PathBuf::from).chain(std::env::split_paths(&path));
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}
