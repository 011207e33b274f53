//! `kentros healthcheck`: the status tells how the server is.

use std::net::TcpListener;

use crate::binary::{Running, kentros, run};
use crate::harness::nowhere;

#[test]
fn it_asks_the_server_that_the_same_settings_start() {
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
    let (status, _, words) = healthcheck(&["--ready"]);
    assert_eq!(status, 1, "no engine answers");
    assert!(words.contains("503") && words.contains("/nowhere/kentros.sock"), "{words}");
    let (status, _, words) = healthcheck(&["--base", "/elsewhere"]);
    assert_eq!(status, 1);
    assert!(words.contains("404"), "{words}");
}

#[test]
fn one_who_says_nothing_of_use_is_not_well() {
    let (_socket, addr) = nowhere();
    let (status, _, words) = run(kentros(&["healthcheck", "--addr", &addr.to_string()]));
    assert_eq!(status, 1);
    assert!(words.contains(&addr.to_string()), "{words}");

    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = other.local_addr().unwrap().to_string();
    let answers = std::thread::spawn(move || {
        let (mut stream, _) = other.accept().unwrap();
        std::io::Write::write_all(&mut stream, b"SSH-2.0-other\r\n").unwrap();
    });
    let (status, _, words) = run(kentros(&["healthcheck", "--addr", &addr]));
    assert_eq!(status, 1, "{words}");
    answers.join().unwrap();
}
