//! The command line and the environment: each flag has its variable, and the flag wins.

use std::ffi::{OsStr, OsString};
use std::time::Duration;

use kentros::DockerHost;
use lexopt::{Arg, Parser, ValueExt};
use log::LevelFilter;

use crate::logging::Format;
use crate::stats::{From, StatsOptions};

pub(crate) const HELP: &str = "\
kentros: live stats of your containers, in the browser and as JSON

Usage: kentros [OPTIONS]
       kentros stats [--once] [--json] [--project ID] [--url ws://HOST:PORT/ws/stats]

  --addr HOST:PORT     Where to listen; port 0 takes any free one  [127.0.0.1:9001]
  --docker-host URL    The Docker Engine: unix:///path, tcp://host:port or http://host:port
                       [DOCKER_HOST, or unix:///var/run/docker.sock]
  --interval TIME      Time between two snapshots: 1s, 500ms, 2m  [1s]
  --demo N             N simulated containers, and no engine
  --log-level LEVEL    off, error, warn, info, debug or trace  [info]
  --log-format FORMAT  text or json  [text]
  --help, --version

kentros stats shows a live table, as docker stats does, of the engine or of a running kentros:
  --once               One table, then the end
  --json               A JSON document a line: the rows by container id
  --project ID         Only this Compose project
  --url URL            Ask this running kentros and not the engine

Each option can stand in the environment: KENTROS_ADDR, KENTROS_DOCKER_HOST, KENTROS_INTERVAL,
KENTROS_DEMO, KENTROS_LOG_LEVEL, KENTROS_LOG_FORMAT. What stands on the command line wins.
";

/// What the program is to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Serve(Options),
    Stats(StatsOptions, LevelFilter),
    Help,
    Version,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) addr: String,
    pub(crate) source: Source,
    pub(crate) interval: Duration,
    pub(crate) log_level: LevelFilter,
    pub(crate) log_format: Format,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Docker(DockerHost),
    Demo(usize),
}

/// The values as they came, each with the name it came under, for the error that names it.
#[derive(Default)]
struct Given {
    addr: Option<Value>,
    docker_host: Option<Value>,
    interval: Option<Value>,
    demo: Option<Value>,
    log_level: Option<Value>,
    log_format: Option<Value>,
    stats: bool,
    project: Option<Value>,
    url: Option<Value>,
    once: bool,
    json: bool,
}

struct Value {
    name: String,
    text: String,
}

/// Reads the arguments, and of the environment, which `variable` looks up, what they leave open.
///
/// # Errors
/// A sentence that names the argument or variable and what it may be.
pub(crate) fn parse(
    args: impl IntoIterator<Item = OsString>,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<Command, String> {
    let mut given = Given::default();
    let mut parser = Parser::from_args(args);
    while let Some(arg) = parser.next().map_err(|error| error.to_string())? {
        let slot = match arg {
            Arg::Long("help") | Arg::Short('h') => return Ok(Command::Help),
            Arg::Long("version") | Arg::Short('V') => return Ok(Command::Version),
            Arg::Value(word) if word == "stats" && !given.stats => {
                given.stats = true;
                continue;
            }
            Arg::Long("once") => {
                given.once = true;
                continue;
            }
            Arg::Long("json") => {
                given.json = true;
                continue;
            }
            Arg::Long("project") => &mut given.project,
            Arg::Long("url") => &mut given.url,
            Arg::Long("addr") => &mut given.addr,
            Arg::Long("docker-host") => &mut given.docker_host,
            Arg::Long("interval") => &mut given.interval,
            Arg::Long("demo") => &mut given.demo,
            Arg::Long("log-level") => &mut given.log_level,
            Arg::Long("log-format") => &mut given.log_format,
            other => return Err(other.unexpected().to_string()),
        };
        let name = match arg {
            Arg::Long(name) => format!("--{name}"),
            Arg::Short(name) => format!("-{name}"),
            Arg::Value(_) => String::new(),
        };
        let text = parser
            .value()
            .map_err(|error| error.to_string())?
            .string()
            .map_err(|error| error.to_string())?;
        *slot = Some(Value { name, text });
    }
    let from_env = |slot: Option<Value>, name: &str| match slot {
        Some(value) => Ok(Some(value)),
        None => environment(name, variable(name).as_deref()),
    };
    only(
        "without stats",
        [
            ("--addr", given.stats && given.addr.is_some()),
            ("--demo", given.stats && given.demo.is_some()),
        ],
    )?;
    let addr = from_env(given.addr, "KENTROS_ADDR")?;
    let demo = from_env(given.demo, "KENTROS_DEMO")?;
    let interval = from_env(given.interval, "KENTROS_INTERVAL")?;
    let log_level = from_env(given.log_level, "KENTROS_LOG_LEVEL")?;
    let log_format = from_env(given.log_format, "KENTROS_LOG_FORMAT")?;
    let docker_host = from_env(from_env(given.docker_host, "KENTROS_DOCKER_HOST")?, "DOCKER_HOST")?;
    let interval = read(interval, Duration::from_secs(1), duration)?;
    let log_level = read(log_level, LevelFilter::Info, |text| {
        text.parse().map_err(|_| "off, error, warn, info, debug or trace is wanted".into())
    })?;
    let host = |host| {
        read(host, DockerHost::default(), |text| {
            text.parse().map_err(|error: kentros::Error| error.to_string())
        })
    };
    if given.stats {
        let options = StatsOptions {
            from: match given.url {
                Some(url) => From::Hub(url.text),
                None => From::Engine(host(docker_host)?),
            },
            interval,
            project: given.project.map(|project| project.text),
            once: given.once,
            json: given.json,
        };
        return Ok(Command::Stats(options, log_level));
    }
    only(
        "with stats, as in kentros stats --once",
        [
            ("--once", given.once),
            ("--json", given.json),
            ("--project", given.project.is_some()),
            ("--url", given.url.is_some()),
        ],
    )?;
    Ok(Command::Serve(Options {
        addr: read(addr, "127.0.0.1:9001".into(), address)?,
        source: match read(demo, None, |text| containers(text).map(Some))? {
            Some(containers) => Source::Demo(containers),
            None => Source::Docker(host(docker_host)?),
        },
        interval,
        log_level,
        log_format: read(log_format, Format::Text, |text| match text {
            "text" => Ok(Format::Text),
            "json" => Ok(Format::Json),
            _ => Err("text or json is wanted".into()),
        })?,
    }))
}

/// Refuses flags that were given where they mean nothing.
fn only<const N: usize>(place: &str, flags: [(&str, bool); N]) -> Result<(), String> {
    match flags.into_iter().find(|(_, given)| *given) {
        Some((flag, _)) => Err(format!("{flag} has a meaning only {place}")),
        None => Ok(()),
    }
}

/// A variable that is set to nothing counts as not set: compose files leave such behind.
fn environment(name: &str, value: Option<&OsStr>) -> Result<Option<Value>, String> {
    match value.filter(|value| !value.is_empty()) {
        None => Ok(None),
        Some(value) => match value.to_str() {
            Some(text) => Ok(Some(Value { name: name.to_owned(), text: text.to_owned() })),
            None => Err(format!("{name} is not UTF-8: {}", value.display())),
        },
    }
}

fn read<T>(
    value: Option<Value>,
    default: T,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<T, String> {
    match value {
        None => Ok(default),
        Some(Value { name, text }) => {
            parse(&text).map_err(|wanted| format!("{name} {text:?}: {wanted}"))
        }
    }
}

fn address(text: &str) -> Result<String, String> {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
            Ok(text.to_owned())
        }
        _ => Err("HOST:PORT is wanted, as in 127.0.0.1:9001 or [::1]:9001".into()),
    }
}

fn containers(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n @ 1..=10_000) => Ok(n),
        _ => Err("a number of containers from 1 to 10000 is wanted".into()),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds = match unit.trim() {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        _ => 0.0,
    };
    let wanted = || "a time from 100ms to 1h is wanted, as in 1s, 500ms or 2m".to_owned();
    let time = number.parse::<f64>().map_err(|_| wanted())? * seconds;
    if (0.1..=3600.0).contains(&time) { Ok(Duration::from_secs_f64(time)) } else { Err(wanted()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(args: &[&str], env: &[(&str, &str)]) -> Result<Options, String> {
        let variable = |name: &str| {
            env.iter().find(|(n, _)| *n == name).map(|(_, value)| OsString::from(value))
        };
        match parse(args.iter().map(OsString::from), variable)? {
            Command::Serve(options) => Ok(options),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn without_anything_it_serves_the_local_engine_on_loopback() {
        let options = with(&[], &[]).unwrap();
        assert_eq!(options.addr, "127.0.0.1:9001");
        assert_eq!(options.source, Source::Docker(DockerHost::default()));
        assert_eq!(options.interval, Duration::from_secs(1));
    }

    #[test]
    fn each_flag_has_its_variable_and_wins_over_it() {
        let env = [
            ("KENTROS_ADDR", "[::1]:1"),
            ("KENTROS_DEMO", "3"),
            ("KENTROS_INTERVAL", "500ms"),
            ("KENTROS_LOG_LEVEL", "debug"),
            ("KENTROS_LOG_FORMAT", "json"),
        ];
        let options = with(&[], &env).unwrap();
        let wanted = Options {
            addr: "[::1]:1".into(),
            source: Source::Demo(3),
            interval: Duration::from_millis(500),
            log_level: LevelFilter::Debug,
            log_format: Format::Json,
        };
        assert_eq!(options, wanted);
        assert_eq!(with(&["--addr", "a:2"], &env).unwrap().addr, "a:2");
        assert_eq!(with(&["--addr=a:2"], &[("KENTROS_ADDR", "")]).unwrap().addr, "a:2");
    }

    #[test]
    fn the_engine_is_the_flags_then_ours_then_dockers() {
        let host = |args: &[&str], env: &[(&str, &str)]| match with(args, env).unwrap().source {
            Source::Docker(host) => host.to_string(),
            Source::Demo(_) => "demo".into(),
        };
        let docker = ("DOCKER_HOST", "tcp://a:1");
        let ours = ("KENTROS_DOCKER_HOST", "tcp://b:2");
        assert_eq!(host(&[], &[docker]), "tcp://a:1");
        assert_eq!(host(&[], &[docker, ours]), "tcp://b:2");
        assert_eq!(host(&["--docker-host", "tcp://c:3"], &[docker, ours]), "tcp://c:3");
        assert_eq!(host(&[], &[("DOCKER_HOST", "")]), "unix:///var/run/docker.sock");
    }

    #[test]
    fn stats_are_of_the_engine_or_of_a_hub() {
        let stats = |args: &[&str]| match parse(args.iter().map(OsString::from), |_| None) {
            Ok(Command::Stats(options, _)) => options,
            other => panic!("{other:?}"),
        };
        let engine = stats(&["stats", "--once"]);
        assert_eq!(engine.from, From::Engine(DockerHost::default()));
        assert!(engine.once && !engine.json);
        let hub = stats(&["stats", "--json", "--url", "ws://a:1/ws/stats", "--project", "shop"]);
        assert_eq!(hub.from, From::Hub("ws://a:1/ws/stats".into()));
        assert_eq!(hub.project.as_deref(), Some("shop"));
    }

    #[test]
    fn what_cannot_be_read_is_named_with_what_it_may_be() {
        let cases: [(&[&str], &str); 10] = [
            (&["--adr", "x"], "--adr"),
            (&["--addr"], "--addr"),
            (&["--addr", "nowhere"], "--addr \"nowhere\": HOST:PORT is wanted"),
            (&["--interval", "soon"], "--interval \"soon\": a time"),
            (&["--interval", "0"], "100ms to 1h"),
            (&["--demo", "0"], "--demo \"0\": a number"),
            (&["--log-level", "loud"], "off, error"),
            (&["stat"], "stat"),
            (&["--once"], "--once has a meaning only with stats"),
            (&["stats", "--demo", "3"], "--demo has a meaning only without stats"),
        ];
        for (args, part) in cases {
            let error = with(args, &[]).unwrap_err();
            assert!(error.contains(part), "{args:?}: {error}");
        }
        let error = with(&[], &[("KENTROS_LOG_FORMAT", "xml")]).unwrap_err();
        assert_eq!(error, "KENTROS_LOG_FORMAT \"xml\": text or json is wanted");
    }
}
