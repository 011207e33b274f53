use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;

use super::*;

type Pairs<'a> = &'a [(&'a str, &'a str)];

fn command(args: &[&str], env: Pairs<'_>) -> Result<Command, String> {
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
        ("KENTROS_BASE", "/a/b/"),
        ("KENTROS_DEMO", "3"),
        ("KENTROS_INTERVAL", "500ms"),
        ("KENTROS_LOG_LEVEL", "debug"),
        ("KENTROS_LOG_FORMAT", "json"),
    ];
    let wanted = Options {
        addr: "[::1]:1".into(),
        base: "/a/b".into(),
        source: Source::Demo(3),
        interval: Duration::from_millis(500),
        access: AccessOptions::default(),
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
fn an_engine_named_by_a_flag_is_spoken_to_with_tls_where_the_variables_say_so() {
    let env = [("DOCKER_TLS_VERIFY", "1"), ("DOCKER_CERT_PATH", "/nowhere")];
    // Built in or not, it is the folder that is named.
    let error = command(&["--docker-host", "tcp://a:1"], &env).unwrap_err();
    assert!(error.starts_with("--docker-host: ") && error.contains("/nowhere"), "{error}");
    let ours = [env[0], env[1], ("KENTROS_DOCKER_HOST", "tcp://a:1")];
    let error = command(&[], &ours).unwrap_err();
    assert!(error.starts_with("KENTROS_DOCKER_HOST: "), "{error}");
    // A Unix socket takes no TLS.
    assert!(command(&["--docker-host", "unix:///a"], &env).is_ok());
}

#[test]
fn an_api_version_that_cannot_be_is_named_by_its_variable() {
    let error = command(&[], &[("DOCKER_API_VERSION", "1.40")]).unwrap_err();
    assert!(error.starts_with("DOCKER_API_VERSION: API version \"1.40\": 1.41"), "{error}");
    assert!(command(&[], &[("DOCKER_API_VERSION", "1.43")]).is_ok());
}

#[test]
fn a_token_is_given_once_and_no_error_repeats_it() {
    const TOKEN: &str = "6f1ed002ab559585";
    let env = ("KENTROS_TOKEN", TOKEN);
    let with = |args: &[&str], env: &[(&str, &str)]| command(args, env).map(drop);
    assert_eq!(with(&["--token", TOKEN], &[]), Ok(()));
    assert_eq!(with(&["--token", TOKEN], &[("KENTROS_TOKEN_FILE", "/nowhere")]), Ok(()));
    assert_eq!(serve(&["--token", TOKEN], &[]).access, serve(&[], &[env]).access);
    assert_ne!(serve(&[], &[]).access, serve(&[], &[env]).access);
    assert!(!format!("{:?}", serve(&[], &[env])).contains(TOKEN));
    let cases: [(&[&str], Pairs<'_>, &str); 9] = [
        (&["--token", "fifteen-letters"], &[], "--token: a token must have at least 16 characters"),
        (&["--token", "6f1ed002ab55 9585"], &[], "--token: a token may contain only"),
        (&[], &[("KENTROS_TOKEN", "")], "KENTROS_TOKEN: a token must have at least 16 characters"),
        (&[], &[("KENTROS_TOKEN_FILE", "")], "KENTROS_TOKEN_FILE \"\": the token cannot be read"),
        (&["--token-file", "/nowhere/t"], &[], "--token-file \"/nowhere/t\": the token cannot"),
        (&["--token-file", "/nowhere/t"], &[env], "--token-file \"/nowhere/t\": the token cannot"),
        (&["--token", TOKEN, "--token-file", "/t"], &[], "--token and --token-file: one"),
        (&[], &[env, ("KENTROS_TOKEN_FILE", "/t")], "KENTROS_TOKEN and KENTROS_TOKEN_FILE: one"),
        (&["--no-auth"], &[env], "--no-auth lets in everyone, and a token is set"),
    ];
    for (args, env, part) in cases {
        let error = command(args, env).unwrap_err();
        assert!(error.contains(part), "{args:?}: {error}");
        assert!(!error.contains("fifteen") && !error.contains("6f1e"), "{error}");
    }
    let odd = OsString::from_vec([TOKEN.as_bytes(), b"\xff"].concat());
    let around = Surroundings { variable: &|_| None, root: Path::new("/nowhere") };
    let error = parse(["--token".into(), odd], &around).unwrap_err();
    assert!(error.contains("UTF-8") && !error.contains("6f1e"), "{error}");
}

#[test]
fn some_flags_can_be_given_several_times_and_replace_their_variable() {
    let env = ("KENTROS_ALLOW_HOST", "a.example, b.example,");
    let of = |args: &[&str], env: &[(&str, &str)]| serve(args, env).access;
    let two = of(&["--allow-host", "a.example", "--allow-host=b.example"], &[]);
    assert_eq!(of(&[], &[env]), two);
    assert_eq!(of(&["--allow-host", "a.example,b.example"], &[]), two);
    assert_ne!(of(&["--allow-host", "c.example"], &[env]), two);
    // Of others the last one counts.
    assert_eq!(serve(&["--addr", "a:1", "--addr", "b:2"], &[]).addr, "b:2");
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
    assert_eq!(hub.from, From::Hub("ws://a:1/ws/stats".into(), None));
    assert_eq!(hub.project.as_deref(), Some("shop"));
}

#[test]
fn a_healthcheck_finds_the_server_by_its_own_settings() {
    let env = [("KENTROS_ADDR", "0.0.0.0:80"), ("KENTROS_BASE", "/"), ("KENTROS_DEMO", "many")];
    let wanted = Healthcheck { addr: "0.0.0.0:80".into(), base: String::new(), ready: true };
    match command(&["healthcheck", "--ready"], &env) {
        Ok(Command::Healthcheck(healthcheck, _)) => assert_eq!(healthcheck, wanted),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_cannot_be_read_is_named_with_what_it_may_be() {
    let cases: [(&[&str], &str); 21] = [
        (&["--adr", "x"], "--adr"),
        (&["--addr"], "--addr"),
        (&["--addr", "nowhere"], "--addr \"nowhere\": HOST:PORT is wanted"),
        (&["--interval", "soon"], "--interval \"soon\": a time"),
        (&["--interval", "0"], "100ms to 1h"),
        (&["--demo", "0"], "--demo \"0\": a number"),
        (&["--log-level", "loud"], "off, error"),
        (&["stat"], "stat"),
        (&["--base", "stats"], "--base \"stats\": a path"),
        (&["--base", "/a b"], "--base \"/a b\": a path"),
        (&["healthcheck", "--url", "ws://a"], "--url has a meaning only after kentros stats or"),
        (&["top", "--url", "wss://a/ws/stats"], "--url \"wss://a/ws/stats\": wss:// is not spoken"),
        (&["stats", "--url", "http://a"], "--url \"http://a\": a stats socket is wanted"),
        (&["--max-clients", "0"], "--max-clients \"0\": a number of clients from 1 to 12000"),
        (&["--max-clients-per-address", "-1"], "--max-clients-per-address \"-1\": a number"),
        (&["--allow-origin", "null"], "--allow-origin \"null\": expected an origin"),
        (&["--allow-host", "a,b:80"], "--allow-host \"b:80\": expected a host name without a port"),
        (
            &["--trust-proxy", "nginx"],
            "--trust-proxy \"nginx\": expected an IP address or a network",
        ),
        (&["stats", "--no-auth"], "--no-auth has a meaning only without a command"),
        (&["--once"], "--once has a meaning only after kentros stats"),
        (&["stats", "--demo", "3"], "--demo has a meaning only without a command"),
    ];
    for (args, part) in cases {
        let error = command(args, &[]).unwrap_err();
        assert!(error.contains(part), "{args:?}: {error}");
    }
    let error = command(&[], &[("KENTROS_LOG_FORMAT", "xml")]).unwrap_err();
    assert_eq!(error, "KENTROS_LOG_FORMAT \"xml\": text or json is wanted");
}
