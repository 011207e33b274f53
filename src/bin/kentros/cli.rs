//! The command line and the environment: each flag has its variable, and the flag wins.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Duration;

use kentros::DockerHost;
use lexopt::{Arg, Parser, ValueExt};
use log::LevelFilter;

use crate::find::{self, Found, Surroundings};
use crate::logging::Format;
use crate::stats::{From, StatsOptions};

pub(crate) const HELP: &str = "\
kentros: live stats of your containers, in the browser and as JSON

Usage: kentros [OPTIONS]
       kentros stats [--once] [--json] [--project ID] [--url ws://HOST:PORT/ws/stats]

  --addr HOST:PORT     Where to listen; port 0 takes any free one  [127.0.0.1:9001]
  --docker-host URL    The Docker Engine: unix:///path, tcp://host:port or http://host:port
                       [DOCKER_HOST, the docker context, or the usual sockets]
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
    Serve(Options, Log),
    Stats(StatsOptions, Log),
    Help,
    Version,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) addr: String,
    pub(crate) source: Source,
    pub(crate) interval: Duration,
}

/// How much is logged, and how.
pub(crate) type Log = (LevelFilter, Format);

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Engine(DockerHost),
    Demo(usize),
}

/// One flag: what it is called, here and in the environment, and for what.
struct Flag {
    name: &'static str,
    variable: Option<&'static str>,
    /// Whether a value follows it.
    valued: bool,
    of: Of,
}

/// Which of the program's two jobs a flag is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Both,
    Serve,
    Stats,
}

const FLAGS: [Flag; 10] = [
    flag("addr", Some("KENTROS_ADDR"), Of::Serve),
    flag("docker-host", Some("KENTROS_DOCKER_HOST"), Of::Both),
    flag("interval", Some("KENTROS_INTERVAL"), Of::Both),
    flag("demo", Some("KENTROS_DEMO"), Of::Serve),
    flag("log-level", Some("KENTROS_LOG_LEVEL"), Of::Both),
    flag("log-format", Some("KENTROS_LOG_FORMAT"), Of::Both),
    flag("project", None, Of::Stats),
    flag("url", None, Of::Stats),
    switch("once"),
    switch("json"),
];

const fn flag(name: &'static str, variable: Option<&'static str>, of: Of) -> Flag {
    Flag { name, variable, valued: true, of }
}

const fn switch(name: &'static str) -> Flag {
    Flag { name, variable: None, valued: false, of: Of::Stats }
}

/// The values as they came, by flag, each with the name it came under, for the error that names it.
#[derive(Default)]
struct Given(BTreeMap<&'static str, Value>);

struct Value {
    name: String,
    text: String,
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
    let mut stats = false;
    let mut parser = Parser::from_args(args);
    let sentence = |error: lexopt::Error| error.to_string();
    while let Some(arg) = parser.next().map_err(sentence)? {
        let name = match arg {
            Arg::Long("help") | Arg::Short('h') => return Ok(Command::Help),
            Arg::Long("version") | Arg::Short('V') => return Ok(Command::Version),
            Arg::Value(word) if word == "stats" && !stats => {
                stats = true;
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
        given.0.insert(flag.name, Value { name: format!("--{name}"), text });
    }
    for flag in &FLAGS {
        let of = if stats { Of::Stats } else { Of::Serve };
        if flag.of != Of::Both && flag.of != of {
            if given.0.contains_key(flag.name) {
                let place = if stats { "without stats" } else { "after kentros stats" };
                return Err(format!("--{} has a meaning only {place}", flag.name));
            }
        } else if let Some(variable) = flag.variable
            && !given.0.contains_key(flag.name)
            && let Some(text) = (around.variable)(variable)
        {
            given.0.insert(flag.name, Value { name: variable.to_owned(), text });
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
    if stats {
        let from = match given.text("url") {
            Some(url) => From::Hub(url),
            None => From::Engine(given.engine(around)?),
        };
        let project = given.text("project");
        let (once, json) = (given.has("once"), given.has("json"));
        return Ok(Command::Stats(StatsOptions { from, interval, project, once, json }, log));
    }
    let addr = given.read("addr", "127.0.0.1:9001".into(), address)?;
    let source = match given.read("demo", None, |text| containers(text).map(Some))? {
        Some(containers) => Source::Demo(containers),
        None => Source::Engine(given.engine(around)?),
    };
    Ok(Command::Serve(Options { addr, source, interval }, log))
}

impl Given {
    fn has(&self, flag: &str) -> bool {
        self.0.contains_key(flag)
    }

    fn text(&self, flag: &str) -> Option<String> {
        self.0.get(flag).map(|value| value.text.clone())
    }

    fn read<T>(
        &self,
        flag: &str,
        default: T,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, String> {
        match self.0.get(flag) {
            None => Ok(default),
            Some(Value { name, text }) => {
                parse(text).map_err(|wanted| format!("{name} {text:?}: {wanted}"))
            }
        }
    }

    /// The engine that the flag names, or that is found.
    fn engine(&self, around: &Surroundings<'_>) -> Result<DockerHost, String> {
        let found = match self.0.get("docker-host") {
            Some(Value { name, text }) => {
                Found { host: text.clone(), by: name.clone(), certificates: None }
            }
            None => find::engine(around)?,
        };
        let host = || {
            let mut host: DockerHost = found.host.parse()?;
            if let Some(folder) = &found.certificates {
                host = host.with_tls(folder)?;
            }
            match (around.variable)("DOCKER_API_VERSION") {
                Some(version) => host.with_api_version(&version),
                None => Ok(host),
            }
        };
        host().map_err(|error: kentros::Error| format!("{}: {error}", found.by))
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
    use std::path::Path;

    use super::*;

    fn command(args: &[&str], env: &[(&str, &str)]) -> Result<Command, String> {
        let variable =
            |name: &str| env.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        let around = Surroundings { variable: &variable, root: Path::new("/nowhere") };
        parse(args.iter().map(OsString::from), &around)
    }

    fn serve(args: &[&str], env: &[(&str, &str)]) -> Options {
        match command(args, env) {
            Ok(Command::Serve(options, _)) => options,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn without_anything_it_serves_the_local_engine_on_loopback() {
        let options = serve(&[], &[]);
        assert_eq!(options.addr, "127.0.0.1:9001");
        assert_eq!(options.source, Source::Engine(DockerHost::default()));
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
        let wanted = Options {
            addr: "[::1]:1".into(),
            source: Source::Demo(3),
            interval: Duration::from_millis(500),
        };
        let log = (LevelFilter::Debug, Format::Json);
        assert_eq!(command(&[], &env), Ok(Command::Serve(wanted, log)));
        assert_eq!(serve(&["--addr", "a:2"], &env).addr, "a:2");
        assert_eq!(serve(&["--addr=a:3"], &env).addr, "a:3");
    }

    #[test]
    fn the_engine_is_the_flags_then_ours_then_dockers() {
        let host = |args: &[&str], env: &[(&str, &str)]| match serve(args, env).source {
            Source::Engine(host) => host.to_string(),
            Source::Demo(_) => "demo".into(),
        };
        let docker = ("DOCKER_HOST", "tcp://a:1");
        let ours = ("KENTROS_DOCKER_HOST", "tcp://b:2");
        assert_eq!(host(&[], &[docker]), "tcp://a:1");
        assert_eq!(host(&[], &[docker, ours]), "tcp://b:2");
        assert_eq!(host(&["--docker-host", "tcp://c:3"], &[docker, ours]), "tcp://c:3");
    }

    #[test]
    fn the_help_names_every_flag_and_variable() {
        for flag in &FLAGS {
            assert!(HELP.contains(&format!("--{}", flag.name)), "--{}", flag.name);
            if let Some(variable) = flag.variable {
                assert!(HELP.contains(variable), "{variable}");
            }
        }
    }

    #[test]
    fn stats_are_of_the_engine_or_of_a_hub() {
        let stats = |args: &[&str]| match command(args, &[]) {
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
            (&["--once"], "--once has a meaning only after kentros stats"),
            (&["stats", "--demo", "3"], "--demo has a meaning only without stats"),
        ];
        for (args, part) in cases {
            let error = command(args, &[]).unwrap_err();
            assert!(error.contains(part), "{args:?}: {error}");
        }
        let error = command(&[], &[("KENTROS_LOG_FORMAT", "xml")]).unwrap_err();
        assert_eq!(error, "KENTROS_LOG_FORMAT \"xml\": text or json is wanted");
    }
}
