//! A custom stats source: the processes of this machine on the dashboard, grouped by user.
//!
//! ```text
//! cargo run --example custom_source -- --addr 127.0.0.1:9003
//! ```

#![allow(clippy::print_stdout)] // An example prints its URL.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use kentros::{
    Container, ContainerStats, EngineInfo, Hub, HubConfig, HubHandle, Interest, Message, Project,
    Server, ServerConfig, Snapshot, SourceError, StatsSource,
};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The number of processes to show: those that use the most memory.
const SHOWN: usize = 40;
/// Clock ticks per second in `/proc/PID/stat`, on nearly every Linux.
const TICKS: f64 = 100.0;
/// Bytes per memory page, on nearly every Linux.
const PAGE: u64 = 4096;

/// A reader of `/proc`.
#[derive(Default)]
struct Processes {
    /// Publishes the project list while there is a listener.
    hub: Option<HubHandle>,
    /// By pid: the time and CPU time of the previous sample. A rate needs two samples.
    previous: HashMap<String, (Instant, f64)>,
}

struct Process {
    pid: String,
    name: String,
    user: u32,
    cpu_seconds: f64,
    memory: u64,
    threads: u64,
}

impl StatsSource for Processes {
    fn start(&mut self, hub: &HubHandle) -> Result<(), SourceError> {
        self.hub = Some(hub.clone());
        Ok(())
    }

    fn collect(&mut self, interest: &Interest) -> Result<Snapshot, SourceError> {
        let entries = fs::read_dir("/proc")?.flatten();
        let mut processes: Vec<Process> =
            entries.filter_map(|entry| read_process(&entry)).collect();
        processes.sort_by_key(|process| std::cmp::Reverse(process.memory));
        processes.truncate(SHOWN);
        let timestamp = OffsetDateTime::from(SystemTime::now()).format(&Rfc3339)?;
        let mut projects: BTreeMap<String, Vec<Container>> = BTreeMap::new();
        let mut rows = Vec::new();
        let mut current = HashMap::new();
        for process in processes {
            let project = format!("user-{}", process.user);
            let now = Instant::now();
            let rate = self.previous.get(&process.pid).map(|(at, cpu_seconds)| {
                100.0 * (process.cpu_seconds - cpu_seconds) / (now - *at).as_secs_f64()
            });
            current.insert(process.pid.clone(), (now, process.cpu_seconds));
            let mut container = Container::new(&process.pid, &process.name);
            container.state = "running".into();
            projects.entry(project.clone()).or_default().push(container);
            if interest.includes(&project) {
                let mut row = ContainerStats::new(project, process.name);
                row.cpu_percent = rate;
                row.memory_usage = Some(process.memory);
                row.pids = Some(process.threads);
                row.timestamp = Some(timestamp.clone());
                row.age_ms = Some(0);
                rows.push((process.pid, row));
            }
        }
        self.previous = current;
        let projects: Vec<Project> =
            projects.into_iter().map(|(id, containers)| Project::new(id, containers)).collect();
        if let Some(hub) = &self.hub {
            hub.broadcast(&Message::new("project_list", &projects).latest())?;
        }
        Ok(Snapshot::from_rows(rows, &projects, Duration::from_secs(5))?)
    }

    fn pause(&mut self) {
        *self = Self::default();
    }

    fn engine_info(&self) -> EngineInfo {
        EngineInfo::new("/proc")
    }
}

/// Returns `None` for an entry that is not a process, or whose process has just exited.
fn read_process(entry: &fs::DirEntry) -> Option<Process> {
    let pid = entry.file_name().into_string().ok()?;
    let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
    // The name is in parentheses and may contain any character; see proc_pid_stat(5).
    let (name, rest) = stat.split_once('(')?.1.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let number = |n: usize| fields.get(n)?.parse::<u64>().ok();
    #[allow(clippy::cast_precision_loss)] // 2^53 ticks are three million years.
    let cpu_seconds = (number(11)? + number(12)?) as f64 / TICKS;
    Some(Process {
        name: name.to_owned(),
        user: entry.metadata().ok()?.uid(),
        cpu_seconds,
        memory: number(21)? * PAGE,
        threads: number(17)?,
        pid,
    })
}

fn main() -> Result<(), kentros::Error> {
    let addr = std::env::args().skip(1).find(|arg| arg != "--addr");
    let addr = addr.as_deref().unwrap_or("127.0.0.1:9003");
    let hub = Hub::spawn(HubConfig::default())?;
    let server = Server::bind(addr, hub.handle(), ServerConfig::default())?;
    hub.handle().start_stats_streamer(Duration::from_secs(1), Processes::default())?;
    println!("listening on http://{}", server.local_addr());
    loop {
        thread::park();
    }
}
