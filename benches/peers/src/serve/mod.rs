//! The servers that are part of this program, each run as a process. A line on standard input is
//! sent to every client.

mod floor;
pub mod kentros;
mod tokio;

use std::error::Error;
use std::io::{self, BufRead};

/// The length of the listen queue, as in the other servers: the 128 of the standard library overflow
/// when a thousand clients connect at once, and a dropped one tries again only a second later.
const BACKLOG: i32 = 4096;

/// Runs the server of this name on a loopback port until its input ends.
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

/// Passes each line of standard input to `take`.
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
