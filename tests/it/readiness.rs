//! `/readyz`: how often it checks the engine, and who learns the reason.

use std::time::{Duration, Instant};

use kentros::{Access, DockerSource, HubConfig, ServerConfig, Token};

use crate::access::TOKEN;
use crate::harness::fake_engine::{FakeEngine, Kind};
use crate::harness::raw::ask;
use crate::harness::{Served, Warnings, in_own_process, until};
use crate::source::{Call, Script};

const REASON: &str = "no engine at unix:///nowhere: start it";

/// A number of checks that is possible since `start`, one per second.
fn most_checks(start: Instant) -> usize {
    usize::try_from(start.elapsed().as_secs()).unwrap() + 2
}

/// Fails if each request calls the engine.
#[test]
fn two_thousand_readiness_probes_call_the_engine_at_most_once_per_second() {
    let engine = FakeEngine::start(Kind::Direct);
    let served = Served::new();
    let source = DockerSource::new(engine.host());
    served.handle().start_stats_streamer(Duration::from_secs(1), source).unwrap();
    assert_eq!(served.get("/readyz").status, 200);
    let calls_per_check = engine.total_calls();
    assert!(calls_per_check > 0, "the engine is checked");
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..250 {
                    assert_eq!(served.get("/readyz").status, 200);
                }
            });
        }
    });
    let most = (1 + most_checks(start)) * calls_per_check;
    assert!(engine.total_calls() <= most, "{} calls, at most {most}", engine.total_calls());
}

#[test]
fn only_a_client_with_the_token_learns_why_the_server_is_not_ready() {
    let mut config = ServerConfig::default();
    config.access = Access::Token(Token::new(TOKEN).unwrap());
    let served = Served::with(HubConfig::default(), config);
    let script = Script::start(&served.handle());
    script.health(Err(REASON.to_owned()));
    let probe = |fields: &str| {
        let request = format!("GET /readyz HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
        let answer = ask(served.addr(), &request);
        (answer.status, answer.body)
    };
    let bearer = format!("Authorization: Bearer {TOKEN}\r\n");
    let wrong = "Authorization: Bearer 6f1ed002ab5595859014ebf0951522d8\r\n";
    let not_ready = (503, "not ready\n".to_owned());
    assert_eq!(probe(""), not_ready);
    assert_eq!(probe(wrong), not_ready);
    assert_eq!(probe(&bearer), (503, format!("{REASON}\n")));
    script.health(Ok(()));
    until("the next check", || probe("").0 == 200);
    assert_eq!(probe(""), (200, "ready\n".to_owned()));
    assert_eq!(probe(&bearer), (200, "ready\n".to_owned()));
}

#[test]
fn a_hanging_source_is_not_ready_and_only_the_token_gives_the_reason() {
    let mut config = ServerConfig::default();
    config.access = Access::Token(Token::new(TOKEN).unwrap());
    let served = Served::with(HubConfig::default(), config);
    let script = Script::start(&served.handle());
    let _listener = served.handle().listen(kentros::Interest::all()).unwrap();
    assert_eq!(script.call(), Call::Start);
    script.tick();
    assert!(matches!(script.call(), Call::Collect(_)), "the reading does not return");
    let answer = served.get("/readyz");
    assert_eq!((answer.status, answer.body.as_str()), (503, "not ready\n"));
    let request =
        format!("GET /readyz HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n");
    assert!(ask(served.addr(), &request).body.contains("in time"));
}

#[test]
fn a_failure_is_logged_when_it_begins_and_not_at_each_probe() {
    let name = "readiness::a_failure_is_logged_when_it_begins_and_not_at_each_probe";
    if !in_own_process(name, &[]) {
        return;
    }
    let warnings = Warnings::of_this_process();
    let served = Served::new();
    let script = Script::start(&served.handle());
    for failures in 1..=2 {
        script.health(Err(REASON.to_owned()));
        until("a failure", || served.get("/readyz").status == 503);
        script.calls.try_iter().for_each(drop);
        // Probes until the source is checked again.
        until("another check", || {
            served.get("/readyz");
            script.calls.try_recv().is_ok()
        });
        let logged = warnings.lines().iter().filter(|line| line.contains(REASON)).count();
        assert_eq!(logged, failures, "{:?}", warnings.lines());
        script.health(Ok(()));
        until("success", || served.get("/readyz").status == 200);
    }
}
