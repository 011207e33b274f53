use std::os::unix::ffi::OsStringExt as _;

use super::*;
use crate::engine_discovery::PingOutcome;

type Variables<'a> = &'a [(&'a str, &'a str)];

fn command(args: &[&str], env: Variables<'_>) -> Result<CliCommand, String> {
    let variable =
        |name: &str| env.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
    parse(args.iter().map(OsString::from), &environment(&variable))
}

/// These variables, and no engine.
fn environment(variable: &dyn Fn(&str) -> Option<String>) -> Environment<'_> {
    Environment { variable, ping: &|_| PingOutcome::NoSuchSocket, warn: &drop }
}

fn serve(args: &[&str], env: &[(&str, &str)]) -> ServeOptions {
    match command(args, env) {
        Ok(CliCommand::Serve(options, _)) => options,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_default_is_to_serve_the_local_engine_on_loopback() {
    let options = serve(&[], &[]);
    assert_eq!(options.addr, "127.0.0.1:9001");
    assert_eq!(options.source, SourceChoice::Engine(DockerHost::default()));
    assert_eq!(options.interval, Duration::from_secs(1));
}

#[test]
fn a_flag_takes_precedence_over_its_variable() {
    let env = [
        ("KENTROS_ADDR", "[::1]:1"),
        ("KENTROS_BASE", "/a/b/"),
        ("KENTROS_DEMO", "3"),
        ("KENTROS_INTERVAL", "500ms"),
        ("KENTROS_LOG_LEVEL", "debug"),
        ("KENTROS_LOG_FORMAT", "json"),
    ];
    let expected = ServeOptions {
        addr: "[::1]:1".into(),
        base: "/a/b".into(),
        source: SourceChoice::Demo(3),
        interval: Duration::from_millis(500),
        access: AccessOptions::default(),
    };
    let log = LogOptions { level: LevelFilter::Debug, format: LogFormat::Json };
    assert_eq!(command(&[], &env), Ok(CliCommand::Serve(expected, log)));
    assert_eq!(serve(&["--addr", "a:2"], &env).addr, "a:2");
    assert_eq!(serve(&["--addr=a:3"], &env).addr, "a:3");
}

#[test]
fn the_docker_host_flag_precedes_its_variable_and_docker_host() {
    let host = |args: &[&str], env: &[(&str, &str)]| match serve(args, env).source {
        SourceChoice::Engine(host) => host.to_string(),
        SourceChoice::Demo(_) => "demo".into(),
    };
    let docker = ("DOCKER_HOST", "tcp://a:1");
    let kentros = ("KENTROS_DOCKER_HOST", "tcp://b:2");
    assert_eq!(host(&[], &[docker]), "tcp://a:1");
    assert_eq!(host(&[], &[docker, kentros]), "tcp://b:2");
    assert_eq!(host(&["--docker-host", "tcp://c:3"], &[docker, kentros]), "tcp://c:3");
}

#[test]
fn docker_tls_variables_apply_to_the_docker_host_flag() {
    let env = [("DOCKER_TLS_VERIFY", "1"), ("DOCKER_CERT_PATH", "/nowhere")];
    // The error mentions the folder with and without the feature `tls`.
    let error = command(&["--docker-host", "tcp://a:1"], &env).unwrap_err();
    assert!(error.starts_with("--docker-host: ") && error.contains("/nowhere"), "{error}");
    let kentros = [env[0], env[1], ("KENTROS_DOCKER_HOST", "tcp://a:1")];
    let error = command(&[], &kentros).unwrap_err();
    assert!(error.starts_with("KENTROS_DOCKER_HOST: "), "{error}");
    // The variables do not apply to Unix sockets.
    assert!(command(&["--docker-host", "unix:///a"], &env).is_ok());
}

#[test]
fn an_invalid_api_version_is_an_error_that_names_the_variable() {
    let error = command(&[], &[("DOCKER_API_VERSION", "1.40")]).unwrap_err();
    assert!(error.starts_with("DOCKER_API_VERSION: ") && error.contains("\"1.40\""), "{error}");
    assert!(command(&[], &[("DOCKER_API_VERSION", "1.43")]).is_ok());
}

#[test]
fn only_one_token_can_be_set_and_no_error_contains_it() {
    const TOKEN: &str = "6f1ed002ab559585";
    let env = ("KENTROS_TOKEN", TOKEN);
    let with = |args: &[&str], env: &[(&str, &str)]| command(args, env).map(drop);
    assert_eq!(with(&["--token", TOKEN], &[]), Ok(()));
    assert_eq!(with(&["--token", TOKEN], &[("KENTROS_TOKEN_FILE", "/nowhere")]), Ok(()));
    assert_eq!(serve(&["--token", TOKEN], &[]).access, serve(&[], &[env]).access);
    assert_ne!(serve(&[], &[]).access, serve(&[], &[env]).access);
    assert!(!format!("{:?}", serve(&[], &[env])).contains(TOKEN));
    let cases: [(&[&str], Variables<'_>, &str); 9] = [
        (&["--token", "fifteen-letters"], &[], "invalid --token: a token "),
        (&["--token", "6f1ed002ab55 9585"], &[], "invalid --token: a token "),
        (&[], &[("KENTROS_TOKEN", "")], "invalid KENTROS_TOKEN: a token "),
        (&[], &[("KENTROS_TOKEN_FILE", "")], "cannot read KENTROS_TOKEN_FILE \"\": "),
        (&["--token-file", "/nowhere/t"], &[], "cannot read --token-file \"/nowhere/t\": "),
        (&["--token-file", "/nowhere/t"], &[env], "cannot read --token-file \"/nowhere/t\": "),
        (
            &["--token", TOKEN, "--token-file", "/t"],
            &[],
            "--token cannot be used with --token-file",
        ),
        (
            &[],
            &[env, ("KENTROS_TOKEN_FILE", "/t")],
            "KENTROS_TOKEN cannot be used with KENTROS_TOKEN_FILE",
        ),
        (&["--no-auth"], &[env], "--no-auth cannot be used with a token"),
    ];
    for (args, env, part) in cases {
        let error = command(args, env).unwrap_err();
        assert!(error.contains(part), "{args:?}: {error}");
        assert!(!error.contains("fifteen") && !error.contains("6f1e"), "{error}");
    }
    let invalid = OsString::from_vec([TOKEN.as_bytes(), b"\xff"].concat());
    let error = parse(["--token".into(), invalid], &environment(&|_| None)).unwrap_err();
    assert!(error.contains("UTF-8") && !error.contains("6f1e"), "{error}");
}

#[test]
fn repeated_flags_are_collected_and_replace_their_variable() {
    let env = ("KENTROS_ALLOW_HOST", "a.example, b.example,");
    let access = |args: &[&str], env: &[(&str, &str)]| serve(args, env).access;
    let two = access(&["--allow-host", "a.example", "--allow-host=b.example"], &[]);
    assert_eq!(access(&[], &[env]), two);
    assert_eq!(access(&["--allow-host", "a.example,b.example"], &[]), two);
    assert_ne!(access(&["--allow-host", "c.example"], &[env]), two);
    // Of other repeated flags the last one is used.
    assert_eq!(serve(&["--addr", "a:1", "--addr", "b:2"], &[]).addr, "b:2");
}

#[test]
fn help_lists_every_flag_and_variable() {
    for flag in &FLAGS {
        assert!(HELP.contains(&format!("--{}", flag.name)), "--{}", flag.name);
        if let Some(variable) = flag.variable {
            assert!(HELP.contains(variable), "{variable}");
        }
    }
}

#[test]
fn stats_reads_an_engine_or_the_hub_at_url() {
    let stats = |args: &[&str]| match command(args, &[]) {
        Ok(CliCommand::Stats(options, _)) => options,
        other => panic!("{other:?}"),
    };
    let engine = stats(&["stats", "--once"]);
    assert_eq!(engine.target, FeedTarget::Engine(DockerHost::default()));
    assert!(engine.once && !engine.json);
    let hub = stats(&["stats", "--json", "--url", "ws://a:1/ws/stats", "--project", "shop"]);
    assert_eq!(hub.target, FeedTarget::Hub("ws://a:1/ws/stats".into(), None));
    assert_eq!(hub.project.as_deref(), Some("shop"));
}

#[test]
fn healthcheck_uses_the_address_and_base_of_the_server() {
    let env = [("KENTROS_ADDR", "0.0.0.0:80"), ("KENTROS_BASE", "/"), ("KENTROS_DEMO", "many")];
    let expected = Healthcheck { addr: "0.0.0.0:80".into(), base: String::new(), ready: true };
    match command(&["healthcheck", "--ready"], &env) {
        Ok(CliCommand::Healthcheck(healthcheck, _)) => assert_eq!(healthcheck, expected),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_error_names_the_flag_and_what_is_expected() {
    let cases: [(&[&str], &str); 21] = [
        (&["--adr", "x"], "--adr"),
        (&["--addr"], "--addr"),
        (&["--addr", "nowhere"], "invalid --addr \"nowhere\": expected HOST:PORT"),
        (&["--interval", "soon"], "invalid --interval \"soon\": expected a time"),
        (&["--interval", "0"], "100ms to 1h"),
        (&["--demo", "0"], "invalid --demo \"0\": expected a number"),
        (&["--log-level", "loud"], "off, error"),
        (&["stat"], "unknown command \"stat\": expected stats"),
        (&["--base", "stats"], "--base \"stats\": expected a path"),
        (&["--base", "/a b"], "--base \"/a b\": expected a path"),
        (&["healthcheck", "--url", "ws://a"], "--url is only valid with `kentros stats` or"),
        (&["top", "--url", "wss://a/ws/stats"], "--url \"wss://a/ws/stats\": wss:// is not"),
        (&["stats", "--url", "http://a"], "--url \"http://a\": expected the URL of a stats"),
        (&["--max-clients", "0"], "--max-clients \"0\": expected a number of clients"),
        (&["--max-clients-per-address", "-1"], "--max-clients-per-address \"-1\": expected"),
        (&["--allow-origin", "null"], "invalid --allow-origin \"null\": "),
        (&["--allow-host", "a,b:80"], "invalid --allow-host \"b:80\": "),
        (&["--trust-proxy", "nginx"], "invalid --trust-proxy \"nginx\": "),
        (&["stats", "--no-auth"], "--no-auth is only valid without a command"),
        (&["--once"], "--once is only valid with `kentros stats`"),
        (&["stats", "--demo", "3"], "--demo is only valid without a command"),
    ];
    for (args, part) in cases {
        let error = command(args, &[]).unwrap_err();
        assert!(error.contains(part), "{args:?}: {error}");
    }
    let error = command(&[], &[("KENTROS_LOG_FORMAT", "xml")]).unwrap_err();
    assert_eq!(error, "invalid KENTROS_LOG_FORMAT \"xml\": expected text or json");
}
