//! `kentros top` in a terminal: the screen, the keys, and the restored terminal afterwards.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Instant;

use crossbeam_channel::{Receiver, unbounded};
use kentros::{Hub, HubConfig, Server, ServerConfig};
use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::harness::fake_engine::{FakeContainer, FakeEngine, Kind};
use crate::harness::real_engine::{RealEngine, unique};
use crate::harness::{GUARD, Served, one_each, until, unused_addr};

const ENTER: &str = "\x1b[?1049h";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// A terminal that runs `kentros top`. The program is killed when the test ends.
pub(crate) struct Terminal {
    child: Child,
    /// The user's side, for keys and the window size.
    outer: OwnedFd,
    /// The program's side, for the terminal modes.
    inner: OwnedFd,
    chunks: Receiver<Vec<u8>>,
    output: Vec<u8>,
}

/// A line without its colors. Each line must be erased before it is written: erasing it afterwards
/// would remove the last character of a line as wide as the terminal.
fn plain(line: &str) -> String {
    let line = line
        .strip_prefix("\x1b[K")
        .or(line.strip_prefix("\x1b[J"))
        .expect("the line is erased first");
    let parts = line.split("\x1b[").enumerate().map(|(n, part)| match part.split_once('m') {
        Some((color, text)) if n > 0 && color.bytes().all(|b| b.is_ascii_digit()) => text,
        _ if n == 0 => part,
        _ => panic!("an escape sequence other than a color: {line:?}"),
    });
    parts.collect()
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Terminal {
    /// Starts `kentros top ARGS` on 80x24, with only these environment variables.
    pub(crate) fn top(args: &[&str], variables: &[(&str, &str)]) -> Self {
        let outer = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&outer).unwrap();
        unlockpt(&outer).unwrap();
        resize(&outer, 80, 24);
        let name = ptsname(&outer, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let inner = open(name, flags, Mode::empty()).unwrap();
        let stdio = || Stdio::from(inner.try_clone().unwrap());
        // Only the controlling terminal signals a new size.
        let mut command = Command::new("setsid");
        command.args(["--ctty", env!("CARGO_BIN_EXE_kentros"), "top"]).args(args);
        command.env_clear().env("PATH", "/usr/bin:/bin").envs(variables.iter().copied());
        let child = command.stdin(stdio()).stdout(stdio()).stderr(stdio()).spawn().unwrap();
        let mut reader = File::from(outer.try_clone().unwrap());
        let (output, chunks) = unbounded();
        thread::spawn(move || {
            let mut chunk = [0; 4096];
            // Reading fails once the program's side is closed.
            while let Ok(n @ 1..) = reader.read(&mut chunk) {
                let _ = output.send(chunk[..n].to_vec());
            }
        });
        Self { child, outer, inner, chunks, output: Vec::new() }
    }

    fn with_handle(addr: SocketAddr) -> Self {
        Self::top(&["--url", &format!("ws://{addr}/ws/stats")], &[])
    }

    pub(crate) fn press(&self, keys: &str) {
        File::from(self.outer.try_clone().unwrap()).write_all(keys.as_bytes()).unwrap();
    }

    /// The lines of the last complete frame, without colors.
    fn screen(&self) -> Option<Vec<String>> {
        let output = text(&self.output);
        let (frames, _) = output.rsplit_once("\x1b[?2026l")?;
        let (_, frame) = frames.rsplit_once("\x1b[H")?;
        Some(frame.split("\r\n").map(plain).collect())
    }

    /// Waits for a frame for which `wanted` holds.
    #[track_caller]
    fn shows(&mut self, what: &str, wanted: impl Fn(&[String]) -> bool) -> Vec<String> {
        let deadline = Instant::now() + GUARD;
        loop {
            let screen = self.screen();
            if let Some(screen) = screen.as_ref().filter(|screen| wanted(screen)) {
                return screen.clone();
            }
            match self.chunks.recv_deadline(deadline) {
                Ok(chunk) => self.output.extend(chunk),
                Err(error) => panic!("{what}: {error}: {screen:#?} in {}", text(&self.output)),
            }
        }
    }

    #[track_caller]
    pub(crate) fn shows_text(&mut self, text: &str) -> Vec<String> {
        self.shows(text, |screen| screen.iter().any(|line| line.contains(text)))
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits until the program exits and checks that the terminal modes are restored. Returns the
    /// exit status and everything that it wrote.
    #[track_caller]
    pub(crate) fn ended(mut self) -> (ExitStatus, String) {
        let mut status = None;
        until("the program exits", || {
            // The program would block on unread output.
            self.output.extend(self.chunks.try_iter().flatten());
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        let modes = tcgetattr(&self.inner).unwrap().local_modes;
        let wanted = LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        assert!(modes.contains(wanted), "{modes:?}");
        // Close the program's side, so that the reader sees the end of the output.
        self.inner = OwnedFd::from(File::open("/dev/null").unwrap());
        let deadline = Instant::now() + GUARD;
        while let Ok(chunk) = self.chunks.recv_deadline(deadline) {
            self.output.extend(chunk);
        }
        (status.unwrap(), text(&self.output))
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn resize(terminal: &OwnedFd, width: u16, height: u16) {
    let size = Winsize { ws_row: height, ws_col: width, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).unwrap();
}

/// A hub whose rows change only when a test publishes a snapshot.
fn hub() -> Served {
    let served = Served::new();
    let snapshot = one_each(&["office", "shop"], 3 << 20);
    served.handle().publish_snapshot(snapshot).unwrap();
    served
}

#[test]
fn top_shows_the_hubs_stats_and_obeys_keys_until_q() {
    let served = hub();
    let mut top = Terminal::with_handle(served.addr());
    let screen = top.shows_text("2 containers in 2 projects");
    assert_eq!(screen.len(), 24, "{screen:#?}");
    assert!(screen[0].contains("kentros top") && screen[2].contains("CPU %↓"), "{screen:#?}");
    assert!(screen[3].starts_with("office") && screen[4].starts_with("  web"), "{screen:#?}");
    assert!(screen[4].contains(" 3MiB "), "{screen:#?}");
    assert!(screen.iter().all(|line| line.chars().count() <= 80), "{screen:#?}");
    top.press("nn");
    let screen = top.shows_text("NAME↓");
    assert!(screen[3].starts_with("shop"), "{screen:#?}");
    top.press("/off");
    top.shows("only the search result", |screen| {
        screen[3].starts_with("office") && !screen[5].contains("shop")
    });
    top.press("\x1b");
    top.shows("all rows again", |screen| screen[5].starts_with("office"));
    served.handle().publish_snapshot(one_each(&["office", "shop"], 5 << 20)).unwrap();
    top.shows("the new values", |screen| screen[4].contains(" 5MiB "));
    resize(&top.outer, 100, 10);
    let screen = top.shows("ten lines", |screen| screen.len() == 10);
    assert!(screen[9].starts_with("q quit"), "{screen:#?}");
    top.press("q");
    let (status, output) = top.ended();
    assert_eq!(status.code(), Some(0), "{output:?}");
    assert!(output.starts_with(ENTER) && output.ends_with(LEAVE), "{output:?}");
    assert!(output.contains("\x1b[7m"), "a terminal gets colors");
}

#[test]
fn ctrl_c_and_signals_end_top_and_restore_the_terminal() {
    let served = hub();
    for signal in [None, Some(Signal::TERM), Some(Signal::INT), Some(Signal::HUP)] {
        let mut top = Terminal::with_handle(served.addr());
        top.shows_text("2 containers");
        match signal {
            Some(signal) => top.signal(signal),
            None => top.press("\x03"),
        }
        let (status, output) = top.ended();
        assert_eq!(status.code(), Some(0), "{signal:?}: {output:?}");
        assert!(output.ends_with(LEAVE), "{signal:?}: {output:?}");
    }
}

#[test]
fn no_color_disables_colors() {
    let served = hub();
    let url = format!("ws://{}/ws/stats", served.addr());
    let mut top = Terminal::top(&["--url", &url], &[("NO_COLOR", "1")]);
    top.shows_text("2 containers");
    top.press("q");
    let (_, output) = top.ended();
    let final_bytes: Vec<char> = output
        .split("\x1b[")
        .skip(1)
        .map(|part| part.chars().find(char::is_ascii_alphabetic).unwrap())
        .collect();
    assert!(final_bytes.contains(&'K') && !final_bytes.contains(&'m'), "{output:?}");
}

#[test]
fn a_lost_hub_is_reported_and_reconnected_when_it_returns() {
    let Served { server, hub } = hub();
    let addr = server.local_addr();
    let mut top = Terminal::with_handle(addr);
    top.shows_text("2 containers");
    server.shutdown();
    hub.shutdown();
    let screen = top.shows_text("stats are stale");
    assert!(screen[4].starts_with("  web"), "the last values stay on the screen: {screen:#?}");
    top.shows_text(&format!("cannot connect to ws://{addr}"));
    let hub = Hub::spawn(HubConfig::default()).unwrap();
    let mut server = None;
    // Another test may use the port for a moment.
    until("the port is free again", || {
        server = Server::bind(addr, hub.handle(), ServerConfig::default()).ok();
        server.is_some()
    });
    hub.handle().publish_snapshot(one_each(&["shop"], 1)).unwrap();
    top.shows_text("1 container in 1 project");
    top.press("q");
    assert_eq!(top.ended().0.code(), Some(0));
    drop(server);
    hub.shutdown();
}

#[test]
fn top_that_cannot_start_prints_why_and_leaves_the_screen_alone() {
    let (_socket, addr) = unused_addr();
    let url = format!("ws://{addr}/ws/stats");
    let (status, output) = Terminal::with_handle(addr).ended();
    assert_eq!(status.code(), Some(1), "{output:?}");
    assert!(output.contains(&url) && !output.contains(ENTER), "{output:?}");

    let mut command = Command::new(env!("CARGO_BIN_EXE_kentros"));
    let output = command.args(["top", "--url", &url]).env_clear().output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout), (Some(1), Vec::new()), "{stderr}");
    assert!(stderr.contains("kentros stats"), "{stderr}");

    let (status, output) = Terminal::top(&["--url", &url], &[("TERM", "dumb")]).ended();
    assert_eq!(status.code(), Some(1), "{output:?}");
    assert!(output.contains("kentros stats") && !output.contains('\x1b'), "{output:?}");
}

#[test]
fn top_reads_an_engine_directly_and_waits_for_one_that_is_down() {
    let engine = FakeEngine::start(Kind::Direct);
    engine.add(FakeContainer::new("web", "shop"));
    let host = engine.host().to_string();
    let mut top = Terminal::top(&["--docker-host", &host, "--interval", "100ms"], &[]);
    top.shows_text("1 container in 1 project");
    let screen = top.shows_text("shop 1/1");
    assert!(screen[0].contains(&host), "{screen:#?}");
    top.press("q");
    assert_eq!(top.ended().0.code(), Some(0));

    let mut top = Terminal::top(&["--docker-host", "unix:///nowhere/kentros.sock"], &[]);
    top.shows_text("/nowhere/kentros.sock");
    top.shows_text("stats are stale");
    top.press("q");
    assert_eq!(top.ended().0.code(), Some(0));
}

#[test]
fn top_shows_a_container_of_a_real_engine() {
    let Some(engine) = RealEngine::find("top_shows_a_container_of_a_real_engine") else { return };
    let project = unique("top");
    let container = engine.start(&project, "web", &["/bin/sleep", "1000"]);
    let args = ["--docker-host", &engine.host.to_string(), "--project", &project];
    let mut top = Terminal::top(&args, &[]);
    top.shows("the container's memory", |screen| {
        screen.iter().any(|line| line.starts_with("  ") && line.contains("iB"))
    });
    drop(container);
    top.press("q");
    assert_eq!(top.ended().0.code(), Some(0));
}
