//! Other things than containers on the dashboard: the processes of this machine, by user.
//!
//! ```text
//! cargo run --example custom_source
//! ```

#![allow(clippy::print_stdout)] // A program for people to try.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use kentros::{
    Container, ContainerStats, Demand, EngineInfo, Hub, HubConfig, HubHandle, Message, Project,
    Server, ServerConfig, Snapshot, SourceError, StatsSource,
};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Processes shown: the largest.
const MOST: usize = 40;
/// The clock of `/proc/PID/stat`, ticks a second, and the size of a page: Linux has them so nearly
/// everywhere.
const TICKS: f64 = 100.0;
const PAGE: u64 = 4096;

/// Reads `/proc`.
#[derive(Default)]
struct Processes {
    /// Where the list of projects goes while somebody listens.
    hub: Option<HubHandle>,
    /// When each process was last seen, and the CPU it had used by then: a rate takes two readings.
    before: HashMap<String, (Instant, f64)>,
}

/// What is read of one process.
struct Process {
    pid: String,
    name: String,
    user: u32,
    cpu_seconds: f64,
    memory: u64,
    threads: u64,
}

impl StatsSource for Processes {
    fn begin(&mut self, hub: &HubHandle) -> Result<(), SourceError> {
        self.hub = Some(hub.clone());
        Ok(())
    }

    fn collect(&mut self, demand: &Demand) -> Result<Snapshot, SourceError> {
        let entries = fs::read_dir("/proc")?.flatten();
        let mut processes: Vec<Process> = entries.filter_map(|entry| read(&entry)).collect();
        processes.sort_by_key(|process| std::cmp::Reverse(process.memory));
        processes.truncate(MOST);
        let timestamp = OffsetDateTime::from(SystemTime::now()).format(&Rfc3339)?;
        let mut projects: BTreeMap<String, Project> = BTreeMap::new();
        let mut rows = Vec::new();
        let mut seen = HashMap::new();
        for process in processes {
            let project = format!("user-{}", process.user);
            let now = Instant::now();
            let rate = self.before.get(&process.pid).map(|(at, cpu_seconds)| {
                100.0 * (process.cpu_seconds - cpu_seconds) / (now - *at).as_secs_f64()
            });
            seen.insert(process.pid.clone(), (now, process.cpu_seconds));
            projects.entry(project.clone()).or_default().containers.push(Container {
                id: process.pid.clone(),
                name: process.name.clone(),
                state: "running".to_owned(),
                ..Container::default()
            });
            if demand.wants(&project) {
                let row = ContainerStats {
                    name: process.name,
                    project_id: project,
                    cpu_percent: rate,
                    memory_usage: Some(process.memory),
                    pids: Some(process.threads),
                    timestamp: Some(timestamp.clone()),
                    age_ms: Some(0),
                    ..ContainerStats::default()
                };
                rows.push((process.pid, row));
            }
        }
        self.before = seen;
        let projects: Vec<Project> = projects
            .into_iter()
            .map(|(id, project)| Project {
                name: id.clone(),
                id,
                status: "running".into(),
                ..project
            })
            .collect();
        if let Some(hub) = &self.hub {
            hub.broadcast(&Message::new("project_list", &projects).latest())?;
        }
        Ok(Snapshot::from_rows(rows, &projects, Duration::from_secs(5))?)
    }

    fn rest(&mut self) {
        *self = Self::default();
    }

    fn engine(&self) -> EngineInfo {
        EngineInfo { engine: Some("/proc".to_owned()), ..EngineInfo::default() }
    }
}

/// One process; `None` for what is none, or has just ended.
fn read(entry: &fs::DirEntry) -> Option<Process> {
    let pid = entry.file_name().into_string().ok()?;
    let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
    // The name stands in brackets, and may have any character in it: proc_pid_stat(5).
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

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9003".to_owned());
    let hub = Hub::spawn(HubConfig::default())?;
    let server = Server::bind(addr.as_str(), hub.handle(), ServerConfig::default())?;
    hub.handle().start_stats_streamer(Duration::from_secs(1), Processes::default())?;
    println!("listening on http://{}", server.local_addr());
    loop {
        thread::park();
    }
}
