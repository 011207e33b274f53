//! Compares kentros with other servers on one machine. Can also load any WebSocket server.
//!
//! Each server is a process. One thread here runs all clients and one publishes. A message contains
//! its number and the time it was made, which shows the latency, gaps and repetitions of each
//! delivery. The kernel reports the cost of a server. The servers take turns, and ratios are computed
//! within a round, so that a busy machine affects all of them alike.

mod frames;
mod load;
mod measure;
mod peer;
mod process;
mod publish;
mod scenario;
mod serve;
mod stamp;
mod table;
mod watch;

use std::error::Error;
use std::process::ExitCode;
use std::time::Instant;

use lexopt::{Arg, Parser, ValueExt};
use rustix::process::{Resource, getrlimit, setrlimit};

use peer::Peer;
use scenario::{Choice, Scenario};

const HELP: &str = "\
Compares kentros with other servers on this machine, or loads any WebSocket server

cargo run --release -- [options]
  --quick             only two scenarios, within two minutes
  --list              list the scenarios and the servers, and what is not installed
  --scenario NAME     only this one; can be repeated
  --peer NAME         only this one; can be repeated
  --rounds N          rounds, of which the medians are printed (5; with --quick 3)
  --clients N --size B --rate R --seconds S
                      one scenario of your own: N clients, R messages of B bytes per second

  --url ws://host:port/path [--clients N] [--seconds S] [--say TEXT]
                      a load on a running server: prints what its clients receive each second;
                      each client sends TEXT first
";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    // Both ends of a connection may need it. The servers inherit the limit.
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)?;

    let mut choice = Choice::default();
    let (mut names, mut peers, mut list) = (Vec::<String>::new(), Vec::new(), false);
    let (mut rounds, mut url, mut say) = (None, None, None::<String>);
    let mut args = Parser::from_env();
    while let Some(arg) = args.next()? {
        match arg {
            Arg::Value(word) if word == "serve" => {
                let name = args.value()?.string()?;
                return serve::run(&name, args.value()?.parse()?);
            }
            Arg::Long("quick") => choice.quick = true,
            Arg::Long("list") => list = true,
            Arg::Long("scenario") => names.push(args.value()?.string()?),
            Arg::Long("peer") => peers.push(peer(&args.value()?.string()?)?),
            Arg::Long("rounds") => rounds = Some(args.value()?.parse()?),
            Arg::Long("clients") => choice.clients = Some(args.value()?.parse()?),
            Arg::Long("size") => choice.size = Some(args.value()?.parse()?),
            Arg::Long("rate") => choice.rate = Some(args.value()?.parse()?),
            Arg::Long("seconds") => choice.seconds = Some(args.value()?.parse()?),
            Arg::Long("url") => url = Some(args.value()?.string()?),
            Arg::Long("say") => say = Some(args.value()?.string()?),
            Arg::Short('h') | Arg::Long("help") => {
                print!("{HELP}");
                return Ok(());
            }
            other => return Err(other.unexpected().into()),
        }
    }
    if let Some(url) = url {
        let (clients, seconds) = (choice.clients.unwrap_or(1000), choice.seconds.unwrap_or(10.0));
        return Ok(watch::watch(watch::target(&url)?, clients, say.as_deref(), seconds)?);
    }
    let peers = installed(if peers.is_empty() { Peer::ALL.to_vec() } else { peers });
    let mut scenarios = scenario::all(&peers, &choice);
    if list {
        for scenario in scenarios {
            println!("{:<10} {}", scenario.name, scenario.about);
        }
        return Ok(());
    }
    if let Some(name) = names.iter().find(|name| scenarios.iter().all(|s| s.name != **name)) {
        return Err(format!("unknown scenario {name:?}: see --list").into());
    }
    if !names.is_empty() {
        scenarios.retain(|scenario| names.iter().any(|name| name == scenario.name));
    }
    for scenario in &scenarios {
        run_scenario(scenario, rounds.unwrap_or(if choice.quick { 3 } else { 5 }));
    }
    Ok(())
}

fn peer(name: &str) -> Result<Peer, String> {
    let found = Peer::ALL.into_iter().find(|peer| peer.name() == name);
    found.ok_or_else(|| format!("unknown server {name:?}: see --list"))
}

/// Prints the servers that can run, and how to install the others.
fn installed(mut peers: Vec<Peer>) -> Vec<Peer> {
    peers.retain(|peer| match peer.missing() {
        None => {
            println!("{:<10} {}", peer.name(), peer.about());
            true
        }
        Some(how) => {
            println!("{:<10} not installed: {how}", peer.name());
            false
        }
    });
    peers
}

/// Runs a scenario with the servers in turns, and prints its table.
fn run_scenario(scenario: &Scenario, rounds: usize) {
    let start = Instant::now();
    let count = scenario.runs.len();
    let mut outcomes: table::Outcomes = vec![Vec::new(); count];
    for round in 0..rounds {
        // Each round starts with another server.
        for i in (0..count).map(|i| (i + round) % count) {
            let run = &scenario.runs[i];
            let outcome = measure::measure(run.peer, &run.spec);
            if let Err(error) = &outcome {
                println!("{}, {}: {error}", scenario.name, run.label);
            }
            outcomes[i].push(outcome.ok());
        }
    }
    table::print(scenario, &outcomes);
    println!("({rounds} rounds, {:.0} s)", start.elapsed().as_secs_f64());
}
