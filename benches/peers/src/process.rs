//! The cost of a server as the kernel reports it: CPU time, memory, threads, descriptors.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// The processes of a server: the one that was started and its children.
#[derive(Clone, Copy, Debug)]
pub struct Process(pub u32);

/// What they use at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Held {
    pub rss_kib: u64,
    pub threads: u64,
    pub descriptors: u64,
}

impl Process {
    /// The CPU time used so far by all threads, also by those that have ended.
    pub fn cpu(self) -> Duration {
        self.pids().into_iter().filter_map(cpu).sum()
    }

    pub fn held(self) -> Held {
        let mut held = Held::default();
        for pid in self.pids() {
            let proc = PathBuf::from(format!("/proc/{pid}"));
            let status = fs::read_to_string(proc.join("status")).unwrap_or_default();
            let field = |name: &str| {
                let line = status.lines().find_map(|line| line.strip_prefix(name));
                line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
            };
            held.rss_kib += field("VmRSS:");
            held.threads += field("Threads:");
            held.descriptors += fs::read_dir(proc.join("fd")).map_or(0, |fds| fds.count() as u64);
        }
        held
    }

    fn pids(self) -> Vec<u32> {
        let children = format!("/proc/{0}/task/{0}/children", self.0);
        let children = fs::read_to_string(children).unwrap_or_default();
        let children = children.split_whitespace().filter_map(|pid| pid.parse().ok());
        std::iter::once(self.0).chain(children).collect()
    }
}

fn cpu(pid: u32) -> Option<Duration> {
    let clock = clock_getcpuclockid(Pid::from_raw(pid.try_into().ok()?)).ok()?;
    Some(clock_gettime(clock).ok()?.into())
}
