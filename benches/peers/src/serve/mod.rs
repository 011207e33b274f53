//! The servers that are part of this program, each run as a process of its own: what comes as a
//! line on the standard input goes to every client.

mod floor;
pub mod kentros;
mod tokio;

use std::error::Error;
use std::io::{self, BufRead};

/// Connections that may wait to be accepted, as at the peers: std's 128 overflow when a thousand
/// connect at once, and whoever is dropped tries again a second later.
const BACKLOG: i32 = 4096;

/// Runs the server of this name on a port of the loopback, until its input ends.
pub fn run(name: &str, port: u16) -> Result<(), Box<dyn Error>> {
    match name {
        "floor-1" => Ok(floor::run(port, 1)?),
        "floor-2" => Ok(floor::run(port, 2)?),
        "kentros" => kentros::run(port, None),
        "kentros-1" => kentros::run(port, Some(1)),
        "tokio" => Ok(tokio::run(port)?),
        other => Err(format!("there is no server {other:?}").into()),
    }
}

/// Hands each line of the standard input to `take`.
fn lines(mut take: impl FnMut(String)) -> io::Result<()> {
    let mut input = io::BufReader::with_capacity(1 << 20, io::stdin());
    loop {
        let mut line = String::new();
        if input.read_line(&mut line)? == 0 {
            return Ok(());
        }
        if line.ends_with('\n') {
            line.pop();
        }
        take(line);
    }
}
