//! The command line and the environment: each flag has its variable, and the flag wins.

use std::ffi::OsString;
use std::time::Duration;

use kentros::DockerHost;
use lexopt::{Arg, Parser, ValueExt};
use log::LevelFilter;

use crate::access::{self, AccessOptions};
use crate::feed::From;
use crate::find::{self, Surroundings};
use crate::flags::{FLAGS, Given, Job, Value};
use crate::healthcheck::Healthcheck;
use crate::logging::Format;
use crate::stats::StatsOptions;
use crate::top::TopOptions;
use crate::values::{address, base, containers, duration, url};

/// What `--help` says.
pub(crate) const HELP: &str = include_str!("help.txt");

/// What the program is to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Serve(Options, Log),
    Stats(StatsOptions, Log),
    Top(TopOptions, Log),
    Healthcheck(Healthcheck, Log),
    Help,
    Version,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) addr: String,
    /// What every path begins with: `/path`, or nothing.
    pub(crate) base: String,
    pub(crate) source: Source,
    pub(crate) interval: Duration,
    pub(crate) access: AccessOptions,
}

/// How much is logged, and how.
pub(crate) type Log = (LevelFilter, Format);

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Engine(DockerHost),
    Demo(usize),
}

/// Reads the arguments, and of the environment what they leave open.
///
/// # Errors
/// A sentence that names the argument or variable and what it may be.
pub(crate) fn parse(
    args: impl IntoIterator<Item = OsString>,
    around: &Surroundings<'_>,
) -> Result<Command, String> {
    let mut given = Given::default();
    let mut job = Job::Serve;
    let mut parser = Parser::from_args(args);
    let sentence = |error: lexopt::Error| match error {
        // Without the value, which may be a token.
        lexopt::Error::NonUnicodeValue(_) => "what is given must be text, in UTF-8".to_owned(),
        other => other.to_string(),
    };
    while let Some(arg) = parser.next().map_err(sentence)? {
        let name = match arg {
            Arg::Long("help") | Arg::Short('h') => return Ok(Command::Help),
            Arg::Long("version") | Arg::Short('V') => return Ok(Command::Version),
            Arg::Value(word) if job == Job::Serve => {
                let text = word.to_string_lossy();
                job = Job::of(&text).ok_or_else(|| {
                    format!(
                        "{text:?} is no command: stats, top and healthcheck are; without one, \
                         kentros serves"
                    )
                })?;
                continue;
            }
            Arg::Long(name) => name.to_owned(),
            other => return Err(other.unexpected().to_string()),
        };
        let Some(flag) = FLAGS.iter().find(|flag| flag.name == name) else {
            return Err(Arg::Long(&name).unexpected().to_string());
        };
        let text = if flag.valued {
            parser.value().and_then(ValueExt::string).map_err(sentence)?
        } else {
            String::new()
        };
        given.flag(flag, &text);
    }
    for flag in &FLAGS {
        if !job.takes(flag.of) {
            if given.has(flag.name) {
                return Err(format!("--{} has a meaning only {}", flag.name, flag.of.place()));
            }
        } else if let Some(variable) = flag.variable
            && !given.has(flag.name)
            && let Some(text) = (around.variable)(variable)
        {
            given.variable(flag, variable, text);
        }
    }
    let log_level = given.read("log-level", LevelFilter::Info, |text| {
        text.parse().map_err(|_| "off, error, warn, info, debug or trace is wanted".into())
    })?;
    let log_format = given.read("log-format", Format::Text, |text| match text {
        "text" => Ok(Format::Text),
        "json" => Ok(Format::Json),
        _ => Err("text or json is wanted".into()),
    })?;
    let log = (log_level, log_format);
    let interval = given.read("interval", Duration::from_secs(1), duration)?;
    let addr = given.read("addr", "127.0.0.1:9001".into(), address)?;
    let base = given.read("base", String::new(), base)?;
    if job == Job::Healthcheck {
        return Ok(Command::Healthcheck(
            Healthcheck { addr, base, ready: given.has("ready") },
            log,
        ));
    }
    if job != Job::Serve {
        let from = match given.read("url", None, |text| url(text).map(Some))? {
            Some(url) => From::Hub(url, access::token(&given)?),
            None => From::Engine(engine(&given, around)?),
        };
        let project = given.text("project");
        let dumb = (around.variable)("TERM").as_deref() == Some("dumb");
        if job == Job::Top {
            let colour = (around.variable)("NO_COLOR").is_none();
            return Ok(Command::Top(TopOptions { from, interval, project, colour, dumb }, log));
        }
        let (once, json) = (given.has("once"), given.has("json"));
        return Ok(Command::Stats(StatsOptions { from, interval, project, once, json, dumb }, log));
    }
    let source = match given.read("demo", None, |text| containers(text).map(Some))? {
        Some(containers) => Source::Demo(containers),
        None => Source::Engine(engine(&given, around)?),
    };
    let access = access::read(&given)?;
    Ok(Command::Serve(Options { addr, base, source, interval, access }, log))
}

/// The engine that the flag names, or that is found.
fn engine(given: &Given, around: &Surroundings<'_>) -> Result<DockerHost, String> {
    let found = match given.get("docker-host") {
        Some(Value { name, text }) => find::named(text.clone(), name, around),
        None => find::engine(around)?,
    };
    let host = || {
        let mut host: DockerHost = found.host.parse()?;
        if let Some(folder) = &found.certificates {
            host = host.with_tls(folder)?;
        }
        Ok(host)
    };
    let host = host().map_err(|error: kentros::Error| format!("{}: {error}", found.by))?;
    match (around.variable)("DOCKER_API_VERSION") {
        Some(version) => host
            .with_api_version(&version)
            .map_err(|error| format!("DOCKER_API_VERSION: {error}; unset, it is negotiated")),
        None => Ok(host),
    }
}

#[cfg(test)]
#[path = "cli_tests.rs"]
mod tests;
