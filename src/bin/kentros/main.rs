//! The program: a hub, a server and a source of stats, until a signal ends it.

mod access;
mod cli;
mod demo;
#[cfg(test)]
mod demo_tests;
mod dial;
mod feed;
mod find;
mod flags;
mod healthcheck;
mod logging;
mod stats;
mod table;
mod text;
mod top;
mod units;
mod values;

use std::error::Error;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

use kentros::{DockerSource, Hub, HubConfig, Server, ServerConfig};
use log::LevelFilter;
use rustix::process::{Resource, getrlimit, setrlimit};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use access::Exposed;
use cli::{Command, Options, Source};
use demo::DemoSource;
use find::Surroundings;

fn main() -> ExitCode {
    // A variable that is set to nothing counts as not set: compose files leave such behind. But
    // where a token was forgotten, the door must not be open.
    let variable = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty() || name.starts_with("KENTROS_TOKEN"))
            .map(|value| value.to_string_lossy().into_owned())
    };
    let around = Surroundings { variable: &variable, root: Path::new("/") };
    let (job, log): (Job, _) = match cli::parse(std::env::args_os().skip(1), &around) {
        Ok(Command::Serve(options, log)) => (Box::new(|| serve(options)), log),
        Ok(Command::Stats(options, log)) => (Box::new(move || stats::run(&options)), log),
        Ok(Command::Top(options, (level, format))) => {
            // A line of the log would stand across the picture: it is kept where it goes elsewhere.
            let level = if io::stderr().is_terminal() { LevelFilter::Off } else { level };
            (Box::new(|| top::run(options)), (level, format))
        }
        Ok(Command::Healthcheck(healthcheck, log)) => (Box::new(move || healthcheck.ask()), log),
        Ok(Command::Help) => return say(cli::HELP),
        Ok(Command::Version) => {
            return say(concat!("kentros ", env!("CARGO_PKG_VERSION"), "\n"));
        }
        Err(error) => {
            return misunderstood(&error);
        }
    };
    logging::start(log);
    ended(job())
}

/// What the command line asks for.
type Job = Box<dyn FnOnce() -> Result<(), Box<dyn Error>>>;

fn ended(result: Result<(), Box<dyn Error>>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<Exposed>() => misunderstood(&error.to_string()),
        Err(error) => {
            // Not through the log, which may be off.
            complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn serve(options: Options) -> Result<(), Box<dyn Error>> {
    // Before anything else: a signal that comes early must not kill what has begun.
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    raise_descriptors();
    let hub = Hub::spawn(HubConfig::default())?;
    let config = ServerConfig::default().base(&options.base);
    let config = options.access.applied(config, &options.addr)?;
    // All else that could be invalid has been refused by now.
    let server = match Server::bind(options.addr.as_str(), hub.handle(), config) {
        Err(error) if error.is_invalid() => return Err(Exposed(options.addr).into()),
        bound => bound?,
    };
    match options.source {
        Source::Demo(containers) => {
            hub.handle().start_stats_streamer(options.interval, DemoSource::new(containers))?;
        }
        Source::Engine(host) => {
            hub.handle().start_stats_streamer(options.interval, DockerSource::new(host))?;
        }
    }
    if let Some(signal) = signals.forever().next() {
        log::info!("ending: {}", if signal == SIGTERM { "SIGTERM" } else { "SIGINT" });
    }
    server.shutdown();
    hub.shutdown();
    Ok(())
}

/// Takes all the descriptors the system lets this process have: each client needs one, and the
/// usual limit of 1,024 is for programs that use select(2).
fn raise_descriptors() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        log::debug!("the limit of descriptors stays: {error}");
    }
}

fn say(text: &str) -> ExitCode {
    // `kentros --help | head -1` closes the pipe, which is no failure.
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn misunderstood(error: &str) -> ExitCode {
    complain(&format!("{error}\nkentros --help lists what is understood"));
    ExitCode::from(2)
}

fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "kentros: {text}");
}
