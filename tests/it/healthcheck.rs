//! `kentros healthcheck`: exits with status 0 if the server is healthy, 1 if not.

use std::net::TcpListener;

use crate::binary::{Running, kentros, run};
use crate::harness::unused_addr;

#[test]
fn healthcheck_finds_the_server_through_the_same_settings() {
    let mut server = kentros(&["--no-auth", "--docker-host", "unix:///nowhere/kentros.sock"]);
    server.env("KENTROS_ADDR", "0.0.0.0:0").env("KENTROS_BASE", "/stats");
    let running = Running::start(server);
    let addr = running.addr().to_string();
    let healthcheck = |args: &[&str]| {
        let mut command = kentros(&["healthcheck"]);
        command.args(args).env("KENTROS_ADDR", &addr).env("KENTROS_BASE", "/stats");
        run(command)
    };
    assert_eq!(healthcheck(&[]), (0, String::new(), String::new()));
    let (status, _, stderr) = healthcheck(&["--ready"]);
    assert_eq!(status, 1, "the engine is unreachable");
    assert!(stderr.contains("503") && stderr.contains("/nowhere/kentros.sock"), "{stderr}");
    let (status, _, stderr) = healthcheck(&["--base", "/elsewhere"]);
    assert_eq!(status, 1);
    assert!(stderr.contains("404"), "{stderr}");
}

#[test]
fn healthcheck_fails_if_the_port_is_closed_or_is_not_http() {
    let (_socket, addr) = unused_addr();
    let (status, _, stderr) = run(kentros(&["healthcheck", "--addr", &addr.to_string()]));
    assert_eq!(status, 1);
    assert!(stderr.contains(&addr.to_string()), "{stderr}");

    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = other.local_addr().unwrap().to_string();
    let answers = std::thread::spawn(move || {
        let (mut stream, _) = other.accept().unwrap();
        std::io::Write::write_all(&mut stream, b"SSH-2.0-other\r\n").unwrap();
    });
    let (status, _, stderr) = run(kentros(&["healthcheck", "--addr", &addr]));
    assert_eq!(status, 1, "{stderr}");
    answers.join().unwrap();
}
