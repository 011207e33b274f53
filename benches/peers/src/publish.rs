//! The publisher: a thread that sends each server the same messages at the same rate, each with its
//! number and time.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::process::ChildStdin;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::stamp;

/// The bytes that a snapshot adds to the text in a row, for a client of one project.
pub const SNAPSHOT_ENVELOPE: usize = r#"{"type":"container_stats","payload":{"p0000":{"a":"","project_id":"p0000"}},"timestamp":1700000000}"#.len();

/// What to publish.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The bytes of a message on the wire, without the frame header.
    pub size: usize,
    pub ticks: u64,
    pub interval: Duration,
    /// The messages per tick, one right after the other.
    pub burst: u64,
    /// The projects that each get every message, with the same number. 0: all clients get it.
    pub projects: usize,
    /// The messages of all projects are the rows of one snapshot.
    pub snapshot: bool,
}

impl Plan {
    pub fn messages(&self) -> u64 {
        self.ticks * self.burst
    }
}

/// How a server accepts messages.
pub enum Sink {
    /// As lines on its standard input. It adds this many bytes of its own.
    Lines(ChildStdin, usize),
    /// As POST requests.
    Http(TcpStream),
}

/// Publishes on a new thread, which returns the sink at the end.
pub fn spawn(mut sink: Sink, plan: Plan) -> JoinHandle<io::Result<Sink>> {
    std::thread::spawn(move || {
        let start = Instant::now();
        let mut number = 0;
        for tick in 0..plan.ticks {
            let due = start + plan.interval * u32::try_from(tick).unwrap_or(u32::MAX);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let stamp = stamp::now();
            let mut out = Vec::new();
            for _ in 0..plan.burst {
                sink.encode(number, stamp, &plan, &mut out);
                number += 1;
            }
            sink.send(&out, plan.burst)?;
        }
        Ok(sink)
    })
}

/// The name of a project. All names have the same length.
pub fn project(number: usize) -> String {
    format!("p{number:04}")
}

impl Sink {
    fn encode(&self, number: u64, stamp: u64, plan: &Plan, out: &mut Vec<u8>) {
        match self {
            Self::Lines(..) if plan.snapshot => {
                let size = plan.size.saturating_sub(SNAPSHOT_ENVELOPE);
                let text = stamp::message(number, stamp, size);
                out.extend_from_slice(format!("*{} {text}\n", plan.projects).as_bytes());
            }
            Self::Lines(_, envelope) => {
                let text = stamp::message(number, stamp, plan.size.saturating_sub(*envelope));
                for p in 0..plan.projects {
                    out.extend_from_slice(format!("#{} {text}\n", project(p)).as_bytes());
                }
                if plan.projects == 0 {
                    out.extend_from_slice(format!("{text}\n").as_bytes());
                }
            }
            Self::Http(_) => {
                let text = stamp::message(number, stamp, plan.size);
                let head = "POST /pub HTTP/1.1\r\nHost: localhost\r\nContent-Length";
                out.extend_from_slice(format!("{head}: {}\r\n\r\n{text}", text.len()).as_bytes());
            }
        }
    }

    fn send(&mut self, bytes: &[u8], messages: u64) -> io::Result<()> {
        match self {
            Self::Lines(input, _) => input.write_all(bytes),
            Self::Http(socket) => {
                // The responses are read meanwhile, otherwise both sides could block.
                let mut answers = socket.try_clone()?;
                let reader = std::thread::spawn(move || read_answers(&mut answers, messages));
                socket.write_all(bytes)?;
                reader.join().map_err(|_| io::Error::other("the reader panicked"))?
            }
        }
    }
}

/// Reads this many responses. Each begins with its status line.
fn read_answers(socket: &mut TcpStream, mut left: u64) -> io::Result<()> {
    let mut buffer = [0; 16 * 1024];
    let mut kept = 0;
    while left > 0 {
        let n = socket.read(&mut buffer[kept..])?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let have = &buffer[..kept + n];
        left = left.saturating_sub(have.windows(9).filter(|w| w == b"HTTP/1.1 ").count() as u64);
        // The end may be the beginning of the next one.
        let tail = have.len().min(8);
        buffer.copy_within(kept + n - tail..kept + n, 0);
        kept = tail;
    }
    Ok(())
}
