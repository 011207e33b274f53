//! What the server must keep up during the attacks: health checks and bounded memory.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::CLIENTS;
use super::attacks::{expect, request};
use super::pause;
use super::program::Program;

/// The most resident memory of the program: 256 MiB of queues, 64 MiB of responses, 64 MiB of
/// history, and 64 KiB for each client and its thread.
const RSS_KIB: u64 = (256 + 64 + 64) * 1024 + 64 * CLIENTS as u64;
/// The most memory of the kernel for TCP: 320 KiB for each client and as much for the peer.
const TCP_KIB: u64 = 2 * 320 * CLIENTS as u64;

/// What was seen during the attacks.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    health_checks: u64,
    failed: Vec<String>,
    rss_kib: u64,
    tcp_kib: u64,
}

impl Figures {
    /// Watches the program while `attack` runs.
    pub(crate) fn during<T>(program: &Program, attack: impl FnOnce() -> T) -> (T, Self) {
        let over = Arc::new(AtomicBool::new(false));
        thread::scope(|scope| {
            let end = EndOnDrop(Arc::clone(&over));
            let watch = scope.spawn(|| {
                let mut figures = Self::default();
                while !over.load(Ordering::SeqCst) {
                    figures.take(program);
                    pause(Duration::from_millis(200));
                }
                figures
            });
            let result = attack();
            drop(end);
            (result, watch.join().unwrap())
        })
    }

    fn take(&mut self, program: &Program) {
        let answer = request(program.addr, "GET /healthz", "", "");
        match answer.and_then(|answer| expect(&answer, &["200"])) {
            Ok(()) => self.health_checks += 1,
            Err(why) => self.failed.push(why),
        }
        self.rss_kib = self.rss_kib.max(program.held().rss_kib);
        self.tcp_kib = self.tcp_kib.max(tcp_kib());
    }

    pub(crate) fn check(&self) {
        assert_eq!(self.failed, Vec::<String>::new(), "health checks");
        assert!(self.health_checks > 0);
        assert!(self.rss_kib <= RSS_KIB, "{} KiB of {RSS_KIB} KiB", self.rss_kib);
        assert!(self.tcp_kib <= TCP_KIB, "{} KiB of {TCP_KIB} KiB for TCP", self.tcp_kib);
    }
}

struct EndOnDrop(Arc<AtomicBool>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// The kernel's memory for all TCP sockets of the machine.
fn tcp_kib() -> u64 {
    let text = fs::read_to_string("/proc/net/sockstat").unwrap();
    let tcp = text.lines().find(|line| line.starts_with("TCP:")).unwrap();
    let pages: u64 = tcp.rsplit(' ').next().unwrap().parse().unwrap();
    // On machines with larger pages it is more.
    pages * 4
}
