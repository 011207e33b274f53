//! The `kentros` program: the server, and the commands `stats`, `top` and `healthcheck`.

mod access_options;
mod cli;
mod demo;
#[cfg(test)]
mod demo_tests;
mod engine_discovery;
mod flag_values;
mod flags;
mod healthcheck;
mod logging;
mod stats;
mod stats_feed;
mod tcp;
mod terminal_text;
mod top;
mod units;

use std::cell::RefCell;
use std::error::Error;
use std::io::{self, Write as _};
use std::process::ExitCode;

use kentros::{DockerSource, Hub, HubConfig, Server, ServerConfig, printable};
use rustix::process::{Resource, getrlimit, setrlimit};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use access_options::MissingTokenError;
use cli::{CliCommand, ServeOptions, SourceChoice};
use demo::DemoSource;
use engine_discovery::Environment;

fn main() -> ExitCode {
    // An empty variable counts as unset, because Compose files often pass empty ones. An empty
    // token is an error: it must not turn authentication off.
    let variable = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty() || name.starts_with("KENTROS_TOKEN"))
            .map(|value| value.to_string_lossy().into_owned())
    };
    let warnings = RefCell::new(Vec::new());
    let environment = Environment {
        variable: &variable,
        ping: &engine_discovery::ping,
        warn: &|warning| warnings.borrow_mut().push(warning),
    };
    let (run, log): (RunCommand, _) = match cli::parse(std::env::args_os().skip(1), &environment) {
        Ok(CliCommand::Serve(options, log)) => (Box::new(|| serve(options)), log),
        Ok(CliCommand::Stats(options, log)) => (Box::new(move || stats::run(&options)), log),
        Ok(CliCommand::Top(options, log)) => (Box::new(|| top::run(options)), log),
        Ok(CliCommand::Healthcheck(healthcheck, log)) => (Box::new(move || healthcheck.run()), log),
        Ok(CliCommand::Help) => return print(cli::HELP),
        Ok(CliCommand::Version) => {
            return print(concat!("kentros ", env!("CARGO_PKG_VERSION"), "\n"));
        }
        Err(error) => return usage_error(&error),
    };
    logging::start(log);
    for warning in warnings.take() {
        log::warn!("{warning}");
    }
    exit_code(run())
}

type RunCommand = Box<dyn FnOnce() -> Result<(), Box<dyn Error>>>;

fn exit_code(result: Result<(), Box<dyn Error>>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<MissingTokenError>() => usage_error(&error.to_string()),
        Err(error) => {
            print_error(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// Runs the server until SIGINT or SIGTERM.
fn serve(options: ServeOptions) -> Result<(), Box<dyn Error>> {
    // Register first: a signal during startup must shut the server down cleanly too.
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    raise_descriptor_limit();
    if let Some(warning) = &options.access.warning {
        log::warn!("{warning}");
    }
    let hub = Hub::spawn(HubConfig::default())?;
    let config = ServerConfig::default().base(&options.base);
    let config = options.access.apply_to(config, &options.addr)?;
    let server = Server::bind(options.addr.as_str(), hub.handle(), config)
        .map_err(|error| explain_bind_error(error, &options.addr))?;
    match options.source {
        SourceChoice::Demo(containers) => {
            hub.handle().start_stats_streamer(options.interval, DemoSource::new(containers))?;
        }
        SourceChoice::Engine(host) => {
            hub.handle().start_stats_streamer(options.interval, DockerSource::new(host))?;
        }
    }
    if let Some(signal) = signals.forever().next() {
        let name = if signal == SIGTERM { "SIGTERM" } else { "SIGINT" };
        log::info!("received {name}, shutting down");
    }
    server.shutdown();
    hub.shutdown();
    Ok(())
}

/// Replaces the library's error where a flag is the fix.
fn explain_bind_error(error: kentros::Error, addr: &str) -> Box<dyn Error> {
    let io_error = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    if io_error.is_some_and(|error| error.kind() == io::ErrorKind::AddrInUse) {
        return format!(
            "cannot listen on {addr}: address already in use. Choose another port with --addr \
             HOST:PORT"
        )
        .into();
    }
    // The other options are validated by now: an invalid configuration means a missing token.
    if error.is_invalid() {
        return MissingTokenError { addr: addr.to_owned() }.into();
    }
    error.into()
}

/// Raises the soft limit of file descriptors to the hard limit. Each client needs a descriptor,
/// and the usual soft limit of 1,024 exists for programs that use select(2).
fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        log::debug!("cannot raise the file descriptor limit: {error}");
    }
}

fn print(text: &str) -> ExitCode {
    // A closed pipe is not a failure: `kentros --help | head -1`.
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn usage_error(error: &str) -> ExitCode {
    print_error(error);
    let _ = writeln!(io::stderr(), "\nFor more information, try 'kentros --help'.");
    ExitCode::from(2)
}

/// Writes one line to stderr and not to the log, which may be off.
fn print_error(text: &str) {
    let _ = writeln!(io::stderr(), "error: {}", printable(text));
}
