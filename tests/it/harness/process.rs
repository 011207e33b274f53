//! This process: its descriptors, threads, memory and log, and child processes that run one test.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::process::Command;
use std::sync::{Mutex, MutexGuard};

use super::served::raise_descriptor_limit;

/// Reports that a test, or a part of one, is skipped. It bypasses `println!`, whose output cargo
/// shows only for failed tests.
pub(crate) fn report_skipped(test: &str, why: &str) {
    let _ = writeln!(io::stderr(), "SKIPPED {test}: {why}");
}

/// Set in the process that [`in_own_process`] starts.
const ALONE: &str = "KENTROS_IT_ALONE";

/// Runs the named test in a process of its own, for tests that measure or change the whole
/// process. `under` is a command to run it under, or empty. Returns whether this is that process.
#[track_caller]
pub(crate) fn in_own_process(name: &str, under: &[&str]) -> bool {
    if std::env::var_os(ALONE).is_some() {
        raise_descriptor_limit();
        return true;
    }
    let exe = std::env::current_exe().unwrap();
    let mut words = under.iter().map(OsStr::new).chain([exe.as_os_str()]);
    let child = Command::new(words.next().unwrap())
        .args(words)
        .args(["--exact", name, "--nocapture", "--test-threads=1", "--include-ignored"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&child.stdout), String::from_utf8_lossy(&child.stderr));
    assert!(child.status.success(), "{out}{err}");
    assert!(out.contains("1 passed"), "no test named {name}: {out}");
    false
}

/// The warnings that a test in its own process has logged.
pub(crate) struct Warnings(Mutex<Vec<String>>);

impl Warnings {
    pub(crate) fn of_this_process() -> &'static Self {
        static WARNINGS: Warnings = Warnings(Mutex::new(Vec::new()));
        log::set_logger(&WARNINGS).unwrap();
        log::set_max_level(log::LevelFilter::Warn);
        &WARNINGS
    }

    /// The lines so far.
    pub(crate) fn lines(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap()
    }
}

impl log::Log for Warnings {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        self.0.lock().unwrap().push(record.args().to_string());
    }

    fn flush(&self) {}
}

/// The numbers of open descriptors and threads of this process.
pub(crate) fn descriptors_and_threads() -> (usize, usize) {
    let descriptors = fs::read_dir("/proc/self/fd").unwrap().count();
    (descriptors, fs::read_dir("/proc/self/task").unwrap().count())
}

/// The names of this process's threads.
pub(crate) fn thread_names() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    tasks
        .filter_map(|task| fs::read_to_string(task.unwrap().path().join("comm")).ok())
        .map(|name| name.trim().to_owned())
        .collect()
}

/// The anonymous resident memory of this process in bytes.
pub(crate) fn memory() -> usize {
    status_bytes("RssAnon:")
}

/// The greatest resident memory of this process since the last [`reset_peak_memory`], in bytes.
pub(crate) fn peak_memory() -> usize {
    status_bytes("VmHWM:")
}

pub(crate) fn reset_peak_memory() {
    fs::write("/proc/self/clear_refs", "5").unwrap();
}

fn status_bytes(field: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    1024 * line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap()
}
