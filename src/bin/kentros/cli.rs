//! Parses the command line and the environment.

use std::ffi::OsString;
use std::time::Duration;

use kentros::DockerHost;
use lexopt::{Arg, Parser, ValueExt};
use log::LevelFilter;

use crate::access_options::{AccessOptions, parse_access, parse_token};
use crate::engine_discovery::{self, Environment};
use crate::flag_values::{
    parse_address, parse_base_path, parse_container_count, parse_duration, parse_stats_url,
};
use crate::flags::{FLAGS, FlagValue, ParsedFlags, Subcommand};
use crate::healthcheck::Healthcheck;
use crate::logging::{LogFormat, LogOptions};
use crate::stats::StatsOptions;
use crate::stats_feed::FeedTarget;
use crate::top::TopOptions;

/// The output of `--help`.
pub(crate) const HELP: &str = include_str!("help.txt");

/// A parsed command line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CliCommand {
    Serve(ServeOptions, LogOptions),
    Stats(StatsOptions, LogOptions),
    Top(TopOptions, LogOptions),
    Healthcheck(Healthcheck, LogOptions),
    Help,
    Version,
}

/// The options of the server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ServeOptions {
    pub(crate) addr: String,
    /// The prefix of every path: `/path`, or empty.
    pub(crate) base: String,
    pub(crate) source: SourceChoice,
    pub(crate) interval: Duration,
    pub(crate) access: AccessOptions,
}

/// The source of the stats that the server publishes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SourceChoice {
    Engine(DockerHost),
    /// This many simulated containers.
    Demo(usize),
}

/// Parses the arguments. Flags take precedence over environment variables.
///
/// # Errors
/// A message that names the argument or variable and what is expected.
pub(crate) fn parse(
    args: impl IntoIterator<Item = OsString>,
    environment: &Environment<'_>,
) -> Result<CliCommand, String> {
    let mut flags = ParsedFlags::default();
    let mut subcommand = Subcommand::Serve;
    let mut parser = Parser::from_args(args);
    let message = |error: lexopt::Error| match error {
        // The value may be a token: do not print it.
        lexopt::Error::NonUnicodeValue(_) => "an argument is not valid UTF-8".to_owned(),
        other => other.to_string(),
    };
    while let Some(arg) = parser.next().map_err(message)? {
        let name = match arg {
            Arg::Long("help") | Arg::Short('h') => return Ok(CliCommand::Help),
            Arg::Long("version") | Arg::Short('V') => return Ok(CliCommand::Version),
            Arg::Value(word) if subcommand == Subcommand::Serve => {
                let name = word.to_string_lossy();
                subcommand = Subcommand::from_name(&name).ok_or_else(|| {
                    format!("unknown command {name:?}: expected stats, top or healthcheck")
                })?;
                continue;
            }
            Arg::Long(name) => name.to_owned(),
            other => return Err(other.unexpected().to_string()),
        };
        let Some(flag) = FLAGS.iter().find(|flag| flag.name == name) else {
            return Err(Arg::Long(&name).unexpected().to_string());
        };
        let text = if flag.takes_value {
            parser.value().and_then(ValueExt::string).map_err(message)?
        } else {
            String::new()
        };
        flags.set_from_command_line(flag, &text);
    }
    for flag in &FLAGS {
        if !subcommand.accepts(flag.scope) {
            if flags.contains(flag.name) {
                return Err(format!("--{} is only valid {}", flag.name, flag.scope.describe()));
            }
        } else if let Some(variable) = flag.variable
            && !flags.contains(flag.name)
            && let Some(text) = (environment.variable)(variable)
        {
            flags.set_from_environment(flag, variable, text);
        }
    }
    command(subcommand, &flags, environment)
}

fn command(
    subcommand: Subcommand,
    flags: &ParsedFlags,
    environment: &Environment<'_>,
) -> Result<CliCommand, String> {
    let log = log_options(flags)?;
    let interval = flags.parse_or("interval", Duration::from_secs(1), parse_duration)?;
    let addr = flags.parse_or("addr", "127.0.0.1:9001".into(), parse_address)?;
    let base = flags.parse_or("base", String::new(), parse_base_path)?;
    let target = || match flags.parse_or("url", None, |text| parse_stats_url(text).map(Some))? {
        Some(url) => Ok::<_, String>(FeedTarget::Hub(url, parse_token(flags)?)),
        None => Ok(FeedTarget::Engine(docker_host(flags, environment)?)),
    };
    let project = flags.text("project");
    let is_dumb = (environment.variable)("TERM").as_deref() == Some("dumb");
    Ok(match subcommand {
        Subcommand::Serve => {
            let demo =
                flags.parse_or("demo", None, |text| parse_container_count(text).map(Some))?;
            let source = match demo {
                Some(containers) => SourceChoice::Demo(containers),
                None => SourceChoice::Engine(docker_host(flags, environment)?),
            };
            let access = parse_access(flags)?;
            CliCommand::Serve(ServeOptions { addr, base, source, interval, access }, log)
        }
        Subcommand::Stats => {
            let (once, json) = (flags.contains("once"), flags.contains("json"));
            let target = target()?;
            CliCommand::Stats(StatsOptions { target, interval, project, once, json, is_dumb }, log)
        }
        Subcommand::Top => {
            let target = target()?;
            let color = (environment.variable)("NO_COLOR").is_none();
            CliCommand::Top(TopOptions { target, interval, project, color, is_dumb }, log)
        }
        Subcommand::Healthcheck => {
            let ready = flags.contains("ready");
            CliCommand::Healthcheck(Healthcheck { addr, base, ready }, log)
        }
    })
}

fn log_options(flags: &ParsedFlags) -> Result<LogOptions, String> {
    let level = flags.parse_or("log-level", LevelFilter::Info, |text| {
        text.parse().map_err(|_| "expected off, error, warn, info, debug or trace".into())
    })?;
    let format = flags.parse_or("log-format", LogFormat::Text, |text| match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("expected text or json".into()),
    })?;
    Ok(LogOptions { level, format })
}

/// The engine set by `--docker-host`, or the one that is discovered.
fn docker_host(flags: &ParsedFlags, environment: &Environment<'_>) -> Result<DockerHost, String> {
    let engine = match flags.get("docker-host") {
        Some(FlagValue { name, text }) => {
            engine_discovery::with_address(text.clone(), name, environment)
        }
        None => engine_discovery::discover(environment)?,
    };
    let host = || {
        let mut host: DockerHost = engine.host.parse()?;
        if let Some(folder) = &engine.certificates {
            host = host.with_tls(folder)?;
        }
        Ok(host)
    };
    let host = host().map_err(|error: kentros::Error| format!("{}: {error}", engine.set_by))?;
    match (environment.variable)("DOCKER_API_VERSION") {
        Some(version) => host.with_api_version(&version).map_err(|error| {
            format!("DOCKER_API_VERSION: {error}. Unset it to negotiate the version")
        }),
        None => Ok(host),
    }
}

#[cfg(test)]
#[path = "cli_tests.rs"]
mod tests;
